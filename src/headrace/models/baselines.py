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


def seasonal_naive(history: History, target: str, season: timedelta, examples: Examples) -> Array:
    """The newest value at the same phase of the season that the origin knows; NaN where it is missing."""
    expression: Expression = SeasonalLag(Col(target), season)
    return Evaluator(history, examples).column(expression)


def seasonal_scale(history: History, frame: Frame, series: NDArray[np.intp], origin: NDArray[np.intp]) -> Array:
    """Mean |y[t] - y[t - season]| over the four long seasons before each origin; NaN where nothing is known.

    The in-sample error of the seasonal-naive forecast, by which MASE divides (Hyndman & Koehler 2006), from what the
    origin knew. `season` is the shorter one.
    """
    change = rolling_mean(abs(difference(frame.target, frame.short)), frame.long * 4)
    return Evaluator(history, Examples(series, origin, np.ones_like(series))).column(change)
