"""After a step of level forecasts keep the season on the new level; what goes back is dropped; no origin sees ahead."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf

import numpy as np
import polars as pl
import pytest

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import Examples, every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.feedback import reach
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster
from headrace.models.levels import WAITS, Shift, block, clearness, moved

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, 5, tzinfo=UTC)
MODEL = Forecaster(n_estimators=40, max_rows=6000)
FRAME = MODEL.frame("y", HOUR)
TASK = ForecastProblem(FRAME, 24, seasonal_features("y", step="1h"))
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
    for origin in (FIT + 99, FIT + 101):  # the block that the step lies in ends with 102
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
    assert model.clear == 1
    for clear in (1.0, 3.5, inf):
        replace(model, clear=clear).save(tmp_path)
        assert ForecastModel.load(tmp_path).clear == clear
    manifest = json.loads((tmp_path / "model.json").read_text())
    del manifest["clear"]
    for before, clear in (({}, inf), ({"moves": False}, inf), ({"moves": True}, 1)):
        (tmp_path / "model.json").write_text(json.dumps(manifest | before))
        assert ForecastModel.load(tmp_path).clear == clear


def test_where_that_was_of_no_use_a_step_must_be_clearer_than_what_misled(monkeypatch):
    y = stepped(history(), FIT - 96, lambda v: v * 0.5)
    assert MODEL.fit(TASK, y, FIT).model.clear == 1
    with monkeypatch.context() as wrong:
        wrong.setattr(Shift, "apply", lambda self, values: np.copyto(values, 3 * values))
        clear = MODEL.fit(TASK, y, FIT).model.clear
    every, origin = np.zeros(96, dtype=np.intp), np.arange(FIT - 96, FIT)
    assert 1 < clearness(y, every, FRAME, origin, 1.0).max() < clear < inf
    for believed in (1.0, clear):
        seen = moved(y, FRAME, Examples(every, origin, np.ones_like(every)), believed)[1].series
        assert (seen != 0).any() == (believed == 1)


def test_who_was_misled_waits_for_a_season():
    y = stepped(history(), FIT + 97, STEPS["x1.6"])
    for after, clear, believed in (
        (6, 1.0, True),
        (6, WAITS, False),
        (25, WAITS, True),
        (25, 1000.0, False),
        (25, inf, False),
    ):
        origin = np.array([FIT + 97 + after])
        seen = moved(y, FRAME, Examples(np.array([0]), origin, np.array([1])), clear)[1].series
        assert (seen[0] != 0) == believed


def test_a_large_step_is_seen_as_soon_as_a_block_of_six_hours_is_over(fit):
    y, model = fit
    for at in (FIT + 97, FIT + 100, FIT + 103):  # blocks begin with 97 and 103
        spoilt = stepped(y, at, STEPS["x1.6"])
        seen = read(spoilt, FIT + 108)
        assert seen[: at - 6].mean() == pytest.approx(1.6 * y.values["y"][0, : at - 6].mean(), rel=0.15)
        errors = []
        for clear in (1.0, inf):
            done = backtest(replace(model, clear=clear), spoilt, np.arange(FIT + 108, FIT + 118, 3))
            errors.append(np.abs(done.actual - done.value)[done.series == 0].mean())
        assert errors[0] < 0.75 * errors[1]


@pytest.mark.parametrize("days", [1, 7, 8, 9, 14, 15, 16, 22, 23, 40])
def test_a_short_history_has_few_or_no_steps(days):
    y = history()
    part = replace(y, values={"y": y.values["y"][:, : days * 24 + 5] * 1.0})
    part.values["y"][:, -30:] *= 2
    every = Examples(*every_origin(2, np.arange(part.length)), np.ones(2 * part.length, dtype=np.intp))
    seen, examples = moved(part, FRAME, every)
    assert (examples.series == every.series).all() == (days < 15)
    assert seen.length == part.length
