"""A model measured without the fit that a training keeps: the same scores, for half of the work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from headrace import Forecaster, FrameForecaster
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.grid import Grid
from headrace.models import forecaster
from headrace.models.backtest import Backtest, ForecastProblem
from headrace.models.series import SeriesModel
from headrace.tasks.forecast.training import HistoryFit

HOUR = timedelta(hours=1)
FEATURES = seasonal_features("y", step="1h", seasons=("24h",))


class LastDay:
    """Says the day before again; counts its fits."""

    fits = 0

    def fit(self, frame: pl.DataFrame) -> None:
        type(self).fits += 1

    def predict(self, frame: pl.DataFrame, horizon: int) -> pl.DataFrame:
        return pl.concat(
            pl.DataFrame(
                {
                    "unique_id": name,
                    "ds": [one["ds"][-1] + HOUR * step for step in range(1, horizon + 1)],
                    "forecast": one["y"].to_numpy()[-24:][:horizon],
                }
            )
            for (name,), one in frame.group_by("unique_id", maintain_order=True)
        )


def history() -> History:
    random = np.random.default_rng(1)
    values = 100 + 20 * np.sin(np.arange(480) * np.pi / 12) + random.normal(size=(3, 480))
    start = Grid(HOUR).slot(datetime(2026, 1, 1, tzinfo=UTC))
    return History(pl.DataFrame({"place": ["a", "b", "c"]}), {"y": values}, start, Grid(HOUR))


def pairs(fit: Any, past: History, parts: int) -> list[Backtest]:
    return list(HistoryFit(fit, past, None).served_in(parts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "model",
    [
        Forecaster(seasons=("24h",), n_estimators=4, num_leaves=4, min_child_samples=20, max_rows=2000),
        FrameForecaster(model=LastDay(), seasons=("24h",), n_windows=5),
    ],
    ids=["forecaster", "frame"],
)
def test_it_says_what_a_training_would_say_in_parts_too(model: SeriesModel, monkeypatch: pytest.MonkeyPatch) -> None:
    past, boosters = history(), list[int]()
    learn = forecaster.fit_booster

    def counted(*arguments: Any, **settings: Any) -> str:
        boosters.append(1)
        return learn(*arguments, **settings)

    monkeypatch.setattr(forecaster, "fit_booster", counted)
    problem = ForecastProblem(model.frame("y", HOUR), 6, FEATURES)
    whole = model.fit(problem, past, past.length - 1)
    fits, LastDay.fits = (len(boosters) or LastDay.fits), 0
    boosters.clear()
    measured = model.measure(problem, past, past.length - 1)
    assert 2 * (len(boosters) or LastDay.fits) == fits
    (expected,) = pairs(whole, past, 1)
    parts = pairs(measured, past, 4)
    assert len(parts) == 4
    assert all(part.origin.max() < later.origin.min() for part, later in pairwise(parts))
    assert Backtest.joined(parts).scores() == pytest.approx(expected.scores(), rel=1e-12)
