"""Intervals follow what was missed since the fit: by a rule that is written out here, and the same in any batch."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import exp

import numpy as np
import polars as pl
import pytest

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.feedback import RATE, WIDEST, WINDOW, Checks, blocked
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster, Task, backtest

HOUR = timedelta(hours=1)
GRID = Grid(HOUR)
START = datetime(2026, 1, 1, 5, tzinfo=UTC)
HORIZON = 5
MODEL = Forecaster(trees=10, max_rows=2000, seasons=("6h", "24h"), adaptive=True)
TASK = Task(MODEL.frame("y", HOUR), HORIZON, seasonal_features("y", step="1h", seasons=("6h", "24h")))
FIT = 20 * 24
"""Where the fit ends; noise follows, with gaps, and then it is calm."""


@pytest.fixture(scope="module")
def history():
    rng = np.random.default_rng(0)
    t = np.arange(45 * 24)
    y = rng.uniform(10, 1000, 3)[:, None] * (2 + np.sin(2 * np.pi * t / 24) + rng.normal(0, 0.1, (3, t.size)))
    y[:, FIT : FIT + 200] *= rng.uniform(0.5, 1.5, (3, 200))
    y[:, FIT + 200 : FIT + 500] = y[:, [FIT + 200]]
    y[rng.random(y.shape) < 0.1] = np.nan
    y[1, FIT + 20 : FIT + 60] = np.nan
    return History(pl.DataFrame({"k": [0, 1, 2]}), {"y": y}, GRID.slot(START), GRID)


@pytest.fixture(scope="module")
def model(history):
    return MODEL.fit(TASK, history, FIT).model


def factors(model, history, series, origin, **more):
    """How much wider intervals are than without feedback; shape (n,)."""
    found = replace(model, nonnegative=False).forecast(history, series, origin, **more)
    fixed = replace(model, nonnegative=False, since=None).forecast(history, series, origin)
    np.testing.assert_array_equal(found.value, fixed.value)
    return ((found.upper - found.lower) / (fixed.upper - fixed.lower))[:, 0]


def by_hand(model, history, series, origin):
    """The rule for one forecast."""
    hours = (START - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR
    length = model.horizon * blocked(model.horizon)
    newest = origin - (origin + hours) % length
    factor = 1.0
    for begin in range(newest - WINDOW * length, newest + 1, length):
        missed = known = 0
        for check in range(max(begin, 0), begin + length, model.horizon):
            if FIT <= check < origin:
                more = misses(model, history, series, check, origin, factor)
                missed, known = missed + more[0], known + more[1]
        factor = min(max(factor * exp(RATE * (missed - 0.1 * known) / length), 1 / WIDEST), WIDEST)
    return factor


def misses(model, history, series, check, origin, factor):
    """How many values up to the origin missed the interval from a check, and how many are known."""
    said = replace(model, nonnegative=False, since=None).forecast(history, np.array([series]), np.array([check]))
    missed = known = 0
    for ahead in range(1, min(model.horizon, origin - check) + 1):
        y = history.values["y"][series, check + ahead]
        value, half = said.value[0, ahead - 1], (said.upper - said.lower)[0, ahead - 1] / 2
        if np.isfinite(y) and np.isfinite(value):
            known += 1
            missed += abs(y - value) > half * factor
    return missed, known


@pytest.mark.parametrize("origin", [FIT - 1, FIT, FIT + 3, FIT + 61, FIT + 150, FIT + 199, FIT + 480])
def test_the_rule_written_out(model, history, origin):
    for series in range(3):
        found = factors(model, history, np.array([series]), np.array([origin]))
        assert found[0] == pytest.approx(by_hand(model, history, series, origin), rel=1e-9)


def test_what_is_covered_comes_nearer_to_what_is_said(model, history):
    origins = np.arange(FIT + 30, FIT + 200)
    found = backtest(model, history, origins).scores()["coverage"]
    fixed = backtest(replace(model, since=None), history, origins).scores()["coverage"]
    assert abs(found - 0.9) < 0.7 * abs(fixed - 0.9)
    assert (factors(model, history, np.arange(3), np.array([FIT])) == 1).all()  # nothing was missed yet


class Kept:
    """What a stream remembers, as a dictionary."""

    def __init__(self):
        self.found = {}
        self.asked = self.missing = 0

    def recall(self, series, check):
        said = Checks.unknown(series.size, HORIZON)
        known = np.array([pair in self.found for pair in zip(series.tolist(), check.tolist(), strict=True)], dtype=bool)
        for i in np.flatnonzero(known):
            said.value[i], said.half[i], said.factor[i] = self.found[series[i], check[i]]
        self.asked, self.missing = self.asked + known.size, self.missing + int((~known).sum())
        return known, said

    def keep(self, series, check, said):
        for i, pair in enumerate(zip(series.tolist(), check.tolist(), strict=True)):
            self.found[pair] = said.value[i], said.half[i], said.factor[i]


def test_one_at_a_time_with_a_memory_or_a_tail_gives_the_bits_of_all_at_once(model, history):
    last = FIT + 300
    series, origin = every_origin(3, np.arange(FIT - 10, last + 1))
    together = model.forecast(history, series, origin, threads=2)
    memory = Kept()
    for at in range(FIT - 10, last + 1):
        which = origin == at
        alone = model.forecast(history, series[which], origin[which], memory=memory)
        for name in ("value", "lower", "upper"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[which])
    assert memory.missing < 6 * (last - FIT) / HORIZON + 10  # twice per check: its forecast is new, then its factor
    tail = model.lookback // HOUR
    end = dict(history.values, y=history.values["y"][2:3, last + 1 - tail : last + 1])
    later = History(history.keys[2:3], end, GRID.slot(START) + last + 1 - tail, GRID)
    alone = model.forecast(later, np.array([0]), np.array([tail - 1]))
    np.testing.assert_array_equal(alone.upper, together.upper[(series == 2) & (origin == last)])
    longer = replace(history, values={"y": np.hstack([history.values["y"], np.full((3, 50), np.nan)])})
    np.testing.assert_array_equal(model.forecast(longer, series, origin).upper, together.upper)


def test_a_saved_model_knows_when_it_was_fitted(model, history, tmp_path):
    model.save(tmp_path)
    loaded = ForecastModel.load(tmp_path)
    assert loaded.since == START + HOUR * FIT
    windows = every_origin(3, np.array([FIT + 100]))
    np.testing.assert_array_equal(loaded.forecast(history, *windows).upper, model.forecast(history, *windows).upper)
    assert model.forecast(history, np.array([], dtype=int), np.array([], dtype=int)).value.shape == (0, HORIZON)
