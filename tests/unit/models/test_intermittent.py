"""Series of which most values are zero: told by what an origin knows, forecast in sum, with quantiles as intervals."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace import metrics
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.baselines import seasonal_scale
from headrace.models.forecast import ForecastModel
from headrace.models.forecast_parts import forecast_parts
from headrace.models.forecaster import Forecaster
from headrace.models.intermittent import recognised, scales
from headrace.models.limits import Limits

DAY = timedelta(days=1)
MODEL = Forecaster(seasons=("168h",), n_estimators=10, max_rows=2000)
FRAME = MODEL.frame("y", DAY)
TASK = ForecastProblem(FRAME, 14, seasonal_features("y", step="1d", seasons=("168h",)))
END = 250


def history(y):
    return History(
        pl.DataFrame({"k": list(range(len(y)))}),
        {"y": np.asarray(y, dtype=float)},
        Grid(DAY).slot(datetime(2025, 1, 1, tzinfo=UTC)),
        Grid(DAY),
    )


def demand(series=40, days=320, rate=0.15):
    """Counts on some days, none on the seventh day of the week; and one series that sells every day."""
    rng = np.random.default_rng(0)
    t = np.arange(days)
    y = rng.poisson(3, (series, days)) * (rng.random((series, days)) < rate) * (t % 7 != 6)
    y[-1] = 50 + 10 * (t % 7) + rng.normal(0, 3, days).round()
    return history(y)


@pytest.fixture(scope="module")
def fit():
    y = demand()
    return y, MODEL.fit(TASK, y, END)


def told(values, origin=None):
    y = history([values])
    at = y.length - 1 if origin is None else origin
    return bool(recognised(y, FRAME, np.array([0]), np.array([at]))[0])


def test_over_half_zeros_and_none_below_make_it():
    assert told([0, 0, 1] * 20)
    assert not told([0, 1] * 20)
    assert told([0, 0, 0, 0, 1] * 10)
    assert not told([0, 0, -1] * 20)
    assert not told([5, 6, 7] * 20)
    assert not told([0.0, np.nan, 1.0] * 20)
    assert told([0] * 28)
    assert not told([0, 0, 0])  # less than a season says nothing


def test_only_what_the_origin_knows_counts():
    values = [0, 0, 1] * 20 + [9] * 40
    assert told(values, 59)
    assert not told(values)


def test_it_is_the_mean_and_beats_it_and_zero(fit):
    y, fitted = fit
    done = backtest(fitted.model, y, np.arange(END, 305, 3))
    assert fitted.model.sparse
    assert done.sparse.mean() == pytest.approx(39 / 40)
    which = done.sparse
    actual, scale = done.actual[which], scales(y.values["y"][:, : END + 1])[done.series[which]]
    window = np.array([y.values["y"][s, o - 27 : o + 1].mean() for s, o in zip(done.series, done.origin, strict=True)])
    ours = metrics.rmsse(actual, done.value[which], scale)
    assert ours <= metrics.rmsse(actual, window[which], scale)
    assert ours < metrics.rmsse(actual, np.zeros(actual.size), scale)
    assert abs(metrics.bias(actual, done.value[which])) < 0.1 * actual.mean()
    loss = [metrics.pinball(actual, end[which], level) for end, level in ((done.lower, 0.05), (done.upper, 0.95))]
    zero = [metrics.pinball(actual, np.zeros(actual.size), level) for level in (0.05, 0.95)]
    assert sum(loss) <= 0.95 * sum(zero)
    assert metrics.coverage(actual, done.lower[which], done.upper[which]) >= 0.88


def test_wape_is_of_the_others_alone(fit):
    _, fitted = fit
    regular = ~fitted.scores.sparse
    assert fitted.scores.scores()["wape"] == metrics.wape(fitted.scores.actual[regular], fitted.scores.value[regular])
    assert fitted.scores.scores()["wape"] < 0.2


def test_alone_or_together_saved_or_not_the_bits_are_the_same(fit, tmp_path):
    y, fitted = fit
    together = fitted.model.forecast(y, *every_origin(y.series, np.array([290, 300])))
    fitted.model.save(tmp_path)
    loaded = ForecastModel.load(tmp_path)
    reach = fitted.model.lookback // DAY
    for series in (0, 7, 39):
        begin = max(300 - reach + 1, 0)
        part = replace(y, values={"y": y.values["y"][series : series + 1, begin:]}, keys=y.keys[series : series + 1])
        part = replace(part, first=y.first + begin)
        alone = loaded.forecast(part, np.array([0]), np.array([300 - begin]))
        at = 2 * series + 1
        for name in ("value", "lower", "upper"):
            np.testing.assert_array_equal(getattr(alone, name)[0], getattr(together, name)[at])


def test_whole_numbers_are_forecast_where_they_are_declared(fit):
    y, _ = fit
    task = replace(TASK, limits=Limits(lowest=0, highest=110, whole=True))
    model = MODEL.fit(task, y, END).model
    said = model.forecast(y, *every_origin(y.series, np.array([END])))
    assert (said.lower == np.rint(said.lower)).all()
    assert (said.upper == np.rint(said.upper)).all()
    assert (said.value[~said.sparse] == np.rint(said.value[~said.sparse])).all()
    assert (said.lower <= said.value).all()
    assert (said.value <= said.upper).all()
    assert said.lower.min() >= 0
    assert said.upper.max() <= 110
    assert said.value[said.sparse].sum() > 0


def seldom(share):
    """A product that sells, for 4.5 at a time, on so many of a hundred days."""
    y = demand(series=3).values["y"]
    y[0] = np.where(np.arange(y.shape[1]) % round(1 / share) == 3, 4.5, 0.0) if share else 0.0
    return history(y)


@pytest.mark.parametrize("share", [0.01, 0.03, 0.2])
def test_an_interval_ends_above_what_is_expected(fit, share):
    y = seldom(share)
    said = fit[1].model.forecast(y, np.array([0]), np.array([END]))
    assert said.sparse[0]
    assert (said.upper > said.value).all()
    assert (said.lower <= said.value).all()
    assert said.upper.max() <= 4.5


def test_of_nothing_but_zeros_nothing_is_expected(fit):
    said = fit[1].model.forecast(seldom(0), np.array([0]), np.array([END]))
    assert (said.value == 0).all()
    assert (said.upper == 0).all()


def test_the_scale_of_a_seldom_seller_rests_on_a_quarter():
    y = seldom(0.02)
    last = int(np.flatnonzero(y.values["y"][0])[-2])
    series, origin = np.array([0, 0]), np.array([last, last + 36])
    month, quarter = (seasonal_scale(y, FRAME, series, origin, seasons=n) for n in (4, 13))
    assert month[1] == 0  # and so no error could be measured by it
    assert quarter[1] > 0


def test_what_a_forecast_of_such_a_series_is_made_of_adds_up(fit):
    y, fitted = fit
    parts = forecast_parts(fitted.model, y, *every_origin(y.series, np.array([END])))
    total = parts.base + sum(parts.features.values()) + sum(parts.steps.values())
    np.testing.assert_allclose(total, parts.forecast.value, rtol=1e-6, atol=1e-6)
    own = parts.steps["its own mean, as it is intermittent"]
    assert (np.abs(own[:-1]).max(axis=1) > 0).all()
    assert (own[-1] == 0).all()
