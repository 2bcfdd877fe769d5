"""Which systems there are: declared here, stored in the home, installed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headrace.home import EVENTS, PREDICTIONS, RAW, Home
from headrace.pipelines.runs import newest


def listed(home: Home, folder: Path, installed: Iterable[str]) -> list[dict[str, Any]]:
    """Systems by name: ``system where champion last_run status rows predictions``.

    `where` is a list of ``here`` (a folder below `folder`), ``home`` and ``installed``. What is not stored is None.

    Args:
        home: Where everything is.
        folder: Where systems are declared, usually ``systems/``.
        installed: Names of entry points.

    Raises:
        StoreError: The storage cannot be reached.
    """
    present = {path.parent.name for path in folder.glob("*/system.py")}
    stored, names_installed = set(home.store.systems()), set(installed)
    rows = []
    for name in sorted(present | stored | names_installed):
        places = (("here", present), ("home", stored), ("installed", names_installed))
        row = {"system": name, "where": [place for place, names in places if name in names]}
        rows.append(row | (_stored(home, name) if name in stored else _nothing()))
    return rows


def _stored(home: Home, system: str) -> dict[str, Any]:
    champion, runs = home.registry.champion(system), newest(home, system, 1)
    facts = sum(_count(home, system, name) or 0 for name in (RAW, EVENTS))
    return {
        "champion": None if champion is None else champion.version,
        "last_run": runs[0]["as_of"] if runs else None,
        "status": runs[0]["status"] if runs else None,
        "rows": facts,
        "predictions": _count(home, system, PREDICTIONS) or 0,
    }


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(("champion", "last_run", "status", "rows", "predictions"))


def _count(home: Home, system: str, name: str) -> int:
    return int(home.table(system, name).files()["num_records"].sum())
