"""Tables that fit: the columns that matter most are shown whole, long texts fold, and the rest is named below."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.legible import legible

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.text import Text

SHOWN = 12
"""Rows of a table that are shown when it is longer."""
_EDGES = 3
"""What a column takes beside its text: a space on either side, and a line."""
_NARROW = 18
"""A text that folds is no narrower than this."""
_NAMED = 6
"""Columns that are named where there is no room for them; of more than two beyond that the number is said."""
_UNBOUNDED = 100_000
_LONGEST = 1000
"""So much of a text is shown in a cell."""


@dataclass(frozen=True)
class TableStyle:
    """How a table is shown.

    Args:
        title: The line above it.
        first: Columns by importance; the others follow in the order that they have.
        folding: Columns of long texts, which may take several lines.
        kept: Columns that are shown also where there is no room for them: they fold.
        pairs: Columns of which neither is shown without the other.
        more: What shows all of it, such as an option of the command.
        rows: So many are shown.
    """

    title: str
    first: Sequence[str] = ()
    folding: Sequence[str] = ("reason", "error")
    kept: Sequence[str] = ()
    pairs: Sequence[tuple[str, str]] = (("lower", "upper"),)
    more: str = "--json shows all"
    rows: int = SHOWN


def terminal() -> Console:
    """Stdout as people see it: as wide as the terminal, or as COLUMNS says; what goes into a pipe breaks no line.

    What is printed is text and nothing else: no markup is read in it, and no sign of it moves the cursor.
    """
    from rich.console import Console

    wide = None if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit() else _UNBOUNDED

    class Terminal(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the command ends as with any other output; by itself rich exits with status 1

        def render_str(self, text: str, **how: Any) -> Text:
            return super().render_str("\n".join(map(legible, text.split("\n"))), **how)

    return Terminal(width=wide, highlight=False, markup=False)


def print_table(frame: pl.DataFrame, look: TableStyle) -> None:
    """The first rows of a frame, with as many of its columns as there is room for."""
    from rich.table import Table

    console, head = terminal(), frame.head(look.rows)
    cells = {name: [cell(value) for value in head[name].to_list()] for name in head.columns}
    widths = chosen(cells, look, console.width)
    table = Table(title=look.title, title_justify="left", title_style="bold")
    for name, width in widths.items():
        numeric = head.schema[name].is_numeric()
        table.add_column(
            name,
            justify="right" if numeric else "left",
            width=width,
            overflow="fold",
            no_wrap=width is None,
        )
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    console.print(table)
    _note(frame, widths, look, console)


def _note(
    frame: pl.DataFrame, shown: Sequence[str] | dict[str, int | None], look: TableStyle, console: Console
) -> None:
    """What is not shown, and how to see it."""
    more, left = frame.height - look.rows, [name for name in frame.columns if name not in shown]
    notes = [f"{more:,} more rows"] if more > 0 else []
    if left:
        named = left if len(left) <= _NAMED + 2 else [*left[:_NAMED], f"{len(left) - _NAMED} more columns"]
        notes.append(f"without {', '.join(named)}")
    if notes:
        console.print(f"{'; '.join(notes)}: {look.more}", style="dim")


def chosen(cells: dict[str, list[str]], look: TableStyle, room: int) -> dict[str, int | None]:
    """Which columns a table of this width has, in the frame's order; with a width where they fold.

    Columns are taken by importance as long as they fit; one that does not fit makes way for a less important one that
    does. A text that folds takes what is left in the end.
    """
    order = [name for name in look.first if name in cells]
    order += [name for name in cells if name not in order]
    widths = {name: max(map(len, (name, *cells[name]))) for name in cells}
    left, taken = room - 1, dict[str, int | None]()
    for name in order:
        names = next((pair for pair in look.pairs if name in pair and set(pair) <= set(cells)), (name,))
        narrow = {
            column: min(widths[column], _NARROW) if column in look.folding else widths[column] for column in names
        }
        needed = sum(narrow.values()) + _EDGES * len(names)
        if name in taken:
            continue
        if needed <= left:
            taken |= {column: width if width < widths[column] else None for column, width in narrow.items()}
            left -= needed
        elif name in look.kept:
            folded = max(min(left - _EDGES, narrow[name]), 6)
            left, taken[name] = max(left - folded - _EDGES, 0), folded
    for name, width in taken.items():
        if width is not None and name in look.folding:
            wider = min(widths[name], width + left)
            left, taken[name] = left - (wider - width), wider
    return {name: taken[name] for name in cells if name in taken}


def counted(count: int, noun: str) -> str:
    """A count with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M") if not value.second else value.strftime("%Y-%m-%d %H:%M:%S")
    return legible(str(value), _LONGEST)
