"""Events as facts about steps: what the value of a step was at every time at which something became known about it.

The events alone are stored. A step's value as of T puts together those that were known at T, in one order that depends
on the events and on nothing else: known time, event time, values. So it is the same to the last bit in whatever order
and in however many parts the events came, and a reader that is pinned to a version puts together what it saw then.

Imports polars at the top: import this module inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headrace.contract.aggregation import Aggregate
from headrace.features.keyed import key_frame, numbers_in
from headrace.grid import Grid
from headrace.store.facts import KNOWN, VERSION, are_distinct

Ints = NDArray[np.int64]
UTC_TIME = pl.Datetime("us", "UTC")
_NEVER = np.iinfo(np.int64).max
_AT, _STEP = ":at", ":step"


@dataclass(frozen=True)
class Outside:
    """What is known of events outside of the steps that are read.

    Attributes:
        before: Per series the first known time of an event before them, with its version: keys, known_at, _version.
        after: The same of all events after them, whatever the series; None where there is none.
    """

    before: pl.DataFrame
    after: tuple[int, int] | None


def step_facts(
    events: pl.DataFrame, keys: Sequence[str], time: str, grid: Grid, how: Sequence[tuple[str, Aggregate]]
) -> pl.DataFrame:
    """One fact per series, step and time at which an event of it became known.

    Args:
        events: Keys, event time, aggregated columns, known_at and _version; all that are about one step.
        keys: Columns that tell one series from another.
        time: The event time.
        grid: When steps begin.
        how: The aggregated columns.

    Returns:
        Keys, time (the step's beginning), the columns as Float64, known_at and _version: the newest of what it is from.
    """
    names = [name for name, _ in how]
    rows = events.select(
        *keys,
        grid.floored(events[time]).alias(_STEP),
        pl.col(time).alias(_AT),
        *(pl.col(name).cast(pl.Float64) for name in names),
        KNOWN,
        VERSION,
    )
    group_by = [*keys, _STEP]
    if are_distinct(rows, group_by):
        single = [_alone(name, aggregate).alias(name) for name, aggregate in how]
        return rows.select(*keys, pl.col(_STEP).alias(time), *single, KNOWN, VERSION)
    rows, group = _ordered(rows, keys, names)
    folded = [
        _filled(_folded(pl.col(name), aggregate).over(":group"), aggregate).alias(name) for name, aggregate in how
    ]
    newest = rows[VERSION].to_numpy()
    span = int(newest.max()) + 1
    newest = np.maximum.accumulate(group * span + newest) - group * span
    rows = rows.with_columns(pl.Series(":group", group)).with_columns(*folded, pl.Series(VERSION, newest))
    last = pl.struct(":group", KNOWN).rle_id()
    rows = rows.filter((last != last.shift(-1)).fill_null(True))
    return rows.select(*keys, pl.col(_STEP).alias(time), *names, KNOWN, VERSION)


def _ordered(rows: pl.DataFrame, keys: Sequence[str], names: Sequence[str]) -> tuple[pl.DataFrame, Ints]:
    """The events by series and step, and of each by known time, event time and values; and the number of the step.

    By numpy, on numbers alone: an order of texts, or of several columns at once, takes three times as long.
    """
    codes = key_frame(rows, keys)
    series = numbers_in(codes.unique(), codes).to_numpy().astype(np.int64)
    arrays = (rows[name].to_physical().to_numpy() for name in (_AT, KNOWN, _STEP))
    values = (rows[name].fill_null(float("nan")).to_numpy() for name in reversed(names))
    order = np.lexsort((*values, *arrays, series))
    rows, series = rows[order], series[order]
    step = rows[_STEP].to_physical().to_numpy()
    begins = np.r_[True, (series[1:] != series[:-1]) | (step[1:] != step[:-1])]
    return rows, np.cumsum(begins) - 1


def _alone(name: str, aggregate: Aggregate) -> pl.Expr:
    """The value of a step with one event."""
    value = pl.col(name)
    return _filled(pl.when(value.is_not_null()).then(1.0) if aggregate.kind == "count" else value, aggregate)


def _filled(value: pl.Expr, aggregate: Aggregate) -> pl.Expr:
    return value.fill_null(0.0) if aggregate.fills else value


def _folded(x: pl.Expr, aggregate: Aggregate) -> pl.Expr:
    """The value of a step after each of its events in turn."""
    count = x.is_not_null().cast(pl.Float64).cum_sum()
    if aggregate.kind == "count":
        return pl.when(count > 0).then(count)
    if aggregate.kind in ("sum", "mean"):
        total = x.cum_sum().forward_fill()
        return total if aggregate.kind == "sum" else total / count
    if aggregate.kind in ("min", "max"):
        return (x.cum_min() if aggregate.kind == "min" else x.cum_max()).forward_fill()
    times = pl.when(x.is_not_null()).then(pl.col(_AT).to_physical())
    if aggregate.kind == "last":
        return pl.when(times == times.cum_max()).then(x).forward_fill()
    first = times.cum_min().forward_fill()
    return pl.when(times.is_not_null() & (first != first.shift(1)).fill_null(True)).then(x).forward_fill()


def empty_facts(
    events: pl.DataFrame,
    outside: Outside,
    keys: Sequence[str],
    steps: Ints,
    over: Ints,
) -> pl.DataFrame:
    """When each step without an event so far was known to be empty.

    A step of a series is known to be empty once it is over, an earlier event of the series is known, and one of any
    series at that time or later: before, the series had not begun, or the source may only be late.

    Args:
        events: Keys, `_slot`, known_at and _version of the events in those steps.
        outside: What is known of the others.
        keys: Columns that tell one series from another.
        steps: The beginnings of all steps that are read, microseconds since 1970.
        over: When each counts as over.

    Returns:
        Keys, `_slot` (the place in `steps`), known_at and _version.
    """
    key_frames = [key_frame(outside.before, keys), key_frame(events, keys)]
    series = (
        pl.concat(key_frames).unique(maintain_order=True)
        if keys
        else pl.DataFrame(height=min(1, key_frames[0].height + key_frames[1].height))
    )
    if not series.height or not steps.size:
        return events.select(*keys, "_slot", KNOWN, VERSION).clear()
    pairs = _Pairs(events, outside)
    first = np.full((series.height, steps.size), pairs.never)
    np.minimum.at(first, (numbers_in(series, key_frames[1]).to_numpy(), events["_slot"].to_numpy()), pairs.of_events)
    began = np.full(series.height, pairs.never)
    began[numbers_in(series, key_frames[0]).to_numpy()] = pairs.before
    earlier = np.minimum.accumulate(np.concatenate([began[:, None], first[:, :-1]], axis=1), axis=1)
    alive = np.minimum.accumulate(np.r_[first.min(axis=0), pairs.after][::-1])[::-1][:-1]
    known = np.maximum(np.maximum(pairs.known[earlier], pairs.known[alive]), over)
    version = np.maximum(pairs.version[earlier], pairs.version[alive])
    row_index, slot = np.nonzero((pairs.known[first] > known) & (known != _NEVER))
    columns = [
        pl.Series("_slot", slot),
        pl.Series(KNOWN, known[row_index, slot]).cast(UTC_TIME),
        pl.Series(VERSION, version[row_index, slot]),
    ]
    return pl.DataFrame([*(series[name].gather(row_index) for name in keys), *columns])


class _Pairs:
    """Known times with their versions as single numbers in the same order, so that the least can be looked for."""

    def __init__(self, events: pl.DataFrame, outside: Outside) -> None:
        after = np.array([outside.after or (_NEVER, 0)], dtype=np.int64).T
        parts = [*(_columns(frame) for frame in (events, outside.before)), (after[0], after[1])]
        known, version = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        order = np.lexsort((version, known))
        rank = np.empty(order.size, dtype=np.int64)
        rank[order] = np.arange(order.size)
        self.known, self.version = np.r_[known[order], _NEVER], np.r_[version[order], 0]
        self.never = order.size
        ends = np.cumsum([events.height, outside.before.height])
        self.of_events, self.before, last = np.split(rank, ends)
        self.after = self.never if outside.after is None else int(last[0])


def _columns(frame: pl.DataFrame) -> tuple[Ints, Ints]:
    return frame[KNOWN].to_physical().to_numpy(), frame[VERSION].to_numpy()
