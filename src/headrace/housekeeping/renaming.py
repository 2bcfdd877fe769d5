"""Renaming a system: history, models, log and ids go along."""

from __future__ import annotations

import re
from typing import Any

from headrace.errors import NotFoundError, UsageError
from headrace.feature_system import GROUP
from headrace.home import Home
from headrace.housekeeping import changes
from headrace.housekeeping.disk import OF_SYSTEMS, folders_of
from headrace.loop.alerts import keep_first_name
from headrace.store import FeatureGroup

_NAME = re.compile(r"[a-z][a-z0-9_]*")


def rename(home: Home, system: str, new_name: str) -> dict[str, Any]:
    """Give what is stored of a system another name: ``system to tables models``.

    Predictions and alerts keep their ids, models their numbers and digests: every prediction is traced and replayed as
    before, and no alarm is told or acted on again. Killed at any moment and repeated, it ends as if it had not been.
    Topics in Kafka keep their names: they are derived from the system's. Stop what serves the system first.

    Raises:
        NotFoundError: The home has nothing of it.
        UsageError: The new name is no good, or taken; or other systems look features up under the old one.
        HeadraceError: A part of it cannot be reached; repeat the command.
    """
    if not _NAME.fullmatch(new_name) or new_name == system:
        raise UsageError(f"{new_name!r} is not a good name", where="NEW", hint="use lower-case letters, digits and _")
    home.store.tables(system)  # whose name is no good is refused
    with home.changing():
        _rename(home, system, new_name)
    return {
        "system": system,
        "to": new_name,
        "tables": home.store.tables(new_name),
        "models": len(home.registry.versions(new_name)),
    }


def _rename(home: Home, system: str, new_name: str) -> None:
    change = changes.pending(home, system)
    if change is None:
        _refuse(home, system, new_name)
    changes.begin(home, system, changes.RENAME, new_name)
    if home.has_ledger:
        home.ledger.owned.rename(system, new_name)
    home.registry.rename(system, new_name)
    for kind in OF_SYSTEMS:
        if (home.path / kind / system).is_dir():
            (home.path / kind / system).rename(home.path / kind / new_name)
    keep_first_name(home, system, new_name)
    home.store.folders.move(system, new_name)
    changes.finish(home, system, new_name)


def _refuse(home: Home, system: str, new_name: str) -> None:
    if not home.store.tables(system):
        names = ", ".join(home.store.systems()) or "none"
        raise NotFoundError(f"nothing is stored of {system!r}", where=str(home.path), hint=f"stored here: {names}")
    logged = home.ledger.owned.systems() if home.has_ledger else []
    if new_name in home.store.systems() or new_name in logged or folders_of(home, new_name):
        raise UsageError(
            f"something is stored of {new_name!r} already", where=new_name, hint="choose another name, or delete it"
        )
    views = [name for name in home.store.notes(system) if "/view-" in name]
    online = any(FeatureGroup.open(home.store, system, name).online for name in FeatureGroup.names(home.store, system))
    if views or online or GROUP in FeatureGroup.names(home.store, system):
        hint = "their declarations and models name it; make a system of the new name beside it"
        raise UsageError("other systems look features up under this name", where=system, hint=hint)
