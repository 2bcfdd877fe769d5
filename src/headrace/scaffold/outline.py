"""The rows of a file as a look at them has them: columns with types and values, and what was seen of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from headrace.errors import UsageError
from headrace.sources import Source, open_source

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract.column import Column

_LOOKED_AT = 200_000
"""Rows."""


@dataclass(frozen=True)
class Look:
    """What to make a declaration from. What is not named is proposed, with the reason.

    Attributes:
        path: The file.
        target: The column to predict.
        time: The column of the event time, or those that make it together.
        keys: Columns that tell one series, or one row, from another.
        rows: Whether each row is predicted for itself.
        dates: All columns of times, which a model of rows does not read.
    """

    path: Path
    target: str | None = None
    time: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    rows: bool = False
    dates: tuple[str, ...] = ()


class Observation(NamedTuple):
    """One thing that was seen in a file.

    Attributes:
        what: Such as ``target`` or ``step``.
        value: What it is.
        why: How that was seen, and what to do where it is another; empty where there is nothing to say.
    """

    what: str
    value: str
    why: str = ""


@dataclass
class Outline:
    """A file that was looked at.

    Attributes:
        path: The file.
        target: The column to predict.
        keys: Columns that tell one series, or one row, from another.
        time: The column of the event time; empty for rows that have none.
        parts: The columns that make the event time together; empty where it is one.
        columns: All columns, in the file's order.
        values: Their values by name.
        notes: What to look at, by column.
        observations: What was seen.
        dates: All columns of times.
        prepare: The text of a function that makes the rows from the file's; empty where they are the file's.
    """

    path: Path
    target: str
    keys: tuple[str, ...] = ()
    time: str = ""
    parts: tuple[str, ...] = ()
    columns: list[Column] = field(default_factory=list)
    values: dict[str, pl.Series] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)
    dates: tuple[str, ...] = ()
    prepare: str = ""

    def column(self, name: str) -> Column:
        """The column of that name."""
        return next(column for column in self.columns if column.name == name)

    def say(self, what: str, value: str, why: str = "") -> None:
        """Add a finding."""
        self.observations.append(Observation(what, value, why))


def read(path: Path, source: Source | None = None) -> pl.DataFrame:
    """The first rows of a file, as the source reads them.

    Raises:
        SourceError: The file cannot be read.
        UsageError: It has no rows, or no two columns.
    """
    now = datetime.now(UTC)
    frame = open_source(source or Source(), f"file:{path}").read(as_of=now, now=now).frame.head(_LOOKED_AT)
    if not frame.height:
        raise UsageError("the file has no rows to look at", where=str(path))
    if frame.width < 2:
        hint = f"its one column is {frame.columns[0]!r}; fields are separated by a comma, semicolon, tab or bar. "
        hint += "A forecast needs a column of times beside it, and a row something to be predicted from"
        raise UsageError("the file has one column, there is nothing to predict it from", where=str(path), hint=hint)
    if _without_names(frame):
        hint = f"it is {', '.join(frame.columns[:6])}: put a line above it with a name for each column"
        raise UsageError("the first line has values where names should be", where=str(path), hint=hint)
    return frame


def _without_names(frame: pl.DataFrame) -> bool:
    """Whether every column of numbers has a number for its name; names that count up, such as years, are names."""
    import polars as pl

    some = frame.head(100).select(pl.all().cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False))
    numeric = [name for name in frame.columns if not some[name].null_count()]
    named = pl.Series(numeric).cast(pl.Float64, strict=False)
    return (
        bool(numeric) and not named.null_count() and not (len(numeric) > 1 and (named.diff().drop_nulls() == 1).all())
    )


def check_names(look: Look, frame: pl.DataFrame) -> None:
    """Refuse a name that the file does not have, with those that it has.

    Raises:
        UsageError: There is no such column.
    """
    named = [("--target", look.target), *(("--time", part) for part in look.time), *(("--keys", k) for k in look.keys)]
    for option, column in named:
        if column is not None and column not in frame.columns:
            hint = f"the file has {', '.join(frame.columns[:30])}"
            raise UsageError(f"there is no column {column!r}", where=option, hint=hint)
