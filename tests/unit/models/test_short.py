"""Too little history is no refusal: the baseline that was best so far is served, and why is said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.errors import NotEnoughDataError
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster

DAY = 24
HOUR = timedelta(hours=1)
MODEL = Forecaster(n_estimators=10, max_rows=2000)
TASK = ForecastProblem(MODEL.frame("y", HOUR), 24, seasonal_features("y", step="1h"))


def history(series=6, days=40):
    """Series that repeat every day, up to noise."""
    rng = np.random.default_rng(0)
    t = np.arange(days * 24)
    y = rng.uniform(10, 1000, (series, 1)) * (
        1 + 0.3 * np.sin(2 * np.pi * t / 24) + rng.normal(0, 0.05, (series, t.size))
    )
    start = Grid(HOUR).slot(datetime(2026, 1, 1, tzinfo=UTC))
    return History(pl.DataFrame({"k": list(range(series))}), {"y": y}, start, Grid(HOUR))


def at_end(model, y):
    return model.forecast(y, *every_origin(y.series, np.array([y.length - 1])))


@pytest.mark.parametrize("hours", [1, 2, 5, 23, 24, 48, 60, 4 * DAY])
def test_any_number_of_values_is_forecast(hours):
    y = history(series=1, days=5)
    y = replace(y, values={"y": y.values["y"][:, :hours]})
    fitted = MODEL.fit(TASK, y, hours - 1)
    said = at_end(fitted.model, y)
    assert np.isfinite(said.value).all()
    assert fitted.model.reason
    if hours == 1:
        assert (said.value == y.values["y"][0, 0]).all()
    if hours >= 60:
        assert (said.lower < said.value).all()
        assert (said.value < said.upper).all()


def test_the_baseline_that_was_best_is_served():
    y = history(days=4)  # a day repeats, up to noise
    assert MODEL.fit(TASK, y, y.length - 1).model.baseline == "short"
    walk = replace(y, values={"y": 1000 + np.random.default_rng(0).normal(size=(6, y.length)).cumsum(axis=1)})
    assert MODEL.fit(TASK, walk, y.length - 1).model.baseline == "last"
    noise = replace(y, values={"y": np.random.default_rng(0).normal(100, 10, (6, y.length))})
    assert MODEL.fit(TASK, noise, y.length - 1).model.baseline == "mean"


def test_nothing_after_the_origin_is_looked_at():
    y = history(days=6)
    origin = 3 * DAY
    later = replace(y, values={"y": np.where(np.arange(y.length) > origin, 1e9, y.values["y"])})
    first, second = (MODEL.fit(TASK, each, origin) for each in (y, later))
    assert first.model.baseline == second.model.baseline
    np.testing.assert_array_equal(first.model.widths, second.model.widths)
    np.testing.assert_array_equal(first.scores.actual, second.scores.actual)


def test_without_a_value_there_is_nothing_to_serve():
    y = history(days=4)
    empty = replace(y, values={"y": np.full_like(y.values["y"], np.nan)})
    with pytest.raises(NotEnoughDataError, match="no value is known"):
        MODEL.fit(TASK, empty, y.length - 1)


def test_it_is_saved_and_loaded(tmp_path):
    y = history(days=4)
    model = MODEL.fit(TASK, y, y.length - 1).model
    model.save(tmp_path)
    loaded = ForecastModel.load(tmp_path)
    assert (loaded.baseline, loaded.reason, loaded.members) == (model.baseline, model.reason, ())
    np.testing.assert_array_equal(at_end(loaded, y).value, at_end(model, y).value)


def test_intervals_are_as_wide_as_the_baselines_own_errors():
    y = history(days=18, series=12)
    model = MODEL.fit(TASK, y, 4 * DAY).model
    assert model.members == ()
    found = backtest(model, y, np.arange(5 * DAY, 17 * DAY, 7)).scores()
    assert 0.8 < found["coverage"] < 0.99


def test_a_series_that_is_younger_than_the_others_is_served_a_baseline():
    y = history()
    fitted = MODEL.fit(TASK, y, y.length - 1)
    values = y.values["y"].copy()
    values[0, :-5] = np.nan
    said = at_end(fitted.model, replace(y, values={"y": values}))
    assert (said.value[0, :19] == values[0, -1]).all()
    np.testing.assert_array_equal(said.value[0, 19:], values[0, -5:])  # a day before
    assert said.needed <= said.known[0] < said.enough <= said.known[1]
    full = at_end(fitted.model, y)
    np.testing.assert_array_equal(said.value[1:], full.value[1:])


@pytest.mark.parametrize("values", [1, 2, 5, 23])
def test_a_new_series_has_an_interval_that_covers_what_comes(values):
    y = history(days=50)
    fitted = MODEL.fit(TASK, replace(y, values={"y": y.values["y"][:, : 40 * DAY]}), 40 * DAY - 1).model
    wide, hits, seen = [], 0, 0
    for origin in range(41 * DAY, 47 * DAY, 7):
        fresh = y.values["y"].copy()
        fresh[:, : origin + 1 - values] = np.nan
        said = fitted.forecast(replace(y, values={"y": fresh}), np.arange(6), np.array([origin]))
        actual = y.values["y"][:, origin + 1 : origin + 25]
        hits, seen = hits + ((said.lower <= actual) & (actual <= said.upper)).sum(), seen + actual.size
        wide.append(((said.upper - said.lower) / said.value).mean())
    assert hits / seen > 0.8
    assert 0.3 < np.mean(wide) < 3
