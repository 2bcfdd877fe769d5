"""Commands about rows that broke the contract: show them, and release them after what was wrong is mended."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.cli.command import AsOf, Common, Name, Simulated, command
from headrace.cli.reading import Format, Limit, Out, print_written

if TYPE_CHECKING:
    from headrace.pipelines.apart import QuarantinedRows


@dataclass(frozen=True)
class RowSelection:
    """Which rows."""

    reason: Annotated[
        list[str] | None, typer.Option("--reason", metavar="TEXT", help="With this in a reason; repeatable.")
    ] = None
    column: Annotated[
        list[str] | None, typer.Option("--column", metavar="COL", help="With this column at fault; repeatable.")
    ] = None
    ids: Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This row; repeatable.")] = None
    origin: Annotated[str | None, typer.Option("--from", metavar="TEXT", help="With this in the source.")] = None

    @property
    def arguments(self) -> dict[str, Any]:
        """As Python has them."""
        chosen = {"reason": self.reason or (), "column": self.column or (), "ids": self.ids or ()}
        return {**chosen, "source": self.origin}


@command
def quarantine(
    use: Common,
    name: Name,
    form: Format = None,
    limit: Limit = None,
    out: Out = None,
) -> None:
    """Show rows that broke the contract, and why."""
    from headrace import console
    from headrace.console.table import SHOWN, TableStyle, counted

    chosen, system = console.format_of(form, out, as_json=use.json), use.bound(name)
    frame = system.quarantine if limit is None else system.quarantine.head(limit)
    if chosen == "csv":  # which has no lists
        frame = frame.with_columns(frame["reasons"].list.join("; "))
    first = ("reasons", "row", "time", "source", "id")
    if chosen == "table" and out is None and frame.is_empty():
        sys.stdout.write(f"{system.name}: no row is in quarantine\n")
        return
    title = f"{system.name}: {counted(frame.height, 'row')} in quarantine, newest first"
    look = TableStyle(title, first, ("reasons", "row"), kept=("reasons", "row"), rows=limit or SHOWN)
    console.print_frame(frame, look, form=chosen, out=out)
    print_written(use, frame, chosen, out)


@command
def quarantine__list(
    use: Common,
    name: Name,
    chosen: RowSelection,
    released: Annotated[bool, typer.Option("--released", help="Also rows that were released since.")] = False,
    limit: Limit = None,
) -> None:
    """Count rows that broke the contract. By reason and column, with the newest rows."""
    from headrace import console

    apart = use.bound(name).apart(**chosen.arguments, released=released)
    if use.json:
        console.print_json(apart.as_dict(limit))
    else:
        _print_apart(apart, limit)


@command
def validation(
    use: Common,
    name: Name,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Of this run; else the last ingest.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="So many ingests of the history.")] = 10,
) -> None:
    """Show what the contract said of an ingest. Rule by rule, and of the ingests before it."""
    from headrace import console

    system = use.bound(name)
    report, past = system.validation(run), system.validations(limit)
    if use.json:
        console.print_json({**report, "history": past.to_dicts()})
    else:
        console.print_validation(system.name, report, past)


def _print_apart(apart: QuarantinedRows, limit: int | None) -> None:
    import polars as pl

    from headrace import console
    from headrace.console.table import SHOWN, TableStyle, counted

    if apart.rows.is_empty():
        sys.stdout.write(f"{apart.system}: no such row is in quarantine\n")
        return
    since = f", {counted(apart.released, 'row')} released" if apart.released else ""
    title = f"{apart.system}: {counted(apart.apart, 'row')} in quarantine{since}; by reason"
    counts = apart.counts if apart.released else apart.counts.drop("released")
    console.print_frame(
        counts, TableStyle(title, ("reason", "column", "rows"), kept=("reason",)), form="table", out=None
    )
    rows = apart.rows.drop("data_version", "decided_at")
    rows = (rows if apart.released else rows.drop("state")).with_columns(pl.col("reasons").list.join("; "))
    first = ("reasons", "row", "state", "place", "time", "source", "id")
    look = TableStyle("The rows, newest first", first, ("reasons", "row"), kept=("reasons", "row"), rows=limit or SHOWN)
    console.print_frame(rows, look, form="table", out=None)


@command
def quarantine__release(
    use: Common, name: Name, chosen: RowSelection, as_of: AsOf = None, simulated: Simulated = False
) -> None:
    """Check rows in quarantine once more. Good ones become facts, known from now on."""
    from headrace import console

    release = use.bound(name).release(**chosen.arguments, as_of=as_of, simulated=simulated)
    if use.json:
        console.print_json(release.as_dict())
        return
    outcomes = {
        "released": "facts now, known from now on",
        "repeated": "said nothing new; released",
        "superseded": "another row of the same keys and time came since; apart",
        "pending": "not known yet; apart",
        "kept": "still break the contract; apart",
    }
    _print_counts(f"{release.system}: {release.read:,} looked at", release.as_dict(), outcomes)
    for reason, count in release.reasons.items():
        sys.stdout.write(f"{count:>12,}  {reason}\n")


def _print_counts(title: str, counts: Mapping[str, Any], outcomes: Mapping[str, str]) -> None:
    sys.stdout.write(f"{title}\n")
    for name, what in outcomes.items():
        if counts[name]:
            sys.stdout.write(f"{counts[name]:>9,} {name}: {what}\n")
