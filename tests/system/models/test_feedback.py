"""Forecasts learn from their errors since the fit: by a rule that is written out here, and the same in any batch."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import exp

import numpy as np
import polars as pl
import pytest

from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.features.matrix import every_origin
from headrace.grid import Grid
from headrace.models.backtest import ForecastProblem, backtest
from headrace.models.feedback import Checks, Shape, window
from headrace.models.forecast import ForecastModel
from headrace.models.forecaster import Forecaster
from headrace.models.weights import ANCHOR, CAP, DISCOUNT, FADING, JUDGED, LOSS, NAIVE, POWER, RATES, STEPS, WIDEST

HOUR = timedelta(hours=1)
GRID = Grid(HOUR)
START = datetime(2026, 1, 1, 5, tzinfo=UTC)
HORIZON = 5
MODEL = Forecaster(n_estimators=10, max_rows=2000, seasons=("6h", "24h"))
TASK = ForecastProblem(MODEL.frame("y", HOUR), HORIZON, seasonal_features("y", step="1h", seasons=("6h", "24h")))
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


def by_hand(model, history, series, origin):
    """Value and half width of one forecast, by the rule in plain Python."""
    fixed, h, several = replace(model, since=None), model.horizon, -(-STEPS // model.horizon)
    hours = (START - datetime(1970, 1, 1, tzinfo=UTC)) // HOUR
    base = origin - (origin + hours) % (h * several)
    bounds = [*sorted({b for b in (0, 1, 3, max(h // 2, 3)) if b < h}), h]
    places = sorted(model.factors)
    first = model.losses[places.index(f"[{series}]") + 1]
    count, sums = np.zeros(len(bounds) - 1), np.zeros(first.shape)
    factors, lost = [1.0] * len(RATES), [LOSS] * len(RATES)

    def mix(said):
        loss = (ANCHOR * first + sums) / (ANCHOR + count)
        prior = np.array([(1 - 4 * NAIVE) / 2] * 2 + [NAIVE] * 4)[:, None]
        weights = prior * (loss.min(axis=0) / loss) ** POWER
        weights = np.where(np.isfinite(said), np.repeat(weights, np.diff(bounds), axis=1), 0)
        return (weights * np.nan_to_num(said)).sum(axis=0) / weights.sum(axis=0)

    for check in range(base - window(h) * h, origin + 1, h):
        if not FIT <= check < origin:
            continue
        said = fixed.forecast(history, np.array([series]), np.array([check]))
        half, candidates = (said.upper - said.lower)[0] / 2, said.candidates[0]
        actual = history.values["y"][series, check + 1 : check + 1 + h].copy()
        actual[max(origin - check, 0) :] = np.nan
        known = np.isfinite(actual)
        if not known.any():
            continue
        error = np.abs(actual - mix(candidates)) / half
        steps = h * several
        for r, rate in enumerate(RATES):
            over = [min(e, CAP) - factors[r] for e in error[known]]
            lost[r] = FADING ** (1 / several) * lost[r]
            lost[r] += sum(max(0.9 * o, -0.1 * o) for o in over) / steps
            by = exp(rate * (sum(o > 0 for o in over) - 0.1 * known.sum()) / steps)
            factors[r] = min(max(factors[r] * by, 1 / WIDEST), WIDEST)
        wrong = np.abs(candidates - actual) / half
        wrong = np.where(known, np.where(wrong < CAP, wrong, CAP) ** 1.5, 0)
        for k, (begin, end) in enumerate(pairwise(bounds)):
            sums[:, k] = DISCOUNT ** (1 / several) * sums[:, k] + wrong[:, begin:end].mean(axis=1) / several
            count[k] = DISCOUNT ** (1 / several) * count[k] + known[begin:end].mean() / several
    judged = (min(lost) / np.array(lost)) ** JUDGED
    said = fixed.forecast(history, np.array([series]), np.array([origin]))
    half = (said.upper - said.lower)[0] / 2 * (judged * factors).sum() / judged.sum()
    return mix(said.candidates[0]), half


@pytest.mark.parametrize("origin", [FIT - 1, FIT, FIT + 3, FIT + 61, FIT + 150, FIT + 199, FIT + 480])
def test_the_rule_written_out(model, history, origin):
    model = replace(model, nonnegative=False)
    for series in range(3):
        said = model.forecast(history, np.array([series]), np.array([origin]))
        value, half = by_hand(model, history, series, origin)
        np.testing.assert_allclose(said.value[0], value, rtol=1e-9)
        np.testing.assert_allclose((said.upper - said.lower)[0] / 2, half, rtol=1e-9)


def test_what_is_covered_comes_nearer_to_what_is_said(model, history):
    origins = np.arange(FIT + 30, FIT + 195)
    found, fixed = (backtest(m, history, origins).scores() for m in (model, replace(model, since=None)))
    assert abs(found["coverage"] - 0.9) < 0.7 * abs(fixed["coverage"] - 0.9)
    assert found["wape"] < fixed["wape"]


class Wrong:
    """A booster that has come to be far off."""

    def predict(self, matrix, threads):
        return np.full(len(matrix), 4.0)


def test_a_model_that_has_become_wrong_is_no_longer_heard(model, history):
    origins = np.arange(FIT + 4 * HORIZON, FIT + 195)
    wrong = replace(model, members=tuple((t, Wrong()) for t, _ in model.members))
    early, late = (wrong.forecast(history, *every_origin(3, np.array(o))).share.mean() for o in ([FIT], origins))
    assert early > 0.5
    assert late < 0.25
    found, alone = (backtest(m, history, origins).scores() for m in (wrong, replace(wrong, since=None)))
    assert found["wape"] < 0.7 * alone["wape"]


class Kept:
    """What a stream remembers, as a dictionary."""

    def __init__(self, shape: Shape):
        self.shape, self.found = shape, {}
        self.asked = self.missing = 0

    def recall(self, series, check):
        said = Checks.unknown(series.size, self.shape)
        known = np.array([pair in self.found for pair in zip(series.tolist(), check.tolist(), strict=True)], dtype=bool)
        for i in np.flatnonzero(known):
            for part, own in zip(said.parts, self.found[series[i], check[i]], strict=True):
                part[i] = own
        self.asked, self.missing = self.asked + known.size, self.missing + int((~known).sum())
        return known, said

    def keep(self, series, check, said):
        for i, pair in enumerate(zip(series.tolist(), check.tolist(), strict=True)):
            self.found[pair] = [part[i] for part in said.parts]


def test_one_at_a_time_with_a_memory_or_a_tail_gives_the_bits_of_all_at_once(model, history):
    last = FIT + 300
    series, origin = every_origin(3, np.arange(FIT - 10, last + 1))
    together = model.forecast(history, series, origin, threads=2)
    memory = Kept(model.checks)
    for at in range(FIT - 10, last + 1):
        which = origin == at
        alone = model.forecast(history, series[which], origin[which], memory=memory)
        for name in ("value", "lower", "upper", "share"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(together, name)[which])
    assert memory.missing < 6 * (last - FIT) / HORIZON + 3 * 15  # twice per check: its forecast is new, then its state
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
