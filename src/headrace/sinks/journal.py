"""What a target without transactions has not got yet, and what it refused: an SQLite file of this installation.

What is to be sent is written down together with the position after it, before it is sent: so it is sent again just as
it was, after a crash too, and under the same key.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from headrace.errors import SinkError, SinkMovedError, StoreError
from headrace.files import disk_trouble
from headrace.lineage import iso
from headrace.sinks.base import Position, written
from headrace.store.wal import spare_log

_MAKE = (
    "CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY CHECK (one = 1), said TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, name TEXT NOT NULL, keys TEXT NOT NULL,
        count INTEGER NOT NULL, body BLOB NOT NULL
    )""",
    """CREATE TABLE IF NOT EXISTS letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, keys TEXT NOT NULL, count INTEGER NOT NULL,
        body BLOB NOT NULL, status INTEGER NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL
    )""",
)


class Parcel(NamedTuple):
    """One request.

    Attributes:
        number: Its place in the journal; 0 before it is there.
        lane: Requests of one lane go one after another.
        name: The idempotency key: an id of a prediction, or a digest of several.
        keys: Rows or series that it is about, as text.
        size: Predictions in it.
        body: What is sent.
    """

    number: int
    lane: int
    name: str
    keys: str
    size: int
    body: bytes


class DeadLetter(NamedTuple):
    """A request that the target refused for good: with which status, why, and when (ISO 8601, UTC)."""

    parcel: Parcel
    status: int
    reason: str
    at: str


class Journal:
    """Of one target and one source of predictions; one process at a time sends by it.

    Args:
        path: Of the file; a lock lies beside it.
        alone: Whether it is to be sent by: not for a look at letters.

    Raises:
        SinkError: Another process has it.
        StoreError: It cannot be opened.
    """

    def __init__(self, path: Path, *, alone: bool = True) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.with_suffix(".lock").open("a")
        try:
            fcntl.flock(self._lock, (fcntl.LOCK_EX | fcntl.LOCK_NB) if alone else fcntl.LOCK_UN)
        except OSError as error:
            self._lock.close()
            hint = "let it end first: only one keeps the order"
            raise SinkError("another process passes on to this target", where=str(path), hint=hint) from error
        try:
            with self._failures():
                spare_log(path)
                self._connection = sqlite3.connect(path, isolation_level=None)
                self._connection.execute("PRAGMA journal_mode = WAL").close()
                self._connection.execute("PRAGMA synchronous = FULL").close()
                for statement in _MAKE:
                    self._connection.execute(statement).close()
        except StoreError:
            self._lock.close()
            raise
        self._file = path.stat().st_ino

    @property
    def position(self) -> Position | None:
        """How far the source was written down."""
        row = self._read("SELECT said FROM position")
        if not row:
            return None
        position: Position = json.loads(row[0][0])
        return position

    def write(self, parcels: Iterable[Parcel], before: Position | None, after: Position) -> None:
        """Write requests down, and the position after them: both or nothing.

        Raises:
            SinkMovedError: The journal is at another position.
            StoreError: It takes nothing.
        """
        with self._transaction():
            if self.position != before:
                raise SinkMovedError("the journal is at another position", where=str(self._path))
            rows = [(parcel.lane, parcel.name, parcel.keys, parcel.size, parcel.body) for parcel in parcels]
            self._connection.executemany(
                "INSERT INTO outbox (lane, name, keys, count, body) VALUES (?, ?, ?, ?, ?)", rows
            )
            self._connection.execute("INSERT OR REPLACE INTO position VALUES (1, ?)", (written(after),))

    def outbox(self, limit: int) -> list[Parcel]:
        """The oldest requests that the target has not got."""
        query = "SELECT number, lane, name, keys, count, body FROM outbox ORDER BY number LIMIT ?"
        return [Parcel(*row) for row in self._read(query, limit)]

    def done(self, parcels: Sequence[Parcel], letters: Sequence[DeadLetter] = ()) -> None:
        """The target has got some requests, and refused others."""
        rows = [(p.name, p.keys, p.size, p.body, status, reason, moment) for p, status, reason, moment in letters]
        over = [(parcel.number,) for parcel in (*parcels, *(letter.parcel for letter in letters))]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO letters (name, keys, count, body, status, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
            )
            self._connection.executemany("DELETE FROM outbox WHERE number = ?", over)

    def letters(self, limit: int, after: int = 0) -> list[DeadLetter]:
        """What was refused, in its order; the number of each is its place among them."""
        query = "SELECT number, 0, name, keys, count, body, status, reason, at FROM letters WHERE number > ? LIMIT ?"
        return [DeadLetter(Parcel(*row[:6]), *row[6:]) for row in self._read(query, after, limit)]

    def count(self) -> tuple[int, int]:
        """Requests that wait, and letters."""
        (waiting,), (refused,) = self._read("SELECT count(*) FROM outbox UNION ALL SELECT count(*) FROM letters")
        return waiting, refused

    def settle(self, numbers: Sequence[int]) -> None:
        """Let letters go."""
        with self._transaction():
            self._connection.executemany("DELETE FROM letters WHERE number = ?", [(number,) for number in numbers])

    def close(self) -> None:
        """Let another process have it."""
        self._connection.close()
        self._lock.close()

    def _read(self, query: str, *values: Any) -> list[Any]:
        with self._failures():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._failures():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                if not self._path.exists() or self._path.stat().st_ino != self._file:
                    hint = "put it back, or begin anew"
                    raise StoreError("the journal was moved or replaced", where=str(self._path), hint=hint)
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(disk_trouble(error) or str(error), where=str(self._path)) from error


def stamp(now: datetime) -> str:
    """A time of a letter."""
    return iso(now.replace(microsecond=0))
