"""The history of series as it was known, read onto one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import NotEnoughDataError
from headrace.features.arrays import Grid, History, history_of
from headrace.store.delta import Table

if TYPE_CHECKING:
    import polars as pl


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
    import polars as pl

    lazy = raw.scan(version=seen.version, as_of=seen.as_of).filter(pl.col(target).is_not_null())
    found = raw.collect(lazy.select(pl.col(time).max())).item()
    if not isinstance(found, datetime):
        raise NotEnoughDataError(
            f"nothing is known as of {seen.as_of.isoformat()}",
            where=raw.uri,
            hint="choose a later --as-of, or a source that reaches further back",
        )
    return found


def read_history(raw: Table, series: Series, seen: Seen, *, origin: datetime, span: timedelta) -> History:
    """Every series from `span` before `origin` up to it, for a fit.

    The grid always begins at ``origin - span`` and ends at ``origin``, whatever is known in between, so equal
    arguments give equal positions.

    Raises:
        NotEnoughDataError: No value lies in the span.
    """
    from headrace.store.facts import latest

    facts = latest(read_facts(raw, series, seen, (origin - span, origin)), [*series.keys, series.time])
    if facts.is_empty():
        raise NotEnoughDataError("no value lies in the history that is needed", where=raw.uri)
    grid = Grid(origin - span + series.step, origin, series.step)
    return history_of(facts, keys=series.keys, time=series.time, columns=series.columns, grid=grid)


def read_facts(
    raw: Table,
    series: Series,
    seen: Seen,
    between: tuple[datetime, datetime],
    only: Mapping[str, Any] | None = None,
) -> pl.DataFrame:
    """All facts, corrected ones included, with event times after the first and up to the second of `between`.

    With `only`, key columns to values, no other series is read. In no particular order.
    """
    import polars as pl

    lazy = raw.scan(version=seen.version, as_of=seen.as_of)
    chosen = [pl.col(name).eq_missing(pl.lit(value)) for name, value in (only or {}).items()]
    lazy = lazy.filter(_after(series.time, between[0]), ~_after(series.time, between[1]), *chosen)
    return raw.collect(lazy.select(*series.keys, series.time, *series.columns, "known_at", "_version"))


def _after(column: str, moment: datetime) -> pl.Expr:
    import polars as pl

    return pl.col(column) > pl.lit(moment, pl.Datetime("us", "UTC"))
