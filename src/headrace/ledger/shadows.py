"""What versions said beside the one that answered. Nobody waits for it, so it follows the log, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from headrace.ledger.database import Database
from headrace.ledger.records import Entry, entry_of
from headrace.ledger.tables import followers, pins, predictions, shadows

T = TypeVar("T")

_MOST = 100_000
"""So many entries that wait are counted."""
_ENTRY = tuple(column for column in predictions.columns if column.name != "sequence")


class Follower(NamedTuple):
    """How far a version has come that scores what was answered.

    Attributes:
        model_version: The version.
        since: It scores what was logged after this sequence number.
        position: What was logged up to this one is done.
        scored: Entries that it scored.
        failed: Entries that it could not score; each is stored with the reason.
        own: Entries that it had answered itself.
    """

    model_version: int
    since: int
    position: int
    scored: int
    failed: int
    own: int


class Shadow(NamedTuple):
    """What one version said beside one answer.

    Attributes:
        of: Sequence number of the entry that was answered.
        id: Its own id (UUID text), which no prediction has.
        inputs: What it was made from, as JSON; None: the inputs of the entry.
        answer: As that of a prediction; ``{"error": ...}`` where it could not be made.
        pins: Id of its pins record.
    """

    of: int
    id: str
    inputs: bytes | None
    answer: bytes
    pins: str


Beside = tuple[Shadow, Entry]
"""What was said beside an answer, and the answer."""


class Shadows:
    """Followers of the log, and what they said. Errors are those of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, system: str, version: int) -> Follower:
        """Have a version score what is logged from now on; where it has begun before, how far it is."""

        def work(connection: Connection) -> Follower:
            follower = _follower(connection, system, version)
            if follower is not None:
                return follower
            last = connection.scalar(select(func.max(predictions.c.sequence)).where(predictions.c.system == system))
            made = Follower(version, last or 0, last or 0, 0, 0, 0)
            connection.execute(insert(followers).values(system=system, **made._asdict()))
            return made

        follower = self._database.read(lambda connection: _follower(connection, system, version))
        return follower if follower is not None else self._database.write(work)

    def go_on(self, system: str, known: Follower, now: Follower, said: Sequence[Shadow]) -> bool:
        """Store what a version said, and how far it is by that, in one durable transaction.

        Returns:
            Whether it was where the caller thought. If not, another process has gone on, and nothing is stored.
        """
        rows = [
            {"system": system, "model_version": now.model_version, **column._asdict()}  # one statement for all rows
            for column in said
        ]

        def work(connection: Connection) -> bool:
            if _follower(connection, system, known.model_version) != known:
                return False
            is_its = followers.c.system == system, followers.c.model_version == known.model_version
            connection.execute(update(followers).where(*is_its).values(now._asdict()))
            if rows:
                connection.execute(insert(shadows), rows)
            return True

        return self._database.write(work)

    def followers(self, system: str) -> list[tuple[Follower, int]]:
        """All versions that ever followed a system's log, by number, each with how many entries wait for it."""

        def work(connection: Connection) -> list[tuple[Follower, int]]:
            columns = [followers.c[name] for name in Follower._fields]
            query = select(*columns).where(followers.c.system == system).order_by(followers.c.model_version)
            results = [Follower(*row) for row in connection.execute(query)]
            return [(follower, _waiting(connection, system, follower.position)) for follower in results]

        return self._database.read(work)

    def read(self, system: str, version: int, *, after: int = 0, limit: int = 10_000) -> list[Beside]:
        """What a version said, in the order of what was answered, from behind a sequence number."""
        return self._all(_said_by(system, version, after, limit), _of_row)

    def parts(
        self, system: str, follower: Follower, *, after: int = 0, until: int | None = None, limit: int = 10_000
    ) -> Iterator[list[Beside]]:
        """What `read` gives, part by part, up to where the follower was, and to a sequence number where one is given.

        What it says meanwhile is left to the next reader: under load there would be no end.
        """
        last = follower.position if until is None else min(follower.position, until)
        while part := self._all(_said_by(system, follower.model_version, after, limit, last), _of_row):
            yield part
            after = part[-1][0].of

    def get(self, shadow_id: str) -> tuple[Shadow, Entry, dict[str, Any]] | None:
        """What was said, by its id: with the answer that it stands beside, and its own pins record."""
        query = _beside().add_columns(pins.c.record).join(pins, pins.c.digest == shadows.c.pins)
        rows = self._all(query.where(shadows.c.id == shadow_id), lambda row: (*_of_row(row[:-1]), dict(row[-1])))
        return rows[0] if rows else None

    def _all(self, query: Select[Any], make: Callable[[Row[Any]], T]) -> list[T]:
        return self._database.read(lambda connection: [make(row) for row in connection.execute(query)])


def _said_by(system: str, version: int, after: int, limit: int, until: int | None = None) -> Select[Any]:
    query = _beside().where(shadows.c.system == system, shadows.c.model_version == version, shadows.c.of > after)
    query = query if until is None else query.where(shadows.c.of <= until)
    return query.order_by(shadows.c.of).limit(limit)


def _follower(connection: Connection, system: str, version: int) -> Follower | None:
    columns = [followers.c[name] for name in Follower._fields]
    query = select(*columns).where(followers.c.system == system, followers.c.model_version == version)
    row = connection.execute(query).first()
    return None if row is None else Follower(*row)


def _waiting(connection: Connection, system: str, position: int) -> int:
    number = predictions.c.sequence
    waiting = select(number).where(predictions.c.system == system, number > position).limit(_MOST).subquery()
    return connection.scalar(select(func.count()).select_from(waiting)) or 0


def _beside() -> Select[Any]:
    columns = [shadows.c[name] for name in Shadow._fields]
    return select(*columns, *_ENTRY).join(predictions, predictions.c.sequence == shadows.c.of)


def _of_row(row: Sequence[Any]) -> Beside:
    width = len(Shadow._fields)
    return Shadow(*row[:width]), entry_of(row[width:])
