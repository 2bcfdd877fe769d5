"""When a model is to be trained, and whether the champion is what the declaration says; a run that trains none asks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from headrace.declaration import format_duration
from headrace.grid import later
from headrace.lineage import iso
from headrace.shaping import differing
from headrace.system import System

if TYPE_CHECKING:
    from headrace.policy import StandingFacts
    from headrace.registry import ModelVersion, Timeline


class FactsOf(Protocol):
    """Gives the facts that rules ask for."""

    def at(self, as_of: datetime, last: ModelVersion) -> StandingFacts:
        """Those as of a time, since the training of a version."""


def due(system: System, timeline: Timeline, as_of: datetime, facts: FactsOf) -> str | None:
    """Why a run as of this time must train, in words that follow "trained because"; None where it need not.

    There is no champion, the last training is too long ago, one as of this very time was broken off before its version
    was judged, what the champion was made from is not what is declared now, nor was that of the last training, or a
    rule of ``schedule.retrain`` says so. Pure but for what `facts` reads: all of it was known at `as_of`.
    """
    champion = timeline.champion(as_of)
    if champion is None:
        return "there is no champion"
    last, unjudged = timeline.latest_trained(as_of), timeline.challenger(as_of)
    if unjudged is not None and unjudged.as_of == as_of:
        return f"the training of version {unjudged.version} was broken off"
    if last is None:
        return "nothing was trained yet"
    return _scheduled(system, champion, last, as_of) or _ruled(system, last, as_of, facts)


def _scheduled(system: System, champion: ModelVersion, last: ModelVersion, as_of: datetime) -> str | None:
    """That the last training is too long ago, or of another declaration; nothing where trainings come once."""
    interval = system.schedule.train
    if interval is None:
        return None
    if later(last.as_of, interval, zone=system.dates) <= as_of:
        return f"the last training, as of {iso(last.as_of)}, is {format_duration(interval)} ago or longer"
    changed = differing(system.made_from, champion.pins)
    if changed and differing(system.made_from, last.pins):
        return f"the declaration changed: {', '.join(changed)}"
    return None


def looks_back(system: System) -> bool:
    """Whether what is due depends on how wrong predictions were: then what has matured is scored before it is asked."""
    return any(rule.reads_scores for rule in system.schedule.retrain)


def resting(system: System, timeline: Timeline, as_of: datetime, facts: FactsOf) -> str | None:
    """That a rule of ``schedule.retrain`` gives a reason, but the last training is too fresh, and until when.

    Of a run for which `due` gave none. Pure but for what `facts` reads.
    """
    last = timeline.latest_trained(as_of)
    if last is None or as_of >= (end := last.as_of + system.schedule.cooldown):
        return None
    reason = _reason(system, last, as_of, facts)
    return None if reason is None else f"{reason}; waits for the cooldown until {iso(end)}"


def _ruled(system: System, last: ModelVersion, as_of: datetime, facts: FactsOf) -> str | None:
    """The first reason of the rules, once the last training has rested."""
    rested = as_of >= last.as_of + system.schedule.cooldown
    return _reason(system, last, as_of, facts) if rested else None


def _reason(system: System, last: ModelVersion, as_of: datetime, facts: FactsOf) -> str | None:
    rules = system.schedule.retrain
    if not rules:
        return None
    known = facts.at(as_of, last)
    return next((reason for rule in rules if (reason := rule.reason(known)) is not None), None)


def notice(system: System, timeline: Timeline, as_of: datetime) -> str | None:
    """That the champion was made from another declaration than the present one, and what to do about it."""
    champion, last = timeline.champion(as_of), timeline.latest_trained(as_of)
    parts = [] if champion is None else differing(system.made_from, champion.pins)
    if champion is None or not parts:
        return None
    message = f"model version {champion.version} was made from another declaration ({', '.join(parts)})"
    if last is not None and not differing(system.made_from, last.pins):
        hint = f"version {last.version}, made from the present one, did not take its place"
        return f"{message}; {hint}: headrace promote {system.name} {last.version}"
    return f"{message}, and goes on, since it is not trained: headrace train {system.name}"


def waiting(system: System, timeline: Timeline, as_of: datetime) -> str | None:
    """That a version waits for somebody's approval, and how to give it."""
    pending = timeline.pending(as_of)
    if pending is None:
        return None
    number, name = pending.version, system.name
    commands = f"headrace promote {name} {number}, or headrace reject {name} {number}"
    return f"model version {number} waits for approval since {iso(pending.as_of)}: {commands}"
