"""Who changed what: one row for each write that people ask for, kept for good, also where it failed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, insert, select, update

from headrace.ledger.database import Database
from headrace.ledger.tables import audit

_COLUMNS = (*(column for column in audit.columns if column.name != "sequence"),)


BEGUN = "begun"
"""The outcome of a change before it is known. One that stays so was broken off."""


class AuditEntry(NamedTuple):
    """One write.

    Attributes:
        time: When, UTC.
        by: What the token is called that asked for it.
        action: What was done: ``promote``, ``release`` ...
        system: Name of the system.
        target: What it was done to, such as the number of a version; empty: the system.
        details: What was asked for, JSON-ready. No secret.
        outcome: ``begun``, then ``done``, or why it failed.
        request: The id of the request.
    """

    time: datetime
    by: str
    action: str
    system: str
    target: str
    details: Mapping[str, Any]
    outcome: str
    request: str


class Audit:
    """The trail of all systems. Errors are those of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, entry: AuditEntry) -> int:
        """Keep an entry, durably; its number, which grows."""
        values = entry._asdict() | {"details": dict(entry.details)}

        def work(connection: Connection) -> int:
            result = connection.execute(insert(audit).values(**values))
            key = result.inserted_primary_key
            assert key is not None
            return int(key[0])

        return self._database.write(work)

    def settle(self, number: int, outcome: str) -> None:
        """Say what became of an entry that was ``begun``; of one that was settled nothing changes."""
        which = (audit.c.sequence == number) & (audit.c.outcome == BEGUN)
        self._database.write(lambda connection: connection.execute(update(audit).where(which).values(outcome=outcome)))

    def newest(
        self, systems: Collection[str], *, before: int | None = None, limit: int = 100
    ) -> list[tuple[int, AuditEntry]]:
        """Entries with their numbers, newest first.

        Args:
            systems: Only those about these.
            before: Only those with a smaller number.
            limit: How many at most.
        """
        query = select(audit.c.sequence, *_COLUMNS).where(audit.c.system.in_(sorted(systems)))
        if before is not None:
            query = query.where(audit.c.sequence < before)
        query = query.order_by(audit.c.sequence.desc()).limit(limit)
        return self._database.read(
            lambda connection: [(row[0], AuditEntry(*row[1:])) for row in connection.execute(query)]
        )
