"""Alerts in hindsight: how many alarms were right, and how many bad stretches of time had one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headrace.policy.alerts import Alert
from headrace.policy.monitoring import Reading


@dataclass(frozen=True)
class Hindsight:
    """How right alarms were.

    Attributes:
        alarms: How many were raised.
        judged: Of these, those after which the model went on for a window, so that its error is known.
        right: Of these, those whose rule found it beyond the threshold of alarms in that window again.
        bad: Windows, one after the other, of one rule and scope, at whose end the error was beyond it.
        caught: Of these, those in which an alarm was open before their end.
    """

    alarms: int = 0
    judged: int = 0
    right: int = 0
    bad: int = 0
    caught: int = 0

    @property
    def precision(self) -> float | None:
        """The share of alarms that were right; None where none could be judged."""
        return self.right / self.judged if self.judged else None

    @property
    def recall(self) -> float | None:
        """The share of bad windows that had an alarm; None where there was none."""
        return self.caught / self.bad if self.bad else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "precision": self.precision, "recall": self.recall}


def hindsight(
    alerts: Sequence[Alert],
    readings: Iterable[Reading],
    windows: Mapping[str, timedelta],
    changes: Sequence[datetime] = (),
) -> Hindsight:
    """Hold alarms against what was measured a window later, which is of what became known after them.

    Args:
        alerts: Of the whole range.
        readings: All of them.
        windows: How far each rule looks back, by its name.
        changes: When another model began to predict whose errors say nothing of the one before, UTC.
    """
    by_time = {(reading.rule, reading.time): reading for reading in readings}
    alarms = [alert for alert in alerts if alert.alarm_at is not None and alert.rule in windows]
    verdicts = [_verdict(alert, by_time, windows[alert.rule], changes) for alert in alarms]
    bad = list(_bad(by_time, windows))
    caught = sum(any(_open(alert, *window) for alert in alarms) for window in bad)
    judged = [verdict for verdict in verdicts if verdict is not None]
    return Hindsight(len(alarms), len(judged), sum(judged), len(bad), caught)


def _verdict(
    alert: Alert, by_time: Mapping[tuple[str, datetime], Reading], window: timedelta, changes: Sequence[datetime]
) -> bool | None:
    """Whether an alarm was right; None where another model came within the window, or nothing is known."""
    assert alert.alarm_at is not None
    end = alert.alarm_at + window
    reading = by_time.get((alert.rule, end))
    if reading is None or reading.level == "unknown" or any(alert.alarm_at <= change < end for change in changes):
        return None
    levels = [scope.level for scope in reading.scopes if dict(scope.scope) == dict(alert.scope)]
    return None if levels == ["unknown"] else levels == ["alarm"]


def _bad(
    by_time: Mapping[tuple[str, datetime], Reading], windows: Mapping[str, timedelta]
) -> Iterable[tuple[str, Mapping[str, Any], datetime, datetime]]:
    """Rule, scope, begin and end of each window that was bad; windows of a rule do not overlap."""
    for rule, window in windows.items():
        times = sorted(time for name, time in by_time if name == rule)
        if not times:
            continue
        end = times[0] + window
        while end <= times[-1]:
            reading = by_time.get((rule, end))
            for scope in () if reading is None else reading.scopes:
                if scope.level == "alarm":
                    yield rule, scope.scope, end - window, end
            end += window


def _open(alert: Alert, rule: str, scope: Mapping[str, Any], begin: datetime, end: datetime) -> bool:
    """Whether an alarm of a rule and scope was open at some time of a window, its end left out."""
    if alert.rule != rule or dict(alert.scope) != dict(scope) or alert.alarm_at is None:
        return False
    return alert.alarm_at < end and (alert.closed_at is None or alert.closed_at > begin)
