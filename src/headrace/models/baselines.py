"""Forecasts that need no model, and that every model must beat."""

from __future__ import annotations

from datetime import timedelta

from headrace.features.arrays import Array, History
from headrace.features.expression import Expression
from headrace.features.history import SeasonalLag
from headrace.features.matrix import Evaluator, Examples
from headrace.features.row import Col


def seasonal_naive(history: History, target: str, season: timedelta, examples: Examples) -> Array:
    """The newest value at the same phase of the season that the origin knows; NaN where it is missing."""
    expression: Expression = SeasonalLag(Col(target), season)
    return Evaluator(history, examples).column(expression)
