"""`Ledger`: what was predicted, what was alarming; durable, and once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, Select, and_, func, insert, or_, select

from headrace.errors import KeyConflictError, LedgerDamagedError, NotFoundError
from headrace.ledger.audit import Audit
from headrace.ledger.database import Database
from headrace.ledger.latencies import Latencies
from headrace.ledger.notices import Notices
from headrace.ledger.owned import Owned
from headrace.ledger.records import DAMAGED_HINT, Entry, LedgerIdentity, entry_of, is_sound, row_of
from headrace.ledger.shadows import Shadows
from headrace.ledger.simulations import SimulationQueue
from headrace.ledger.tables import events, pins, predictions, traces
from headrace.lineage import digest_of

TIMEOUT = 5.0
_TOGETHER = 500
"""Entries that may lie out of the order of their times in the log."""
_ENTRY = tuple(column for column in predictions.columns if column.name != "sequence")

Numbered = tuple[int, Entry]
"""An entry with its sequence number."""
Standing = Callable[[Sequence[str]], Mapping[str, Entry]]
"""Looks up the entries that keys stand for."""


class Ledger:
    """The transactional side of an installation. Its methods may be called from any thread.

    Everything that writes is one durable transaction, and idempotent: what failed with `LedgerUnavailableError` may be
    given again. Every method raises `LedgerUnavailableError` within a bounded time when the database is away, and works
    again when it is back.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.shadows, self.owned, self.notices = Shadows(database), Owned(database), Notices(database)
        self.audit, self.latencies = Audit(database), Latencies(database)
        self.simulations = SimulationQueue(database)
        self._pinned: set[str] = set()
        self._last: dict[str, tuple[str, str]] = {}  # of each system, key and id of an entry that is durable
        self._states: dict[str, object] = {}  # of each system, the state in which that was found

    @classmethod
    def open(cls, uri: str, *, timeout: float = TIMEOUT, known: LedgerIdentity | None = None) -> Ledger:
        """The ledger at a URI; its tables are made when missing, by however many processes at once.

        Args:
            uri: ``sqlite:////folder/ledger.db`` or ``postgresql://user:password@host/database``.
            timeout: Longest wait in seconds for a connection, a lock or a statement.
            known: The ledger that it must be; nothing is made then.

        Raises:
            ConfigError: The URI is not one of a ledger.
            LedgerReplacedError: It is not the known one.
            LedgerError: A newer headrace made the tables.
            LedgerUnavailableError: The database cannot be reached.
        """
        database = Database(uri, timeout, known)
        database.make()
        return cls(database)

    @property
    def known(self) -> LedgerIdentity:
        """What tells it from every other ledger."""
        return self._database.known

    def pin(self, record: Mapping[str, Any]) -> str:
        """Store a pins record (JSON-ready) once; its digest. Called before the first entry that carries the digest."""
        digest = digest_of(record, 32)
        if digest not in self._pinned:
            self._database.write(lambda connection: _pin(connection, digest, record))
            self._pinned.add(digest)
        return digest

    def pins(self, digest: str) -> dict[str, Any]:
        """The pins record of a digest.

        Raises:
            NotFoundError: It was never stored.
        """
        row = self._first(select(pins.c.record).where(pins.c.digest == digest))
        if row is None:
            raise NotFoundError("no such pins record", where=digest)
        return _record(digest, row[0])

    def write(self, entries: Sequence[Entry]) -> list[Entry | KeyConflictError]:
        """Log predictions, all in one durable transaction: nothing of it is stored when it raises.

        Returns:
            Per entry the one that its system and key stand for: itself, or the one that was first (before, or in
            `entries`) if that had the same digest, or a `KeyConflictError` if it had another.

        Raises:
            LedgerUnavailableError: The database is away, or locked for too long.
            LedgerError: The database refuses a value, or an entry's pins are not stored, or its id is another entry's.
        """
        return [answers[0] for answers in self.write_groups([[entry] for entry in entries])]

    def write_groups(self, groups: Sequence[Sequence[Entry]]) -> list[list[Entry | KeyConflictError]]:
        """Log groups of predictions, all in one durable transaction, of each group all or nothing.

        Returns:
            Per group what `write` returns. Where a group has a `KeyConflictError`, none of its entries was stored.

        Raises:
            As `write`.
        """
        results, new = self._database.write_at_once(lambda connection: self._write(connection, groups))
        if new:
            self._last[new[-1][0]] = new[-1][1:3]
        return results

    def _write(
        self, connection: Connection, groups: Sequence[Sequence[Entry]]
    ) -> tuple[list[list[Entry | KeyConflictError]], list[tuple[Any, ...]]]:
        """What `write_groups` returns, and the rows that are new."""
        first, damaged = self._stored(connection, [entry for group in groups for entry in group])
        new: list[tuple[Any, ...]] = []
        traced: list[tuple[str, str]] = []
        results = []
        for group in groups:
            fresh: dict[tuple[str, str], Entry] = {}
            answers: list[Entry | KeyConflictError] = []
            for entry in group:
                name = (entry.system, entry.key)
                if name in damaged:
                    answers.append(_damaged(entry))
                    continue
                stands = first.get(name) or fresh.setdefault(name, entry)
                is_same = stands.digest == entry.digest and (
                    stands.model_version == entry.model_version or not entry.strict
                )
                answers.append(stands if is_same else _conflict(entry, stands))
            if not any(isinstance(answer, KeyConflictError) for answer in answers):
                first |= fresh
                new += map(row_of, fresh.values())
                traced += [(entry.id, entry.trace) for entry in fresh.values() if entry.trace]
            results.append(answers)
        if new:
            self._database.backend.insert(connection, new)
        if traced:
            self._database.backend.insert_traces(connection, traced)
        return results, new

    def _stored(
        self, connection: Connection, entries: Sequence[Entry]
    ) -> tuple[dict[tuple[str, str], Entry], set[tuple[str, str]]]:
        """What the keys of entries stand for, and those whose rows are damaged: they concern no other entry."""
        keys: dict[str, list[str]] = {}
        for entry in entries:
            keys.setdefault(entry.system, []).append(entry.key)
        first: dict[tuple[str, str], Entry] = {}
        damaged: set[tuple[str, str]] = set()
        for system, system_keys in keys.items():
            for row in self._rows(connection, system, system_keys):
                if is_sound(row):
                    first[system, row[1]] = entry_of(row)
                else:
                    damaged.add((system, row[1]))
        return first, damaged

    def _standing(self, connection: Connection, system: str, keys: Sequence[str]) -> dict[str, Entry]:
        """The entries that keys stand for; errors as of `_rows`, and `LedgerDamagedError`."""
        return {row[1]: entry_of(row) for row in self._rows(connection, system, keys)}

    def _rows(self, connection: Connection, system: str, keys: Sequence[str]) -> list[Sequence[Any]]:
        """The rows that keys stand for.

        Raises:
            LedgerReplacedError: That one is not there: this is an earlier state of the ledger, or another one.
        """
        last = self._last.get(system)
        state = None if last is None else self._database.backend.state(connection)
        if state is not None and state == self._states.get(system):
            last = None  # nobody else has written since it was found
        rows = self._database.backend.stored(connection, system, keys if last is None else [*keys, last[0]])
        if last is not None and last not in [(row[1], row[2]) for row in rows]:
            raise self._database.replaced("the ledger has lost what was stored in it")
        if last is not None and state is not None:
            self._states[system] = state
        return [row for row in rows if last is None or row[1] != last[0] or last[0] in keys]

    def extend(
        self, system: str, after: int, make: Callable[[list[Numbered], Standing], Sequence[tuple[str, Entry]]]
    ) -> int:
        """Log what follows from the log as it stands, in one durable transaction that no other writer comes between.

        Args:
            system: Name of the system.
            after: The sequence number up to which the caller knows the system's log.
            make: Given the entries after that and a look-up of entries by key, it returns new entries, with new keys,
                each with its series. It is called again where the connection died; what it returned before may stand
                in the log by then.

        Returns:
            The last sequence number of the system's log.

        Raises:
            As `write`, and what `make` raises; nothing is stored then.
        """

        def work(connection: Connection) -> int:
            newer = _after(connection, system, after, None)

            self._standing(connection, system, ())
            results = make(newer, partial(self._standing, connection, system))
            last = newer[-1][0] if newer else after
            if not results:
                return last
            self._database.backend.insert(connection, [row_of(entry) for _, entry in results])
            traced = [(entry.id, entry.trace) for _, entry in results if entry.trace]
            if traced:
                self._database.backend.insert_traces(connection, traced)
            number, is_ours = predictions.c.sequence, predictions.c.system == system
            query = select(number).where(is_ours, number > last).order_by(number)
            numbers: Sequence[int] = connection.scalars(query).all()
            rows = [
                {"sequence": n, "system": system, "series": series}
                for n, (series, _) in zip(numbers, results, strict=True)
            ]
            connection.execute(insert(events), rows)
            new[:] = [results[-1][1]]
            return numbers[-1]

        new: list[Entry] = []
        number = self._database.write(work)
        if new:
            self._last[system] = new[-1].key, new[-1].id
        return number

    def last(self, system: str) -> int:
        """The last sequence number of a system's log; 0 while there is none."""
        row = self._first(select(func.max(predictions.c.sequence)).where(predictions.c.system == system))
        return row[0] or 0 if row is not None else 0

    def events(self, system: str, series: str, *, until: int, limit: int) -> list[Numbered]:
        """The last entries of one series, as `extend` was told, up to a sequence number; the newest first."""
        number = predictions.c.sequence
        query = select(number, *_ENTRY).join(events, events.c.sequence == number)
        query = query.where(events.c.system == system, events.c.series == series, events.c.sequence <= until)
        query = query.order_by(events.c.sequence.desc()).limit(limit)
        return self._database.read(lambda connection: _numbered(connection, query))

    def find(self, system: str, key: str) -> Entry | None:
        """The entry that a key stands for, if there is one."""
        row = self._first(select(*_ENTRY).where(predictions.c.system == system, predictions.c.key == key))
        return None if row is None else entry_of(row)

    def get(self, prediction_id: str) -> tuple[Entry, dict[str, Any]] | None:
        """A prediction by its id, with its pins record, if there is one."""
        row = self._first(select(*_ENTRY, pins.c.record).join(pins).where(predictions.c.id == prediction_id))
        if row is None:
            return None
        entry = entry_of(row[:-1])
        return entry, _record(entry.pins, row[-1])

    def trace_of(self, prediction_id: str) -> str | None:
        """The trace of the request that a prediction answers, as `Entry.trace`, if it told of one."""
        row = self._first(select(traces.c.trace).where(traces.c.prediction == prediction_id))
        return None if row is None else str(row[0])

    def read(self, system: str, *, after: int = 0, limit: int = 10_000) -> list[Numbered]:
        """Entries in the order of their commits, each with its sequence number, which grows but may skip.

        Whoever remembers the last number and reads on after it sees every entry exactly once: no entry ever appears
        behind a number that was seen.
        """
        return self._database.read(lambda connection: _after(connection, system, after, limit))

    def parts(self, system: str, *, after: int = 0, limit: int = 10_000) -> Iterator[list[Numbered]]:
        """What `read` gives, part by part, up to the entry that is the last one when the first part is asked for.

        Entries that are logged meanwhile are left to the next reader: under load there would be no end.
        """
        until = self.last(system)
        while entries := self._database.read(partial(_after, system=system, after=after, limit=limit, until=until)):
            yield entries
            after = entries[-1][0]

    def newest(
        self,
        system: str,
        *,
        limit: int,
        before: tuple[datetime, str] | None = None,
        until: datetime | None = None,
    ) -> list[Entry]:
        """The entries that were made last, newest first.

        Args:
            system: Name of the system.
            limit: How many at most.
            before: Only those made before this time, or at it, with a smaller id.
            until: None that was made later.
        """
        created, number = predictions.c.created_at, predictions.c.sequence
        query = select(*_ENTRY).where(predictions.c.system == system)
        if before is not None:
            query = query.where(or_(created < before[0], and_(created == before[0], predictions.c.id < before[1])))
        if until is not None:
            query = query.where(created <= until)
        # By the index of the log: what is committed together was made at nearly the same time.
        query = query.order_by(number.desc()).limit(limit + _TOGETHER)
        entries = [entry_of(row) for row in self._database.read(lambda connection: connection.execute(query).all())]
        return sorted(entries, key=lambda entry: (entry.created_at, entry.id), reverse=True)[:limit]

    def ping(self, systems: Collection[str] | None = None) -> None:
        """Look whether the ledger can be used, and is the one that was opened: for readiness checks.

        What is stored there last is remembered: an earlier state of the ledger lacks it. Nothing is written, unless it
        seems that nothing can be.

        Args:
            systems: Whose entries count; another system may be deleted or renamed meanwhile. None: all.

        Raises:
            LedgerReplacedError: It is another one, or an earlier state of it.
            LedgerUnavailableError: It cannot be read or written.
        """
        known, pinned = set(self._last), set(self._pinned)
        if systems is not None:
            known &= set(systems)

        def work(connection: Connection) -> tuple[list[tuple[str, str, str]], bool]:
            self._database.look(connection)
            for system in known:
                self._standing(connection, system, ())
            present = connection.scalars(select(pins.c.digest).where(pins.c.digest.in_(pinned))).all() if pinned else ()
            if len(present) < len(pinned):
                raise self._database.replaced("the ledger has lost what was stored in it")
            query = select(predictions.c.system, predictions.c.key, predictions.c.id)
            query = query.order_by(predictions.c.sequence.desc()).limit(1)
            queries = (
                [query] if systems is None else [query.where(predictions.c.system == n) for n in set(systems) - known]
            )
            rows = [(row[0], row[1], row[2]) for query in queries for row in connection.execute(query)]
            return rows, self._database.backend.doubtful(connection)

        newest, doubtful = self._database.read(work)
        for system, key, prediction_id in newest:
            self._last.setdefault(system, (key, prediction_id))
        if doubtful:
            self.probe()

    def glance(self) -> None:
        """Look whether the ledger's file is where it was; nothing is asked of a server.

        Raises:
            LedgerReplacedError: It is not.
        """
        self._database.backend.glance()

    def probe(self) -> None:
        """Commit something, to see whether it can be done.

        Raises:
            LedgerUnavailableError: It cannot be done.
        """
        self._database.probe()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def _first(self, query: Select[Any]) -> Row[Any] | None:
        return self._database.read(lambda connection: connection.execute(query).first())

    def _mappings(self, query: Select[Any]) -> Sequence[RowMapping]:
        return self._database.read(lambda connection: connection.execute(query).mappings().all())


