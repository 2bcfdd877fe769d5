"""The ledger in one file: SQLite in WAL mode, shared by any number of processes of one machine."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from headrace.errors import ConfigError
from headrace.ledger.base import ENGINE_OPTIONS, Row
from headrace.ledger.tables import COLUMNS

_NAMES = ", ".join(COLUMNS)
# CROSS JOIN keeps SQLite from scanning the predictions and looking each up in the list of keys.
_STORED = f"""
    SELECT {", ".join(f"p.{name}" for name in COLUMNS)} FROM json_each(?) AS wanted CROSS JOIN predictions AS p
    WHERE p.system = ? AND p.key = wanted.value
"""  # noqa: S608  # names of columns
# One statement stores many rows: each statement gives up the interpreter's lock, and under load a thread waits
# milliseconds to have it back. Lengths are powers of two, so there are few statements and all stay compiled.
_LENGTHS = tuple(1 << i for i in reversed(range(10)))
_VALUES = f"({', '.join('?' * len(COLUMNS))})"
_INSERT = {n: f"INSERT INTO predictions ({_NAMES}) VALUES {', '.join([_VALUES] * n)}" for n in _LENGTHS}  # noqa: S608


class SQLite:
    """Writers take turns by SQLite's own lock on the file."""

    def engine(self, url: URL, timeout: float) -> Engine:
        """Makes the folder and turns the file to WAL mode."""
        if not url.database or url.database == ":memory:" or "mode" in url.query:
            raise ConfigError("the ledger needs a file", where=str(url), hint="say sqlite:////folder/ledger.db")
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            url,
            **ENGINE_OPTIONS,
            pool_timeout=timeout,
            # isolation_level None: a transaction begins where `lock` says so, and reads need none.
            connect_args={"timeout": timeout, "isolation_level": None},
        )

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _: object) -> None:
            _journal(connection, timeout)
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only in the WAL's buffers
            connection.execute("PRAGMA foreign_keys = ON")

        return engine

    def lock(self, connection: Connection) -> None:
        """Waits in SQLite's busy handler."""
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Sequence[Any]]:
        """The keys travel as one JSON text."""
        return connection.exec_driver_sql(_STORED, (json.dumps(keys), system)).all()

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Rows in statements of 512, 256, ... 1."""
        start = 0
        for length in _LENGTHS:
            while len(rows) - start >= length:
                values = tuple(value for row in rows[start : start + length] for value in row)
                connection.exec_driver_sql(_INSERT[length], values)
                start += length

    def is_away(self, error: DBAPIError) -> bool:
        """Locked, full, unreadable: all of them are operational errors."""
        return isinstance(error.orig, sqlite3.OperationalError)


def _journal(connection: sqlite3.Connection, timeout: float) -> None:
    """WAL mode. The first processes that start together may find the file locked without SQLite waiting for it."""
    end = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return
