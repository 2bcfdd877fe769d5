"""Alerts as a pure fold over readings in the order of time: over all, or on from where an earlier fold ended."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from headrace.policy.alerts import Alert, alert_id
from headrace.policy.monitoring.base import MonitorRule
from headrace.policy.monitoring.reading import LEVELS, Level, Reading, ScopeReading


@dataclass
class Track:
    """What is remembered of one rule and scope from reading to reading.

    Attributes:
        warned, alarmed: Readings in a row at these levels, or worse.
        cleared: Readings in a row by which the open alert is on its way to be closed.
        open: The alert that is open; None: none is.
    """

    warned: int = 0
    alarmed: int = 0
    cleared: int = 0
    open: Alert | None = None

    @property
    def is_blank(self) -> bool:
        """Whether it says no more than one that was never begun."""
        return not self.warned and not self.alarmed and self.open is None


@dataclass
class AlertFold:
    """Where a fold stands after the readings up to a time: all that the readings after it can depend on.

    Attributes:
        tracks: By rule and scope, those that are not blank.
        last: The time of each rule's last reading, UTC.
        closed: Alerts that were closed, in the order in which they were.
    """

    tracks: dict[str, dict[str, Track]] = field(default_factory=dict)
    last: dict[str, datetime] = field(default_factory=dict)
    closed: list[Alert] = field(default_factory=list)

    @property
    def alerts(self) -> list[Alert]:
        """Those that were closed and those that are open, oldest first."""
        still = [track.open for tracks in self.tracks.values() for track in tracks.values() if track.open is not None]
        return sorted([*self.closed, *still], key=lambda alert: (alert.raised_at, alert.rule, alert.id))

    def add(
        self, system: str, readings: Iterable[Reading], rules: Sequence[MonitorRule], promotions: Sequence[datetime]
    ) -> None:
        """Fold further readings, all of them later than those before; see `fold`."""
        by_name, starts = {rule.called: rule for rule in rules}, sorted(promotions)
        for reading in sorted(readings, key=lambda r: (r.time, r.rule)):
            if (rule := by_name.get(reading.rule)) is not None:
                self._take(system, reading, rule, starts)

    def _take(self, system: str, reading: Reading, rule: MonitorRule, starts: Sequence[datetime]) -> None:
        place = bisect_left(starts, reading.time)
        since = starts[place - 1] if place else None
        tracks = self.tracks.setdefault(rule.called, {})
        if rule.about_model and since is not None and self.last.get(rule.called, since) <= since:
            for track in tracks.values():  # count anew: what was measured was about another model
                track.warned = track.alarmed = track.cleared = 0
        self.last[rule.called] = reading.time
        if reading.level == "unknown" or (since is not None and reading.time < since + rule.grace):
            return
        scopes = {scope.key: scope for scope in reading.scopes}
        for key in sorted({*scopes, *tracks}):
            track = tracks.setdefault(key, Track())
            ended = _step(system, rule, track, key, reading, scopes.get(key))
            self.closed += [] if ended is None else [ended]
            if track.is_blank:
                del tracks[key]


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
    state = AlertFold()
    state.add(system, readings, rules, promotions)
    return state.alerts


def _step(
    system: str, rule: MonitorRule, track: Track, key: str, reading: Reading, measured: ScopeReading | None
) -> Alert | None:
    """Take one reading of one scope into account; the alert that it closes, if it closes one."""
    level: Level = "ok" if measured is None else measured.level
    kept: Level = "ok" if measured is None else measured.kept
    if level == "unknown":
        return None
    rank = LEVELS.index(level)
    track.warned = track.warned + 1 if rank >= 1 else 0
    track.alarmed = track.alarmed + 1 if rank == len(LEVELS) - 1 else 0
    track.cleared = track.cleared + 1 if kept == "ok" and track.open is not None else 0
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