def _after(
    connection: Connection, system: str, after: int, limit: int | None, until: int | None = None
) -> list[Numbered]:
    number = predictions.c.sequence
    query = select(number, *_ENTRY).where(predictions.c.system == system, number > after)
    query = query if until is None else query.where(number <= until)
    return _numbered(connection, query.order_by(number).limit(limit))


def _numbered(connection: Connection, query: Select[Any]) -> list[Numbered]:
    return [(row[0], entry_of(row[1:])) for row in connection.execute(query)]


def _pin(connection: Connection, digest: str, record: Mapping[str, Any]) -> None:
    if connection.scalar(select(pins.c.digest).where(pins.c.digest == digest)) is None:
        connection.execute(insert(pins).values(digest=digest, record=dict(record)))


def _record(digest: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """A pins record, compared with its digest."""
    if digest_of(record, 32) != digest:
        raise LedgerDamagedError("a pins record is not what was written", where=digest, hint=DAMAGED_HINT)
    return dict(record)


def _damaged(entry: Entry) -> KeyConflictError:
    return KeyConflictError(
        "the key stands for a row of the ledger that is damaged",
        where=entry.key,
        hint=f"{DAMAGED_HINT}; or send a new key",
    )


def _conflict(entry: Entry, stands: Entry) -> KeyConflictError:
    if stands.digest == entry.digest:
        conflict = KeyConflictError(
            f"the key stands for an answer of version {stands.model_version}",
            where=entry.key,
            hint="ask for no version to have it, or send a new key",
        )
        conflict.version = stands.model_version
        return conflict
    return KeyConflictError(
        "the key stands for another row already",
        where=entry.key,
        hint="send the row that it was first used with, or a new key",
    )
