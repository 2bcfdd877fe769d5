"""No forecast leaves the range of what was seen by more than that range, however strange the series' scale."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.forecaster import Forecaster

DAY = timedelta(days=1)


def sales(seed, *, zeros):
    """Eight shops a day: one that sells daily, others that sell now and then, all closed on one day of the week."""
    rng = np.random.default_rng(seed)
    t = np.arange(300)
    y = rng.lognormal(5, 1.2, (8, t.size)) * np.array([[20, 1, 1, 0.5, 0.5, 0.2, 0.1, 0.1]]).T
    sold = (rng.random(y.shape) < np.array([[1, 0.5, 0.45, 0.4, 0.3, 0.2, 0.1, 0.1]]).T) & (t % 7 != 5)
    sold[:, 100:111] = False
    start = Grid(DAY).slot(datetime(2025, 3, 1, tzinfo=UTC))
    values = {"y": np.where(sold, y, 0 if zeros else np.nan)}
    return History(pl.DataFrame({"k": list(range(8))}), values, start, Grid(DAY))


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_sparse_daily_sales_are_forecast_within_what_was_seen(seed, zeros):
    history = sales(seed, zeros=zeros)
    model = Forecaster(seasons=("168h",), n_estimators=40)
    features = seasonal_features("y", step="1d", seasons=("168h",))
    fitted = model.fit(ForecastProblem(model.frame("y", DAY), 14, features), history, 220).model
    done = backtest(fitted, history, np.arange(220, 285))
    most = np.nanmax(history.values["y"], axis=1)[done.series]
    assert (done.value[~np.isnan(done.value)] <= 2 * most[~np.isnan(done.value)]).all()
    known = ~np.isnan(done.upper)
    assert known.any()
    assert (done.upper[known] <= 5 * most[known]).all()
