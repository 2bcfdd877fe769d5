"""When a model is to be trained, and whether the champion is what the declaration says; a run that trains none asks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from headrace.grid import later
from headrace.shaping import differing
from headrace.system import System

if TYPE_CHECKING:
    from headrace.registry import Timeline


def due(system: System, timeline: Timeline, as_of: datetime) -> bool:
    """Whether a run as of this time must train.

    There is no champion, the last training is too long ago, one as of this very time was broken off before its version
    was judged, or what the champion was made from is not what is declared now, nor was that of the last training.
    """
    champion = timeline.champion(as_of)
    if champion is None:
        return True
    last, unjudged = timeline.latest_trained(as_of), timeline.challenger(as_of)
    if unjudged is not None and unjudged.as_of == as_of:
        return True
    every = system.schedule.train
    if every is None:
        return False
    if last is None or later(last.as_of, every, zone=system.dates) <= as_of:
        return True
    return bool(differing(system.made_from, champion.pins)) and bool(differing(system.made_from, last.pins))


def notice(system: System, timeline: Timeline, as_of: datetime) -> str | None:
    """That the champion was made from another declaration than the present one, and what to do about it."""
    champion, last = timeline.champion(as_of), timeline.latest_trained(as_of)
    parts = [] if champion is None else differing(system.made_from, champion.pins)
    if champion is None or not parts:
        return None
    said = f"model version {champion.version} was made from another declaration ({', '.join(parts)})"
    if last is not None and not differing(system.made_from, last.pins):
        hint = f"version {last.version}, made from the present one, did not take its place"
        return f"{said}; {hint}: headrace promote {system.name} {last.version}"
    return f"{said}, and goes on, since it is not trained: headrace train {system.name}"
