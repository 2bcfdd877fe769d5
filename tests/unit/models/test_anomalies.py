"""Anomalies: the same whatever was answered at once, from a bounded past, at the declared rate."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from headrace.models.anomalies import CLIPPED, FLOOR, UNIT, AnomalyWatch, Judgement, WatchedValues

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def watched(step: timedelta, days: float, *, series: int = 1, seed: int = 0, kind: str = "normal") -> WatchedValues:
    """Noise around a forecast of zero, with gaps, in order of series and times."""
    rng = np.random.default_rng(seed)
    n, size = int(days * DAY / step), step // timedelta(microseconds=1)
    noise = {"normal": rng.standard_normal, "heavy": lambda k: rng.standard_t(3, k)}[kind]
    row = np.repeat(np.arange(series), n)
    time = np.tile(np.arange(n) * size, series) + row * 12_345_000_000
    actual = noise(n * series) * (1 + 0.3 * np.sin(time / 1e10))
    half = np.abs(1.645 + 0.2 * np.sin(np.arange(n * series) / 50))
    kept = rng.random(n * series) > 0.05
    arrays = (row, time, actual, np.zeros_like(actual), -half, half)
    return WatchedValues(*(array[kept] for array in arrays))


def only(observed: WatchedValues, which: np.ndarray) -> WatchedValues:
    return WatchedValues(*(array[which] for array in observed))


def parts(watch: AnomalyWatch, observed: WatchedValues, cuts: list[int]) -> tuple[Judgement, np.ndarray]:
    """Judgement in parts by time: each part has some values of every series."""
    states = watch.unknown(int(observed.row.max()) + 1)
    turn = np.searchsorted(np.array(cuts), np.argsort(np.argsort(observed.time, kind="stable")), side="right")
    arrays = [np.zeros(observed.row.size, dtype=np.int64) for _ in range(3)]
    for number in range(len(cuts) + 1):
        which = np.flatnonzero(turn == number)
        for array, said in zip(arrays, watch.judge(states, only(observed, which)), strict=True):
            array[which] = said
    return Judgement(arrays[0], arrays[1], arrays[2].astype(bool)), states


@pytest.mark.parametrize("step", [timedelta(minutes=20), HOUR, DAY, 7 * DAY])
@pytest.mark.parametrize("rate", [2.0, 0.5, 0.1])
def test_how_values_are_split_changes_nothing(step: timedelta, rate: float) -> None:
    watch, observed = AnomalyWatch.of(step, rate), watched(step, 80 if step < DAY else 900, series=3, kind="heavy")
    whole, states = parts(watch, observed, [])
    size = observed.row.size
    for cuts in ([size // 2], sorted(np.random.default_rng(1).integers(0, size, 40).tolist())):
        split, others = parts(watch, observed, cuts)
        assert all(np.array_equal(a, b) for a, b in zip(whole, split, strict=True))
        assert states.tobytes() == others.tobytes()
    assert whole.anomaly.any()


def test_nothing_before_the_reach_has_a_part() -> None:
    watch, observed = AnomalyWatch.of(timedelta(minutes=30), 0.5), watched(timedelta(minutes=30), 120, kind="heavy")
    whole = watch.judge(watch.unknown(1), observed)
    first = np.flatnonzero(observed.time > observed.time[-1] - timedelta(days=20) // timedelta(microseconds=1))
    reached = np.flatnonzero(observed.time > observed.time[first[0]] - watch.reach)
    assert reached[0] > 0
    late = watch.judge(watch.unknown(1), only(observed, reached))
    for ours, theirs in zip(whole, late, strict=True):
        assert np.array_equal(ours[first], theirs[first - reached[0]])


@pytest.mark.parametrize("kind", ["normal", "heavy"])
@pytest.mark.parametrize("step", [timedelta(minutes=30), HOUR])
@pytest.mark.parametrize("rate", [1.0, 0.5, 0.25])
def test_the_declared_rate_is_kept(rate: float, step: timedelta, kind: str) -> None:
    series, weeks = 30, 26
    watch, observed = AnomalyWatch.of(step, rate), watched(step, 7 * weeks, series=series, kind=kind)
    alarms = int(watch.judge(watch.unknown(series), observed).anomaly.sum())
    expected = rate * series * weeks
    assert alarms <= expected + 2 * expected**0.5
    assert kind == "normal" or alarms > 0.4 * expected  # and not by silence


def test_a_value_far_off_is_one_anomaly_and_a_second_one_after_it_is_seen() -> None:
    watch, observed = AnomalyWatch.of(HOUR, 0.5), watched(HOUR, 60)
    place = [int(np.argmax(observed.time >= day * 86_400_000_000)) for day in (40, 45)]
    observed.actual[place[0]] = 5e9
    observed.actual[place[1] : place[1] + 6] += 30.0
    judged = watch.judge(watch.unknown(1), observed)
    assert judged.anomaly[place].all()
    assert not judged.anomaly[place[1] + 1 : place[1] + 20].any()
    assert judged.degree[place[0] + 20 : place[0] + 60].max() < FLOOR * UNIT


def test_a_drift_that_no_single_value_shows_is_found() -> None:
    watch, observed = AnomalyWatch.of(HOUR, 0.5), watched(HOUR, 60)
    observed.actual[1000:] += 3.0
    judged = watch.judge(watch.unknown(1), observed)
    assert judged.anomaly[1000:1012].any()
    assert np.abs(judged.residual[1000:1012]).max() < CLIPPED * UNIT


def test_flat_forecasts_and_values_are_no_anomaly_until_they_move() -> None:
    watch = AnomalyWatch.of(HOUR, 0.5)
    time = np.arange(100) * (HOUR // timedelta(microseconds=1))
    flat = np.full(100, 7.0)
    moved = flat.copy()
    moved[90] = 8.0
    judged = watch.judge(watch.unknown(1), WatchedValues(np.zeros(100, np.int64), time, moved, flat, flat, flat))
    assert np.flatnonzero(judged.anomaly).tolist() == [90]
    assert np.isfinite(judged.degree).all()


def test_words_are_states_again_and_those_of_another_watch_are_nothing() -> None:
    watch, observed = AnomalyWatch.of(HOUR, 0.5), watched(HOUR, 30, series=2)
    states = watch.unknown(2)
    watch.judge(states, observed)
    words = watch.words(states)
    assert watch.states(words).tobytes() == states.tobytes()
    other = AnomalyWatch.of(HOUR, 1.0)
    assert other.states(words).tobytes() == other.unknown(2).tobytes()
    longer = AnomalyWatch.of(7 * DAY, 0.5)
    assert longer.states(words).tobytes() == longer.unknown(2).tobytes()
