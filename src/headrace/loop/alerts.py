"""The alerts of a system: what follows from the readings that are stored, as of any time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.loop import actions
from headrace.loop import readings as table_of_readings
from headrace.loop.eras import reigns
from headrace.loop.evaluate import policy_of
from headrace.policy.alerts import Alert, fold

if TYPE_CHECKING:
    from headrace.home import Home
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
    readings = table_of_readings.read(home, system.name, policy_of(system), as_of)
    if not readings:
        return []
    timeline = home.registry.timeline(system.name)
    promotions = sorted({reign.since for reign in reigns(timeline) if as_of is None or reign.since <= as_of})
    found = fold(first_name(home, system.name), readings, system.monitoring.watched, promotions)
    caused: dict[str, list[dict[str, Any]]] = {}
    for fact in actions.read(home, system.name, as_of):
        caused.setdefault(fact.alert, []).append(fact.as_dict())
    chosen = [alert for alert in found if alert.is_open or not only_open]
    return [replace(alert, actions=tuple(caused.get(alert.id, ()))) for alert in chosen]


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
