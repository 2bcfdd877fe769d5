"""The ledger on a PostgreSQL server, by psycopg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from headrace.errors import ConfigError
from headrace.ledger.base import ENGINE_OPTIONS, Row
from headrace.ledger.tables import COLUMNS

_LOCK = int.from_bytes(b"headrace")  # the number of the advisory lock; any other would do
_NAMES = ", ".join(COLUMNS)
_STORED = f"""
    SELECT {_NAMES} FROM predictions WHERE system = %s AND key = ANY(%s)
"""  # noqa: S608  # names of columns
_TYPES = {"inputs": "bytea[]", "answer": "bytea[]", "model_version": "bigint[]", "created_at": "timestamptz[]"}
_ARRAYS = ", ".join(f"%s::{_TYPES.get(name, 'text[]')}" for name in COLUMNS)
_INSERT = f"""
    INSERT INTO predictions ({_NAMES}) SELECT {_NAMES}
    FROM unnest({_ARRAYS}) WITH ORDINALITY AS given ({_NAMES}, ordinal) ORDER BY ordinal
"""  # noqa: S608  # names of columns and types
# Classes of SQLSTATE: connection, transaction rolled back, resources, not in the right state (locks), operator, system;
# and a server that takes no writes because another one has become the primary.
_AWAY = ("08", "40", "53", "55", "57", "58", "25006")


class PostgreSQL:
    """Writers take turns by an advisory lock, which the server frees when their connection ends."""

    def engine(self, url: URL, timeout: float) -> Engine:
        """Every wait is bounded: to connect, for a lock, for a statement, for a server that no longer answers."""
        milliseconds = int(timeout * 1000)
        try:
            engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                **ENGINE_OPTIONS,
                pool_timeout=timeout,
                pool_use_lifo=True,
                connect_args={
                    "connect_timeout": max(int(timeout), 2),
                    "application_name": "headrace",
                    "keepalives_idle": max(int(timeout), 1),
                    "keepalives_interval": 1,
                    "keepalives_count": 3,
                    "tcp_user_timeout": milliseconds,
                },
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                "PostgreSQL needs psycopg", where="ledger_uri", hint="pip install 'headrace[postgres]'"
            ) from error

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, _: object) -> None:
            connection.autocommit = True  # for the next line alone: it must outlive a rollback
            connection.execute(
                f"SET synchronous_commit = on; SET statement_timeout = {milliseconds};"
                # A writer that stands still between two statements would keep all others out.
                f"SET idle_in_transaction_session_timeout = {2 * milliseconds}; SET timezone = 'UTC'"
            )
            connection.autocommit = False

        return engine

    def lock(self, connection: Connection) -> None:
        """The wait ends with the statement's time-out."""
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))

    def stored(self, connection: Connection, system: str, keys: Sequence[str]) -> Sequence[Sequence[Any]]:
        """The keys travel as one array."""
        return connection.exec_driver_sql(_STORED, (system, list(keys))).all()

    def insert(self, connection: Connection, rows: Sequence[Row]) -> None:
        """One statement for all rows: an array per column."""
        connection.exec_driver_sql(_INSERT, tuple(list(column) for column in zip(*rows, strict=True)))

    def is_away(self, error: DBAPIError) -> bool:
        """An error without a state comes from the connection, not from the server."""
        state = getattr(error.orig, "sqlstate", None)
        return state.startswith(_AWAY) if state else error.connection_invalidated or _is_operational(error)


def _is_operational(error: DBAPIError) -> bool:
    from psycopg import OperationalError

    return isinstance(error.orig, OperationalError)
