"""Intermittent series, of which most values are zero: forecast by their own mean and their own quantiles.

A series is intermittent at an origin if none of the known values of its four long seasons is below zero and more than
half of them are zero. The median of such a series is zero, and so is what a model of absolute errors says of it: right
each day and wrong in sum. Its expected value is served instead, the mean of `SEASONS` long seasons drawn towards that
of the same phase of the season (the same weekday), and quantiles of the same values as the interval, those of the same
phase counted twice. Of what seldom sells the upper quantile may be zero, and so below the expected value: an interval
reaches at least as far above that as it is unsure itself. Zero wins every comparison of absolute errors here, so these
series are judged by RMSSE, bias and pinball loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from headrace import metrics
from headrace.features.arrays import Array, History
from headrace.models.member import Frame

SEASONS = 13
"""Long seasons of the mean and the quantiles: a quarter where they are weeks. 4 and 8 are worse on every measure."""
RECOGNISED = 4
"""Long seasons by which a series is told."""
PRIOR = 13.0
"""The mean counts as much as so many values of the same phase; 5 to 52 differ by a tenth of a per cent."""
SAME_PHASE = 2.0
"""Weight of a value of the same phase among the quantiles; with 1 pinball loss is 1 % larger, with 9 it is 6 %."""

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Own:
    """Forecasts of the intermittent ones of some (series, origin).

    Attributes:
        which: Places among those that were asked for.
        value: Expected values, shape (which, horizon).
        lower: Lower ends of the intervals.
        upper: Upper ends.
    """

    which: Ints
    value: Array
    lower: Array
    upper: Array


def reach(frame: Frame) -> int:
    """How many steps up to an origin are looked at."""
    return SEASONS * _long(frame)


def recognised(history: History, frame: Frame, series: Ints, origin: Ints) -> NDArray[np.bool_]:
    """Which of some (series, origin) are intermittent by what the origin knows; not with less than a short season.

    Args:
        history: Without glitches.
        frame: The target and its seasons.
        series: Rows of the history.
        origin: Grid positions.
    """
    flags = np.zeros(series.size, dtype=bool)
    y = history.values[frame.target]
    likely = np.flatnonzero((y == 0).any(axis=1)[series])
    window = _window(y, series[likely], origin[likely], RECOGNISED * _long(frame))
    known, zero = (~np.isnan(window)).sum(axis=1), (window == 0).sum(axis=1)
    enough = known >= frame.short // frame.step
    flags[likely] = enough & (zero * 2 > known) & ~(window < 0).any(axis=1)
    return flags


def own(history: History, frame: Frame, asked: tuple[Ints, Ints], horizon: int, coverage: float) -> Own:
    """Forecasts of those that are intermittent.

    Args:
        history: Without glitches.
        frame: The target and its seasons.
        asked: Series and origins.
        horizon: Steps ahead.
        coverage: Nominal coverage of the intervals.
    """
    rows = np.flatnonzero(recognised(history, frame, *asked))
    series, origin = (column[rows] for column in asked)
    window = _window(history.values[frame.target], series, origin, reach(frame))
    known = (~np.isnan(window)).astype(np.float64)
    order = np.argsort(window, axis=1, kind="stable")
    ordered, filled = np.take_along_axis(window, order, axis=1), np.where(known > 0, window, 0.0)
    mean = filled.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    value, lower, upper = (np.empty((rows.size, horizon)) for _ in range(3))
    for step in range(horizon):
        season = ((np.arange(window.shape[1]) - window.shape[1] - step) % _long(frame) == 0).astype(np.float64)
        count = (known * season).sum(axis=1)
        value[:, step] = ((filled * season).sum(axis=1) + PRIOR * mean) / (count + PRIOR)
        weight = np.take_along_axis(known * (1 + (SAME_PHASE - 1) * season), order, axis=1).cumsum(axis=1)
        for ends, level in ((lower, (1 - coverage) / 2), (upper, (1 + coverage) / 2)):
            place = (weight < level * weight[:, -1:] - 1e-9).sum(axis=1)
            ends[:, step] = np.take_along_axis(ordered, place[:, None], axis=1)[:, 0]
    unsure = _unsure(filled, known, mean, coverage)
    return Own(rows, value, np.minimum(lower, value), np.maximum(upper, value + unsure[:, None]))


def _unsure(filled: Array, known: Array, mean: Array, coverage: float) -> Array:
    """How far means may lie too low: their standard error, times the normal quantile of the upper end."""
    count = known.sum(axis=1)
    squares = (known * (filled - mean[:, None]) ** 2).sum(axis=1)
    widths: Array = NormalDist().inv_cdf((1 + coverage) / 2) * np.sqrt(squares) / np.maximum(count, 1)
    return widths


def judged(actual: Array, value: Array, bounds: tuple[Array, Array], scale: Array, coverage: float) -> dict[str, float]:
    """``rmsse bias pinball`` of forecasts of intermittent series: the last one the mean of both ends of the interval.

    Args:
        actual: What came true.
        value: Forecasts.
        bounds: Lower and upper ends.
        scale: Of each pair, from `scales`.
        coverage: Nominal coverage.
    """
    ends = zip(bounds, ((1 - coverage) / 2, (1 + coverage) / 2), strict=True)
    return {
        "rmsse": metrics.rmsse(actual, value, scale),
        "bias": metrics.bias(actual, value),
        "pinball": sum(metrics.pinball(actual, end, level) for end, level in ends) / 2,
    }


def scales(target: Array) -> Array:
    """Root mean squared change from one value to the next, per series; NaN where nothing is known, or all is one."""
    change = np.diff(target, axis=1) ** 2
    known = ~np.isnan(change)
    with np.errstate(invalid="ignore"):
        scale: Array = np.sqrt(np.where(known, change, 0.0).sum(axis=1) / known.sum(axis=1))
    return np.where(scale > 0, scale, np.nan)


def _long(frame: Frame) -> int:
    return frame.long // frame.step


def _window(y: Array, series: Ints, origin: Ints, width: int) -> Array:
    """The `width` values up to each origin, shape (n, width), NaN where the history does not reach."""
    index = origin[:, None] + np.arange(1 - width, 1)
    return np.where(index >= 0, y[series[:, None], np.maximum(index, 0)], np.nan)
