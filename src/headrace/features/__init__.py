"""The feature language: declare a feature once, compile it for tables, arrays and rows.

In a system that forecasts, everything is relative to a forecast origin. `lag`, `difference` and `rolling_*` look back
from the origin; `seasonal_lag` and `seasonal_mean` take the newest values at the target's phase of a season that the
origin can know; calendars (`hour`, `holiday`, ...) and columns that are known in advance are taken at the target time.
No value after the origin can enter: a feature that would need one is refused when the system is loaded.
"""

from headrace.features.calendar import day_of_year, holiday, hour, minute_of_day, month, weekday
from headrace.features.embedding import embedding
from headrace.features.expression import CompileTarget, Expression
from headrace.features.group import frequency, target_mean
from headrace.features.history import (
    difference,
    lag,
    rolling_count,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_sum,
    seasonal_change,
    seasonal_lag,
    seasonal_mean,
    step_ahead,
)
from headrace.features.ngrams import ngrams
from headrace.features.row import col, lit, maximum, minimum, native
from headrace.features.scaling import scaled
from headrace.features.standard import seasonal_features
from headrace.features.stored import stored
from headrace.features.text import join, text
from headrace.features.view import Features

__all__ = [
    "CompileTarget",
    "Expression",
    "Features",
    "col",
    "day_of_year",
    "difference",
    "embedding",
    "frequency",
    "holiday",
    "hour",
    "join",
    "lag",
    "lit",
    "maximum",
    "minimum",
    "minute_of_day",
    "month",
    "native",
    "ngrams",
    "rolling_count",
    "rolling_max",
    "rolling_mean",
    "rolling_min",
    "rolling_std",
    "rolling_sum",
    "scaled",
    "seasonal_change",
    "seasonal_features",
    "seasonal_lag",
    "seasonal_mean",
    "step_ahead",
    "stored",
    "target_mean",
    "text",
    "weekday",
]
