"""Alerts as a fold over readings, beside a plain account of what the words in the declaration mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import polars as pl
import pytest

from headrace.policy.alerts import Alert
from headrace.policy.folding import fold
from headrace.policy.monitoring import MonitoringFacts, MonitorRule, Reading, ScopeReading

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Gauge(MonitorRule):
    """A rule whose readings are made up."""

    about_model = True
    kind: Literal["test_gauge"] = "test_gauge"

    def measure(self, facts: MonitoringFacts) -> pl.DataFrame:
        """Nothing."""
        return pl.DataFrame(schema={"time": pl.Datetime("us", "UTC"), "value": pl.Float64})


def days(text: str, scope: dict[str, str] | None = None) -> list[Reading]:
    """A reading a day: ``.`` ok, ``k`` ok but within the hysteresis, ``w`` warning, ``a`` alarm, ``?`` unknown."""
    levels = {".": ("ok", "ok"), "k": ("ok", "warning"), "w": ("warning", "warning"), "a": ("alarm", "alarm")}
    readings = []
    for place, letter in enumerate(text):
        time = BEGIN + place * DAY
        if letter == "?":
            readings.append(Reading(time, "test gauge", "unknown"))
            continue
        level, kept = levels[letter]
        one = ScopeReading(scope or {}, level, kept, float(place), 1.0, 5)
        scopes = () if letter == "." else (one,)
        readings.append(Reading(time, "test gauge", level, one.value, one.threshold, one.support, scopes))
    return readings


def spans(alerts: list[Alert]) -> list[tuple[str, int, int | None, int | None]]:
    """Severity, and the days on which it was raised, became an alarm, and was closed."""

    def day(time: datetime | None) -> int | None:
        return None if time is None else (time - BEGIN) // DAY

    return [(a.severity, day(a.raised_at), day(a.alarm_at), day(a.closed_at)) for a in alerts]


@pytest.mark.parametrize(
    ("text", "rule", "expected"),
    [
        ("..w.", {}, [("warning", 2, None, 3)]),
        (".wwaa..", {}, [("alarm", 1, 3, 5)]),
        (".w.w.w", {"consecutive": 2}, []),
        ("wwkk..", {"consecutive": 2}, [("warning", 1, None, 5)]),
        ("wawaa", {"consecutive": 2}, [("alarm", 1, 4, None)]),
        ("w?..", {}, [("warning", 0, None, 2)]),
        ("w?w.?.", {"consecutive": 2}, [("warning", 2, None, 5)]),
        ("kkkk", {}, []),
        ("aaa", {}, [("alarm", 0, 0, None)]),
        ("a.a.", {}, [("alarm", 0, 0, 1), ("alarm", 2, 2, 3)]),
    ],
)
def test_what_is_raised_and_closed(text, rule, expected):
    assert spans(fold("energy", days(text), [Gauge(**rule)])) == expected


def test_scopes_are_apart_and_their_ids_too():
    readings = [
        Reading(r.time, r.rule, "warning", 1.0, 1.0, 5, (*r.scopes, *o.scopes))
        for r, o in zip(days("ww..", {"area": "DK1"}), days(".www", {"area": "DK2"}), strict=True)
    ]
    alerts = fold("energy", readings, [Gauge()])
    assert [(alert.where, *spans([alert])[0][1:]) for alert in alerts] == [
        ("area DK1", 0, None, 2),
        ("area DK2", 1, None, None),
    ]
    assert len({alert.id for alert in alerts}) == 2
    assert fold("energy", reversed(readings), [Gauge()]) == alerts


def test_a_promotion_begins_anew_and_gives_grace():
    rule = Gauge(consecutive=2, grace=timedelta(days=2))
    soon = BEGIN + timedelta(hours=1)
    assert spans(fold("energy", days("www"), [rule], [soon])) == []
    assert spans(fold("energy", days("wwwww"), [rule], [soon])) == [("warning", 4, None, None)]
    assert spans(fold("energy", days("ww..."), [rule], [BEGIN + 2 * DAY])) == [("warning", 1, None, None)]


def test_a_reading_may_be_what_a_model_is_promoted_for_at_that_very_time():
    rule = Gauge(consecutive=2)
    assert spans(fold("energy", days("aa"), [rule])) == [("alarm", 1, 1, None)]
    assert spans(fold("energy", days("aaa.."), [rule], [BEGIN + DAY])) == [("alarm", 1, 1, 4)]


def test_the_past_stays_as_it_was():
    readings = days("..wwaa.w..aa?a..w")
    every = fold("energy", readings, [Gauge()])
    for count in range(len(readings)):
        until = BEGIN + count * DAY
        known = fold("energy", readings[: count + 1], [Gauge()])
        assert [a.id for a in known] == [a.id for a in every if a.raised_at <= until]
        assert [a.closed_at for a in known] == [
            a.closed_at if a.closed_at is not None and a.closed_at <= until else None
            for a in every
            if a.raised_at <= until
        ]
