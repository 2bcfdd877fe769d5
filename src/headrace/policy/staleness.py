"""How stale models became as they aged, from the errors of what they answered, and what it would have cost to retrain.

All functions are pure. An error here is a number a day, relative to a baseline or not; a day is one place of an array.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Variant = Literal["cumulative", "threshold", "periodic"]
SETTLED = 7
"""Days of a version by which it is told how wrong it is while it is fresh."""
CANDIDATES = 33
"""Thresholds that are tried."""
_LEAST, _MOST = 0.25, 16.0
"""The least and the greatest threshold that are tried, as factors: of the cost of a training, or of all staleness.

Where staleness grows evenly the best sum is the cost itself; far below it noise alone would train."""
_ALIKE = 0.1
"""Costs that differ by no more than this share are alike: of such thresholds the greatest is taken."""
_SMOOTH = 3


@dataclass(frozen=True)
class ServingSpan:
    """The days that one version answered, one after the other: `first` is the place of its first one."""

    first: int
    errors: Array


def serving_spans(versions: NDArray[np.int64], errors: Array) -> list[ServingSpan]:
    """Days by the version that answered them, in order."""
    bounds = [0, *(np.flatnonzero(np.diff(versions)) + 1).tolist(), versions.size]
    return [ServingSpan(first, errors[first:last]) for first, last in pairwise(bounds) if last > first]


def medians(values: Array, width: int = _SMOOTH) -> Array:
    """The median of the last `width` values at each place, of fewer at the first ones: one odd day moves nothing."""
    padded = np.concatenate([np.full(width - 1, np.nan), values])
    return np.asarray(np.nanmedian(np.lib.stride_tricks.sliding_window_view(padded, width), axis=1), dtype=np.float64)


def rising(values: Array) -> Array:
    """The nearest sequence that never falls, by squares (pooling adjacent violators).

    >>> rising(np.array([1.0, 3.0, 2.0, 4.0])).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    means, sizes = list[float](), list[int]()
    for value in values.tolist():
        mean, size = value, 1
        while means and means[-1] >= mean:
            mean = (mean * size + means[-1] * sizes[-1]) / (size + sizes[-1])
            size += sizes.pop()
            means.pop()
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)


def staleness(errors: Array) -> Array:
    """By how much a version is worse, day by day, than while it was fresh: never less than the day before, from 0 on.

    Noise is not staleness: of errors that go up and down around one level nearly nothing is left.
    """
    if not errors.size:
        return errors
    curve = rising(medians(errors))
    return np.maximum(curve - np.median(curve[:SETTLED]), 0.0)


def world_level(spans: list[ServingSpan]) -> Array:
    """How far the world has gone, in error that a model would have which was never trained again.

    A version that was trained meanwhile starts at what the one before had come to. So the error of a model that was
    trained on one day and answers on another is the difference of two places, whichever models there really were.
    """
    level, parts = 0.0, []
    for span in spans:
        curve = level + staleness(span.errors)
        level = float(curve[-1])
        parts.append(curve)
    return np.concatenate(parts) if parts else np.zeros(0)


def deviation(errors: Array) -> float:
    """The spread of errors from one day to the next, which a change of level in between hardly moves; 0 where none."""
    if errors.size < 3:
        return 0.0
    differences = np.diff(errors)
    if errors.size <= 2 * SETTLED:  # of few the median says too little
        return float(np.std(differences) / np.sqrt(2.0))
    return float(1.4826 * np.median(np.abs(differences - np.median(differences))) / np.sqrt(2.0))


def cusum(errors: Array, *, target: float, spread: float, slack: float) -> Array:
    """The one-sided cumulative sum of Page (1954), at each place: what is above `target` and a slack, in spreads."""
    total, sums = 0.0, np.zeros(errors.size)
    for place, value in enumerate(((errors - target) / spread - slack).tolist()):
        total = max(0.0, total + value)
        sums[place] = total
    return sums


def thresholds(level: Array, alpha: float, variant: Variant) -> Array:
    """What is tried: sums of error, errors of one day, or numbers of days."""
    if variant == "periodic":
        return np.arange(1.0, level.size + 2.0)
    scale = alpha if variant == "cumulative" else max(float(level[-1] - level[0]), 1e-12) / 2
    return scale * np.geomspace(_LEAST, _MOST, CANDIDATES)


def replayed(level: Array, tried: Array, *, alpha: float, variant: Variant, delay: int) -> Array:
    """What each threshold would have cost over the days of `level`: its retrainings at `alpha`, and all staleness.

    Args:
        level: From `world_level`.
        tried: From `thresholds`.
        alpha: What one retraining costs, in error of one day.
        variant: What is held against a threshold.
        delay: After so many days the truth of a day is known.
    """
    sums = np.concatenate([[0.0], np.cumsum(level)])
    since = np.zeros(tried.size, dtype=np.intp)
    cost = np.zeros(tried.size)
    for day in range(level.size):
        known = np.maximum(day - delay, since)  # days before this one are known of the present model
        if variant == "cumulative":
            measured = sums[known] - sums[since] - (known - since) * level[since]
        elif variant == "threshold":
            measured = np.where(known > since, level[np.maximum(known - 1, 0)] - level[since], 0.0)
        else:
            measured = (day - since).astype(float)
        trained = (measured >= tried) & (day > since)
        since = np.where(trained, day, since)
        cost += np.where(trained, alpha, 0.0) + level[day] - level[since]
    return cost


def cheapest(level: Array, *, alpha: float, variant: Variant, delay: int) -> float:
    """The threshold with the least cost on the days of `level`; of those that cost about the same the greatest."""
    tried = thresholds(level, alpha, variant)
    cost = replayed(level, tried, alpha=alpha, variant=variant, delay=delay)
    return float(tried[np.flatnonzero(cost <= cost.min() * (1 + _ALIKE))[-1]])
