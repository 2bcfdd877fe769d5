"""A forecaster of one's own over a frame of series: fitted, measured, stored, and asked like any other model."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace import Column, Contract, Forecaster, FrameForecaster, System
from headrace.errors import DeclarationError, ModelError
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models import long
from headrace.models.backtest import ForecastProblem
from headrace.models.fitted import load_series
from headrace.models.frames import FrameModel

HOUR = timedelta(hours=1)
HORIZON = 6


class Seasonal:
    """The mean of the same hours of the days before, by the data of the fit and of the moment."""

    def __init__(self, season=24):
        self.season = season

    def fit(self, frame):
        self.series = frame["unique_id"].n_unique()

    def predict(self, frame, horizon):
        parts = []
        for (name,), one in frame.group_by("unique_id", maintain_order=True):
            y = one["y"].to_numpy()[-(len(one) // self.season) * self.season :].reshape(-1, self.season)
            mean = y.mean(axis=0)[np.arange(horizon) % self.season]
            times = [one["ds"][-1] + HOUR * step for step in range(1, horizon + 1)]
            parts.append(pl.DataFrame({"unique_id": name, "ds": times, "forecast": mean}))
        return pl.concat(parts)


class Bounded(Seasonal):
    def predict(self, frame, horizon):
        y = pl.col("forecast")
        return super().predict(frame, horizon).with_columns(lo=y - 1, hi=y + 2)


class Among(Seasonal):
    """Looks at the other series."""

    def predict(self, frame, horizon):
        shift = frame["y"].mean()
        return super().predict(frame, horizon).with_columns(pl.col("forecast") + shift)


class Restless(Seasonal):
    calls = 0

    def predict(self, frame, horizon):
        Restless.calls += 1
        return super().predict(frame, horizon).with_columns(pl.col("forecast") + Restless.calls)


def history(series=3, days=40, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(days * 24)
    y = rng.uniform(10, 1000, (series, 1)) * (
        1 + 0.3 * np.sin(2 * np.pi * t / 24) + rng.normal(0, 0.05, (series, t.size))
    )
    start = Grid(HOUR).slot(datetime(2026, 1, 1, tzinfo=UTC))
    return History(pl.DataFrame({"k": [f"s{i}" for i in range(series)]}), {"y": y}, start, Grid(HOUR))


def fit(model, y, **more):
    model = FrameForecaster(model=model, **more)
    task = ForecastProblem(model.frame("y", HOUR), HORIZON, seasonal_features("y", step="1h"))
    return model.fit(task, y, y.length - 1)


def at(model, y, origin=None):
    return model.forecast(y, *every_origin(y.series, np.array([y.length - 1 if origin is None else origin])))


def test_its_numbers_are_served_with_intervals_of_its_own_errors():
    y = history()
    fitted = fit(Seasonal(), y)
    done = at(fitted.model, y)
    mean = y.values["y"].reshape(3, -1, 24)[:, -56:].mean(axis=1)[:, :HORIZON]
    np.testing.assert_allclose(done.value, mean, rtol=1e-12)
    assert (done.share == 1).all()
    assert (done.lower < done.value).all()
    assert (done.value < done.upper).all()
    assert 0.85 < fitted.scores.scores()["coverage"] <= 1
    assert fitted.scores.scores()["wape"] < 0.06
    assert fitted.before <= y.length - 1 - HORIZON


def test_intervals_that_it_gives_are_served():
    y = history()
    done = at(fit(Bounded(), y).model, y)
    np.testing.assert_allclose(done.lower, done.value - 1)
    np.testing.assert_allclose(done.upper, done.value + 2)


def test_nothing_after_an_origin_is_looked_at():
    y = history()
    model, origin = fit(Seasonal(), y).model, 30 * 24
    later = replace(y, values={"y": np.where(np.arange(y.length) > origin, 1e9, y.values["y"])})
    np.testing.assert_array_equal(at(model, y, origin).value, at(model, later, origin).value)


def test_a_series_alone_gets_the_numbers_that_it_gets_among_others(tmp_path):
    y = history()
    model = fit(Among(), y).model
    assert model.alone
    together = at(model, y).value
    one = replace(y, keys=y.keys[1:2], values={"y": y.values["y"][1:2]})
    np.testing.assert_array_equal(at(model, one).value[0], together[1])
    assert not fit(Seasonal(), y).model.alone


def test_models_of_statsforecast_need_no_wrapper(tmp_path):
    pytest.importorskip("statsforecast", reason="statsforecast is not installed")
    from statsforecast import StatsForecast
    from statsforecast.models import SeasonalNaive

    y = history(days=12)
    whole, alone = (fit(each, y).model for each in (StatsForecast([SeasonalNaive(24)], "1h"), SeasonalNaive(24)))
    done = at(whole, y)
    np.testing.assert_array_equal(done.value, y.values["y"][:, -24:][:, :HORIZON])
    np.testing.assert_array_equal(at(alone, y).lower, done.lower)
    whole.save(tmp_path)
    np.testing.assert_array_equal(at(load_series(tmp_path), y).value, done.value)


def test_a_model_of_statsforecast_without_intervals_gets_those_of_its_errors():
    pytest.importorskip("statsforecast", reason="statsforecast is not installed")
    from statsforecast.models import SeasonalWindowAverage

    y = history(days=12)
    done = at(fit(SeasonalWindowAverage(season_length=24, window_size=2), y).model, y)
    assert np.isfinite(done.value).all()
    assert (done.lower <= done.value).all()
    assert (done.value <= done.upper).all()


def test_numbers_that_change_when_it_is_asked_again_are_refused():
    with pytest.raises(ModelError, match="other numbers for the same frame"):
        fit(Restless(), history())


def test_what_was_stored_gives_the_same_bits(tmp_path):
    y = history()
    model = fit(Seasonal(), y).model
    model.save(tmp_path)
    again = load_series(tmp_path)
    assert isinstance(again, FrameModel)
    assert again.own.series == 3
    for name in ("value", "lower", "upper"):
        np.testing.assert_array_equal(getattr(at(again, y), name), getattr(at(model, y), name))
    assert again.lookback == model.lookback


def test_a_young_series_is_served_a_baseline():
    y = history(days=40)
    y.values["y"][2, :-5] = np.nan
    done = at(fit(Seasonal(), y).model, y)
    assert done.share[:, 0].tolist() == [1, 1, 0]
    assert np.isfinite(done.value).all()


def test_too_little_history_is_no_refusal():
    y = history(days=1)
    fitted = fit(Seasonal(), y)
    assert not fitted.model.taught
    assert "too short" in fitted.model.reason
    assert np.isfinite(at(fitted.model, y).value).all()


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lambda frame: frame.select("unique_id", "ds"), "predict gives 0 columns"),
        (lambda frame: frame.drop("unique_id"), "columns"),
        (lambda frame: frame.group_by("unique_id", maintain_order=True).head(2), "2 rows for series s0, 6"),
        (lambda frame: frame.with_columns(lo=pl.lit(2.0), hi=pl.lit(1.0)), "lower end is above"),
        (lambda frame: frame.with_columns(two=pl.lit(2.0)), "2 columns: forecast, two"),
        (lambda frame: frame.with_columns(pl.col("ds") - HOUR), "as step 1 of series s0, .* was asked for"),
        (lambda frame: frame.with_columns(pl.col("ds") + HOUR), "as step 1 of series s0, .* was asked for"),
        (lambda frame: frame.with_columns(pl.col("ds").first()), "as step 2 of series s0"),
        (lambda frame: frame.with_columns(pl.col("ds").cast(pl.String)), "ds of the type String"),
        (lambda frame: frame.with_columns(ds=pl.lit(None, pl.Datetime)), "as step 1 of series s0"),
        (lambda frame: frame.with_columns(pl.col("unique_id").replace("s0", "s9")), "not asked for: s9"),
        (lambda frame: frame.with_columns(forecast=pl.lit(np.nan)), "no series a forecast of finite numbers"),
        (lambda frame: 5, "gives a int, not a frame"),
        (lambda frame: 1 / 0, "predict failed: ZeroDivisionError"),
    ],
)
def test_what_is_no_forecast_is_named(answer, what):
    class Odd(Seasonal):
        def predict(self, frame, horizon):
            return answer(super().predict(frame, horizon))

    with pytest.raises(ModelError, match=what):
        fit(Odd(), history())


def test_gaps_are_filled_left_or_dropped():
    y = history(series=2, days=2)
    y.values["y"][0, :40] = np.nan
    y.values["y"][0, 45] = np.nan
    rows = np.arange(2)
    of = {gaps: long.frame_of(y, rows, 47, width=10, target="y", gaps=gaps) for gaps in ("fill", "null", "drop")}
    assert [frame.height for frame in of.values()] == [18, 18, 17]
    assert of["fill"]["y"][5] == of["fill"]["y"][4]
    assert of["null"]["y"].null_count() == 1
    assert of["fill"]["ds"][0] == datetime(2026, 1, 2, 16, tzinfo=UTC).replace(tzinfo=None)
    two = replace(y, keys=pl.DataFrame({"a": ["x", "x/y"], "b": [1, 2]}))
    assert long.identifiers(two) == ["x/1", "x\\/y/2"]


@pytest.mark.parametrize("kind", [pl.Datetime("ns"), pl.Datetime("ms"), pl.Datetime("us", "UTC")])
def test_times_of_any_unit_are_read(kind):
    class Other(Seasonal):
        def predict(self, frame, horizon):
            answer = super().predict(frame, horizon)
            return answer.with_columns(pl.col("ds").dt.replace_time_zone(kind.time_zone).cast(kind))

    y = history(series=1)
    np.testing.assert_array_equal(at(fit(Other(), y).model, y).value, at(fit(Seasonal(), y).model, y).value)


def test_forecasts_from_before_a_dropped_gap_are_not_served_at_other_hours():
    y = history()
    y.values["y"][1, -3:] = np.nan
    done = at(fit(Seasonal(), y, gaps="drop").model, y)
    assert done.share[:, 0].tolist() == [1, 0, 1]
    assert np.isfinite(done.value).all()
    assert (at(fit(Seasonal(), y).model, y).share == 1).all()


def system(**more):
    more = {"horizon": "6h", "step": "1h", "time": "time"} | more
    columns = (Column("k", "category"), Column("time", "time", zone="UTC"), Column("y", "float"))
    return System(name="own", contract=Contract(columns=columns), keys=("k",), target="y", **more)


def test_an_object_is_wrapped_and_its_settings_and_code_shape_the_digest():
    one = system(model=Seasonal())
    assert isinstance(one.model, FrameForecaster)
    assert one.model_dump(mode="json")["model"]["model"].endswith("test_frames.Seasonal")
    assert one.made_from["model"] == system(model=Seasonal()).made_from["model"]
    others = [Seasonal(12), Bounded(), Seasonal, FrameForecaster(model=Seasonal, params={"season": 12})]
    assert len({system(model=each).made_from["model"] for each in [Seasonal(), *others]}) == 5


class Matrix:
    def get_params(self, deep=True):
        return {}

    def fit(self, matrix, target):
        return self


@pytest.mark.parametrize(
    ("model", "where", "what"),
    [
        (object(), "model", "object has no fit"),
        (Matrix(), "model", "learns from a matrix, not from series"),
        (FrameForecaster(), "model.model", "either model= or class_path="),
        (FrameForecaster(class_path="statsforecast.nowhere.Nothing"), "model.class_path", "statsforecast"),
        (FrameForecaster(class_path="headrace_absent.Nothing"), "model.class_path", "not installed"),
        (FrameForecaster(model=Seasonal, params={"seasons": 2}), "model.params.seasons", "unexpected keyword"),
        (FrameForecaster(model=Seasonal(), params={"season": 2}), "model.params", "an object takes no arguments"),
        (FrameForecaster(model=Seasonal(), seasons=("1h",)), "model.seasons[0]", "several steps"),
    ],
)
def test_a_mistake_is_refused_when_the_system_is_loaded(model, where, what):
    with pytest.raises(DeclarationError) as refused:
        system(model=model)
    assert refused.value.where == where
    assert what in str(refused.value)


def test_it_is_refused_beside_features_and_without_a_horizon():
    with pytest.raises(DeclarationError, match="features: a FrameForecaster reads the series themselves"):
        system(model=Seasonal(), features=seasonal_features("y", step="1h"))
    with pytest.raises(DeclarationError, match="horizon"):
        system(model=FrameForecaster(model=Seasonal()), horizon=None, step=None)
    with pytest.raises(DeclarationError, match="features"):
        system(model=Forecaster())
