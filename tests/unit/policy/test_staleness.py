"""What rules of retraining make of errors: cumulative sums, staleness, and the threshold that costs least."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace import Schedule
from headrace.config import override
from headrace.errors import ConfigError, DeclarationError
from headrace.policy import CostAware, Cusum, ErrorAbove, ServedError, staleness

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Facts:
    """Errors that are made up, one a day; the last version was trained before the day `trained`."""

    values: list[float]
    versions: list[int] = field(default_factory=list)
    trained: int = 0
    baseline: float = 1.0
    day: timedelta = DAY
    version: int = 1

    @property
    def as_of(self) -> datetime:
        return BEGIN + (len(self.values) + 1) * DAY

    @property
    def trained_as_of(self) -> datetime:
        return BEGIN + self.trained * DAY

    def errors(self, measure: str) -> list[ServedError]:
        versions = self.versions or [1] * len(self.values)
        return [
            ServedError(BEGIN + place * DAY, version, value, self.baseline, 24)
            for place, (value, version) in enumerate(zip(self.values, versions, strict=True))
        ]


def noise(days: int, seed: int = 1, level: float = 0.8) -> list[float]:
    return (level + 0.04 * np.random.default_rng(seed).standard_normal(days)).tolist()


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30))
def test_the_nearest_rising_sequence_is_nearer_than_others(values):
    curve = staleness.rising(np.array(values))
    assert (np.diff(curve) >= -1e-9).all()
    assert curve.sum() == pytest.approx(sum(values), abs=1e-6)
    other = np.maximum.accumulate(values)
    assert ((curve - values) ** 2).sum() <= ((other - values) ** 2).sum() + 1e-9


def test_noise_is_not_staleness_and_a_shift_is():
    quiet, moved = np.array(noise(90)), np.array(noise(90))
    moved[60:] += 0.5
    assert staleness.staleness(quiet)[-5:].max() < 0.08
    assert staleness.staleness(moved)[65:].min() > 0.4
    assert staleness.staleness(np.zeros(0)).size == 0


def _oracle(level, threshold, alpha, variant, delay):
    """Day by day, in plain words."""
    cost, since = 0.0, 0
    for day in range(len(level)):
        known = range(since, max(day - delay, since))
        stale = [level[d] - level[since] for d in known]
        measured = {
            "cumulative": sum(stale),
            "threshold": stale[-1] if stale else 0.0,
            "periodic": day - since,
        }[variant]
        if measured >= threshold and day > since:
            since, cost = day, cost + alpha
        cost += level[day] - level[since]
    return cost


@settings(max_examples=30)
@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=25),
    st.sampled_from(["cumulative", "threshold", "periodic"]),
    st.sampled_from([0.1, 1.0, 7.0]),
    st.integers(0, 6),
)
def test_replaying_costs_what_an_oracle_says_and_the_cheapest_is_no_dearer_than_others(steps, variant, alpha, delay):
    level = np.cumsum(steps) - steps[0]
    tried = staleness.thresholds(level, alpha, variant)
    cost = staleness.replayed(level, tried, alpha=alpha, variant=variant, delay=delay)
    assert cost == pytest.approx([_oracle(level, t, alpha, variant, delay) for t in tried], abs=1e-9)
    best = staleness.cheapest(level, alpha=alpha, variant=variant, delay=delay)
    assert _oracle(level, best, alpha, variant, delay) <= cost.min() * 1.1 + 1e-9


def test_a_dearer_training_is_never_chosen_more_often():
    level = np.cumsum(np.full(120, 0.01))
    for variant in ("cumulative", "threshold", "periodic"):
        chosen = [staleness.cheapest(level, alpha=a, variant=variant, delay=1) for a in (0.1, 1.0, 10.0)]
        assert chosen == sorted(chosen)


@pytest.mark.parametrize(
    "rule", [Cusum(), ErrorAbove(), CostAware(alpha=0.5), CostAware(alpha=0.5, variant="threshold")]
)
def test_a_shift_is_a_reason_and_noise_is_none(rule):
    quiet = noise(60)
    assert rule.reason(Facts(quiet)) is None
    moved = [*quiet[:50], *(value + 0.6 for value in quiet[50:])]
    said = rule.reason(Facts(moved))
    assert said is not None
    assert said.startswith("the ")
    # trained since: nothing is known of the new version, or it is as good as the old one was
    assert rule.reason(Facts(moved, trained=len(moved))) is None
    after = Facts([*moved, *noise(8, seed=2)], [*[1] * 60, *[2] * 8], trained=60)
    assert rule.reason(after) is None


def test_few_days_say_nothing():
    jump = [0.8, 0.8, 3.0]
    for rule, days in product((Cusum(days=4), ErrorAbove(days=4), CostAware(days=4)), (0, 3)):
        assert rule.reason(Facts(jump[:days])) is None
    assert Cusum().reason(Facts([0.8, 0.8, 0.8])) is None
    assert ErrorAbove().reason(Facts([0.0] * 9)) is None
    assert Cusum().reason(Facts([0.0] * 9)) is None  # nothing is wrong at all


def test_without_history_the_sum_is_held_against_the_cost():
    rising = [0.8] * 7 + [1.3] * 9
    assert CostAware(alpha=2.0).reason(Facts(rising)) is not None
    assert CostAware(alpha=20.0).reason(Facts(rising)) is None
    assert CostAware(alpha=2.0, variant="threshold").reason(Facts(rising)) is None


def test_calendars_are_chosen_too():
    drifting = np.linspace(0.5, 2.0, 60).tolist()
    assert CostAware(alpha=0.2, variant="periodic").reason(Facts(drifting, trained=0)) is not None
    assert CostAware(alpha=0.2, variant="periodic").reason(Facts(noise(60), trained=55)) is None


def test_days_without_a_baseline_are_left_out():
    assert Cusum().reason(Facts(noise(50), baseline=float("nan"))) is None
    moved = [*noise(50), *noise(9, level=2.0)]
    assert Cusum(relative=False).reason(Facts(moved, baseline=float("nan"))) is not None


def test_they_are_declared_and_configured():
    schedule = override(Schedule(), {"retrain": [{"kind": "cusum", "threshold": 5}, {"kind": "cost_aware"}]})
    assert schedule.retrain == (Cusum(threshold=5), CostAware())
    for wrong in ({"alpha": 0}, {"variant": "often"}, {"history": 1}):
        with pytest.raises(ConfigError):
            override(Schedule(), {"retrain": [{"kind": "cost_aware", **wrong}]})
    with pytest.raises(DeclarationError):
        Cusum(threshold=-1)
