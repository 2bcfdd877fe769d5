"""What the online side holds of a group that a topic feeds: how far it came, what is remembered, what the table lacks.

One transaction moves them together with the facts that are looked up. So an event counts once whatever becomes of
workers and offsets, and the table is given each row with the very time since which a look-up gives it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from headrace.errors import OnlineUnavailableError, StoreError
from headrace.store.online.base import GroupState, OnlineFact, OnlineWrite, Session
from headrace.store.online.records import SEALED, sealed

TABLES = (
    """CREATE TABLE IF NOT EXISTS positions (
        name TEXT NOT NULL, part BIGINT NOT NULL, topic TEXT, log BIGINT NOT NULL, place BIGINT NOT NULL,
        quiet BIGINT NOT NULL, definition TEXT NOT NULL, PRIMARY KEY (name, part)
    )""",
    """CREATE TABLE IF NOT EXISTS states (
        name TEXT NOT NULL, key TEXT NOT NULL, known_at BIGINT NOT NULL, payload {bytes} NOT NULL,
        PRIMARY KEY (name, key)
    )""",
    """CREATE TABLE IF NOT EXISTS pending (
        number {number}, name TEXT NOT NULL, kind BIGINT NOT NULL, payload {bytes} NOT NULL
    )""",
    "CREATE INDEX IF NOT EXISTS pending_of_group ON pending (name, number)",
)
ROW, BAD = 0, 1
"""Kinds of what is pending: a row of the group, and an event that was set apart."""
pack = msgspec.msgpack.Encoder().encode
row_of = msgspec.msgpack.Decoder(tuple[str, int, int, dict[str, Any]]).decode
"""Key, event time, known time and values of a pending row."""


def fact_of(key: str, time: int, known_at: int, values: dict[str, Any]) -> OnlineFact:
    """A row as it is looked up: of no version of the table."""
    return OnlineFact(key, time, known_at, 0, sealed(key, pack((time, known_at, 0, values))))


def _opened(key: str, payload: bytes, label: str) -> bytes:
    """What was sealed under a key.

    Raises:
        StoreError: It is damaged.
    """
    data = payload[SEALED:]
    if payload != sealed(key, data):
        hint = "headrace materialize SYSTEM --bootstrap H:P --rebuild makes it anew from the topic"
        raise StoreError(f"{label} {key} is not what was written", where="online", hint=hint)
    return data


class FeedPosition(NamedTuple):
    """How far one partition has come.

    Attributes:
        topic: Id of the topic; None where the cluster gives none.
        log: 1, and one more each time that the partition's offsets began to mean other events.
        place: Offset of the next event.
        quiet: The table has the rows of all events before this offset: they are remembered, and give none again.
        definition: Of what is remembered.
    """

    topic: str | None
    log: int
    place: int
    quiet: int
    definition: str


class RememberedKey(NamedTuple):
    """What is remembered of a key, and the known time of its last row, microseconds since 1970."""

    known_at: int
    payload: bytes


class Pending(NamedTuple):
    """What the table lacks, in its order."""

    number: int
    kind: int
    payload: bytes


class Feed:
    """The part of one group, within one transaction.

    Args:
        session: The transaction.
        name: The group.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name

    def positions(self) -> dict[int, FeedPosition]:
        """Of every partition that was read."""
        query = "SELECT part, topic, log, place, quiet, definition FROM positions WHERE name = ?"
        return {row[0]: FeedPosition(*row[1:]) for row in self._session.rows(query, (self._name,))}

    def move(self, positions: Mapping[int, FeedPosition]) -> None:
        """Set how far partitions have come."""
        statement = """INSERT INTO positions VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name, part) DO UPDATE SET
            topic = excluded.topic, log = excluded.log, place = excluded.place, quiet = excluded.quiet,
            definition = excluded.definition"""
        self._session.many(statement, [(self._name, part, *position) for part, position in positions.items()])

    def remembered(self, keys: Sequence[str]) -> dict[str, RememberedKey]:
        """Of these keys, those that said something."""
        query = "SELECT key, known_at, payload FROM states WHERE name = ? AND key AMONG ?"
        rows = self._session.rows(query, (self._name, self._session.texts(keys)))
        label = "what is remembered of"
        return {key: RememberedKey(known, _opened(key, bytes(payload), label)) for key, known, payload in rows}

    def remember(self, states: Mapping[str, RememberedKey]) -> None:
        """Set what is remembered of keys."""
        statement = """INSERT INTO states VALUES (?, ?, ?, ?) ON CONFLICT (name, key) DO UPDATE SET
            known_at = excluded.known_at, payload = excluded.payload"""
        rows = [(self._name, key, state.known_at, sealed(key, state.payload)) for key, state in states.items()]
        self._session.many(statement, rows)

    def forget(self, *, pending: bool = True) -> None:
        """Forget positions and keys, and what the table lacks; what is looked up stays."""
        if pending:
            self._session.rows("DELETE FROM pending WHERE name = ?", (self._name,))
        self._session.rows("DELETE FROM positions WHERE name = ?", (self._name,))
        self._session.rows("DELETE FROM states WHERE name = ?", (self._name,))

    def put(self, facts: Sequence[OnlineFact], pending: Iterable[tuple[int, bytes]], since: int, keep: int) -> None:
        """Facts to look up, and what the table is to be given.

        Raises:
            OnlineUnavailableError: Somebody makes the group anew.
        """
        state = self._session.state()
        if state is None or not self._session.write(
            OnlineWrite(facts, state.version, GroupState(state.version, since, state.shape), keep)
        ):
            raise OnlineUnavailableError("the group is being made anew", where=self._name)
        statement = "INSERT INTO pending (name, kind, payload) VALUES (?, ?, ?)"
        self._session.many(statement, [(self._name, kind, sealed(self._name, payload)) for kind, payload in pending])

    def pending(self, most: int) -> list[Pending]:
        """The first of what the table lacks."""
        query = "SELECT number, kind, payload FROM pending WHERE name = ? ORDER BY number LIMIT ?"
        rows = self._session.rows(query, (self._name, most))
        return [Pending(number, kind, self._pending(payload)) for number, kind, payload in rows]

    def _pending(self, payload: bytes) -> bytes:
        return _opened(self._name, bytes(payload), "a row that the table lacks, of")

    def waiting(self) -> int:
        """How much the table lacks."""
        return int(self._session.rows("SELECT count(*) FROM pending WHERE name = ?", (self._name,))[0][0])

    def facts(self) -> list[OnlineFact]:
        """The rows that the table lacks, as they are looked up."""
        query = "SELECT payload FROM pending WHERE name = ? AND kind = ? ORDER BY number"
        return [fact_of(*row_of(self._pending(payload))) for (payload,) in self._session.rows(query, (self._name, ROW))]

    def done(self, stored: Sequence[Pending], version: int) -> bool:
        """The table has these now, since this version of it at the latest; whether nothing else is to be brought here.

        Their numbers are given once, so what came since then is not among them.
        """
        span = (self._name, stored[0].number, stored[-1].number)
        self._session.rows("DELETE FROM pending WHERE name = ? AND number BETWEEN ? AND ?", span)
        state = self._session.state()
        if state is not None and state.version == version - 1:  # all that this version brought was here before
            return self._session.write(OnlineWrite((), state.version, GroupState(version, state.since, state.shape), 1))
        return state is not None and state.version >= version
