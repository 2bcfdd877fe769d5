"""The rule about estimated performance, by facts that are made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import polars as pl
import pytest

from headrace.contract import Column, Contract
from headrace.errors import DeclarationError
from headrace.policy.monitoring import EstimatedPerformance, MonitoringFacts
from headrace.policy.monitoring.judging import readings_of

DAY = datetime(2026, 3, 1, tzinfo=UTC)
USUAL = {"n": 200, "matured": 0, "realised": None, "held_out": 0.9, "deviation": 0.02, "realised_deviation": 0.03}
TYPES = {"time": pl.Datetime("us", "UTC"), "reason": pl.String(), "realised": pl.Float64(), "estimated": pl.Float64()}


class Facts:
    """A day after the other, each with what is given."""

    def __init__(self, *days: dict[str, Any]) -> None:
        self._days = days
        self.times = [DAY + timedelta(days=place) for place in range(len(days))]

    def estimates(self, metrics: Any = None, _window: Any = None) -> pl.DataFrame:
        name = metrics[0] if metrics else "log_loss"
        full = [
            {"time": time} | (day if "reason" in day else USUAL | {"metric": name, "reason": None} | day)
            for time, day in zip(self.times, self._days, strict=True)
        ]
        return pl.DataFrame(full, schema_overrides=TYPES, infer_schema_length=None)


def read(rule: EstimatedPerformance, *days: dict[str, Any]) -> list[tuple[str, float | None, float | None]]:
    facts = cast(MonitoringFacts, Facts(*days))
    return [(each.level, each.value, each.threshold) for each in readings_of(rule, facts)]


def test_without_thresholds_it_warns_beyond_chance_and_beyond_a_share() -> None:
    accuracy = EstimatedPerformance("accuracy")
    at = pytest.approx
    assert read(accuracy, {"estimated": 0.85}) == [("ok", 0.85, at(0.84))]  # three deviations below what was held out
    assert read(accuracy, {"estimated": 0.83}) == [("warning", 0.83, at(0.84))]
    small = {"deviation": 0.001}  # of many rows: a tenth of what is missing to 1
    assert read(accuracy, {"estimated": 0.892} | small) == [("ok", 0.892, at(0.89))]
    assert read(accuracy, {"estimated": 0.88} | small) == [("warning", 0.88, at(0.89))]
    loss = EstimatedPerformance()
    assert read(loss, {"estimated": 0.98}, {"estimated": 1.0}) == [("ok", 0.98, at(0.99)), ("warning", 1.0, at(0.99))]


def test_declared_thresholds_are_values_of_the_metric() -> None:
    rule = EstimatedPerformance("accuracy", warn=0.8, alarm=0.7)
    days = [{"estimated": value} for value in (0.81, 0.79, 0.69)]
    assert [each[0] for each in read(rule, *days)] == ["ok", "warning", "alarm"]
    assert read(EstimatedPerformance("accuracy", alarm=0.7), days[1]) == [("ok", 0.79, 0.7)]


def test_the_truth_refutes_an_estimate_once_enough_of_it_is_known_and_makes_no_alert_of_its_own() -> None:
    rule = EstimatedPerformance("accuracy", min_support=80)
    early, late = ({"estimated": 0.7, "realised": 0.88, "matured": matured} for matured in (99, 100))
    assert [each[:2] for each in read(rule, early, late)] == [("warning", 0.7), ("ok", 0.88)]
    assert read(EstimatedPerformance("accuracy", truth=None), late)[0][:2] == ("warning", 0.7)
    assert read(rule, late | {"estimated": 0.9, "realised": 0.7})[0][:2] == ("ok", 0.9)
    assert read(rule, {"estimated": 0.5, "n": 79})[0][0] == "unknown"


def test_where_nothing_can_be_estimated_it_says_why() -> None:
    facts = cast(MonitoringFacts, Facts({"reason": "its files are gone"}, {"estimated": 0.9}))
    first, second = readings_of(EstimatedPerformance("accuracy"), facts)
    assert (first.level, second.level) == ("unknown", "ok")
    assert first.scopes[0].evidence == {"reason": "its files are gone"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"warn": 0.3}, "not of what"), ({"metric": "accuracy", "warn": 0.7, "alarm": 0.8}, "comes before an alarm")],
)
def test_thresholds_that_mean_nothing_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        EstimatedPerformance(**fields).check(Contract(columns=(Column("a", "float"),)))
