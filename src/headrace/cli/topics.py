"""Commands about what is on the stream's topics, and the topics themselves."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.cli.command import Common, Name, command, time_of
from headrace.cli.doors import Bootstrap
from headrace.errors import UsageError

HEADING = "Serve and stream"


@dataclass(frozen=True)
class Chosen:
    """Which letters."""

    late: Annotated[bool, typer.Option("--late", help="Events that came too late, not bad ones.")] = False
    everything: Annotated[bool, typer.Option("--all", help="Also those that were settled.")] = False
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only with this in the reason.")] = None
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="None set apart earlier.")] = None
    before: Annotated[str | None, typer.Option("--before", metavar="TIME", help="None set apart then or later.")] = None


@dataclass(frozen=True)
class Done:
    """What becomes of them."""

    resend: Annotated[bool, typer.Option("--resend", help="Send them again, each once.")] = False
    edit: Annotated[
        list[str] | None, typer.Option("--edit", metavar="COL=VALUE", help="Send them with this value; repeatable.")
    ] = None
    mended: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Send those of the file, with its bodies.")
    ] = None
    expire: Annotated[bool, typer.Option("--expire", help="Let them go: they are not listed any more.")] = False

    @property
    def sends(self) -> bool:
        """Whether they are sent again."""
        return self.resend or bool(self.edit) or self.mended is not None


@command
def dead_letters(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    chosen: Chosen,
    then: Done,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="List so many at most.")] = 100,
) -> None:
    """List events set apart, send them again, or let them go. With the reasons of the stream."""
    from headrace.serving.stream import letters as apart
    from headrace.sources.broker import Broker

    if then.sends and then.expire:
        raise UsageError("letters are sent again or let go, not both", where="--expire")
    if (then.sends or then.expire) and chosen.everything:
        raise UsageError("what was settled stays settled", where="--all")
    now = datetime.now(UTC)
    begin = time_of(chosen.since, now, "--since") if chosen.since else None
    end = time_of(chosen.before, now, "--before") if chosen.before else None
    bodies = apart.Mended.read(_there(then.mended)).bodies if then.mended is not None else {}
    places = frozenset(bodies) if then.mended is not None else None
    choice = apart.Choice(chosen.reason, begin, end, places)
    broker, topics = Broker(bootstrap, use.open().kafka), use.system(name).topics
    if then.sends or then.expire:
        change = apart.Mended(dict(map(_assigned, then.edit or [])), bodies)
        done = apart.settle(broker, topics, choice, change, late=chosen.late, expire=then.expire)
        _print_settled(done, as_json=use.json)
        return
    waiting = apart.letters(broker, topics, late=chosen.late, everything=chosen.everything)
    _print_letters([apart.described(each) for each in waiting if choice.takes(each)], limit, as_json=use.json)


@command
def stream__topics(
    use: Common,
    name: Name,
    bootstrap: Annotated[str | None, typer.Option("--bootstrap", metavar="H:P", help="Look at those there.")] = None,
    commands: Annotated[bool, typer.Option("--commands", help="As commands of kafka-topics.sh.")] = False,
) -> None:
    """List a stream's topics, as they are to be made. With the cluster's, and what is unwise about them."""
    import polars as pl

    from headrace import console
    from headrace.console.table import Look, print_table
    from headrace.sources.broker import Broker
    from headrace.sources.inspection import inspect

    of = use.system(name).topics
    broker = Broker(bootstrap, use.open(make=False).kafka) if bootstrap else None
    there = broker.partitions() if broker is not None else {}
    wanted = of.wanted(there.get(of.events, of.partitions))
    if commands:
        missing = [each for each in wanted if each.name not in there]
        sys.stdout.writelines(f"{each.command(bootstrap or 'HOST:PORT')}\n" for each in missing)
        return
    findings = [vars(each) for each in inspect(broker, of)] if broker is not None else []
    rows = [each.as_dict() for each in wanted]
    if broker is not None:
        rows = [{**row, "there": there.get(row["name"], 0)} for row in rows]
    if use.json:
        console.print_json({"topics": rows, "group": of.group, "findings": findings})
        return
    shown = [
        {**row, "config": " ".join(f"{k}={v}" for k, v in row["config"].items()), "kind": row["kind"]} for row in rows
    ]
    title = f"{of.system}: topics; group {of.group}"
    look = Look(title, ("name", "partitions", "config"), folding=("config",), kept=("name", "partitions", "config"))
    print_table(pl.DataFrame(shown, infer_schema_length=None), look)
    for each in findings:
        sys.stdout.write(f"warning: {each['topic']} {each['said']}\n  hint: {each['hint']}\n")


def _there(path: Path) -> Path:
    if not path.is_file():
        raise UsageError("there is no such file", where=str(path))
    return path


def _assigned(text: str) -> tuple[str, Any]:
    """A column and its value: JSON where it is that, otherwise a text."""
    column, equals, value = text.partition("=")
    if not equals or not column:
        raise UsageError(f"{text!r} sets nothing", where="--edit", hint="write it as COL=VALUE")
    try:
        return column, json.loads(value)
    except ValueError:
        return column, value


def _print_settled(done: Any, *, as_json: bool) -> None:
    from headrace import console

    console.print_tree({"resent": done.resent, "expired": done.expired, "kept": done.kept}, as_json=as_json)


def _print_letters(found: list[dict[str, Any]], limit: int, *, as_json: bool) -> None:
    """By reason, and one by one."""
    import polars as pl

    from headrace import console
    from headrace.console.table import Look, print_table
    from headrace.serving.stream.letters import kinds

    by_reason = kinds(found)
    if as_json:
        console.print_json({"letters": found[:limit], "reasons": by_reason, "total": len(found)})
        return
    if not found:
        sys.stdout.write("no letters\n")
        return
    look = Look(f"{len(found):,} letters by reason", ("letters", "reason", "newest"), kept=("letters", "reason"))
    print_table(pl.DataFrame(by_reason), look)
    rows = [{**each, "place": f"{each['partition']}-{each['offset']}"} for each in found[:limit]]
    frame = pl.DataFrame(rows, infer_schema_length=None).drop("partition", "offset")
    print_table(frame, Look("letters", ("place", "key", "reason", "value"), ("reason", "value"), ("place", "reason")))
