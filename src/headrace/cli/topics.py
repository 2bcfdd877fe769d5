"""Commands about what is on the stream's topics, and the topics themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.api.times import time_of
from headrace.cli.command import Common, Name, command
from headrace.cli.doors import Bootstrap, Shadow
from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.serving.stream.dead_letters import Choice, Mended
    from headrace.sources.broker import Broker
    from headrace.sources.topics import Topics


@dataclass(frozen=True)
class Chosen:
    """Which dead letters."""

    late: Annotated[bool, typer.Option("--late", help="Events that came too late, not bad ones.")] = False
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only with this in the reason.")] = None
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="None set apart earlier.")] = None
    before: Annotated[str | None, typer.Option("--before", metavar="TIME", help="None set apart then or later.")] = None

    def choice(self, places: Iterable[tuple[int, int]] | None = None) -> Choice:
        """The same for the stream; with `places`, only those at these partitions and offsets."""
        from headrace.serving.stream.dead_letters import Choice

        now = datetime.now(UTC)
        since = time_of(self.since, now, "--since") if self.since else None
        before = time_of(self.before, now, "--before") if self.before else None
        return Choice(self.reason, since, before, None if places is None else frozenset(places))


Settled = Annotated[bool, typer.Option("--all", help="Also those that were settled.")]


Limit = Annotated[int, typer.Option("--limit", metavar="N", min=0, help="List so many at most.")]


@command
def dead_letters(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    chosen: Chosen,
    everything: Settled = False,
    limit: Limit = 100,
    resend: Annotated[bool, typer.Option("--resend", help="Send them again, each once.")] = False,
) -> None:
    """List events set apart, or send them again.

    One of them: headrace dead-letters show. Sent again, also edited: dead-letters resend. Let go: dead-letters expire.
    """
    if not resend:
        _list(use, name, bootstrap, chosen, everything, limit)
    elif everything:
        raise UsageError("what was settled stays settled", where="--all")
    else:
        _settle(use, name, bootstrap, chosen)


@command
def dead_letters__list(
    use: Common, name: Name, bootstrap: Bootstrap, chosen: Chosen, everything: Settled = False, limit: Limit = 100
) -> None:
    """List events that a stream set apart. By reason, and one by one."""
    _list(use, name, bootstrap, chosen, everything, limit)


@command
def dead_letters__show(
    use: Common,
    name: Name,
    place: Annotated[str, typer.Argument(metavar="PARTITION-OFFSET", help="As the list has it, such as 0-17.")],
    bootstrap: Bootstrap,
    late: Annotated[bool, typer.Option("--late", help="An event that came too late, not a bad one.")] = False,
) -> None:
    """Show one event set apart, whole. Its bytes as text, its headers, and whether it was settled."""
    from headrace import console
    from headrace.serving.stream import dead_letters as apart

    broker, topics = _topics(use, name, bootstrap)
    console.print_tree(apart.one(broker, topics, _placed(place), late=late), as_json=use.json)


@command
def dead_letters__resend(
    use: Common,
    name: Name,
    bootstrap: Bootstrap,
    chosen: Chosen,
    edit: Annotated[
        list[str] | None, typer.Option("--edit", metavar="COL=VALUE", help="Send them with this value; repeatable.")
    ] = None,
    edited: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Send those of the file, with its bodies.")
    ] = None,
) -> None:
    """Send events set apart again, each once. As they came, or edited."""
    from headrace.serving.stream.dead_letters import Mended

    bodies = Mended.read(_there(edited)).bodies if edited is not None else None
    change = Mended(dict(map(_assigned, edit or [])), bodies or {})
    _settle(use, name, bootstrap, chosen, change, bodies)


@command
def dead_letters__expire(use: Common, name: Name, bootstrap: Bootstrap, chosen: Chosen) -> None:
    """Let go of events that a stream set apart. They are not listed any more."""
    _settle(use, name, bootstrap, chosen, expire=True)


@command
def stream__topics(
    use: Common,
    name: Name,
    bootstrap: Annotated[str | None, typer.Option("--bootstrap", metavar="H:P", help="Look at those there.")] = None,
    commands: Annotated[bool, typer.Option("--commands", help="As commands of kafka-topics.sh.")] = False,
    shadow: Shadow = None,
) -> None:
    """List a stream's topics, as they should be. With the cluster's, and what is unwise about them."""
    import polars as pl

    from headrace import console
    from headrace.console.table import TableStyle, print_table
    from headrace.sources.broker import Broker
    from headrace.sources.inspection import inspect

    topics = use.system(name).topics.of_shadow(shadow)
    broker = Broker(bootstrap, use.open(make=False).kafka) if bootstrap else None
    partitions = broker.partitions() if broker is not None else {}
    declared = topics.wanted(partitions.get(topics.events, topics.partitions))
    if commands:
        missing = [topic for topic in declared if topic.name not in partitions]
        sys.stdout.writelines(f"{topic.command(bootstrap or 'HOST:PORT')}\n" for topic in missing)
        return
    findings = [vars(finding) for finding in inspect(broker, topics)] if broker is not None else []
    rows = [topic.as_dict() for topic in declared]
    if broker is not None:
        rows = [{**row, "there": partitions.get(row["name"], 0)} for row in rows]
    if use.json:
        console.print_json({"topics": rows, "group": topics.group, "findings": findings})
        return
    shown = [
        {**row, "config": " ".join(f"{k}={v}" for k, v in row["config"].items()), "kind": row["kind"]} for row in rows
    ]
    title = f"{topics.stream}: topics; group {topics.group}"
    look = TableStyle(
        title, ("name", "partitions", "config"), folding=("config",), kept=("name", "partitions", "config")
    )
    print_table(pl.DataFrame(shown, infer_schema_length=None), look)
    for finding in findings:
        sys.stdout.write(f"warning: {finding['topic']} {finding['said']}\n  hint: {finding['hint']}\n")


@command
def stream__schema(use: Common, name: Name) -> None:
    """Print the schema of a stream's answers."""
    from headrace.serving.messages.written import schema_of

    sys.stdout.write(schema_of(use.system(name)) + "\n")


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


