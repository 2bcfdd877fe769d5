"""The facts about series as they were known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from headrace.contract.aggregation import Aggregate, waits
from headrace.errors import NotEnoughDataError
from headrace.grid import Grid
from headrace.store.delta import Table

if TYPE_CHECKING:
    import polars as pl

    from headrace.store.steps import Outside

PART = 500_000
"""Facts that are read at once: 32 MB with two short keys and one column."""
FIRST_STEPS = 24
"""Steps of the first part, which tells how many facts a step has."""
_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class SeriesLayout:
    """How a system's raw table holds series.

    Attributes:
        keys: Columns that tell one series from another.
        time: Column of the event time.
        grid: When the steps of its values begin.
        columns: Numeric columns that have a history; the target is among them.
        ahead: Those of them whose values may lie after the origin, because they are known in advance.
        aggregates: How each of the columns is aggregated, where the table holds events; empty where it holds steps.
        lag: How long after a step is over its last event may become known.
    """

    keys: tuple[str, ...]
    time: str
    grid: Grid
    columns: tuple[str, ...]
    ahead: tuple[str, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    lag: timedelta = timedelta()

    @property
    def table(self) -> str:
        """Name of the table that holds them."""
        return "events" if self.aggregates else "raw"

    @property
    def waits(self) -> bool:
        """Whether the value of a step counts only once the step is over."""
        return waits(self.aggregates)

    def newest_over(self, as_of: datetime) -> datetime:
        """The beginning of the newest step that is over as of a time."""
        return self.grid.time(self.grid.slot(as_of - self.lag) - 1)

    def floor(self, moment: datetime) -> datetime:
        """The beginning of the step that a time falls into."""
        return self.grid.time(self.grid.slot(moment))

    def steps(self, span: timedelta) -> int:
        """How many steps a nominal length of time reaches, the last one perhaps in part."""
        return -(-span // self.grid.step)


@dataclass(frozen=True)
class KnownAsOf:
    """What a reader may see: what was known at `as_of` (UTC) and had reached the table by logical `version`."""

    as_of: datetime
    version: int


class NewestKnown(NamedTuple):
    """The newest of what is known.

    Attributes:
        origin: The forecast origin: the step of the newest value, or the newest step that is over where values wait.
        last: The step of the newest value.
        facts: How many facts are known in all.
    """

    origin: datetime
    last: datetime
    facts: int


def newest(raw: Table, series: SeriesLayout, seen: KnownAsOf) -> NewestKnown:
    """The newest known value of the target, which is the first of the columns.

    Raises:
        NotEnoughDataError: Nothing is known, or no step is over.
    """
    import polars as pl

    of_target = pl.col(series.time).filter(pl.col(series.columns[0]).is_not_null())
    lazy = raw.scan(version=seen.version, as_of=seen.as_of)
    first, last, facts = raw.collect(lazy.select(of_target.min().alias("first"), of_target.max(), pl.len())).row(0)
    hint = "choose a later --as-of, or a source that reaches further back"
    if not isinstance(last, datetime):
        raise NotEnoughDataError(f"nothing is known as of {seen.as_of.isoformat()}", where=raw.uri, hint=hint)
    last = series.floor(last) if series.aggregates else last
    if not series.waits:
        return NewestKnown(last, last, facts)
    origin = min(last, series.newest_over(seen.as_of))
    if origin < series.floor(first):
        raise NotEnoughDataError(f"no step is over as of {seen.as_of.isoformat()}", where=raw.uri, hint=hint)
    return NewestKnown(origin, last, facts)


def first_seen(raw: Table, series: SeriesLayout, version: int) -> datetime | None:
    """The first time as of which there is a forecast origin; None where there never is."""
    import polars as pl

    known = pl.col(series.columns[0]).is_not_null()
    lazy = raw.scan(version=version, where=known)
    newest: datetime | None
    if not series.waits:
        newest = raw.collect(lazy.select(pl.col("known_at").min())).item()
        return newest
    events = raw.collect(lazy.group_by(series.time).agg(pl.col("known_at").min()))
    over = series.grid.ends(events[series.time]) + series.lag
    newest = events.select(pl.max_horizontal("known_at", over.alias(":over")).min()).item()
    return newest


def read_facts(
    raw: Table,
    series: SeriesLayout,
    seen: KnownAsOf,
    between: tuple[int, int],
    only: Mapping[str, Any] | None = None,
    at_most: int | None = None,
) -> Iterator[pl.DataFrame]:
    """All facts, corrected ones included, of the steps after the first and up to the second of `between`.

    At once where no more than `at_most` are known and that is little enough, else in parts of about `PART` rows, the
    newest first, so that memory does not grow with the number of facts; those about one time come in one part, in no
    particular order. With `only`, key columns to values, no other series is read.
    """
    import polars as pl

    chosen = [pl.col(name).eq_missing(pl.lit(value)) for name, value in (only or {}).items()]
    if series.aggregates:
        first, last = map(series.grid.time, between)
        yield read_steps(raw, series, seen, (first, last)).filter(*chosen)
        return
    lazy = raw.scan(version=seen.version, as_of=seen.as_of).filter(*chosen)
    lazy = with_columns(lazy, series)
    (start, end), steps = between, FIRST_STEPS
    if at_most is not None and at_most <= PART:
        steps = end - start + 1
    while end > start:
        begin = max(end - steps, start)
        after, end_time = (_after(series.time, series.grid.time(slot)) for slot in (begin, end))
        part = raw.collect(lazy.filter(after, ~end_time))
        yield part
        end, steps = begin, max(min(steps * PART // max(part.height, 1), steps * 64), 1)


def read_truth(
    raw: Table,
    series: SeriesLayout,
    seen: KnownAsOf,
    between: tuple[datetime, datetime],
    where: pl.Expr | None = None,
) -> pl.DataFrame:
    """Facts about the target of some steps: keys, time, target (Float64), known_at and _version, in any order.

    Where values wait for their step to be over, `known_at` is when it was, or when the last of it became known.

    Args:
        raw: The facts, or events.
        series: How they hold series.
        seen: What may be seen.
        between: The first and the last step.
        where: Any filter by time.
    """
    import polars as pl

    first, last = between
    time, target, utc = pl.col(series.time), series.columns[0], pl.Datetime("us", "UTC")
    columns = [*series.keys, series.time, pl.col(target).cast(pl.Float64), "known_at", "_version"]
    filters = [time.is_between(pl.lit(first, utc), pl.lit(last, utc)), *([where] if where is not None else [])]
    if not series.aggregates:
        return raw.collect(raw.scan(version=seen.version, as_of=seen.as_of).filter(*filters).select(columns))
    previous = series.grid.time(series.grid.slot(first) - 1)
    facts = read_steps(raw, series, seen, (previous, last)).filter(*filters).select(columns)
    if not series.waits:
        return facts
    known = series.grid.ends(facts[series.time]) + series.lag
    facts = facts.with_columns(known.alias(":over")).sort("known_at", "_version")
    facts = facts.with_columns(pl.max_horizontal("known_at", ":over").alias("known_at")).drop(":over")
    facts = facts.filter(pl.col("known_at") <= pl.lit(seen.as_of, utc))
    return facts.unique([*series.keys, series.time, "known_at"], keep="last", maintain_order=True)


def read_news(raw: Table, series: SeriesLayout, seen: KnownAsOf, before: KnownAsOf) -> pl.Series:
    """Steps of whose target something may be seen now that could not be seen before."""
    import polars as pl

    lazy = raw.scan(version=seen.version, as_of=seen.as_of)
    later = pl.col("known_at") > pl.lit(before.as_of, pl.Datetime("us", "UTC"))
    new, time = later | (pl.col("_version") > before.version), pl.col(series.time)
    if not series.aggregates:
        return raw.collect(lazy.filter(new).select(time.unique())).to_series()
    # What was not seen before is about steps of new events, or about steps since the last one, or not yet over, then.
    first, old, last = raw.collect(
        lazy.select(time.filter(new).min().alias("first"), time.filter(~new).max().alias("old"), time.max())
    ).row(0)
    if last is None:
        return pl.Series(series.time, [], dtype=pl.Datetime("us", "UTC"))
    begin = min(moment for moment in (first, old, series.newest_over(before.as_of)) if moment is not None)
    return read_truth(raw, series, seen, (series.floor(begin), last)).filter(new)[series.time].unique()


def read_latest(
    raw: Table, series: SeriesLayout, after: datetime, *, as_of: datetime | None = None, version: int | None = None
) -> pl.DataFrame:
    """The latest value of the target of every step after a time, whether it is over or not: keys, time and target.

    Args:
        raw: The facts, or events.
        series: How they hold series.
        after: Only later steps.
        as_of: Only what was known at this time.
        version: Logical version; None is the current one.
    """
    import polars as pl

    names = [*series.keys, series.time, series.columns[0]]
    if not series.aggregates:
        where = _after(series.time, after)
        return raw.read(identity=names[:-1], columns=names, as_of=as_of, version=version, where=where, order=[])
    last = raw.collect(raw.scan(as_of=as_of, version=version).select(pl.col(series.time).max())).item()
    if last is None:
        return pl.DataFrame(schema={name: raw.schema()[name] for name in names[:-1]} | {names[-1]: pl.Float64()})
    reader = KnownAsOf(as_of or _FAR, raw.version() if version is None else version)
    facts = read_steps(raw, series, reader, (after, last)).sort("known_at", "_version")
    return facts.unique(names[:-1], keep="last", maintain_order=True).select(names)


def read_steps(raw: Table, series: SeriesLayout, seen: KnownAsOf, between: tuple[datetime, datetime]) -> pl.DataFrame:
    """Facts about steps from the events: keys, time, columns, known_at and _version.

    Args:
        raw: The events.
        series: How they hold series.
        seen: What may be seen.
        between: Steps after the first, up to the second.
    """
    import polars as pl

    from headrace.store import steps

    after, end_time = between
    slots = np.arange(series.grid.slot(after) + 1, series.grid.slot(end_time) + 1)
    begins, ends = series.grid.times(slots), series.grid.times(slots + 1)
    first, end = (series.grid.time(series.grid.slot(slot) + 1) for slot in between)
    lazy = raw.scan(version=seen.version, as_of=seen.as_of)
    time, utc = pl.col(series.time), pl.Datetime("us", "UTC")
    between_times = time >= pl.lit(first, utc), time < pl.lit(end, utc)
    events = raw.collect(with_columns(lazy.filter(*between_times), series))
    pairs = list(zip(series.columns, series.aggregates, strict=True))
    facts = steps.step_facts(events, series.keys, series.time, series.grid, pairs)
    if not any(aggregate.fills for aggregate in series.aggregates):
        return facts
    place = pl.Series("_slot", np.searchsorted(begins, facts[series.time].to_physical().to_numpy()))
    outside = _outside(raw, lazy, series, first, end)
    known = ends + series.lag // _MICROSECOND
    empty = steps.empty_facts(facts.with_columns(place), outside, series.keys, begins, known)
    empty = empty.filter(pl.col("known_at") <= pl.lit(seen.as_of, utc))
    zeros = [pl.lit(0.0 if aggregate.fills else None, pl.Float64).alias(name) for name, aggregate in pairs]
    moments = pl.Series(series.time, begins[empty["_slot"].to_numpy()]).cast(utc)
    return pl.concat([facts, empty.with_columns(moments, *zeros).select(facts.columns)])


def _outside(raw: Table, lazy: pl.LazyFrame, series: SeriesLayout, first: datetime, end: datetime) -> Outside:
    """What is known of events before and after some steps."""
    import polars as pl

    from headrace.store.steps import Outside

    time, utc = pl.col(series.time), pl.Datetime("us", "UTC")
    earliest = [pl.col("known_at").min(), pl.col("_version").sort_by("known_at", "_version").first()]
    early = lazy.filter(time < pl.lit(first, utc))
    if series.keys:
        early = early.group_by(series.keys).agg(earliest)
    else:
        early = early.select(earliest).drop_nulls()
    after = raw.collect(lazy.filter(time >= pl.lit(end, utc)).select(*earliest, pl.len()))
    known, version, count = after.with_columns(pl.col("known_at").to_physical()).row(0)
    return Outside(raw.collect(early), (known, version) if count else None)


def with_columns(lazy: pl.LazyFrame, series: SeriesLayout) -> pl.LazyFrame:
    """What `series` names of each fact; missing where a column was declared after the facts were stored."""
    import polars as pl

    target, names = series.columns[0], set(lazy.collect_schema().names())
    columns = [c if c in names or c == target else pl.lit(None, pl.Float64).alias(c) for c in series.columns]
    return lazy.select(*series.keys, series.time, *columns, "known_at", "_version")


def _after(column: str, moment: datetime) -> pl.Expr:
    import polars as pl

    return pl.col(column) > pl.lit(moment, pl.Datetime("us", "UTC"))
