"""What forecasts are made of adds up to them: of any series, gap, step ahead and model."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Estimator
from headrace.errors import ExplainError
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem
from headrace.models.forecast_parts import LIMITS, ROUNDING, forecast_parts
from headrace.models.forecaster import Forecaster
from headrace.models.limits import Limits

HOUR, DAYS = timedelta(hours=1), 45
START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = Forecaster(n_estimators=15, max_rows=3000)
TASK = ForecastProblem(MODEL.frame("y", HOUR), 12, seasonal_features("y", step="1h"))


def history(seed=0):
    """Four seasonal series, one that wanders, and one that is new since ten hours."""
    random = np.random.default_rng(seed)
    t = np.arange(DAYS * 24)
    season = 1 + 0.3 * np.sin(2 * np.pi * t / 24 + random.uniform(0, 6, 4)[:, None]) + 0.1 * (t // 24 % 7 > 4)
    seasonal = random.uniform(10, 1000, 4)[:, None] * (season + random.normal(0, 0.05, (4, t.size)))
    wandering = 500 + np.cumsum(random.normal(0, 1, (1, t.size)), axis=1)
    new = np.where(t < t.size - 10, np.nan, 70.0 + t % 24)[None]
    values = np.concatenate([seasonal, wandering, new])
    return History(pl.DataFrame({"k": list(range(6))}), {"y": values}, Grid(HOUR).slot(START), Grid(HOUR))


@pytest.fixture(scope="module")
def model():
    y = history()
    return MODEL.fit(TASK, y, y.length - 1).model


def check(model, y, origins):
    windows = every_origin(y.series, np.array(origins))
    parts = forecast_parts(model, y, *windows)
    plain = model.forecast(y, *windows).value
    np.testing.assert_array_equal(parts.forecast.value, plain)
    total = parts.base + sum(parts.features.values()) + sum(parts.steps.values())
    known = np.isfinite(plain)
    np.testing.assert_allclose(total[known], plain[known], rtol=1e-9, atol=0)
    return parts


@given(
    seed=st.integers(0, 2**16),
    back=st.integers(0, 200),
    gaps=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 300), st.integers(1, 60)), max_size=3),
)
@settings(max_examples=12, deadline=None)
def test_parts_sum_to_every_step_of_every_forecast(model, seed, back, gaps):
    y = history(seed)
    values = y.values["y"].copy()
    for series, before, length in gaps:
        values[series, y.length - before - length : y.length - before] = np.nan
    check(model, replace(y, values={"y": values}), [y.length - 1 - back])


def test_parts_sum_after_errors_that_the_forecast_follows(model):
    y = history()
    since = START + timedelta(days=DAYS - 6)
    check(model.from_time(since), y, [y.length - 1, y.length - 30])
    check(model.from_time(None), y, [y.length - 1])


def test_parts_sum_where_a_series_fell_to_zero_or_stepped_up(model):
    y = history()
    values = y.values["y"].copy()
    values[0, -30:] = 0.0
    values[1, -24 * 9 :] *= 3
    check(model, replace(y, values={"y": values}), [y.length - 1])


def test_whole_numbers_are_rounded_in_a_part_of_their_own_and_limits_in_another(model):
    y = history()
    whole = replace(model, limits=Limits(lowest=0, highest=600, whole=True))
    parts = check(whole, y, [y.length - 1])
    assert np.abs(parts.steps[ROUNDING]).max() <= 0.5
    assert np.abs(parts.steps[ROUNDING]).max() > 0.01
    assert parts.steps[LIMITS].min() < -10


@pytest.mark.parametrize("unit", [1e297, 1e-303])
def test_parts_sum_in_any_unit(model, unit):
    y = history()
    huge = replace(y, values={"y": y.values["y"] * unit})
    check(MODEL.fit(TASK, huge, y.length - 1).model, huge, [y.length - 1])


def test_what_rounds_a_large_number_is_a_part_too(model):
    y = history()
    large = replace(y, values={"y": np.round(y.values["y"] * 1e7)})
    fitted = MODEL.fit(TASK, large, y.length - 1).model
    check(replace(fitted, limits=Limits(whole=True)), large, [y.length - 1])


def test_a_series_that_is_too_young_is_said_to_be_served_a_baseline(model):
    y = history()
    parts = check(model, y, [y.length - 1])
    young = 5
    added = {
        name: part[young] for name, part in (parts.features | parts.steps).items() if np.abs(part[young]).max() > 0
    }
    assert len(added) <= 1
    assert all(name.startswith(("the value", "the last value", "the mean")) for name in added)


def test_values_of_features_are_in_the_unit_of_the_target(model):
    y = history()
    parts = check(model, y, [y.length - 1])
    assert parts.values["short_0"][0, 0] == pytest.approx(y.values["y"][0, -24])


def test_a_forecaster_that_learns_with_another_regressor_says_that_it_cannot_tell():
    y = history()
    learner = Estimator(class_path="sklearn.linear_model.Ridge")
    fitted = Forecaster(learner=learner, max_rows=1000).fit(TASK, y, y.length - 1).model
    with pytest.raises(ExplainError, match="learns with your regressor"):
        forecast_parts(fitted, y, np.array([0]), np.array([y.length - 1]))
