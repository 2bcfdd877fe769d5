"""The forecaster: the same seed gives the same bytes; hard series give a forecast or none, never a crash."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace import Estimator
from headrace.errors import ArtefactError, DeclarationError
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models import calibration
from headrace.models.backtest import ForecastProblem, backtest, scored_origins
from headrace.models.baselines import persistent
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster
from headrace.models.sampling import sample, spans

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = Forecaster(n_estimators=30, max_rows=4000)
TASK = ForecastProblem(MODEL.frame("y", HOUR), 24, seasonal_features("y", step="1h"))


def history(series=6, days=40, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(days * 24)
    level = rng.uniform(10, 1000, series)[:, None]
    season = 1 + 0.3 * np.sin(2 * np.pi * t / 24 + rng.uniform(0, 6, series)[:, None]) + 0.1 * (t // 24 % 7 > 4)
    return History(
        pl.DataFrame({"k": list(range(series))}),
        {"y": level * (season + rng.normal(0, 0.05, (series, t.size)))},
        Grid(HOUR).slot(START),
        Grid(HOUR),
    )


@pytest.fixture(scope="module")
def fit():
    y = history()
    return y, MODEL.fit(TASK, y, y.length - 1)


def files(model, folder):
    folder.mkdir()
    model.save(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_workers(fit, tmp_path):
    y, first = fit
    again = MODEL.fit(TASK, y, y.length - 1, workers=1)
    assert files(first.model, tmp_path / "a") == files(again.model, tmp_path / "b")
    other = MODEL.model_copy(update={"seed": 1}).fit(TASK, y, y.length - 1)
    assert files(other.model, tmp_path / "c") != files(first.model, tmp_path / "d")


def test_a_fit_keeps_what_its_twin_said_of_the_time_held_back(fit):
    y, fitted = fit
    again = backtest(fitted.measured, y, scored_origins(y, fitted.before, y.length - 1, 24))
    for name in ("actual", "value", "series", "origin", "ahead"):
        np.testing.assert_array_equal(getattr(fitted.scores, name), getattr(again, name))


def test_the_size_of_blocks_changes_no_bit(fit, tmp_path, monkeypatch):
    y, whole = fit
    monkeypatch.setattr("headrace.features.matrix.CELLS", 2 * y.length)
    monkeypatch.setattr("headrace.models.forecast.CHUNK", 7000)
    again = MODEL.fit(TASK, y, y.length - 1)
    assert files(again.model, tmp_path / "a") == files(whole.model, tmp_path / "b")


def test_a_loaded_model_says_the_same(fit, tmp_path):
    y, fitted = fit
    fitted.model.save(tmp_path)
    loaded = ForecastModel.load(tmp_path)
    windows = every_origin(y.series, np.array([y.length - 30, y.length - 1]))
    one, two = fitted.model.forecast(y, *windows), loaded.forecast(y, *windows, threads=2)
    for name in ("value", "lower", "upper"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_a_model_that_another_version_wrote_is_named_as_such(fit, tmp_path):
    fit[1].model.save(tmp_path)
    path = tmp_path / "model.json"
    whole = json.loads(path.read_text())
    for lacking in sorted(whole.keys() - {"digests", "persistent", "factors", "clear", "jumps"}):
        path.write_text(json.dumps({name: value for name, value in whole.items() if name != lacking}))
        with pytest.raises(ArtefactError, match=f"another version of headrace: it says nothing of '{lacking}'") as told:
            ForecastModel.load(tmp_path)
        assert "headrace train" in told.value.hint
    for wrong in ([], "text", whole | {"limits": {"least": 0, "new": 1}}, whole | {"seasons": None}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ArtefactError):
            ForecastModel.load(tmp_path)


def test_one_origin_alone_and_one_series_alone_give_the_same_bits(fit):
    y, fitted = history(days=60), fit[1]
    last = y.length - 1
    every, first = np.arange(y.series), np.array([0])
    together = fitted.model.forecast(y, *every_origin(y.series, np.array([last - 5, last]))).value[1::2]
    np.testing.assert_array_equal(together, fitted.model.forecast(y, every, np.array([last])).value)
    lone = replace(y, keys=y.keys[2:3], values={"y": y.values["y"][2:3]})
    np.testing.assert_array_equal(together[2:3], fitted.model.forecast(lone, first, np.array([last])).value)
    reach = fitted.model.lookback // HOUR
    tail = replace(y, values={"y": y.values["y"][:, -reach:]}, first=y.first + y.length - reach)
    np.testing.assert_array_equal(together, fitted.model.forecast(tail, every, np.array([reach - 1])).value)


def test_it_beats_the_seasonal_naive_and_covers_what_it_says(fit):
    y, fitted = fit
    later = history(days=54)  # the same series, two weeks on: nothing of them was seen
    scored = backtest(fitted.model, later, np.arange(y.length - 1, later.length - 25, 6))
    assert scored.scores()["wape"] < 0.95 * scored.baseline(later, TASK.frame, timedelta(days=1))["wape"]
    assert abs(scored.scores()["coverage"] - MODEL.coverage) < 0.05


@pytest.mark.parametrize(
    ("change", "forecast"),
    [
        (lambda y: y.__setitem__(slice(None, -10), np.nan), True),  # ten hours old
        (lambda y: y.__setitem__(slice(None), np.nan), False),
        (lambda y: y.__setitem__(slice(None, -60), np.nan), True),
        (lambda y: y.__setitem__(slice(None, None, 3), np.nan), True),
        (lambda y: y.__setitem__(slice(-30, None), np.nan), True),  # silent for more than a day
        (lambda y: y.__setitem__(slice(None), 0.0), True),
        (lambda y: y.__setitem__(slice(None), 7.0), True),
        (lambda y: y.__imul__(-1e9), True),
    ],
)
def test_hard_series(fit, change, forecast):
    y, fitted = fit
    hard = replace(y, values={"y": y.values["y"].copy()})
    change(hard.values["y"][0])
    windows = np.arange(y.series), np.array([y.length - 1])
    found = fitted.model.forecast(hard, *windows)
    assert np.isfinite(found.value[0]).all() == forecast
    assert (found.known[0] >= found.needed) == forecast
    assert np.isfinite(found.value[1:]).all()
    assert MODEL.fit(TASK, hard, y.length - 1).model.forecast(hard, *windows).value.shape == (6, 24)


def test_half_widths_are_the_conformal_quantiles():
    rng = np.random.default_rng(3)
    ahead = np.repeat([1, 2, 3], [100, 100, 5])
    error, scale = rng.normal(size=205), rng.uniform(1, 2, 205)
    widths = calibration.half_widths(abs(error) / scale, ahead, horizon=3, level=0.9)
    score = np.abs(error) / scale
    assert widths[0] == np.sort(score[:100])[int(np.ceil(101 * 0.9)) - 1]
    assert widths[2] == np.sort(score)[int(np.ceil(206 * 0.9)) - 1]  # too few of its own


def test_examples_end_where_they_must_and_repeat():
    y = history(series=3, days=20).values["y"]
    y[1, :200] = np.nan
    span = spans(y, warm_up=24, end=300, longest=10_000)
    drawn = [sample(y, span, horizon=24, end=300, limit=500, seed=5) for _ in range(2)]
    assert (drawn[0].target <= 300).all()
    assert (drawn[0].origin[drawn[0].series == 1] >= 224).all()
    assert 400 < len(drawn[0]) <= 500
    assert (drawn[0].target == drawn[1].target).all()
    every = sample(y, span, horizon=24, end=300, limit=10**6, seed=5)
    assert len(every) == sum(min(24, 300 - o) for first in (24, 224, 24) for o in range(first, 300))


def test_a_series_with_larger_errors_has_wider_intervals():
    rng = np.random.default_rng(5)
    series = np.repeat([0, 1, 2], [20_000, 20_000, 3])
    residual = abs(rng.normal(size=40_003)) * np.array([1.0, 3.0, 50.0])[series]
    factors = calibration.series_factors(residual, series, 4)
    assert factors[1] / factors[0] == pytest.approx(3, rel=0.1)
    assert factors[2] < 1.3  # three residuals say little
    assert factors[3] == 1
    np.testing.assert_array_equal(calibration.series_factors(np.array([np.nan]), np.array([0]), 2), [1, 1])


def test_scored_origins_lie_between():
    origins = scored_origins(history(), 100, 300, 24)
    assert (origins.min(), origins.max()) == (100, 276)


def walk(days=40, seed=7):
    """A series that follows its last value, far from zero."""
    return 500 + np.random.default_rng(seed).normal(size=days * 24).cumsum()


def test_a_series_persists_where_its_last_value_says_more_than_its_season():
    y = np.vstack([walk(), history(series=1).values["y"], np.full((1, 960), 7.0), np.full((1, 960), np.nan)])
    y[0, 100:130] = np.nan
    assert persistent(y, season=24, ahead=12).tolist() == [True, False, False, False]


def test_persistent_series_have_members_of_their_own(tmp_path):
    y = history(series=4)
    y.values["y"][1] = walk()
    fitted = MODEL.fit(TASK, y, y.length - 200).model
    assert fitted.persistent == {"[1]"}
    assert [(t.anchor, t.log) for t, _ in fitted.members] == [
        ("level", False),
        ("season", True),
        ("last", False),
        ("last", True),
    ]
    scored = backtest(fitted, y, np.arange(y.length - 200, y.length - 25, 5))
    own = scored.series == 1
    held = y.values["y"][scored.series, scored.origin]
    errors = [np.abs(scored.actual - guess)[own].mean() for guess in (scored.value, held)]
    assert errors[0] < 1.05 * errors[1]  # nothing beats the last value of a random walk
    fitted.save(tmp_path)
    loaded = ForecastModel.load(tmp_path).forecast(y, *every_origin(4, np.array([y.length - 1]))).value
    for row in range(4):  # a part of the series, of one kind or both, says the same
        lone = replace(y, keys=y.keys[row : row + 1], values={"y": y.values["y"][row : row + 1]})
        alone = fitted.forecast(lone, np.array([0]), np.array([y.length - 1])).value
        np.testing.assert_array_equal(loaded[row : row + 1], alone)


def test_where_all_series_persist_an_unknown_one_is_forecast_too():
    y = history(series=2)
    y.values["y"][:] = [walk(), walk(seed=8) - 600]  # one lies below zero: no logarithms
    fitted = replace(MODEL.fit(TASK, y, y.length - 1).model, since=None)
    assert [t.anchor for t, _ in fitted.members] == ["last"]
    unknown = replace(y, keys=pl.DataFrame({"k": [8, 9]}))
    windows = every_origin(2, np.array([y.length - 1]))
    np.testing.assert_array_equal(fitted.forecast(unknown, *windows).value, fitted.forecast(y, *windows).value)


def test_series_of_both_kinds_need_not_lie_above_zero():
    y = history(series=4)
    y.values["y"][1] = walk() - 500
    y.values["y"][2, ::7] = 0.0
    fitted = MODEL.fit(TASK, y, y.length - 1).model
    assert [t.anchor for t, _ in fitted.members] == ["level", "season", "last"]  # one of a kind: no logarithms
    forecast = fitted.forecast(y, *every_origin(4, np.array([y.length - 1])))
    assert np.isfinite(forecast.value).all()


def test_a_series_may_reach_zero_after_the_twin_has_seen_the_last_of_it():
    y = history(series=1)
    y.values["y"][:] = walk()
    y.values["y"][:, -40:-10] = 0.0  # long enough to be no glitch
    fitted = MODEL.fit(TASK, y, y.length - 1)
    assert [len(model.members) for model in (fitted.measured, fitted.model)] == [2, 1]
    assert np.isfinite(fitted.model.forecast(y, *every_origin(1, np.array([y.length - 1]))).value).all()


@pytest.mark.parametrize("trees", [False, True])
def test_any_regressor_learns_behind_the_features(trees, tmp_path):
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge

    regressor = ExtraTreesRegressor(5, min_samples_leaf=20) if trees else Ridge()
    y = history()
    model = Forecaster(learner=Estimator(model=regressor), max_rows=2000)
    fitted = model.fit(ForecastProblem(model.frame("y", HOUR), 24, TASK.features), y, y.length - 1)
    done = fitted.model.forecast(y, *every_origin(y.series, np.array([y.length - 1])))
    assert np.isfinite(done.value).all()
    assert fitted.scores.scores()["wape"] < 0.2
    fitted.model.save(tmp_path)
    again = ForecastModel.load(tmp_path).forecast(y, np.array([1]), np.array([y.length - 1]))
    np.testing.assert_array_equal(again.value[0], done.value[1])


@pytest.mark.parametrize(
    ("learner", "where", "what"),
    [
        (Estimator(class_path="sklearn.linear_model.LogisticRegression"), "model.learner", "numbers are wanted"),
        (Estimator(class_path="sklearn.nowhere.X"), "model.learner.class_path", "no sklearn.nowhere.X"),
    ],
)
def test_a_learner_that_is_no_regressor_is_refused(learner, where, what):
    with pytest.raises(DeclarationError) as refused:
        Forecaster(learner=learner).check(target=None, features=TASK.features, step=HOUR, horizon=24 * HOUR)
    assert refused.value.where == where
    assert what in refused.value.message
