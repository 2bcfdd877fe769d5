"""The rule about latencies: from answers that a serving process counts to warnings and alarms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worlds.flow import system_of

import headrace
from headrace.errors import DeclarationError, LedgerUnavailableError
from headrace.ledger.latencies import BOUNDS, WINDOW, bin_of, quantile
from headrace.loop.facts import StoredMonitoringFacts
from headrace.policy.folding import fold
from headrace.policy.monitoring import Latency
from headrace.policy.monitoring.judging import readings_of
from headrace.serving.http.latencies import LatencyCounts

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


@given(
    seconds=st.lists(st.floats(1.2e-5, 99.0), min_size=1, max_size=200),
    share=st.sampled_from([0.5, 0.95, 0.99]),
)
def test_quantiles_are_those_of_the_answers(seconds: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for second in seconds:
        counts[bin_of(second)] = counts.get(bin_of(second), 0) + 1
    exact = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert quantile(counts, share) == pytest.approx(exact, rel=0.0602)
    assert quantile({len(BOUNDS): 1}, share) == BOUNDS[-1]


def answered(counts: LatencyCounts, home: headrace.home.Home, begin: datetime, seconds: list[float]) -> None:
    """A window of answers, which is over and stored."""
    for second in seconds:
        counts.note("world", second)
    counts.fold(begin + WINDOW / 2)
    assert counts.over(begin + WINDOW / 2) == []
    over = begin + WINDOW
    counts.store(lambda: home.ledger.latencies, counts.over(over), over)
    assert counts.over(over, every=True) == []


def test_a_slow_model_warns_and_then_alarms(tmp_path) -> None:
    home, rule = headrace.open(tmp_path / "home").home, Latency("p95", warn=0.1, alarm=0.5, min_support=20)
    times = [BEGIN + n * HOUR for n in range(1, 9)]
    facts = StoredMonitoringFacts(system_of(), home, times, [], HOUR)
    assert {reading.level for reading in readings_of(rule, facts)} == {"unknown"}, "nothing is served yet"
    first, second = LatencyCounts(), LatencyCounts()
    for hour, typical in enumerate([0.01, 0.01, 0.2, 0.2, 0.9, 0.9, 0.01]):
        for counts in (first, second):  # two processes, of which each says too little
            answered(counts, home, BEGIN + hour * HOUR + 10 * timedelta(minutes=1), [typical] * 15)
    answered(first, home, BEGIN + 7 * HOUR + 55 * timedelta(minutes=1), [9.0] * 15)  # counts at the next time
    readings = readings_of(rule, facts)
    assert [reading.level for reading in readings] == ["ok"] * 2 + ["warning"] * 2 + ["alarm"] * 2 + ["ok", "unknown"]
    assert readings[0].support == 30
    assert readings[4].value == pytest.approx(0.9, rel=0.06)
    later = StoredMonitoringFacts(system_of(), home, times[3:5], [], HOUR)
    assert readings_of(rule, later) == readings[3:5], "whichever times are evaluated together"
    (alert,) = fold("world", readings, [rule])
    assert (alert.severity, alert.raised_at, alert.alarm_at, alert.closed_at) == ("alarm", times[3], times[5], None)
    assert set(alert.evidence) == {"p50", "p95", "p99"}


def test_windows_wait_for_a_ledger_that_is_away(tmp_path) -> None:
    def away() -> None:
        raise LedgerUnavailableError("is away", where="ledger")

    counts, now = LatencyCounts(), BEGIN + WINDOW
    counts.note("world", 0.1)
    counts.fold(BEGIN)
    counts.store(away, counts.over(now), now)
    assert [window.begin for window in counts.over(now)] == [BEGIN]


@pytest.mark.parametrize("limits", [{}, {"warn": 0.5, "alarm": 0.1}])
def test_limits_that_make_no_sense_are_refused(limits) -> None:
    with pytest.raises(DeclarationError):
        Latency(**limits).check(system_of().contract)
