"""Whether all that a home holds is what was written, and putting back what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.errors import StoreError
from headrace.home import METRICS, PREDICTIONS, Home
from headrace.registry.checks import problems as models
from headrace.store import verify as tables
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
    found: list[dict[str, Any]] = []
    for owner in [system] if system is not None else home.store.systems():
        for name in home.store.tables(owner):
            table = home.table(owner, name)
            restored = tables.restore(table) if repair else []
            checked = tables.check(table, deep=deep)
            told: dict[str, Any] = {"system": owner, "name": name, "rows": checked.rows, "ok": not checked.problems}
            told |= {"problems": list(checked.problems), "restored": restored}
            found.append(told | ({"hint": _hint(owner, name, checked)} if checked.files else {}))
        notes = ((name, tables.note_problem(home.store, name)) for name in home.store.notes(owner))
        found += [_damaged(owner, name.removeprefix(f"{owner}/"), said) for name, said in notes if said]
        if home.settings.tracking_uri is None:
            try:
                found += [_damaged(owner, *each) for each in models(home.store, home.path, owner, deep=deep)]
            except StoreError:  # the table of models is told above
                continue
    found += [_damaged("", name, said) for name, said in _databases(home, deep)]
    return {"tables": found, "ok": all(each["ok"] for each in found)}


def _hint(system: str, name: str, checked: tables.Checked) -> str:
    """What to do about data files that are lost or changed."""
    if name in (PREDICTIONS, METRICS) or name.startswith("features-"):
        return f"headrace verify {system} --repair makes their rows again, from the facts and the records of runs"
    return f"only a backup has them: put back {', '.join(checked.files)}"


def _damaged(system: str, name: str, problem: str) -> dict[str, Any]:
    return {"system": system, "name": name, "rows": None, "ok": False, "problems": [problem], "restored": []}


def _databases(home: Home, deep: bool) -> Iterator[tuple[str, str]]:
    """SQLite files of the home whose structure is damaged, with what to do."""
    hints = {
        "mlflow.db": (home.settings.tracking_uri, "put it back from a backup"),
        "ledger.db": (home.settings.ledger_uri, "put it back from a backup, with its -wal file"),
        "online.db": (home.settings.online_uri, "remove it: headrace online SYSTEM makes it anew from the tables"),
    }
    for name, (elsewhere, hint) in hints.items():
        path = home.path / name
        if elsewhere is None and path.exists() and (said := damage(path, deep=deep)):
            yield name, f"{said}; {hint}"
