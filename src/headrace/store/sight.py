"""What past origins could see of columns known in advance: a model learns with the holes that it will meet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headrace.features.arrays import ORIGINS, Array, History, known_of
from headrace.features.keyed import key_frame, numbers_in
from headrace.store.delta import Table
from headrace.store.history import KnownAsOf, SeriesLayout, with_columns


def with_sight(history: History, raw: Table, series: SeriesLayout, seen: KnownAsOf) -> History:
    """The history with the times from which on its values of columns known in advance were known, and its origins were.

    A value that was never told is known at no time. An origin that nothing was told of follows the one before by a
    step.

    Args:
        history: Up to an origin, as it is known now.
        raw: The facts that it was made from.
        series: How they hold series; the first column is the target.
        seen: What may be seen of them.
    """
    import polars as pl

    if not series.ahead or series.aggregates:
        return history
    first, last = (pl.lit(moment, pl.Datetime("us", "UTC")) for moment in (history.start, history.end))
    names = (series.columns[0], *series.ahead)
    since = [pl.col("known_at").filter(pl.col(name).is_not_null()).min().alias(known_of(name)) for name in names]
    lazy = raw.scan(version=seen.version, as_of=seen.as_of).filter(pl.col(series.time).is_between(first, last))
    facts = raw.collect(with_columns(lazy, series).group_by(*series.keys, series.time).agg(since))
    rows = numbers_in(history.keys, key_frame(facts, series.keys)).to_numpy()
    times = facts[series.time].unique().sort()
    positions = np.array([history.position(moment) for moment in times], dtype=np.int64)
    positions = positions[times.search_sorted(facts[series.time]).to_numpy()]
    known = {}
    for name in map(known_of, names):
        known[name] = np.full((history.series, history.length), np.inf)
        known[name][rows, positions] = facts[name].to_physical().cast(pl.Float64).fill_null(np.inf).to_numpy()
    newest = known.pop(known_of(names[0])).min(axis=0)
    known[ORIGINS] = np.broadcast_to(_carried(newest, history), (history.series, history.length))
    return replace(history, values=history.values | known)


def _carried(known: Array, history: History) -> Array:
    """Known times of steps, those of which nothing is known a step after the one before."""
    steps = np.arange(known.size)
    last = np.maximum.accumulate(np.where(np.isfinite(known), steps, 0))
    estimate: Array = known[last] + (steps - last) * (history.step.total_seconds() * 1e6)
    return estimate