def _topics(use: Common, name: str, bootstrap: str) -> tuple[Broker, Topics]:
    from headrace.sources.broker import Broker

    return Broker(bootstrap, use.open().kafka), use.system(name).topics


def _placed(text: str) -> tuple[int, int]:
    partition, hyphen, offset = text.partition("-")
    if not (hyphen and partition.isdigit() and offset.isdigit()):
        raise UsageError(f"{text!r} is no place of a message", where="PARTITION-OFFSET", hint="write it as 0-17")
    return int(partition), int(offset)


def _settle(
    use: Common,
    name: str,
    bootstrap: str,
    chosen: Chosen,
    change: Mended | None = None,
    places: Iterable[tuple[int, int]] | None = None,
    *,
    expire: bool = False,
) -> None:
    from headrace import console
    from headrace.serving.stream import dead_letters as apart

    broker, topics = _topics(use, name, bootstrap)
    settled = apart.settle(broker, topics, chosen.choice(places), change, late=chosen.late, expire=expire)
    console.print_tree({"resent": settled.resent, "expired": settled.expired, "kept": settled.kept}, as_json=use.json)


def _list(use: Common, name: str, bootstrap: str, chosen: Chosen, hidden: bool, limit: int) -> None:
    """By reason, and one by one."""
    import polars as pl

    from headrace import console
    from headrace.console.table import TableStyle, print_table
    from headrace.serving.stream import dead_letters as apart

    broker, topics = _topics(use, name, bootstrap)
    choice = chosen.choice()
    messages = apart.dead_letters(broker, topics, late=chosen.late, everything=hidden)
    rows = [apart.described(message) for message in messages if choice.takes(message)]
    reasons = apart.kinds(rows)
    if use.json:
        console.print_json({"dead_letters": rows[:limit], "reasons": reasons, "total": len(rows)})
        return
    if not rows:
        sys.stdout.write("no dead letters\n")
        return
    look = TableStyle(f"{len(rows):,} dead letters by reason", ("count", "reason", "newest"), kept=("count", "reason"))
    print_table(pl.DataFrame(reasons), look)
    shown = [{**row, "place": f"{row['partition']}-{row['offset']}"} for row in rows[:limit]]
    frame = pl.DataFrame(shown, infer_schema_length=None).drop("partition", "offset")
    columns, folding = ("place", "key", "reason", "value"), ("reason", "value")
    print_table(frame, TableStyle("dead letters", columns, folding, ("place", "reason")))
