"""Forecasts that need no model, and that every model must beat."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array, History
from headrace.features.expression import Expression
from headrace.features.history import SeasonalLag, difference, rolling_mean
from headrace.features.matrix import Evaluator, Examples
from headrace.features.row import Col
from headrace.models.member import Frame

PERSISTENT = 0.7
"""The last value must be so much better than the season; between series that persist (0.15) and the rest (0.9 on) lies
little, so the figure matters little."""


def seasonal_naive(history: History, target: str, season: timedelta, examples: Examples) -> Array:
    """The newest value at the same phase of the season that the origin knows; NaN where it is missing."""
    expression: Expression = SeasonalLag(Col(target), season)
    return Evaluator(history, examples).column(expression)


def last_value(history: History, frame: Frame, examples: Examples) -> Array:
    """The newest value that the origin knows, for every step ahead; NaN where four long seasons have none."""
    y, position = history.values[frame.target], examples.origin
    unknown = np.isnan(y[examples.series, position])
    if unknown.any():
        rows, row = np.unique(examples.series[unknown], return_inverse=True)
        newest = np.maximum.accumulate(np.where(np.isnan(y[rows]), -1, np.arange(y.shape[1])), axis=1)
        position = position.copy()
        position[unknown] = newest[row, position[unknown]]
    young = (position >= 0) & (examples.origin - position < 4 * frame.long // frame.step)
    return np.where(young, y[examples.series, position], np.nan)


def naive(history: History, frame: Frame, season: timedelta, examples: Examples) -> Array:
    """The forecast of a season, or of none: the last value."""
    if not season:
        return last_value(history, frame, examples)
    return seasonal_naive(history, frame.target, season, examples)


def reference(history: History, frame: Frame, season: timedelta, examples: Examples) -> Array:
    """The naive forecast that others are compared with: the newest value at the phase that the origin knows.

    It is the one a season before, or where that is missing the one of the season before that, and so on through the
    last four long seasons; NaN where all of these are missing.
    """
    values = naive(history, frame, season, examples)
    missing = np.flatnonzero(np.isnan(values)) if season else np.empty(0, dtype=np.intp)
    for index in range(1, reach(frame, season) // season if season else 0):
        if not missing.size:
            break
        older: Expression = SeasonalLag(Col(frame.target), season, back=index)
        values[missing] = Evaluator(history, examples[missing]).column(older)
        missing = missing[np.isnan(values[missing])]
    return values


def reach(frame: Frame, season: timedelta) -> timedelta:
    """How far before an origin `reference` looks."""
    return max(frame.long * 4, season)


def mean_value(history: History, frame: Frame, examples: Examples) -> Array:
    """The mean of the four long seasons before the origin, for every step ahead; NaN where they have no value."""
    return Evaluator(history, examples).column(rolling_mean(frame.target, frame.long * 4))


def persistent(target: Array, *, season: int, ahead: int) -> NDArray[np.bool_]:
    """Which series follow their last value more than their season, shape (series,).

    Those where the mean error of the last value, `ahead` steps on, is below `PERSISTENT` times that of the value at the
    same phase of the season; not those of which too little is known.

    Args:
        target: Values, shape (series, steps), NaN where missing; nothing but what may be learnt from.
        season: Steps of the season.
        ahead: Steps ahead to judge by: half the horizon.
    """
    lag = season * -(-ahead // season)
    with np.errstate(invalid="ignore"):
        held, seasonal = (_mean_change(target, by) for by in (ahead, lag))
        return held < PERSISTENT * seasonal


def _mean_change(target: Array, by: int) -> Array:
    """Mean |y[t] - y[t - by]| per series; NaN where nothing is known."""
    change = np.abs(target[:, by:] - target[:, :-by])
    known = ~np.isnan(change)
    with np.errstate(invalid="ignore"):
        mean: Array = np.where(known, change, 0.0).sum(axis=1) / known.sum(axis=1)
    return mean


def seasonal_scale(
    history: History, frame: Frame, series: NDArray[np.intp], origin: NDArray[np.intp], seasons: int = 4
) -> Array:
    """Mean |y[t] - y[t - season]| over the long seasons before each origin; NaN where nothing is known.

    The in-sample error of the seasonal-naive forecast, by which MASE divides (Hyndman & Koehler 2006), from what the
    origin knew. `season` is the shorter one. Of series with few sales four long seasons say little: one sale in a month
    would be the unit of all that follows.
    """
    change = rolling_mean(abs(difference(frame.target, frame.short)), frame.long * seasons)
    return Evaluator(history, Examples(series, origin, np.ones_like(series))).column(change)
