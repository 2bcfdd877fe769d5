"""Eras: since when the errors of predictions are those of the model that predicts now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.policy.alerts import is_answer
from headrace.registry.history import ModelVersion, VersionEvent, in_order
from headrace.registry.records import Timeline


@dataclass(frozen=True)
class Reign:
    """One version's time as the champion.

    Attributes:
        version: Its number.
        promoted: From when on it predicts, UTC.
        since: From when on errors count as its own, UTC: where it is the same declaration trained anew, as a schedule
            has it, since its predecessors' promotion.
    """

    version: int
    promoted: datetime
    since: datetime


def reigns(timeline: Timeline) -> list[Reign]:
    """Who predicted when, in order.

    A version that the gate promoted and that was made from the same declaration and settings as the one before goes on
    where that one was: if trainings come more often than truth, nothing would ever be known of a model otherwise. One
    that an alarm led to, that somebody promoted by hand or went back to, begins anew.
    """
    ordered: list[Reign] = []
    for fact in in_order(timeline.facts):
        if fact.event not in ("promoted", "rolled_back") or (ordered and ordered[-1].version == fact.version):
            continue
        version = timeline.registered.get(fact.version)
        goes_on = bool(ordered) and _goes_on(fact, version, timeline.registered.get(ordered[-1].version))
        ordered.append(Reign(fact.version, fact.as_of, ordered[-1].since if goes_on else fact.as_of))
    return ordered


def _goes_on(fact: VersionEvent, version: ModelVersion | None, before: ModelVersion | None) -> bool:
    if (
        version is None
        or before is None
        or fact.event != "promoted"
        or fact.by is not None
        or is_answer(version.because)
    ):
        return False
    same = ("made_from", "config_version")
    return all(version.pins.get(name) == before.pins.get(name) for name in same)


def reign_at(all_reigns: Sequence[Reign], time: datetime) -> Reign:
    """Who predicted before a time; the first one where there was none yet.

    A reading of that very time is about what was answered before it, and may be what another one is promoted for.
    """
    return next((reign for reign in reversed(all_reigns) if reign.promoted < time), all_reigns[0])


def reference_at(all_reigns: Sequence[Reign], time: datetime, recent: timedelta) -> Reign:
    """Whose training the data of a time are compared with: the newest version that was promoted so long ago.

    What is recent it cannot have learnt. While no version of the present era is as old, it is the era's first.
    """
    place = all_reigns.index(reign_at(all_reigns, time))
    while all_reigns[place].promoted > time - recent and all_reigns[place].since < all_reigns[place].promoted:
        place -= 1
    return all_reigns[place]
