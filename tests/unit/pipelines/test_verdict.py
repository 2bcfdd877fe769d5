"""After every training: better or worse than which baseline and by how much, on the same pairs."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from headrace.features.arrays import History
from headrace.features.matrix import every_example, every_origin
from headrace.grid import Grid
from headrace.models.backtest import Backtest
from headrace.models.member import Frame
from headrace.system import Schedule
from headrace.tasks.gate import with_baselines
from headrace.tasks.verdict import Verdict, of_forecasts

HOUR, DAY = timedelta(hours=1), timedelta(hours=24)
FRAME = Frame("y", HOUR, DAY, DAY * 7)
SEASONS = (timedelta(), DAY)


def history(days=40):
    """Two series that repeat every day exactly, the second of them twice as large."""
    t = np.arange(days * 24)
    y = np.array([[1.0], [2.0]]) * (10 + t % 24)
    return History(pl.DataFrame({"k": [0, 1]}), {"y": y}, Grid(HOUR).slot(datetime(2026, 1, 1, tzinfo=UTC)), Grid(HOUR))


def done(history, value):
    """What `value` makes of the true values, from 20 origins."""
    series, origin = every_origin(2, np.arange(700, 720))
    examples = every_example(series, origin, 12)
    actual = history.values["y"][examples.series, examples.target]
    said = value(actual)
    sparse = np.zeros(actual.size, dtype=bool)
    return Backtest(actual, said, said, said, examples.series, examples.origin, examples.ahead, sparse)


def test_the_best_baseline_is_named_with_both_errors_on_the_same_pairs():
    y = history()
    found = of_forecasts(done(y, lambda a: a * 1.1), y, FRAME, SEASONS)
    assert (found.measure, found.best, found.pairs) == ("WAPE", "the value 1d before", 480)
    assert found.ours == pytest.approx(0.1)
    assert found.baselines["the value 1d before"] == 0
    assert not found.better
    assert found.line().startswith("worse than the value 1d before: WAPE 0.1 against 0 on 480 pairs")


def test_better_is_said_with_the_share_that_is_saved():
    y = history()
    y.values["y"][:] += np.random.default_rng(0).normal(0, 3, y.values["y"].shape)
    found = of_forecasts(done(y, lambda a: a * 1.01), y, FRAME, SEASONS)
    assert found.better
    assert found.line().startswith(f"better than {found.best} by {1 - found.ours / found.baselines[found.best]:.0%}")
    assert found.as_dict()["line"] == found.line()


@pytest.mark.parametrize(
    ("ours", "line"),
    [
        (0.1, "no better than the last value: WAPE 0.1 against 0.1 on 9 pairs"),
        (0.15, "worse than the last value by 50%: WAPE 0.15 against 0.1 on 9 pairs"),
        (1.5, "worse than the last value, 15 times its error: WAPE 1.5 against 0.1 on 9 pairs"),
        (0.0, "better than the last value by 100%: WAPE 0 against 0.1 on 9 pairs"),
    ],
)
def test_the_line(ours, line):
    assert Verdict("WAPE", ours, {"the last value": 0.1, "zero": 0.4}, 9).line() == line


def test_what_the_model_cannot_say_is_not_counted_for_the_baselines_either():
    y = history()
    found = of_forecasts(done(y, lambda a: np.where(np.arange(a.size) % 2, a, np.nan)), y, FRAME, SEASONS)
    assert found.pairs == 240
    assert of_forecasts(done(y, lambda a: np.full(a.size, np.nan)), y, FRAME, SEASONS) is None


def test_a_baseline_without_history_is_left_out():
    y = history()
    y.values["y"][:, :700] = np.nan
    found = of_forecasts(done(y, lambda a: a), y, FRAME, SEASONS)
    assert set(found.baselines) == {"the last value", "the mean of 28d"}


@pytest.mark.parametrize(("required", "wins"), [(False, True), (True, False)])
def test_a_gate_that_asks_for_it_refuses_what_is_worse_than_a_baseline(required, wins):
    y = history()
    verdict = of_forecasts(done(y, lambda a: a * 1.1), y, FRAME, SEASONS)
    system = SimpleNamespace(schedule=Schedule(beat_baselines=required))
    reason, decided = with_baselines(system, verdict, "the first version", True)
    assert decided is wins
    assert verdict.line() in reason
