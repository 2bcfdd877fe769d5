"""The alerts of a system: what follows from the readings that are stored, as of any time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.loop import actions
from headrace.loop import readings as table_of_readings
from headrace.loop.eras import reigns
from headrace.loop.evaluate import policy_of
from headrace.loop.folded import StandingAlerts, folded
from headrace.loop.times import last_before, spacing

if TYPE_CHECKING:
    from headrace.home import Home
    from headrace.policy.alerts import Alert
    from headrace.system import System

FIRST_NAME = "first_name.json"
"""What keeps it, in the system's folder of the store."""


def alerts(system: System, home: Home, *, as_of: datetime | None = None, only_open: bool = False) -> list[Alert]:
    """The alerts of the present rules, oldest first, each with what it caused.

    Args:
        system: The declaration.
        home: Where the readings are.
        as_of: As they stood then, UTC; None: by all that is known.
        only_open: Only those that are not closed.

    Raises:
        StoreError: The table cannot be read.
    """
    known = folded_alerts(system, home, as_of=as_of).alerts
    return with_actions(system, home, [alert for alert in known if alert.is_open or not only_open], as_of)


def unknown(system: System, home: Home, *, as_of: datetime | None = None) -> dict[str, str]:
    """The rules that could not tell anything at the newest evaluation time, and why: no alert of theirs means nothing.

    Args:
        system: The declaration.
        home: Where the readings are.
        as_of: As it stood then, UTC; None: by all that is known.

    Raises:
        StoreError: The table cannot be read.
    """
    policy = policy_of(system)
    marked = table_of_readings.mark(home, system.name, policy)
    if marked is None:
        return {}
    last = marked[0] if as_of is None else min(marked[0], last_before(as_of, spacing(system)))
    newest = table_of_readings.read(home, system.name, policy, as_of, since=last)
    return {
        reading.rule: str(reading.scopes[0].evidence["reason"])
        for reading in newest
        if reading.time == last and reading.level == "unknown" and reading.scopes
        if "reason" in reading.scopes[0].evidence
    }


def with_actions(system: System, home: Home, known: Sequence[Alert], as_of: datetime | None = None) -> list[Alert]:
    """Alerts, each with what it caused by a time (None: all).

    Raises:
        StoreError: The table cannot be read.
    """
    if not known:
        return []
    caused: dict[str, list[dict[str, Any]]] = {}
    for fact in actions.read(home, system.name, as_of):
        caused.setdefault(fact.alert, []).append(fact.as_dict())
    return [replace(alert, actions=tuple(caused[alert.id])) if alert.id in caused else alert for alert in known]


def folded_alerts(system: System, home: Home, *, as_of: datetime | None = None) -> StandingAlerts:
    """The alerts of the present rules without what they caused, and where their fold stands.

    Raises:
        StoreError: The table cannot be read.
    """
    ordered = reigns(home.registry.timeline(system.name))
    promotions = sorted({reign.since for reign in ordered if as_of is None or reign.since <= as_of})
    return folded(home, system, first_name(home, system.name), promotions, as_of)


def first_name(home: Home, system: str) -> str:
    """The name that a system had when its history began: ids of alerts are made of it, so that renaming keeps them.

    Raises:
        StoreError: The storage cannot be reached.
    """
    noted = home.store.noted(f"{system}/{FIRST_NAME}")
    return system if noted is None else str(json.loads(noted)["name"])


def keep_first_name(home: Home, system: str, new_name: str) -> None:
    """Note the first name of a system that is about to be renamed, beside its tables, which it moves with.

    Repeated, also after they were moved, it changes nothing.

    Raises:
        StoreError: The storage cannot be reached or written.
    """
    if home.store.noted(f"{new_name}/{FIRST_NAME}") is None and home.store.tables(system):
        home.store.first(f"{system}/{FIRST_NAME}", json.dumps({"name": system}).encode())
