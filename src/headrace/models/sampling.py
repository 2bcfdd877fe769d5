"""Which examples a forecaster learns from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array
from headrace.features.matrix import Examples


@dataclass(frozen=True)
class OriginRange:
    """Grid positions of the origins that may be used: `first` to `last`, per series; empty where last < first."""

    first: NDArray[np.intp]
    last: NDArray[np.intp]


def spans(target: Array, *, warm_up: int, end: int, longest: int) -> OriginRange:
    """Origins from `warm_up` steps after a series' first value to one step before `end`, at most `longest` of them.

    Args:
        target: Values, shape (series, steps), NaN where missing.
        warm_up: Steps that features need before they mean something.
        end: Last grid position that may be looked at.
        longest: Most origins per series; the newest are kept.
    """
    known = ~np.isnan(target[:, : end + 1])
    first = np.where(known.any(axis=1), known.argmax(axis=1), end + 1) + warm_up
    last = np.full(target.shape[0], end - 1)
    return OriginRange(np.maximum(first, last - longest + 1), last)


def sample(target: Array, span: OriginRange, *, horizon: int, end: int, limit: int, seed: int) -> Examples:
    """At most `limit` examples with a known target at or before `end`, drawn evenly; all when there are fewer.

    The draw depends on its arguments alone, so the same history and seed give the same examples.
    """
    origins = np.maximum(span.last - span.first + 1, 0)
    starts = np.concatenate([[0], np.cumsum(origins * horizon)])
    total = int(starts[-1])
    if total > limit:
        chosen = np.unique(np.random.default_rng(seed).integers(0, total, size=limit))
    else:
        chosen = np.arange(total)
    series = np.searchsorted(starts, chosen, side="right") - 1
    within = chosen - starts[series]
    examples = Examples(series, span.first[series] + within // horizon, within % horizon + 1)
    reachable = examples.target <= end
    known = np.zeros(len(examples), dtype=bool)
    known[reachable] = ~np.isnan(target[series[reachable], examples.target[reachable]])
    return Examples(series[known], examples.origin[known], examples.ahead[known])
