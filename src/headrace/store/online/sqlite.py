"""The online side in one file: SQLite in WAL mode, shared by any number of processes of one machine."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from headrace.errors import ConfigError, OnlineUnavailableError, StoreError
from headrace.files import absolute, disk_trouble
from headrace.store.online.base import GroupState, OnlineWrite, Session
from headrace.store.online.connections import Connections
from headrace.store.online.feeds import TABLES
from headrace.store.wal import OPENING, patiently, to_wal

T = TypeVar("T")
FORMAT = 1

_TABLES = (
    """CREATE TABLE IF NOT EXISTS groups (
        name TEXT PRIMARY KEY, version INTEGER NOT NULL, since INTEGER NOT NULL, shape TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS facts (
        name TEXT NOT NULL, key TEXT NOT NULL, time INTEGER NOT NULL, known_at INTEGER NOT NULL,
        version INTEGER NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (name, key, time, known_at, version)
    ) WITHOUT ROWID""",
)
_NEWEST = """
    SELECT g.version, g.since, g.shape, (
        SELECT payload FROM facts WHERE name = g.name AND key = {key} AND time <= :at AND known_at <= :at
        ORDER BY time DESC, known_at DESC, version DESC LIMIT 1
    ) FROM groups AS g {keys} WHERE g.name = :name"""
_ONE = _NEWEST.format(key=":key", keys="")
_MANY = _NEWEST.format(key="wanted.value", keys="CROSS JOIN json_each(:keys) AS wanted") + " ORDER BY wanted.key"
_LAST = """
    SELECT payload FROM (
        SELECT payload, time, row_number() OVER (PARTITION BY time ORDER BY known_at DESC, version DESC) AS turn
        FROM facts WHERE name = ? AND key = ? AND time <= ? AND known_at <= ?
    ) WHERE turn = 1 ORDER BY time DESC LIMIT ?"""
_SUPERSEDED = """
    SELECT :name, key, time, known_at, version FROM (
        SELECT f.key, f.time, f.known_at, f.version,
            dense_rank() OVER (PARTITION BY f.key ORDER BY f.time DESC) AS place,
            row_number() OVER (PARTITION BY f.key, f.time ORDER BY f.known_at DESC, f.version DESC) AS turn
        FROM json_each(:keys) AS wanted CROSS JOIN facts AS f
        WHERE f.name = :name AND f.key = wanted.value AND f.time <= :since AND f.known_at <= :since
    ) WHERE place > :keep OR turn > 1"""
_DROP = "DELETE FROM facts WHERE name = ? AND key = ? AND time = ? AND known_at = ? AND version = ?"


class SQLiteOnline:
    """Readers see one snapshot and wait for no one; writers take turns by SQLite's own lock on the file.

    Args:
        uri: ``sqlite:///folder/file.db``; the folder is made when it is missing.
        timeout: Longest wait for another writer, in seconds.
    """

    embedded = True

    def __init__(self, uri: str, timeout: float) -> None:
        self._path = uri.removeprefix("sqlite:///")
        if self._path in ("", ":memory:") or self._path == uri:
            raise ConfigError("the online side needs a file", where=uri, hint="say sqlite:////folder/online.db")
        self._path, self._timeout = str(absolute(self._path)), timeout
        self._connections = Connections(self._connect)
        self._file: int | None = None

    def state(self, group: str) -> GroupState | None:
        """One row."""
        with self._connected() as connection:
            return self._state(connection, group)

    def newest(self, group: str, keys: Sequence[str], as_of: int) -> tuple[GroupState, list[bytes | None]] | None:
        """One statement, so one snapshot; many keys travel as one JSON text."""
        with self._connected() as connection:
            if len(keys) == 1:
                rows = connection.execute(_ONE, {"name": group, "key": keys[0], "at": as_of}).fetchall()
            else:
                arguments = {"name": group, "keys": json.dumps(keys), "at": as_of}
                rows = connection.execute(_MANY, arguments).fetchall()
            if rows:
                return GroupState(*rows[0][:3]), [row[3] for row in rows]
            state = None if keys else self._state(connection, group)
            return None if state is None else (state, [])

    def last(self, group: str, key: str, count: int, as_of: int) -> list[bytes]:
        """A key has few facts, so a window over all of them is quick."""
        with self._connected() as connection:
            return [row[0] for row in connection.execute(_LAST, (group, key, as_of, as_of, count))]

    def write(self, group: str, batch: OnlineWrite) -> bool:
        """Writers are kept out from the first look on."""
        with self._connected() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                written = self._write(connection, group, batch)
                connection.execute("COMMIT" if written else "ROLLBACK")
            except BaseException:
                connection.rollback()
                raise
            return written

    def session(self, group: str, work: Callable[[Session], T], *, synced: bool = False) -> T:
        """A disk is waited for only where it must be: a row is to be seen at once."""
        with self._connected() as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                for statement in TABLES:
                    connection.execute(statement.format(number="INTEGER PRIMARY KEY AUTOINCREMENT", bytes="BLOB"))
                result = work(_SQLiteSession(self, connection, group))
                if synced:  # only what writes is synced, and all before it in the log is then
                    connection.execute("UPDATE groups SET version = version WHERE name = ?", (group,))
                connection.execute("COMMIT")
            except BaseException:
                connection.rollback()
                raise
            finally:
                connection.execute("PRAGMA synchronous = NORMAL")
            return result

    def close(self) -> None:
        """Those that are free."""
        self._connections.close()

    def _write(self, connection: sqlite3.Connection, group: str, batch: OnlineWrite) -> bool:
        state, present = batch.state, self._state(connection, group)
        if batch.after is None:
            connection.execute("DELETE FROM facts WHERE name = ?", (group,))
        elif present is None or present.version < batch.after or present.shape != state.shape:
            return False
        else:
            state = GroupState(max(state.version, present.version), max(state.since, present.since), state.shape)
        rows = ((group, *fact) for fact in batch.facts)
        connection.executemany("INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?, ?)", rows)
        if batch.after is not None:
            keys = json.dumps(sorted({fact.key for fact in batch.facts}))
            arguments = {"name": group, "keys": keys, "since": state.since, "keep": batch.keep}
            connection.executemany(_DROP, connection.execute(_SUPERSEDED, arguments).fetchall())
        connection.execute("INSERT OR REPLACE INTO groups VALUES (?, ?, ?, ?)", (group, *state))
        return True

    def _state(self, connection: sqlite3.Connection, group: str) -> GroupState | None:
        row = connection.execute("SELECT version, since, shape FROM groups WHERE name = ?", (group,)).fetchone()
        return None if row is None else GroupState(*row)

    def _connect(self) -> sqlite3.Connection:
        if self._file is None:  # a folder that was moved away must find its place free when it comes back
            Path(self._path).parent.mkdir(parents=True, exist_ok=True)
        # One thread at a time uses it, not always the same. isolation_level None: `write` begins.
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        try:
            to_wal(connection, self._timeout)
            # What a power cut takes is brought back from the table.
            connection.execute("PRAGMA synchronous = NORMAL")
            if self._format(connection) < FORMAT:
                patiently(lambda: self._make(connection), max(self._timeout, OPENING))
        except BaseException:
            connection.close()
            raise
        self._file = _file_at(self._path)
        return connection

    def _make(self, connection: sqlite3.Connection) -> None:
        """The tables, in one transaction: whoever waited for another to make them finds them made."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._format(connection) < FORMAT:
                for table in _TABLES:
                    connection.execute(table)
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise

    def _format(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > FORMAT:
            raise StoreError(
                f"it has format {version}, this headrace knows {FORMAT}",
                where=self._path,
                hint="upgrade headrace, or name another file",
            )
        return version

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            if self._file is not None and self._file != _file_at(self._path):
                self._connections.close()  # of a file that was removed: nobody writes to it any more
            connection = self._connections.take()
            try:
                yield connection
            finally:
                self._connections.give(connection)
        except sqlite3.OperationalError as error:
            reason = disk_trouble(error) or str(error)
            raise OnlineUnavailableError(f"cannot be used now: {reason}", where=self._path) from error
        except OSError as error:  # its folder cannot be made
            reason = disk_trouble(error) or str(error)
            raise OnlineUnavailableError(f"cannot be made: {reason}", where=self._path) from error
        except sqlite3.DatabaseError as error:
            hint = "remove the file; headrace materialize online SYSTEM makes it anew from the tables"
            raise StoreError(f"is damaged: {error}", where=self._path, hint=hint) from error


class _SQLiteSession:
    """One transaction."""

    def __init__(self, backend: SQLiteOnline, connection: sqlite3.Connection, group: str) -> None:
        self._backend, self._connection, self._group = backend, connection, group

    def state(self) -> GroupState | None:
        return self._backend._state(self._connection, self._group)  # noqa: SLF001 - a part of it

    def write(self, batch: OnlineWrite) -> bool:
        return self._backend._write(self._connection, self._group, batch)  # noqa: SLF001 - a part of it

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        among = "IN (SELECT value FROM json_each(?))"
        return self._connection.execute(statement.replace("AMONG ?", among), values).fetchall()

    def many(self, statement: str, values: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(statement, values)

    def texts(self, values: Sequence[str]) -> str:
        return json.dumps(values)


def _file_at(path: str) -> int | None:
    """What tells a file from another one under its name."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116  # a path object would cost as much again, on every look-up
    except FileNotFoundError:
        return None
