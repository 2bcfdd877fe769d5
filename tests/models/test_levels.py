"""After a step of level forecasts keep the season on the new level; what goes back is dropped; no origin sees ahead."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import Examples, every_origin
from headrace.grid import Grid
from headrace.models.feedback import reach
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster, Task, backtest
from headrace.models.levels import Shift, block, moved

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, 5, tzinfo=UTC)
MODEL = Forecaster(trees=40, max_rows=6000)
FRAME = MODEL.frame("y", HOUR)
TASK = Task(FRAME, 24, seasonal_features("y", step="1h"))
DAYS, FIT = 84, 56 * 24
STEPS = {
    "x1.6": lambda y: 1.6 * y,
    "x.5": lambda y: 0.5 * y,
    "+60": lambda y: y + 60,
    "-30": lambda y: y - 30,
}


def history(series=2):
    t = np.arange(DAYS * 24)
    weekend = np.where((t // 24) % 7 >= 5, 0.8, 1.0)
    y = weekend * (100 + 40 * np.sin(2 * np.pi * t / 24)) + np.random.default_rng(1).normal(0, 3, (series, t.size))
    return History(pl.DataFrame({"k": list(range(series))}), {"y": y}, Grid(HOUR).slot(START), Grid(HOUR))


def stepped(y, at, change, until=None):
    """The first series with a change of level from one position on."""
    values = y.values["y"].copy()
    values[0, at:until] = change(values[0, at:until])
    return replace(y, values={"y": values})


def read(y, origin, series=0):
    """What a forecast reads of its series up to its origin."""
    seen, examples = moved(y, FRAME, Examples(np.array([series]), np.array([origin]), np.array([1])))
    return seen.values["y"][examples.series[0], : origin + 1]


@pytest.fixture(scope="module")
def fit():
    y = history()
    return y, MODEL.fit(TASK, y, FIT).model


@pytest.mark.parametrize("change", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("at", [FIT + 100, FIT + 111])
def test_from_the_second_day_on_forecasts_are_as_good_as_before(fit, change, at):
    y, model = fit
    origins = np.arange(at + 36, at + 8 * 24, 5)
    clean, after = (backtest(model, each, origins) for each in (y, stepped(y, at, change)))
    first = after.series == 0
    error, usual = (np.abs(done.actual - done.value)[first].mean() for done in (after, clean))
    assert error < 2.5 * usual * max(change(100.0) / 100, 1)
    assert np.abs(after.actual - after.value)[~first].mean() == np.abs(clean.actual - clean.value)[~first].mean()
    width, before = ((done.upper - done.lower)[first].mean() for done in (after, clean))
    assert width < 3 * before * max(change(100.0) / 100, 1)


@pytest.mark.parametrize("change", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("at", [FIT + 100, FIT + 105, FIT + 111])
def test_the_values_before_are_moved_and_those_after_are_not(change, at):
    y = history()
    spoilt, origin = stepped(y, at, change), at + 40
    seen = read(spoilt, origin)
    np.testing.assert_array_equal(seen[at:], spoilt.values["y"][0, at : origin + 1])
    np.testing.assert_allclose(seen[at - 300 : at].mean(), change(y.values["y"][0, at - 300 : at]).mean(), rtol=0.15)
    np.testing.assert_array_equal(read(spoilt, origin, series=1), y.values["y"][1, : origin + 1])


def test_nothing_is_moved_without_a_step_nor_before_it_is_sure():
    y = history()
    every = Examples(*every_origin(2, np.arange(y.length)), np.ones(2 * y.length, dtype=np.intp))
    seen, examples = moved(y, FRAME, every)
    assert (examples.series != every.series).mean() < 0.03
    np.testing.assert_allclose(seen.values["y"][examples.series], y.values["y"][every.series], atol=3)
    spoilt = stepped(y, FIT + 100, STEPS["x1.6"])
    for origin in (FIT + 99, FIT + 105, FIT + 119):
        np.testing.assert_array_equal(read(spoilt, origin), spoilt.values["y"][0, : origin + 1])


def test_a_day_that_was_different_is_soon_forgotten():
    y = stepped(history(), FIT + 96, STEPS["x.5"], until=FIT + 96 + 30)
    assert read(y, FIT + 96 + 26)[0] != y.values["y"][0, 0]  # for all that is known it is a new level
    for origin in range(FIT + 96 + 48, FIT + 96 + 24 * 16):
        np.testing.assert_array_equal(read(y, origin), y.values["y"][0, : origin + 1])


def test_what_was_above_zero_stays_so():
    y = stepped(history(), FIT + 96, lambda v: v - 30)
    seen = read(y, FIT + 140)
    assert seen.min() >= np.nanmin(y.values["y"][0]) > 0


def test_a_lone_season_and_one_of_two_steps_have_none():
    y = stepped(history(), FIT + 96, STEPS["x1.6"])
    for seasons in (("24h",), ("3h", "24h")):
        frame = Forecaster(seasons=seasons).frame("y", HOUR)
        assert block(frame) == 0
        examples = Examples(np.array([0]), np.array([FIT + 140]), np.array([1]))
        assert moved(y, frame, examples) == (y, examples)
    assert block(FRAME) == 6
    assert block(Forecaster(seasons=("168h", "336h")).frame("y", timedelta(days=1))) == 1


@pytest.mark.parametrize("gap", [False, True])
def test_no_origin_sees_ahead_and_no_window_changes_a_bit(fit, gap):
    y, model = fit
    y = stepped(y, FIT + 90, STEPS["x1.6"])
    y = stepped(y, FIT + 250, STEPS["x.5"])
    if gap:
        y.values["y"][:, FIT + 60 : FIT + 70] = np.nan
        y.values["y"][0, np.random.default_rng(0).random(y.length) < 0.1] = np.nan
    series, origin = every_origin(2, np.arange(FIT + 80, FIT + 420, 7))
    together = model.forecast(y, series, origin, threads=2)
    tail = model.lookback // HOUR
    assert tail == MODEL.lookback(TASK.features, HOUR, 24 * HOUR) // HOUR
    assert tail <= 168 * 5 + 24 + 6 + reach(24) + 24 + 36 + 8 * 24
    for i in range(0, origin.size, 5):
        begin, end = origin[i] - tail + 1, origin[i] + 1
        part = replace(y, values={"y": y.values["y"][series[i] : series[i] + 1, begin:end]}, first=y.first + begin)
        alone = model.forecast(
            replace(part, keys=y.keys[series[i] : series[i] + 1]), np.array([0]), np.array([tail - 1])
        )
        for name in ("value", "lower", "upper", "share"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[i])


def test_a_model_of_before_there_were_any_moves_none(fit, tmp_path):
    _, model = fit
    assert model.moves
    model.save(tmp_path)
    assert ForecastModel.load(tmp_path).moves
    manifest = json.loads((tmp_path / "model.json").read_text())
    del manifest["moves"]
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    assert not ForecastModel.load(tmp_path).moves


def test_values_are_not_moved_where_that_was_of_no_use(monkeypatch):
    y = stepped(history(), FIT - 96, lambda v: v * 0.5)
    made = MODEL.fit(TASK, y, FIT)
    assert made.model.moves
    monkeypatch.setattr(Shift, "apply", lambda self, values: np.copyto(values, 3 * values))
    assert not MODEL.fit(TASK, y, FIT).model.moves


@pytest.mark.parametrize("days", [1, 7, 8, 9, 14, 15, 16, 22, 23, 40])
def test_a_short_history_has_few_or_no_steps(days):
    y = history()
    part = replace(y, values={"y": y.values["y"][:, : days * 24 + 5] * 1.0})
    part.values["y"][:, -30:] *= 2
    every = Examples(*every_origin(2, np.arange(part.length)), np.ones(2 * part.length, dtype=np.intp))
    seen, examples = moved(part, FRAME, every)
    assert (examples.series == every.series).all() == (days < 16)
    assert seen.length == part.length
