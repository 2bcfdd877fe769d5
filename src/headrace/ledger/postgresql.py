"""The ledger on a PostgreSQL server, by psycopg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from headrace.errors import ConfigError
from headrace.ledger.base import ENGINE_OPTIONS, Place, Row, driver
from headrace.ledger.tables import COLUMNS

_LOCK = int.from_bytes(b"headrace")  # the number of the advisory lock; any other would do
_NAMES = ", ".join(COLUMNS)
# %b: in PostgreSQL's binary form, a third of the time of text.
_STORED = f"""
    SELECT {_NAMES} FROM predictions WHERE system = %b AND key = ANY(%b)
"""  # noqa: S608  # names of columns
_TYPES = {
    "inputs": "bytea[]",
    "answer": "bytea[]",
    "model_version": "bigint[]",
    "created_at": "timestamptz[]",
    "seal": "bigint[]",
}
_ARRAYS = ", ".join(f"%b::{_TYPES.get(name, 'text[]')}" for name in COLUMNS)
_INSERT = f"""
    INSERT INTO predictions ({_NAMES}) SELECT {_NAMES}
    FROM unnest({_ARRAYS}) WITH ORDINALITY AS given ({_NAMES}, ordinal) ORDER BY ordinal
"""  # noqa: S608  # names of columns and types
# Classes of SQLSTATE: connection, transaction rolled back, resources, not in the right state (locks), operator, system;
# and a server that takes no writes because another one has become the primary.
_AWAY = ("08", "40", "53", "55", "57", "58", "25006")
_BUSY = ("40001", "40P01", "55P03", "57014")
"""Two transactions in each other's way, a lock that cannot be had, and one that was waited for too long."""


class PostgreSQLLedger:
    """Writers take turns by an advisory lock, which the server frees when their connection ends."""

    pinned = False

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def engine(self, url: URL, place: Place) -> Engine:
        """Every wait is bounded: to connect, for a lock, for a statement, for a server that no longer answers."""
        try:
            from headrace.store.bounded import connect
        except ImportError as error:
            raise ConfigError(
                "PostgreSQL needs psycopg", where="ledger_uri", hint="pip install 'headrace[postgres]'"
            ) from error
        timeout, milliseconds = self._timeout, int(self._timeout * 1000)
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_timeout=timeout,
            connect_args={"connect_timeout": max(int(timeout), 2), "application_name": "headrace"},
            **ENGINE_OPTIONS,
        )

        @event.listens_for(engine, "do_connect")
        def bounded(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
            # The server's own time-out comes first, as long as there is a server.
            return connect(timeout + 1, *arguments, **options)

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _record: object) -> None:
            connection.autocommit = True  # for the next line alone: it must outlive a rollback
            connection.execute(
                f"SET synchronous_commit = on; SET statement_timeout = {milliseconds};"
                # A writer that stands still between two statements would keep all others out.
                f"SET idle_in_transaction_session_timeout = {2 * milliseconds}; SET timezone = 'UTC'"
            )
            connection.autocommit = False

        return engine

    def lock(self, connection: Connection, *, only_writes: bool = False) -> None:
        """The wait ends with the statement's time-out."""
        driver(connection).execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))

    def check(self, connection: Connection) -> None:
        """Nothing: what a connection reads says whether it leads elsewhere."""

    def state(self, connection: Connection) -> object:
        """It counts nothing of the kind."""
        return None

    @property
    def place(self) -> Place:
        """A server has none."""
        return None

    def glance(self) -> None:
        """Nothing: there is nothing to be seen without asking the server."""

    def forget(self) -> None:
        """Nothing."""

    def doubtful(self, connection: Connection) -> bool:
        """A server that only follows another one takes no writes."""
        shown = driver(connection).execute("SHOW transaction_read_only").fetchone()
        return bool(shown != ("off",))

    def is_other(self, error: BaseException) -> bool:
        """By the error's SQLSTATE: undefined table, or undefined schema."""
        return getattr(error, "sqlstate", None) in ("42P01", "3F000")

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Row]:
        """The keys travel as one array."""
        rows: list[Row] = driver(connection).execute(_STORED, (system, list(keys))).fetchall()
        return rows

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """One statement for all rows: an array per column."""
        driver(connection).execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])

    def insert_traces(self, connection: Connection, rows: Sequence[Row]) -> None:
        """One statement for all rows: an array per column."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        driver(connection).execute(
            "INSERT INTO traces (prediction, trace) SELECT * FROM unnest(%s::text[], %s::text[])", columns
        )

    def is_away(self, error: BaseException) -> bool:
        """By the error's SQLSTATE; one without comes from the connection, not from the server."""
        from psycopg import Error, OperationalError

        state = error.sqlstate if isinstance(error, Error) else None
        return state.startswith(_AWAY) if state else isinstance(error, OperationalError)

    def is_busy(self, error: BaseException) -> bool:
        """By the error's SQLSTATE."""
        from psycopg import Error

        return isinstance(error, Error) and error.sqlstate in _BUSY
