"""One database: opened by URI, written by one transaction at a time, and its errors in our words."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Column, Connection, insert, inspect, make_url, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from headrace.errors import ConfigError, LedgerError, LedgerReplacedError, LedgerUnavailableError
from headrace.files import disk_trouble
from headrace.ledger import tables
from headrace.ledger.base import LedgerBackend, driver
from headrace.ledger.postgresql import PostgreSQLLedger
from headrace.ledger.records import LedgerIdentity
from headrace.ledger.sqlite import SQLiteLedger
from headrace.store.wal import OPENING

T = TypeVar("T")

_KNOWN = "headrace.ledger"
"""Marks a connection that was found to lead to the ledger."""
_BACKENDS: dict[str, type[LedgerBackend]] = {
    "sqlite": SQLiteLedger,
    "postgresql": PostgreSQLLedger,
    "postgres": PostgreSQLLedger,
}


class Database:
    """Runs work in transactions.

    Work that meets a connection that has died is run once more on a new one, so all work must be idempotent: a
    connection can die after the commit and before the answer.
    """

    def __init__(self, uri: str, timeout: float, known: LedgerIdentity | None = None) -> None:
        url = _parsed(uri)
        self.where = _shown(url)
        self.backend = _BACKENDS[url.get_backend_name()](timeout)
        self._timeout = timeout
        self._engine = self.backend.engine(url, known.place if known is not None else None)
        self._kept: Connection | None = None
        self._using_kept = threading.Lock()
        self._identity = known.identity if known is not None else None

    def make(self) -> None:
        """Make the tables that are missing. Safe when several processes do it at once.

        Raises:
            LedgerError: A newer headrace made them.
            LedgerUnavailableError: The database cannot be reached.
        """
        if self.backend.pinned:
            self._twice(self._keep)
        end = time.monotonic() + max(self._timeout, OPENING)
        while (identity := self._made()) is None:
            try:
                self.write(self._make)
            except LedgerUnavailableError as error:
                cause = error.__cause__.orig if isinstance(error.__cause__, DBAPIError) else None
                if cause is None or not self.backend.is_busy(cause) or time.monotonic() > end:
                    raise
        self._identity = identity

    def _made(self) -> str | None:
        """The identity of the ledger, if all its tables are there: then opening waits for no writer."""

        def work(connection: Connection) -> str | None:
            names = set(inspect(connection).get_table_names())
            if not names >= set(tables.metadata.tables) or not self._is_known(connection) or _lacking(connection):
                return None
            identity: str | None = connection.scalar(select(tables.identity.c.id))
            return identity

        return self.read(work)

    def _make(self, connection: Connection) -> None:
        tables.metadata.create_all(connection)
        for column in _lacking(connection):  # made by an earlier headrace, which goes on writing to it without
            type_name = column.type.compile(connection.dialect)
            connection.execute(text(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {type_name}"))
        if not self._is_known(connection):
            connection.execute(insert(tables.version).values(version=tables.FORMAT))
        if connection.scalar(select(tables.identity.c.id)) is None:
            connection.execute(insert(tables.identity).values(id=uuid.uuid4().hex, probes=0))

    def _is_known(self, connection: Connection) -> bool:
        """Whether the format is ours; False where none is written yet."""
        version = connection.scalar(select(tables.version.c.version))
        if version not in (None, tables.FORMAT):
            raise LedgerError(
                f"the ledger has format {version}, this headrace knows {tables.FORMAT}",
                where=self.where,
                hint="upgrade headrace, or name another ledger",
            )
        return version is not None

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, once its transaction is durable. No other writer is between its statements.

        Raises:
            LedgerUnavailableError: The database is away, or locked for too long.
            LedgerError: The database refused what it was given; nothing of it is stored.
        """

        def transaction(connection: Connection) -> T:
            with connection.begin():
                self.backend.lock(connection)
                result = work(connection)
                self.backend.check(connection)
                return result

        return self._run(transaction)

    def write_at_once(self, work: Callable[[Connection], T]) -> T:
        """`write` for work that comes again and again, mostly from one thread, and uses the driver's connection alone.

        One connection is kept for it, and SQLAlchemy has no part in the transaction: after a wait for the disk its many
        lines are no longer in the processor's cache, and cost more than all statements of a small batch.
        """
        if not self._using_kept.acquire(blocking=False):
            return self.write(work)
        try:
            return self._twice(lambda: self._with_kept(work))
        finally:
            self._using_kept.release()

    def _with_kept(self, work: Callable[[Connection], T]) -> T:
        connection = self._keep()
        with self._drivers_errors(connection):
            try:
                self._refuse_other(connection)
                self.backend.lock(connection, only_writes=True)
                result = work(connection)
                self.backend.check(connection)
                driver(connection).commit()
            except BaseException:
                driver(connection).rollback()
                raise
        return result

    def _keep(self) -> Connection:
        if self._kept is None or self._kept.invalidated:
            self._kept = self._engine.connect()
        return self._kept

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns; it must not write.

        Raises:
            LedgerUnavailableError: The database is away, or locked for too long.
        """
        return self._run(work)

    def close(self) -> None:
        """Close all connections. The database can be used again afterwards, by new ones."""
        with self._using_kept:
            connection, self._kept = self._kept, None
            if connection is not None:
                connection.close()
            self._engine.dispose()
            self.backend.forget()

    @property
    def known(self) -> LedgerIdentity:
        """What tells the ledger from every other one, once it was made."""
        return LedgerIdentity(self._identity or "", self.backend.place)

    def probe(self) -> None:
        """Write something, to see whether it can be done.

        Raises:
            LedgerUnavailableError: It cannot, or not in time.
            LedgerError: It is refused.
        """
        statement = update(tables.identity).values(probes=tables.identity.c.probes + 1)
        self.write(lambda connection: connection.execute(statement))

    def look(self, connection: Connection) -> None:
        """Refuse another ledger than the one that was opened, whatever the connection is known to lead to.

        Raises:
            LedgerReplacedError: It is another one.
        """
        connection.info.pop(_KNOWN, None)
        self._refuse_other(connection)

    def replaced(self, said: str) -> LedgerReplacedError:
        """The error for a ledger that is not the one opened."""
        hint = "put it back; to go on with what is there now, restart what uses it"
        return LedgerReplacedError(said, where=self.where, hint=hint)

    def _run(self, work: Callable[[Connection], T]) -> T:
        return self._twice(lambda: self._connected(work))

    def _twice(self, work: Callable[[], T]) -> T:
        end = time.monotonic() + self._timeout
        try:
            try:
                return work()
            except DBAPIError as error:
                if not error.connection_invalidated or time.monotonic() > end:
                    raise
                return work()  # the pool has dropped its connections, and this one is new
        except DBAPIError as error:
            raise self._failure(error) from error
        except PoolTimeoutError as error:
            raise self._away("all connections are in use") from error
        except (SQLAlchemyError, UnicodeError) as error:
            raise LedgerError(_first_line(error), where=self.where) from error

    def _connected(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection, self._drivers_errors(connection):
            self._refuse_other(connection)
            self.backend.check(connection)
            return work(connection)

    def _refuse_other(self, connection: Connection) -> None:
        """Once a connection: whether it leads to the ledger that was opened."""
        if self._identity is None or _KNOWN in connection.info:
            return
        row = driver(connection).execute("SELECT id FROM ledger_identity").fetchone()
        if row != (self._identity,):
            raise self.replaced("the ledger is another one than was opened")
        connection.info[_KNOWN] = True

    @contextmanager
    def _drivers_errors(self, connection: Connection) -> Iterator[None]:
        """Do with errors of statements that went past SQLAlchemy what it does with those of its own."""
        dialect = self._engine.dialect
        try:
            yield
        except LedgerReplacedError:
            if not self.backend.pinned:
                connection.invalidate()
                self._engine.dispose()
            raise
        except dialect.loaded_dbapi.Error as error:
            lost = dialect.is_disconnect(error, driver(connection), None)
            if lost:
                connection.invalidate()
                self._engine.dispose()
            raise DBAPIError(None, None, error, hide_parameters=True, connection_invalidated=lost) from error

    def _failure(self, error: DBAPIError) -> LedgerError:
        reason = disk_trouble(error.orig) or _first_line(error.orig)
        if error.orig is not None and self._identity is not None and self.backend.is_other(error.orig):
            return self.replaced(f"the ledger is another one than was opened, or damaged: {reason}")
        if error.orig is not None and self.backend.is_away(error.orig):
            return self._away(reason)
        return LedgerError(f"the database refused it: {reason}", where=self.where)

    def _away(self, reason: str) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"the ledger's database cannot be used: {reason}",
            where=self.where,
            hint="what was not acknowledged can be sent again with the same key once the database is back",
        )


def _lacking(connection: Connection) -> list[Column[object]]:
    """Columns that tables of an earlier headrace lack; all of them may be empty."""
    later, inspector = (tables.predictions.c.seal, tables.notices.c.given_up_at), inspect(connection)
    return [c for c in later if c.name not in {known["name"] for known in inspector.get_columns(c.table.name)}]


def _parsed(uri: str) -> URL:
    if uri.startswith("sqlite:///"):  # all the rest is the path, whatever characters it has
        return URL.create("sqlite", database=uri.removeprefix("sqlite:///"))
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError):
        url = None
    if url is not None and url.get_backend_name() != "sqlite" and "@" in f"{url.host}{url.database}":
        hint = "write @ in the password as %40"
        raise ConfigError("the password ends too early", where="ledger_uri", hint=hint)
    # Raised outside the handler: the error that it would carry along may quote the URI, password included.
    if url is None or url.get_backend_name() not in _BACKENDS:
        raise ConfigError(
            "not the URI of a ledger",
            where="ledger_uri",
            hint="say sqlite:////folder/ledger.db or postgresql://user:password@host/database",
        )
    return url


def _shown(url: URL) -> str:
    """The URL without user, password and options: for errors and logs."""
    return URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database).render_as_string()


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
