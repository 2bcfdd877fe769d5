"""The facts about series as they were known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import NotEnoughDataError
from headrace.store.delta import Table

if TYPE_CHECKING:
    import polars as pl

PART = 500_000
"""Facts that are read at once: 32 MB with two short keys and one column."""
FIRST_STEPS = 24
"""Steps of the first part, which tells how many facts a step has."""


@dataclass(frozen=True)
class Series:
    """How a system's raw table holds series.

    Attributes:
        keys: Columns that tell one series from another.
        time: Column of the event time.
        step: Regular time between two values.
        columns: Numeric columns that have a history; the target is among them.
        ahead: Those of them whose values may lie after the origin, because they are known ahead.
    """

    keys: tuple[str, ...]
    time: str
    step: timedelta
    columns: tuple[str, ...]
    ahead: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """What a reader may see: what was known at `as_of` (UTC) and had reached the table by logical `version`."""

    as_of: datetime
    version: int


def newest(raw: Table, time: str, target: str, seen: Seen) -> datetime:
    """The event time of the newest known value of `target`: the forecast origin.

    Raises:
        NotEnoughDataError: Nothing is known.
    """
    return newest_of(raw, time, target, seen)[0]


def newest_of(raw: Table, time: str, target: str, seen: Seen) -> tuple[datetime, int]:
    """As `newest`, and how many facts are known in all."""
    import polars as pl

    of_target = pl.col(time).filter(pl.col(target).is_not_null())
    lazy = raw.scan(version=seen.version, as_of=seen.as_of).select(of_target.max().alias("newest"), pl.len())
    found, facts = raw.collect(lazy).row(0)
    if not isinstance(found, datetime):
        raise NotEnoughDataError(
            f"nothing is known as of {seen.as_of.isoformat()}",
            where=raw.uri,
            hint="choose a later --as-of, or a source that reaches further back",
        )
    return found, facts


def read_facts(
    raw: Table,
    series: Series,
    seen: Seen,
    between: tuple[datetime, datetime],
    only: Mapping[str, Any] | None = None,
    at_most: int | None = None,
) -> Iterator[pl.DataFrame]:
    """All facts, corrected ones included, with event times after the first and up to the second of `between`.

    At once where no more than `at_most` are known and that is little enough, else in parts of about `PART` rows, the
    newest first, so that memory does not grow with the number of facts; those about one time come in one part, in no
    particular order. With `only`, key columns to values, no other series is read.
    """
    import polars as pl

    chosen = [pl.col(name).eq_missing(pl.lit(value)) for name, value in (only or {}).items()]
    lazy = raw.scan(version=seen.version, as_of=seen.as_of).filter(*chosen)
    lazy = lazy.select(*series.keys, series.time, *series.columns, "known_at", "_version")
    (start, end), steps = between, FIRST_STEPS
    if at_most is not None and at_most <= PART:
        steps = (end - start) // series.step + 1
    while end > start:
        begin = max(end - series.step * steps, start)
        part = raw.collect(lazy.filter(_after(series.time, begin), ~_after(series.time, end)))
        yield part
        end, steps = begin, max(min(steps * PART // max(part.height, 1), steps * 64), 1)


def _after(column: str, moment: datetime) -> pl.Expr:
    import polars as pl

    return pl.col(column) > pl.lit(moment, pl.Datetime("us", "UTC"))
