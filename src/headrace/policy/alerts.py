"""Alert: a warning or an alarm that follows from readings, its id, and whether a training answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from headrace.legible import LONGEST, legible
from headrace.lineage import digest_of, iso

Severity = Literal["warning", "alarm"]


@dataclass(frozen=True)
class Alert:
    """A warning or an alarm.

    Attributes:
        id: Of the system's first name, the rule, scope and time at which it was raised: the same alert, the same id.
        severity: The worst it reached.
        rule: The name of the rule that raised it.
        scope: Column to value; empty: the system.
        value: What was measured when it was raised, or when it became an alarm.
        threshold: The threshold that this passed.
        raised_at: The evaluation time, UTC.
        alarm_at: When it became an alarm, UTC; None: it did not.
        closed_at: When it was closed, UTC; None: it is open.
        last: What was measured last, while it was open.
        support: What `value` rests on.
        evidence: What the rule said of it, JSON-ready.
        actions: What it caused, oldest first, JSON-ready.
    """

    id: str
    severity: Severity
    rule: str
    scope: Mapping[str, Any]
    value: float | None
    threshold: float | None
    raised_at: datetime
    alarm_at: datetime | None = None
    closed_at: datetime | None = None
    last: float | None = None
    support: int = 0
    evidence: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it was not closed by the time that was asked about."""
        return self.closed_at is None

    @property
    def where(self) -> str:
        """Its scope in words, legible and short: ``area DK1``; empty for the system."""
        return ", ".join(f"{name} {legible(str(value), LONGEST)}" for name, value in self.scope.items())

    @property
    def line(self) -> str:
        """What it says, in a line: severity, rule, scope, value and threshold.

        >>> from datetime import UTC
        >>> Alert("a", "alarm", "accuracy", {}, 0.54, 0.6, datetime(2026, 1, 2, tzinfo=UTC)).line
        'alarm: accuracy is 0.54, at least 0.6'
        """
        where = f" of {self.where}" if self.where else ""
        value = "" if self.value is None else f" is {self.value:.4g}"
        low = self.value is not None and self.threshold is not None and self.value < self.threshold
        limit = "" if self.threshold is None else f", at {'least' if low else 'most'} {self.threshold:.4g}"
        says = self.evidence.get("says")
        return f"{self.severity}: {self.rule}{where}{value}{limit}" + (f": {says}" if says else "")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``id severity rule scope value threshold raised_at closed_at says actions`` and more."""
        times = {name: getattr(self, name) for name in ("raised_at", "alarm_at", "closed_at")}
        return {
            "id": self.id,
            "severity": self.severity,
            "rule": self.rule,
            "scope": dict(self.scope),
            "value": self.value,
            "threshold": self.threshold,
            **{name: None if time is None else iso(time) for name, time in times.items()},
            "last": self.last,
            "support": self.support,
            "evidence": dict(self.evidence),
            "says": self.line,
            "actions": [dict(action) for action in self.actions],
        }


def alert_id(system: str, rule: str, scope: str, raised_at: datetime) -> str:
    """The id of an alert.

    >>> from datetime import UTC
    >>> alert_id("energy", "coverage", "", datetime(2026, 1, 2, tzinfo=UTC))
    'alert-21d4c47a7ab2'
    """
    return f"alert-{digest_of([system, rule, scope, iso(raised_at)])}"


def because_of(alert: Alert) -> str:
    """Why a training follows from an alert, in words that follow "trained because"; see `is_answer`.

    The id is part of it: a version that was trained so answers the alert.
    """
    value = "" if alert.value is None else f" {alert.value:.4g}"
    limit = "" if alert.threshold is None else f" beyond {alert.threshold:.4g}"
    where = f" of {alert.where}" if alert.where else ""
    return f"{alert.id} says so: {alert.rule}{where}{value}{limit}"


def is_answer(because: str | None, alert: str = "alert-") -> bool:
    """Whether a training was one that an alert led to: this one by its id, or any."""
    return because is not None and because.startswith(alert)
