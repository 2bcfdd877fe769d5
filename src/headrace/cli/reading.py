"""Commands that show what is stored."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.cli.command import AsOf, Common, Name, command
from headrace.errors import NotExportedError, NotFoundError, UsageError
from headrace.lineage import is_id

if TYPE_CHECKING:
    import polars as pl

    from headrace.api.bound import BoundSystem
    from headrace.console.table import TableStyle
    from headrace.system import System

Format = Annotated[
    str | None, typer.Option("--format", metavar="F", help="table, json, csv or parquet; else by --out.")
]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="So many of the newest.")]


@command
def report(
    use: Common,
    name: Name,
    as_of: AsOf = None,
    out: Out = None,
) -> None:
    """Write a page about errors and forecasts. With the coverage of intervals."""
    from headrace import console

    path, summary = use.bound(name).written_report(as_of=as_of, out=out)
    shown = summary if use.json else {name: value for name, value in summary.items() if value is not None}
    console.print_report({"report": str(path), **shown}, as_json=use.json)


@dataclass(frozen=True)
class Selection:
    """Which predictions, and what beside them."""

    where: Annotated[list[str] | None, typer.Option("--where", metavar="COL=VALUE", help="Only these; repeatable.")] = (
        None
    )
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="As it stood then.")] = None
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="answered, canary or shadow.")] = None
    limit: Limit = None
    with_actual: Annotated[bool, typer.Option("--with-actual", help="Add the truth, where it is known.")] = False

    @property
    def conditions(self) -> dict[str, str]:
        """Columns to values."""
        values = dict[str, str]()
        for text in self.where or []:
            column, equals, value = text.partition("=")
            if not equals:
                raise UsageError(f"{text!r} is not COL=VALUE", where="--where")
            if column in values:
                raise UsageError(f"{column} is there twice", where="--where", hint="a row has one value of it")
            values[column] = value
        return values


@command
def predictions(use: Common, name: Name, asked: Selection, form: Format = None, out: Out = None) -> None:
    """Read stored predictions.

    The truth beside them is that known by --as-of, or now. What was only watched is --role shadow.
    """
    from headrace import console
    from headrace.tasks import task_of

    chosen, where = console.format_of(form, out, as_json=use.json), asked.conditions
    bound = use.bound(name)
    frame = bound.predictions(
        where=where, as_of=asked.as_of, role=asked.role, limit=asked.limit, with_actual=asked.with_actual
    )
    if chosen == "table":
        frame = frame.sort(task_of(bound.declaration).newest_by, descending=True, maintain_order=True)
    console.print_frame(frame, _look(bound.declaration, frame, asked.limit), form=chosen, out=out)
    if chosen == "table" and frame.height:
        console.print_next(f"headrace trace {frame['id'][0]}", use.workspace.reading)
    print_written(use, frame, chosen, out)


def print_written(use: Common, frame: pl.DataFrame, form: str, out: Path | None) -> None:
    """How many rows went into a file, where they did."""
    from headrace import console
    from headrace.console.table import counted

    if use.json and out is not None:
        console.print_json({"rows": frame.height, "format": form, "out": str(out)})
    elif out is not None:
        sys.stdout.write(f"{counted(frame.height, 'row')} in {out}\n")


def _look(system: System, frame: pl.DataFrame, limit: int | None) -> TableStyle:
    from headrace.console.table import SHOWN, TableStyle, counted
    from headrace.tasks import task_of

    columns = task_of(system).columns
    first, title = (*system.keys, *columns), f"{system.name}: {counted(frame.height, 'prediction')}, newest first"
    first = (*first, "actual") if "actual" in frame.columns else first
    more = (*first, "id", "as_of", "served", "model_version", "ahead", "door")
    return TableStyle(
        title,
        more,
        ("inputs",),
        kept=(*system.keys, *columns[:2]),
        more="--format csv or json shows all",
        rows=limit or SHOWN,
    )


@command
def trace(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Show the chain behind a prediction."""
    from headrace import console

    row = use.workspace.trace(prediction)
    if not use.json:
        del row["prediction"]["id"]  # it is the first line
    console.print_tree(row, as_json=use.json)


