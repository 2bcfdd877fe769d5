"""Why things are as they are: alerts, trainings and decisions in the order of time, in words, from stored facts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.lineage import iso
from headrace.loop import actions
from headrace.loop.alerts import alerts
from headrace.loop.drift import recent_of
from headrace.loop.eras import reference_at, reigns
from headrace.policy.acting import of_each
from headrace.policy.monitoring import Drifted
from headrace.registry.history import in_order

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.policy.acting import ActionFact
    from headrace.policy.alerts import Alert
    from headrace.registry.history import VersionEvent
    from headrace.registry.records import Timeline
    from headrace.system import System

_WORDS = {
    "held": "won, and waits for approval",
    "promoted": "is the champion",
    "rejected": "does not become the champion",
    "rolled_back": "is the champion again",
}


@dataclass(frozen=True)
class ChainLink:
    """One thing that happened.

    Attributes:
        time: Since when it counts, UTC.
        event: ``warning``, ``alarm``, ``closed``, ``trained``, ``held``, ``promoted``, ``rejected`` or ``rolled_back``;
            or what an alarm caused: ``retune``, ``retrain``, ``rollback``, ``fallback``.
        text: What happened, and why.
        alert: The alert that it is about, or that led to it; None: none.
        version: The model version that it is about; None: none.
    """

    time: datetime
    event: str
    text: str
    alert: str | None = None
    version: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "time": iso(self.time)}


def chain(system: System, home: Home, *, as_of: datetime | None = None) -> list[ChainLink]:
    """What was raised and closed, trained and decided, oldest first.

    Args:
        system: The declaration.
        home: Where the facts are.
        as_of: Nothing later, UTC; None: all.

    Raises:
        StoreError: A table cannot be read.
    """
    timeline = home.registry.timeline(system.name)
    links = [
        link
        for alert in alerts(system, home, as_of=as_of)
        for link in _of_alert(alert, _learnt(alert, system, timeline))
    ]
    facts = [fact for fact in in_order(timeline.facts) if as_of is None or fact.as_of <= as_of]
    links += [_of_version(fact, timeline) for fact in facts]
    # The versions that came of an action say the rest; these say it of what was searched, failed, or was put off.
    links += [_of_action(fact) for fact in of_each(actions.read(home, system.name, as_of))]
    return sorted(links, key=lambda link: link.time)  # stable: of one time alerts come before what they led to


def _learnt(alert: Alert, system: System, timeline: Timeline) -> str:
    """Of drift that is over: which version learnt what had come, where it is compared with another one since then."""
    drifts = any(rule.called == alert.rule and isinstance(rule, Drifted) for rule in system.monitoring.watched)
    if not drifts or alert.closed_at is None:
        return ""
    ordered, recent = reigns(timeline), recent_of(system)
    before, after = (reference_at(ordered, time, recent).version for time in (alert.raised_at, alert.closed_at))
    return (
        "" if before == after else f", as what comes is compared with what version {after} learnt, not version {before}"
    )


def _of_alert(alert: Alert, learnt: str) -> list[ChainLink]:
    links = []
    if alert.alarm_at != alert.raised_at:
        text = f"warning: {alert.rule}" if alert.severity == "alarm" else alert.line
        links.append(ChainLink(alert.raised_at, "warning", text, alert.id))
    if alert.alarm_at is not None:
        links.append(ChainLink(alert.alarm_at, "alarm", alert.line, alert.id))
    if alert.closed_at is not None:
        where = f" of {alert.where}" if alert.where else ""
        links.append(ChainLink(alert.closed_at, "closed", f"{alert.rule}{where} is well again{learnt}", alert.id))
    return links


def _of_action(fact: ActionFact) -> ChainLink:
    return ChainLink(fact.as_of, fact.action, fact.line, fact.alert, fact.version)


def _of_version(fact: VersionEvent, timeline: Timeline) -> ChainLink:
    number = fact.version
    if fact.event == "registered":
        version = timeline.registered.get(number)
        because = None if version is None else version.because
        alert = because.split()[0] if because is not None and because.startswith("alert-") else None
        text = f"version {number} was trained" + (f" because {because}" if because else "")
        return ChainLink(fact.as_of, "trained", text, alert, number)
    whom = f" by {fact.by}" if fact.by else ""
    reason = f": {fact.reason}" if fact.reason else ""
    return ChainLink(fact.as_of, fact.event, f"version {number} {_WORDS[fact.event]}{whom}{reason}", None, number)
