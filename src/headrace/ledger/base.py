"""What a database must do for the ledger: the protocol of its back ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

Row = tuple[Any, ...]

# Of every engine: no values in errors, which go to logs; and only what is JSON in columns of JSON.
ENGINE_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": partial(json.dumps, allow_nan=False),
}


class Backend(Protocol):
    """One kind of database. What differs between them is here; all else is SQLAlchemy Core."""

    def engine(self, url: URL, timeout: float) -> Engine:
        """Called once, when the ledger is opened; connects to nothing yet.

        Every connection of the engine commits durably, waits at most `timeout` seconds for a connection, a lock or an
        answer, and begins no transaction by itself. Errors carry no values of statements.
        """

    def lock(self, connection: Connection) -> None:
        """Called first in every transaction that writes: begins it, and keeps all other writers out until it ends.

        Writers one after another are what makes sequence numbers appear in the order in which they were given: a
        reader that has seen number n never misses a smaller one. Raises `DBAPIError` when the wait is too long.
        """

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Sequence[Any]]:
        """Rows (as `COLUMNS`) that the system's keys have already: one query, however many keys."""

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Store rows (as `COLUMNS`), in order."""

    def is_away(self, error: DBAPIError) -> bool:
        """Whether an error says that the database cannot be used now, not that it refuses what it was given."""
