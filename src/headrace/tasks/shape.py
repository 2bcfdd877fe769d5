"""What a system's stored facts are about, kept beside them from the first one on: keys, event time, step, target.

A declaration that says otherwise is refused before anything is written: what is stored could not be told apart from
what would come, and no number of either could be repeated.
"""

from __future__ import annotations

import json
from typing import Any

from headrace.errors import DeclarationError
from headrace.home import Home
from headrace.store.failures import intact
from headrace.system import System

_HINT = "put it back from a backup, or delete it: the next ingest writes it as it is declared then"
_NAMES = {"keys": "the keys", "time": "the event time", "step": "the step", "target": "the target"}


def shape_of(system: System) -> dict[str, Any]:
    """What the facts are about, JSON-ready: the keys in their order and the others, columns with their types."""
    kinds = {column.name: column.type for column in system.contract.columns}
    target = system.contract.column(system.target)
    words = [target.aggregate, *(["empty zero"] if target.empty == "zero" else [])] if target.aggregate else []
    time = system.contract.column(system.time) if system.time is not None else None
    ends = (
        []
        if time is None or time.label == "begin"
        else ["end", *([] if time.midnight == "begins" else ["midnight ends"])]
    )
    zone = None if time is None else time.zone
    step = system.model_dump(mode="json", include={"step"})["step"]
    return {
        "keys": [[name, kinds[name]] for name in system.keys],
        "time": None if system.time is None else [system.time, *([zone] if zone and step else []), *ends],
        "step": step,
        "target": [target.name, target.type, *words],
    }


def check(system: System, home: Home) -> None:
    """Refuse a declaration whose shape is not that of the facts in this home.

    Raises:
        DeclarationError: It differs; `where` is the field.
        StoreError: The store cannot be read.
    """
    stored = home.store.noted(_file(system), _HINT)
    if stored is not None:
        _compare(system, home, stored)


def keep(system: System, home: Home) -> None:
    """As `check`, just before the first facts are stored: of several processes one writes the shape, all agree.

    Raises:
        DeclarationError: It differs.
        StoreError: The store cannot be written.
    """
    _compare(system, home, home.store.first(_file(system), json.dumps(shape_of(system)).encode(), _HINT))


def _compare(system: System, home: Home, noted: bytes) -> None:
    declared = json.loads(json.dumps(shape_of(system)))
    with intact(f"{home.store.uri}/{_file(system)}", _HINT):
        document = json.loads(noted)
        stored = {field: document[field] for field in _NAMES}
    for field, name in _NAMES.items():
        if declared[field] != stored[field]:
            raise DeclarationError(
                f"{name} of {system.name!r} changed from {_said(stored[field])} to {_said(declared[field])},"
                f" and {home.store.uri} holds facts of the former",
                where=field,
                hint="give the system a new name, or choose a new --home; to go on, declare it as it was",
            )


def _said(value: Any) -> str:
    if isinstance(value, list):
        parts = [" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in value]
        return f"({', '.join(parts)})" if isinstance(value[0] if value else [], list) else " ".join(parts)
    return "none" if value is None else str(value)


def _file(system: System) -> str:
    return f"{system.name}/shape.json"
