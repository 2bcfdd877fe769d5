"""A naive forecast looks as far back as is said, and others are compared with it on the pairs that it has."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headrace.features.matrix import every_example
from headrace.models.baselines import naive, reference
from headrace.models.member import Frame
from headrace.tasks.forecast.scores import measures, scores

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SEASONS = (DAY,)


def test_metrics_stand_beside_the_models_own_on_the_same_pairs():
    nothing = float("nan")
    pairs = pl.DataFrame(
        {
            "actual": [10.0, 10.0, 10.0, None],
            "value": [11.0, 12.0, 30.0, 10.0],
            "lower": 0.0,
            "upper": 20.0,
            "scale": 1.0,
            "baseline_1d": [12.0, 14.0, nothing, 9.0],
        }
    ).with_columns(pl.col("baseline_1d").fill_nan(None))
    found = measures(scores(pairs, [["lower"]], SEASONS)[0], [], SEASONS).row(0, named=True)
    assert (found["n"], found["naive_1d_n"]) == (3, 2)
    assert found["wape"] == pytest.approx(23 / 30)
    assert found["naive_1d_wape"] == pytest.approx(6 / 20)
    assert found["naive_1d_model_wape"] == pytest.approx(3 / 20)
    assert found["naive_1d_model_bias"] == pytest.approx(1.5)


def test_it_goes_on_to_the_season_before_where_a_value_is_missing(history_of):
    y = np.arange(24.0 * 9)[None, :]
    y[0, -24:-12] = np.nan  # half of the last day
    y[0, 10::24] = np.nan  # an hour that is never there
    history = history_of(y)
    frame = Frame("y", HOUR, DAY, DAY)
    examples = every_example(np.array([0]), np.array([y.shape[1] - 1]), 24)
    plain, deep = naive(history, frame, DAY, examples), reference(history, frame, DAY, examples)
    assert np.isnan(plain).sum() == 12
    assert np.flatnonzero(np.isnan(deep)).tolist() == [10]
    there = ~np.isnan(plain)
    np.testing.assert_array_equal(deep[there], plain[there])
    np.testing.assert_array_equal(deep[:10], y[0, -48:-38])


@pytest.fixture
def history_of():
    from headrace.features.arrays import History
    from headrace.grid import Grid

    def make(y):
        start, grid = datetime(2026, 1, 1, tzinfo=UTC), Grid(HOUR)
        return History(pl.DataFrame({"k": [0]}), {"y": y}, grid.slot(start), grid)

    return make
