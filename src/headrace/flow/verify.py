"""Whether all tables are what was written, and putting back what was lost."""

from __future__ import annotations

from typing import Any

from headrace.home import Home
from headrace.store import verify as tables


def verify(home: Home, system: str | None = None, *, deep: bool = False, repair: bool = False) -> dict[str, Any]:
    """Compare the tables of one system, or of all, with the records of their commits; and read the files beside them.

    Args:
        home: Where they are.
        system: Its name; None for all that are stored.
        deep: Read every file, and compare digests.
        repair: Put commits back first that were lost or changed.

    Returns:
        ``tables[{system name rows ok problems restored}] ok``, of files beside the tables those that are
        damaged; `rows` is None where they cannot be counted, `restored` lists the commits that were put back.

    Raises:
        StoreError: The storage cannot be reached.
    """
    found: list[dict[str, Any]] = []
    for owner in [system] if system is not None else home.store.systems():
        for name in home.store.tables(owner):
            table = home.table(owner, name)
            restored = tables.restore(table) if repair else []
            checked = tables.check(table, deep=deep)
            said: dict[str, Any] = {"system": owner, "name": name, "rows": checked.rows, "ok": not checked.problems}
            found.append(said | {"problems": list(checked.problems), "restored": restored})
        for name in home.store.notes(owner):
            if damage := tables.note_problem(home.store, name):
                short = name.removeprefix(f"{owner}/")
                bad = {"system": owner, "name": short, "rows": None, "ok": False}
                found.append(bad | {"problems": [damage], "restored": []})
    return {"tables": found, "ok": all(each["ok"] for each in found)}
