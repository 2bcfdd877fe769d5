"""``postgresql://USER@HOST/DATABASE/TABLE``: a table of a PostgreSQL server, by psycopg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlunsplit

import psycopg

from headrace.errors import UsageError
from headrace.sinks.address import Address
from headrace.sinks.base import Kind, PredictionLayout, SinkColumn, SinkContext
from headrace.sinks.table import TableColumn, TableSink, quoted
from headrace.store.bounded import connect

# Classes of SQLSTATE: connection, transaction rolled back, resources, not in the right state (locks), operator, system;
# and a server that takes no writes because another one has become the primary.
_AWAY = ("08", "40", "53", "55", "57", "58", "25006")
_REFUSED = (
    "authentication failed",
    "does not exist",
    "pg_hba.conf",
    "permission denied",
    "no password supplied",
    "invalid ",
    "does not support SSL",
)
_HOLDS: Mapping[Kind, frozenset[str]] = {
    "text": frozenset(("text", "character varying")),
    "integer": frozenset(("bigint", "integer", "numeric")),
    "float": frozenset(("double precision",)),
    "boolean": frozenset(("boolean",)),
    "time": frozenset(("timestamp with time zone", "timestamp(6) with time zone")),
}
"""Types that hold every value as it is: a numeric rounds a float, and so does a time of fewer digits."""
_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull AND NOT atthasdef AND attidentity = ''
    FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
_UNIQUE = """
    SELECT count(*) FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indimmediate AND indnkeyatts = 1
        AND indpred IS NULL AND attname = %s"""


class PostgreSQLSink:
    """Writers of one source take turns by an advisory lock.

    Args:
        uri: Of the database.
        timeout: Longest wait in seconds, to connect and for every statement.
    """

    mark = "%s"
    upserts = True
    types: Mapping[Kind, str] = {
        "text": "text",
        "integer": "bigint",
        "float": "double precision",
        "boolean": "boolean",
        "time": "timestamp with time zone",
    }
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, uri: str, timeout: float) -> None:
        self._uri, self._timeout = uri, timeout

    def connect(self) -> Any:
        """Every wait is bounded, by the server's time-out first."""
        connection = connect(
            self._timeout + 1,
            self._uri,
            autocommit=True,
            connect_timeout=max(int(self._timeout), 2),
            application_name="headrace",
        )
        milliseconds = int(self._timeout * 1000)
        connection.execute(
            f"SET synchronous_commit = on; SET statement_timeout = {milliseconds}; SET timezone = 'UTC';"
            f"SET idle_in_transaction_session_timeout = {2 * milliseconds}"
        )
        connection.autocommit = False
        return connection

    def begin(self, connection: Any, name: str) -> None:
        """The wait ends with the statement's time-out."""
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))

    def settled(self, connection: Any) -> bool:
        """A connection leads to one server for good."""
        return True

    def quoted(self, *names: str) -> str:
        """With quotes."""
        return quoted(*names)

    def columns(self, connection: Any, table: Sequence[str]) -> list[TableColumn]:
        """From the catalogue, as the search path finds the table."""
        return [TableColumn(*row) for row in connection.execute(_COLUMNS, (quoted(*table),)).fetchall()]

    def fits(self, field: SinkColumn, declared: str) -> bool:
        """By the type's name; ids may be of the type of ids."""
        bounded = field.kind == "text" and declared.startswith("character varying(")  # what is too long is refused
        return bounded or declared in _HOLDS[field.kind] or (field.name == "id" and declared == "uuid")

    def unique(self, connection: Any, table: Sequence[str], column: str) -> bool:
        """By the table's indexes."""
        row = connection.execute(_UNIQUE, (quoted(*table), column)).fetchone()
        return bool(row[0])

    def value(self, kind: Kind, value: Any) -> Any:
        """As it is, but for what no text of PostgreSQL holds."""
        return value.replace("\0", "\ufffd") if kind == "text" and isinstance(value, str) else value

    def is_away(self, error: BaseException) -> bool:
        """By the error's SQLSTATE; one without comes from the connection, not from the server."""
        state = getattr(error, "sqlstate", None)
        if state:
            return bool(state.startswith(_AWAY))
        refused = any(
            phrase in str(error) for phrase in _REFUSED
        )  # of a connection that was not made there is no state
        return isinstance(error, psycopg.OperationalError) and not refused


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> TableSink:
    """The table of a database.

    Raises:
        UsageError: No database or no table is named.
    """
    names = address.path.strip("/").split("/")
    table = tuple(names[-1].split("."))
    if len(names) != 2 or not all(names) or len(table) > 2 or not all(table):
        hint = "write postgresql://USER@HOST/DATABASE/TABLE, or SCHEMA.TABLE"
        raise UsageError("names no table of a database", where=address.shown, hint=hint)
    parts = address.parts
    uri = urlunsplit((parts.scheme, parts.netloc, "/" + quote(names[0]), parts.query, ""))
    return TableSink(PostgreSQLSink(uri, place.timeout), table, layout, address)
