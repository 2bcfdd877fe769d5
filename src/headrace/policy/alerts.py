"""Alerts: what follows from readings, as a pure fold over them in the order of time. Nothing of it is stored."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from headrace.lineage import digest_of, iso
from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.reading import LEVELS, Level, Reading, ScopeReading

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
        """Its scope in words: ``area DK1``; empty for the system."""
        return ", ".join(f"{name} {value}" for name, value in self.scope.items())

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
        return f"{self.severity}: {self.rule}{where}{value}{limit}"

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


@dataclass
class _Track:
    """What is remembered of one rule and scope from reading to reading: lengths of runs, and the open alert."""

    warned: int = 0
    alarmed: int = 0
    cleared: int = 0
    open: Alert | None = None


def fold(
    system: str, readings: Iterable[Reading], rules: Sequence[MonitorRule], promotions: Sequence[datetime] = ()
) -> list[Alert]:
    """The alerts that follow from readings, oldest first.

    Pure: the same readings in any order give the same alerts, and those up to a time follow from the readings up to it.

    Args:
        system: The name by which ids are made: the first one that the system had.
        readings: Of these rules; of one rule and time one.
        rules: As they are declared; readings of others are passed over.
        promotions: When another model began to predict, UTC: a run of readings up to it counts no more, and within a
            rule's grace after it nothing is known.

    >>> fold("energy", [], [])
    []
    """
    by_name = {rule.called: rule for rule in rules}
    tracks: dict[tuple[str, str], _Track] = {}
    closed: list[Alert] = []
    starts, last = sorted(promotions), dict[str, datetime]()
    for reading in sorted(readings, key=lambda r: (r.time, r.rule)):
        rule = by_name.get(reading.rule)
        if rule is None:
            continue
        place = bisect_left(starts, reading.time)
        since = starts[place - 1] if place else None
        if rule.about_model and since is not None and last.get(rule.called, since) <= since:
            _forget(tracks, rule.called)
        last[rule.called] = reading.time
        if reading.level == "unknown" or (since is not None and reading.time < since + rule.grace):
            continue
        scopes = {scope.key: scope for scope in reading.scopes}
        for key in sorted({*scopes, *(scope for name, scope in tracks if name == rule.called)}):
            track = tracks.setdefault((rule.called, key), _Track())
            ended = _step(system, rule, track, key, reading, scopes.get(key))
            closed += [ended] if ended is not None else []
    still = [track.open for track in tracks.values() if track.open is not None]
    return sorted([*closed, *still], key=lambda alert: (alert.raised_at, alert.rule, alert.id))


def _forget(tracks: Mapping[tuple[str, str], _Track], rule: str) -> None:
    """Begin to count anew: what was measured was about another model."""
    for (name, _), track in tracks.items():
        if name == rule:
            track.warned = track.alarmed = track.cleared = 0


def _step(
    system: str, rule: MonitorRule, track: _Track, key: str, reading: Reading, measured: ScopeReading | None
) -> Alert | None:
    """Take one reading of one scope into account; the alert that it closes, if it closes one."""
    level: Level = "ok" if measured is None else measured.level
    kept: Level = "ok" if measured is None else measured.kept
    if level == "unknown":
        return None
    rank = LEVELS.index(level)
    track.warned = track.warned + 1 if rank >= 1 else 0
    track.alarmed = track.alarmed + 1 if rank == len(LEVELS) - 1 else 0
    track.cleared = track.cleared + 1 if kept == "ok" else 0
    if track.open is None:
        if measured is not None and track.warned >= rule.consecutive:
            track.open = _raised(system, rule.called, key, reading.time, measured)
            if track.alarmed >= rule.consecutive:
                track.open = replace(track.open, severity="alarm", alarm_at=reading.time)
        return None
    track.open = replace(track.open, last=None if measured is None else measured.value)
    if measured is not None and track.open.severity == "warning" and track.alarmed >= rule.consecutive:
        track.open = replace(
            track.open,
            severity="alarm",
            alarm_at=reading.time,
            value=measured.value,
            threshold=measured.threshold,
            support=measured.support,
            evidence=measured.evidence,
        )
    if track.cleared >= rule.consecutive:
        ended, track.open = replace(track.open, closed_at=reading.time), None
        track.warned = track.alarmed = 0
        return ended
    return None


def _raised(system: str, rule: str, key: str, time: datetime, measured: ScopeReading) -> Alert:
    return Alert(
        alert_id(system, rule, key, time),
        "warning",
        rule,
        measured.scope,
        measured.value,
        measured.threshold,
        time,
        last=measured.value,
        support=measured.support,
        evidence=measured.evidence,
    )


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
