"""Alarms held against what was measured a window later, with readings that are made up."""

from datetime import UTC, datetime, timedelta

import pytest

from headrace.flow.hindsight import Hindsight, hindsight
from headrace.policy.alerts import Alert
from headrace.policy.monitoring import Reading, ScopeReading

DAY = timedelta(days=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = {"mape": 4 * DAY}


def readings(levels, scope=None):
    """One a day: a letter each, ``.`` ok, ``A`` alarm, ``?`` unknown."""
    named = {".": "ok", "A": "alarm", "W": "warning", "?": "unknown"}
    for day, letter in enumerate(levels):
        level = named[letter]
        scopes = () if level == "ok" else (ScopeReading(scope or {}, level, level, 0.4, 0.3),)
        yield Reading(BEGIN + day * DAY, "mape", level, 0.4, 0.3, 9, scopes)


def alarm(day, closed=None, scope=None):
    at = BEGIN + day * DAY
    end = None if closed is None else BEGIN + closed * DAY
    return Alert(f"alert-{day}", "alarm", "mape", scope or {}, 0.4, 0.3, at, at, end)


@pytest.mark.parametrize(
    ("levels", "alarms", "changes", "expected"),
    [
        ("....A...A", [alarm(4)], [], Hindsight(1, 1, 1, 2, 1)),  # right: bad again; the first window had none before
        ("....A....", [alarm(4, 6)], [], Hindsight(1, 1, 0, 1, 0)),
        ("....A", [alarm(4)], [], Hindsight(1, 0, 0, 1, 0)),  # the range ends before it is known
        ("....A...?", [alarm(4)], [], Hindsight(1, 0, 0, 1, 0)),
        ("....A...A", [alarm(4)], [5], Hindsight(1, 0, 0, 2, 1)),  # another model came
        ("....A...A", [alarm(4)], [8], Hindsight(1, 1, 1, 2, 1)),  # too late to matter
        ("....A...A", [alarm(4, scope={"area": "DK1"})], [], Hindsight(1, 1, 0, 2, 0)),
        (".........", [], [], Hindsight()),
        ("", [alarm(4)], [], Hindsight(1)),
    ],
)
def test_an_alarm_is_right_where_the_next_window_is_bad(levels, alarms, changes, expected):
    moments = [BEGIN + day * DAY for day in changes]
    assert hindsight(alarms, readings(levels), WINDOWS, moments) == expected


def test_warnings_and_rules_that_are_gone_do_not_count():
    warning = Alert("alert-1", "warning", "mape", {}, 0.2, 0.1, BEGIN)
    other = Alert("alert-2", "alarm", "coverage", {}, 0.2, 0.1, BEGIN, BEGIN)
    assert hindsight([warning, other], readings("WWWWWWWWW"), WINDOWS) == Hindsight()


def test_shares_say_nothing_where_there_is_nothing():
    assert Hindsight().as_dict() == {
        **dict.fromkeys(("alarms", "judged", "right", "bad", "caught"), 0),
        "precision": None,
        "recall": None,
    }
    assert (Hindsight(4, 2, 1, 8, 2).precision, Hindsight(4, 2, 1, 8, 2).recall) == (0.5, 0.25)
