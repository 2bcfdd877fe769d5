"""Commands that pass predictions on."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.api.times import duration_of, time_of
from headrace.cli.command import Common, Name, command
from headrace.errors import UsageError

_HERE = ("localhost", "127.0.0.1", "[::1]")

To = Annotated[str, typer.Option("--to", metavar="URI", help="kafka, https, postgresql or sqlite; or your name.")]


@dataclass(frozen=True)
class What:
    """Which predictions."""

    bootstrap: Annotated[
        str | None, typer.Option("--bootstrap", metavar="H:P", help="A stream's answers. Default: what is stored.")
    ] = None
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="None as of an earlier time.")] = None
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until SIGTERM.")] = False
    again: Annotated[bool, typer.Option("--again", help="From the first one, under the same ids.")] = False


@dataclass(frozen=True)
class How:
    """How a target without transactions gets predictions, and how long one is waited for."""

    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, max=500, help="In one request.")] = 1
    concurrent: Annotated[int, typer.Option("--concurrent", metavar="N", min=1, max=64, help="Requests at a time.")] = 8
    patience: Annotated[
        str | None, typer.Option("--patience", metavar="D", help="Wait so long for what is away; 10m.")
    ] = None


@command
def sink(
    use: Common,
    name: Name,
    to: To,
    what: What,
    how: How,
) -> None:
    """Pass predictions on to a topic, webhook or table. Each once; goes on where it was.

    What a webhook refused: headrace sink dead-letters.
    """
    import signal
    import threading

    from headrace import console
    from headrace.serving.passing.run import PassingJob, run

    system, home, stop = use.system(name), use.open(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    patience = duration_of(how.patience, "--patience") if how.patience else home.settings.stream_patience
    first = time_of(what.since, datetime.now(UTC), "--since") if what.since else None
    job = PassingJob(
        to, what.bootstrap, first, what.follow, what.again, patience.total_seconds(), how.batch, how.concurrent
    )

    def started(source: str, target: str) -> None:
        if target.startswith("http://") and target[7:].partition("/")[0].partition(":")[0] not in _HERE:
            sys.stderr.write(f"warning: what goes to {target} is not encrypted; https:// is\n")
        if what.follow:
            sys.stderr.write(f"{system.name}: passing on from {source} to {target}\n")

    def waiting(message: str) -> None:
        sys.stderr.write(f"waiting: {message}\n")

    summary = run(system, home, job, stop, waiting, started)
    console.print_tree(summary, as_json=use.json)
    if summary["refused"] and not use.json:
        sys.stdout.write(f"refused ones: headrace sink dead-letters {system.name} --to URI\n")


@command
def sink__dead_letters(
    use: Common,
    name: Name,
    to: To,
    resend: Annotated[bool, typer.Option("--resend", help="Send them again, under their keys.")] = False,
    expire: Annotated[bool, typer.Option("--expire", help="Let them go.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="List so many at most.")] = 100,
) -> None:
    """List what a webhook refused, or send it again."""
    import polars as pl

    from headrace import console
    from headrace.console.table import TableStyle, print_table
    from headrace.serving.passing.dead_letters import listed, settle

    if resend and expire:
        raise UsageError("dead letters are sent again or let go, not both", where="--expire")
    system, home = use.system(name), use.open()
    if resend or expire:
        console.print_tree(settle(system, home, to, resend=resend), as_json=use.json)
        return
    letters, total = listed(system, home, to, limit)
    if use.json:
        console.print_json({"dead_letters": letters, "total": total})
    elif not letters:
        sys.stdout.write("no dead letters\n")
    else:
        look = TableStyle(
            f"{total:,} dead letters", ("status", "reason", "key", "at"), ("reason",), ("status", "reason", "key")
        )
        print_table(pl.DataFrame(letters, infer_schema_length=None), look)
