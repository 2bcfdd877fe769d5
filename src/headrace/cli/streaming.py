"""Commands about the state of a stream."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from headrace.cli.command import Common, Name, command, duration_of, time_of
from headrace.cli.doors import Bootstrap
from headrace.errors import UsageError

HEADING = "Serve and stream"


@command
def stream__rebuild(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    tables: Annotated[
        bool, typer.Option("--from-tables", help="Begin with the tables where the log has lost its beginning.")
    ] = False,
) -> None:
    """Make the workers' state anew from the log. No event is answered twice; no worker may run."""
    from headrace import console
    from headrace.serving.stream.offline import rebuild
    from headrace.sources.broker import Broker

    system, home = use.system(name), use.open()
    console.print_tree(rebuild(system, home, Broker(bootstrap, home.kafka), tables=tables), as_json=use.json)


@command
def stream__savepoint(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Default: SYSTEM.savepoint below the home.")
    ] = None,
    saved: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Put this one back; no worker may run.")
    ] = None,
) -> None:
    """Keep the workers' state in a file, or put it back. Events answered since are not answered twice."""
    from headrace import console
    from headrace.serving.stream import savepoint
    from headrace.sources.broker import Broker

    if out is not None and saved is not None:
        raise UsageError("a savepoint is taken or put back, not both", where="--out, --from")
    system, home = use.system(name), use.open()
    broker = Broker(bootstrap, home.kafka)
    if saved is not None:
        done = savepoint.restore(system, home, broker, saved)
    else:
        done = savepoint.save(system, home, broker, out or home.path / "stream" / f"{system.name}.savepoint")
    console.print_tree(done, as_json=use.json)


@command
def stream__reprocess(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    begin: Annotated[str, typer.Option("--from", metavar="OFFSET|TIME", help="Of each partition; 0 for all events.")],
    into: Annotated[str, typer.Option("--into", metavar="GROUP", help="Name of the second stream and its topics.")],
    idle: Annotated[str, typer.Option("--stop-when-idle", metavar="D", help="Stop after D without events.")] = "5s",
) -> None:
    """Answer events once more, beside the first answers. On topics and in a group of another name."""
    import signal
    import threading

    from headrace import console
    from headrace.serving.stream.reprocess import reprocess
    from headrace.serving.stream.worker import Options
    from headrace.sources.broker import Broker

    stop, now = threading.Event(), datetime.now(UTC)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    first = int(begin) if begin.isdigit() else time_of(begin, now, "--from")
    system, home = use.system(name), use.open()
    options = Options(idle=duration_of(idle, "--stop-when-idle").total_seconds())
    done = reprocess(system, home, Broker(bootstrap, home.kafka), first, into, options, stop)
    console.print_tree(done, as_json=use.json)
