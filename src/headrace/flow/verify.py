"""Whether all that a home holds is what was written, and putting back what was lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headrace.errors import StoreError
from headrace.home import METRICS, PREDICTIONS, Home
from headrace.ledger import checks
from headrace.registry.checks import problems as models
from headrace.store import verify as tables
from headrace.store.online import checks as online
from headrace.store.online.records import ANEW
from headrace.store.wal import damage


def verify(home: Home, system: str | None = None, *, deep: bool = False, repair: bool = False) -> dict[str, Any]:
    """Compare the tables of one system, or of all, with the records of their commits; look at what is beside them too.

    Args:
        home: Where they are.
        system: Its name; None for all that are stored.
        deep: Read every file, and compare digests.
        repair: Put commits back first that were lost or changed.

    Returns:
        ``tables[{system name rows ok problems restored}] ok``, of files beside the tables (small ones, models and
        databases) those that are damaged; `rows` is None where they cannot be counted, `hint` says what to do about
        data files, `restored` lists the commits that were put back.

    Raises:
        StoreError: The storage cannot be reached.
    """
    problems: list[dict[str, Any]] = []
    for owner in [system] if system is not None else home.store.systems():
        for name in home.store.tables(owner):
            table = home.table(owner, name)
            restored = tables.restore(table) if repair else []
            checked = tables.check(table, deep=deep)
            report: dict[str, Any] = {"system": owner, "name": name, "rows": checked.rows, "ok": not checked.problems}
            report |= {"problems": list(checked.problems), "restored": restored}
            problems.append(report | ({"hint": _hint(owner, name, checked)} if checked.files else {}))
        for name in home.store.notes(owner) if repair else ():
            home.store.seal(name)
        notes = ((name, tables.note_problem(home.store, name)) for name in home.store.notes(owner))
        problems += [_damaged(owner, name.removeprefix(f"{owner}/"), message) for name, message in notes if message]
        try:
            problems += models_of(home, owner, deep=deep)
        except StoreError:  # the table of models is told above
            continue
    problems += beside(home, deep=deep, repair=repair)
    return {"tables": problems, "ok": all(table["ok"] for table in problems)}


def _hint(system: str, name: str, checked: tables.Checked) -> str:
    """What to do about data files that are lost or changed."""
    if name in (PREDICTIONS, METRICS) or name.startswith("features-"):
        return f"headrace verify {system} --repair makes their rows again, from the facts and the records of runs"
    return f"only a backup has them: put back {', '.join(checked.files)}"


def _damaged(system: str, name: str, problem: str) -> dict[str, Any]:
    return {"system": system, "name": name, "rows": None, "ok": False, "problems": [problem], "restored": []}


def models_of(home: Home, system: str, *, deep: bool = False) -> list[dict[str, Any]]:
    """What is wrong with the models of a system that are kept in the home, as `verify` tells it.

    Raises:
        StoreError: The table of models cannot be read.
    """
    if home.settings.tracking_uri is not None:
        return []
    return [_damaged(system, *model) for model in models(home.store, home.path, system, deep=deep)]


def beside(home: Home, *, deep: bool = False, repair: bool = False) -> list[dict[str, Any]]:
    """What is wrong with the databases of a home, as `verify` tells it.

    Args:
        home: Where they are.
        deep: Read all of them: pages, indexes, and every row that has a seal or a digest.
        repair: Seal predictions of the ledger that have no seal yet, as they are.
    """
    problems = [_damaged("", name, message) for name, message in _databases(home, deep)]
    ledger = home.path / "ledger.db"
    if home.settings.ledger_uri is None:
        message = checks.misplaced(ledger)
        problems += [_damaged("", "ledger.db", message)] if message else []
        if deep and ledger.exists() and not problems:
            problems += _logged(ledger, repair)
    online_path = home.path / "online.db"
    if (
        deep
        and home.settings.online_uri is None
        and online_path.exists()
        and not any(e["name"] == online_path.name for e in problems)
    ):
        try:
            problems += [
                _damaged("", online_path.name, f"{message}; {ANEW}") for message in online.damaged(online_path)
            ]
        except sqlite3.DatabaseError as error:
            problems.append(_damaged("", online_path.name, f"cannot be read: {error}; {ANEW}"))
    return problems


def _logged(ledger: Path, repair: bool) -> list[dict[str, Any]]:
    """What is wrong with rows of the ledger; an empty list for one that has none."""
    try:
        problems = list(checks.damaged(ledger))
        bare = checks.seal(ledger) if repair and not problems else checks.unsealed(ledger)
        rows = checks.rows(ledger)
    except sqlite3.DatabaseError as error:
        return [_damaged("", "ledger.db", f"cannot be read: {error}")]
    if not rows:
        return []
    report: dict[str, Any] = {"system": "", "name": "ledger.db", "rows": rows, "ok": not problems}
    report |= {"problems": problems, "restored": []}
    if problems:
        report["hint"] = "put it back from a backup, with its -wal file; no damaged row is exported"
    elif bare:
        problems_here = (
            "sealed now, as they were"
            if repair
            else "could be changed unseen: headrace verify --repair --deep seals them"
        )
        report["hint"] = f"{bare:,} rows of an earlier headrace {problems_here}"
    return [report]


def _databases(home: Home, deep: bool) -> Iterator[tuple[str, str]]:
    """SQLite files of the home whose structure is damaged, with what to do."""
    hints = {
        "mlflow.db": (home.settings.tracking_uri, "put it back from a backup"),
        "ledger.db": (home.settings.ledger_uri, "put it back from a backup, with its -wal file"),
        "online.db": (
            home.settings.online_uri,
            "remove it: headrace materialize online SYSTEM makes it anew",
        ),
    }
    for name, (elsewhere, hint) in hints.items():
        path = home.path / name
        if elsewhere is None and path.exists() and (problem := damage(path, deep=deep)):
            yield name, f"{problem}; {hint}"
