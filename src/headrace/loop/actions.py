"""What alarms caused, in the store: one row per alarm, action and evaluation time, with its outcome and its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import Home
from headrace.policy.acting import ActionFact

if TYPE_CHECKING:
    import polars as pl

ACTIONS = "actions"
_IDENTITY = ("alert", "action", "outcome", "time")
_NAMES = tuple(field.name for field in fields(ActionFact) if field.name != "as_of")


def read(home: Home, system: str, as_of: datetime | None = None) -> list[ActionFact]:
    """The facts by a time (None: all) about what was done or put off, oldest first.

    Raises:
        StoreError: The table cannot be read.
    """
    return [fact for fact in _read(home, system, as_of) if fact.outcome != "begun"]


def unfinished(home: Home, system: str, as_of: datetime) -> list[ActionFact]:
    """What was begun by a time and has no result: whoever did it is at it still, or was killed. Oldest first.

    Raises:
        StoreError: The table cannot be read.
    """
    facts = _read(home, system, as_of)
    done = {(fact.alert, fact.action, fact.as_of) for fact in facts if fact.outcome != "begun"}
    return [fact for fact in facts if fact.outcome == "begun" and (fact.alert, fact.action, fact.as_of) not in done]


def _read(home: Home, system: str, as_of: datetime | None) -> list[ActionFact]:
    if home.store.commit(system, ACTIONS) is None:  # a list of names: most systems have none
        return []
    table = home.table(system, ACTIONS)
    rows = table.collect(table.scan(as_of=as_of)).sort("known_at", "_version", "alert", "action")
    rows = rows.unique(_IDENTITY, keep="first", maintain_order=True)
    return [_fact(row) for row in rows.iter_rows(named=True)]


def write(home: Home, system: str, facts: Sequence[ActionFact], now: datetime) -> int:
    """Keep facts; those that are there already add nothing. Returns how many were new.

    Args:
        home: Where the table is.
        system: The system's name.
        facts: What became of actions.
        now: The clock's time, UTC; it is only written down.

    Raises:
        StoreError: The table cannot be written.
    """
    if not facts:
        return 0
    written = home.table(system, ACTIONS).append(_frame(facts, now), identity=_IDENTITY, compare=(), window="time")
    return written.added


def _frame(facts: Sequence[ActionFact], now: datetime) -> pl.DataFrame:
    import polars as pl

    utc, numbers = pl.Datetime("us", "UTC"), ("version", "config_version")
    kinds: dict[str, Any] = {name: pl.Int64() if name in numbers else pl.String() for name in _NAMES}
    kinds |= {"time": utc, "known_at": utc, "created_at": utc}
    rows = [
        {name: getattr(fact, name) for name in _NAMES} | {"known_at": fact.as_of, "created_at": now} for fact in facts
    ]
    return pl.DataFrame(rows, schema=kinds)


def _fact(row: dict[str, Any]) -> ActionFact:
    return ActionFact(as_of=row["known_at"], **{name: row[name] for name in _NAMES})