@command
def replay(use: Common, prediction: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Compute a prediction again from its pins. The number must be identical; a posted event is exported first."""
    from headrace import console

    try:
        replayed = use.workspace.replay(prediction)
    except NotExportedError as error:
        replayed = _exporter(use, prediction, error).replay(prediction)
    console.print_tree(replayed, as_json=use.json)
    if not replayed["identical"]:
        raise typer.Exit(1)


def _exporter(use: Common, prediction: str, needed: NotExportedError) -> BoundSystem:
    """The system that answered it, if its declaration is at hand."""
    from headrace.pipelines.predictions import find

    try:
        return use.bound(find(use.workspace.reading, prediction)[0])
    except NotFoundError:
        raise needed from None


@dataclass(frozen=True)
class Explained:
    """Which predictions are explained, and how much of each is shown."""

    data: Annotated[str | None, typer.Option("--data", metavar="FILE", help="Rows that are not stored.")] = None
    where: Annotated[list[str] | None, typer.Option("--where", metavar="COL=VALUE", help="Only these; repeatable.")] = (
        None
    )
    as_of: Annotated[str | None, typer.Option("--as-of", metavar="TIME", help="As they stood then.")] = None
    limit: Limit = None
    label: Annotated[str | None, typer.Option("--class", metavar="VALUE", help="Explain this class.")] = None
    words: Annotated[bool, typer.Option("--words", help="Words of free texts by themselves.")] = False
    top: Annotated[int | None, typer.Option("--top", metavar="N", min=1, help="So many features; others as one.")] = (
        None
    )


@command
def explain(
    use: Common,
    what: Annotated[str, typer.Argument(metavar="SYSTEM_OR_ID", help="The id of a prediction, or a system.")],
    chosen: Explained,
) -> None:
    """Say why a prediction has its value. Of a system the newest predictions, or the rows of --data."""
    from headrace import console

    selection = Selection(chosen.where, chosen.as_of, None, chosen.limit)
    if is_id(what):
        if chosen.data is not None or selection != Selection():
            raise UsageError("an id names one prediction", where=what, hint="leave the other options out")
        items = [use.workspace.explain(what, label=chosen.label, words=chosen.words)]
    else:
        items = use.bound(what).explain(
            data=chosen.data,
            where=selection.conditions,
            as_of=chosen.as_of,
            limit=chosen.limit,
            label=chosen.label,
            words=chosen.words,
        )
    console.print_explanations(items, top=chosen.top, as_json=use.json, single=is_id(what))


@command
def runs(
    use: Common,
    name: Name,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many at most.")] = 20,
) -> None:
    """List the last runs, newest first. The failed ones are among them."""
    from headrace import console

    system, home = use.bound(name), use.workspace.reading
    console.print_runs(system.name, home, system.newest_runs(limit, failed=failed), as_json=use.json)


@command
def lookup(
    use: Common,
    name: Annotated[str, typer.Argument(metavar="SYSTEM", help="Whose features; as the store knows it.")],
    view: Annotated[str, typer.Argument(metavar="VIEW", help="A feature view, or a group.")],
    key: Annotated[list[str] | None, typer.Argument(metavar="KEY", help="A value for each of its keys.")] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=0, help="The last N observations.")] = 0,
    as_of: AsOf = None,
) -> None:
    """Look stored features up by key. The latest known values, or the last observations."""
    from headrace import console

    answers = use.workspace.lookup(name, view, key or (), last=last, as_of=as_of)
    rows = [{"time": answer.time, "known_at": answer.known_at, "values": dict(answer)} for answer in answers]
    console.print_tree({"system": name, "view": view, "key": key or [], "found": rows}, as_json=use.json)
