"""Deleting a system: everything that a home holds of it."""

from __future__ import annotations

import shutil
from typing import Any

from headrace.errors import NotFoundError
from headrace.home import Home
from headrace.housekeeping import changes
from headrace.housekeeping.disk import folders_of, usage
from headrace.housekeeping.room import with_room


def holdings(home: Home, system: str) -> dict[str, Any]:
    """What `delete` would take: ``system tables models predictions shadows bytes``.

    Raises:
        NotFoundError: The home has nothing of it.
        StoreError: The storage cannot be reached.
    """
    tables = home.store.tables(system)
    logged = home.ledger.owned.counts(system) if home.has_ledger else {"predictions": 0, "shadows": 0}
    if not tables and not any(logged.values()) and changes.pending(home, system) is None:
        names = ", ".join(home.store.systems()) or "none"
        raise NotFoundError(f"nothing is stored of {system!r}", where=str(home.path), hint=f"stored here: {names}")
    held = sum(folder["bytes"] for folder in usage(home, system))
    models = len(home.registry.versions(system))
    return {"system": system, "tables": tables, "models": models, **logged, "bytes": held}


def delete(home: Home, system: str) -> dict[str, Any]:
    """Delete tables, models, log, online state, reports and caches of a system; what was deleted, as `holdings` says.

    Killed at any moment and repeated, it ends with nothing left. Topics in Kafka and targets outside are not touched.
    Stop what serves the system first.

    Raises:
        NotFoundError: The home has nothing of it.
        UsageError: It is being renamed.
        HeadraceError: A part of it cannot be reached; repeat the command.
    """
    held = holdings(home, system)
    with_room(home, system, lambda _: _delete(home, system), folders_of(home, system))
    return held


def _delete(home: Home, system: str) -> None:
    with home.changing():
        changes.begin(home, system, changes.DELETE)
        for folder in folders_of(home, system):  # first what frees room, and needs none
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink(missing_ok=True)
        home.registry.forget(system)
        if home.has_ledger:
            home.ledger.owned.forget(system)
        if home.has_online:
            home.online.forget(system)
        home.store.folders.remove(system)  # last of all: its facts say which files of models are its own
        changes.finish(home, system)
