"""What a database must do for the ledger: the protocol of its back ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

Row = tuple[Any, ...]
Place = tuple[int, ...] | None

# Of every engine: no values in errors, which go to logs; and only what is JSON in columns of JSON.
ENGINE_OPTIONS: dict[str, Any] = {
    "hide_parameters": True,
    "json_serializer": partial(json.dumps, allow_nan=False),
}


def driver(connection: Connection) -> Any:
    """The driver's own connection, for the few statements of every batch: a fifth less time than through SQLAlchemy."""
    return connection.connection.driver_connection


class LedgerBackend(Protocol):
    """One kind of database. What differs between them is here; all else is SQLAlchemy Core.

    `lock`, `stored` and `insert` raise the driver's own errors.

    Attributes:
        pinned: Whether an open connection leads to one database for good. Where it does not, one that leads to another
            database is closed, and the next may lead to the right one.
    """

    pinned: bool

    def __init__(self, timeout: float) -> None:
        """`timeout`: the longest wait in seconds for a connection, a lock or an answer."""

    def engine(self, url: URL, place: Place) -> Engine:
        """Called once, when the ledger is opened; connects to nothing yet.

        With the `place` of a ledger that was opened before, nothing is made, and nothing else is opened.

        Every connection of the engine commits durably and waits no longer than the time-out. Errors carry no values
        of statements.
        """

    def lock(self, connection: Connection, *, only_writes: bool = False) -> None:
        """Called first in every transaction that writes: begins it, and keeps all other writers out until it ends.

        Writers one after another are what makes sequence numbers appear in the order in which they were given: a
        reader that has seen number n never misses a smaller one. `only_writes`: the connection is used for nothing
        else.
        """

    def check(self, connection: Connection) -> None:
        """Called before every commit and every read: whether the connection still leads to what was opened first.

        Raises:
            LedgerReplacedError: What is there is another ledger, or none.
        """

    @property
    def place(self) -> Place:
        """Where the ledger is, once a connection was opened; see `Known`."""

    def state(self, connection: Connection) -> object:
        """Called in a transaction: equal to what it gave before if nobody but this connection has written since.

        None where that cannot be told.
        """

    def glance(self) -> None:
        """As `check`, without a connection: what can be seen from outside in no time."""

    def forget(self) -> None:
        """Called when all connections were closed: the next one may lead anywhere."""

    def doubtful(self, connection: Connection) -> bool:
        """Called now and then while nothing is written: whether a write may well fail, without trying one."""

    def is_other(self, error: BaseException) -> bool:
        """Whether a driver's error says that what is there is not the ledger: it lacks a table, or is no database."""

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Row]:
        """Rows (as `COLUMNS`) that the system's keys have already: one query, however many keys."""

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Store rows (as `COLUMNS`), in order."""

    def insert_traces(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Store traces of requests, in the transaction that stores their predictions: id and trace of each."""

    def is_away(self, error: BaseException) -> bool:
        """Whether a driver's error says that the database cannot be used now, not that it refuses what it was given."""

    def is_busy(self, error: BaseException) -> bool:
        """Whether a driver's error says that another writer was in the way for too long: the database itself is there.

        Called while the tables are made, which many processes may do at once.
        """
