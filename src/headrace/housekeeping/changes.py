"""A change of a whole system that is under way: kept beside the systems' folders, so that a killed one is finished.

A deletion or a renaming touches the store, the ledger, the registry and the online side, one after the other. Its note
is written first and goes last. While it is there nothing is written to the system but by the same command again.
"""

from __future__ import annotations

import json
from typing import Any

from headrace.errors import UsageError
from headrace.home import Home

DELETE, RENAME = "delete", "rename"
_FOLDER = "_changes"


def pending(home: Home, system: str) -> dict[str, Any] | None:
    """The change of a system that was begun and not finished: ``{"change": ..., "to": ...}``.

    Raises:
        StoreError: The storage cannot be reached.
    """
    noted = home.store.noted(_file(system))
    return None if noted is None else dict(json.loads(noted))


def begin(home: Home, system: str, change: str, new_name: str | None = None) -> None:
    """Note that a change begins, or goes on.

    Raises:
        UsageError: Another change was begun and not finished.
    """
    document = {"change": change, "to": new_name}
    found = pending(home, system)
    if found is not None and found != document:
        raise _unfinished(system, found)
    home.store.note(_file(system), json.dumps(document).encode())
    if new_name is not None:
        home.store.note(_file(new_name), json.dumps({"change": change, "to": new_name, "of": system}).encode())


def finish(home: Home, system: str, new_name: str | None = None) -> None:
    """Note that a change is done."""
    for name in (new_name, system):
        if name is not None:
            home.store.folders.forget(_file(name))


def refuse_unfinished(home: Home, system: str) -> None:
    """Refuse to write to a system that is being deleted or renamed.

    Raises:
        UsageError: It is; says how to finish it.
    """
    change = pending(home, system)
    if change is not None:
        raise _unfinished(system, change)


def _unfinished(system: str, change: dict[str, Any]) -> UsageError:
    names = [change.get("of", system), *([change["to"]] if change["to"] else [])]
    command = f"headrace {change['change']} {' '.join(names)}"
    return UsageError("a change of it was begun and not finished", where=system, hint=f"finish it: {command}")


def _file(system: str) -> str:
    return f"{_FOLDER}/{system}.json"
