"""The ledger in one file: SQLite in WAL mode, shared by any number of processes of one machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from headrace.errors import ConfigError, LedgerUnavailableError
from headrace.ledger.base import ENGINE_OPTIONS, Place, Row, driver
from headrace.ledger.file import LedgerFile
from headrace.ledger.tables import COLUMNS
from headrace.store.wal import is_busy, patiently

_NAMES = ", ".join(COLUMNS)
_NO_TEXT = "Could not decode to UTF-8"
_json = msgspec.json.Encoder().encode  # the standard library takes 20 us longer, its lines being cold
# CROSS JOIN keeps SQLite from scanning the predictions and looking each up in the list of keys.
_STORED = f"""
    SELECT {", ".join(f"p.{name}" for name in COLUMNS)} FROM json_each(?) AS wanted CROSS JOIN predictions AS p
    WHERE p.system = ? AND p.key = wanted.value
"""  # noqa: S608  # names of columns
_STORED_ONE = f"SELECT {_NAMES} FROM predictions WHERE system = ? AND key = ?"  # noqa: S608  # half the time
# One statement stores many rows: each statement gives up the interpreter's lock, and under load a thread waits
# milliseconds to have it back. Lengths are powers of two, so there are few statements and all stay compiled.
_LENGTHS = tuple(1 << i for i in reversed(range(10)))
_VALUES = f"({', '.join('?' * len(COLUMNS))})"
_INSERT = {n: f"INSERT INTO predictions ({_NAMES}) VALUES {', '.join([_VALUES] * n)}" for n in _LENGTHS}  # noqa: S608


class SQLiteLedger:
    """Writers take turns by SQLite's own lock on the file."""

    pinned = True

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._impatient: sqlite3.Connection | None = None

    def engine(self, url: URL, place: Place) -> Engine:
        """Makes the folder and turns the file to WAL mode."""
        if url.database in (None, "", ":memory:"):
            raise ConfigError("the ledger needs a file", where=str(url), hint="say sqlite:////folder/ledger.db")
        try:
            if place is None:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerUnavailableError(f"its folder cannot be made: {error}", where=str(url)) from error
        self._file = file = LedgerFile(url.database, self._timeout, place)
        engine = create_engine(url, **ENGINE_OPTIONS, pool_timeout=self._timeout)

        @event.listens_for(engine, "do_connect")
        def connected(_dialect: object, _record: object, _arguments: object, _options: object) -> sqlite3.Connection:
            return file.connect()

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk, not only in the WAL's buffers
            connection.execute("PRAGMA foreign_keys = ON")

        return engine

    def check(self, connection: Connection) -> None:
        """By the inodes that the path leads to: some four microseconds."""
        self._file.check(driver(connection))

    def state(self, connection: Connection) -> object:
        """SQLite counts the commits of others, for each connection."""
        sqlite = driver(connection)
        return sqlite, sqlite.execute("PRAGMA data_version").fetchone()

    @property
    def place(self) -> Place:
        """Device and inode."""
        return self._file.place

    def glance(self) -> None:
        """By the same inodes."""
        self._file.glance()

    def forget(self) -> None:
        """The file may be another one."""
        self._file.forget()

    def doubtful(self, connection: Connection) -> bool:
        """A file system that is mounted to be read only, or is full."""
        return self._file.doubtful()

    def is_other(self, error: BaseException) -> bool:
        """A missing table has no number of its own."""
        if isinstance(error, sqlite3.OperationalError):
            return str(error).startswith("no such table")
        number = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return number in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

    def lock(self, connection: Connection, *, only_writes: bool = False) -> None:
        """Asks every millisecond. SQLite itself soon asks only ten times a second, and never meets the short pauses of
        a process that writes all the time.
        """
        sqlite = driver(connection)
        if sqlite is not self._impatient:
            sqlite.execute("PRAGMA busy_timeout = 0")
        try:
            patiently(lambda: sqlite.execute("BEGIN IMMEDIATE"), self._timeout, pause=0.001)
        finally:
            if only_writes:
                self._impatient = sqlite
            else:
                sqlite.execute(f"PRAGMA busy_timeout = {int(self._timeout * 1000)}")

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Row]:
        """The keys travel as one JSON text, unless there is one alone."""
        if len(keys) == 1:
            row = driver(connection).execute(_STORED_ONE, (system, keys[0]))
        else:
            row = driver(connection).execute(_STORED, (_json(keys).decode(), system))
        rows: list[Row] = row.fetchall()
        return rows

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Rows in statements of 512, 256, ... 1."""
        start = 0
        for length in _LENGTHS:
            while len(rows) - start >= length:
                values = chain.from_iterable(rows[start : start + length])
                driver(connection).execute(_INSERT[length], tuple(values))
                start += length

    def insert_traces(self, connection: Connection, rows: Sequence[Row]) -> None:
        """One statement, again and again."""
        driver(connection).executemany("INSERT INTO traces (prediction, trace) VALUES (?, ?)", rows)

    def is_away(self, error: BaseException) -> bool:
        """Locked, full, unreadable: all of them are operational errors. So is a text that is damaged."""
        return isinstance(error, sqlite3.OperationalError) and not str(error).startswith(_NO_TEXT)

    def is_busy(self, error: BaseException) -> bool:
        """By the first byte of its code: the others say what the file is busy with."""
        return is_busy(error)
