"""``snowflake://ACCOUNT/DATABASE/SCHEMA/TABLE``: a table of Snowflake, by ADBC. See `headrace.sources.snowflake`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from adbc_driver_manager import Error, OperationalError

from headrace.errors import UsageError
from headrace.lineage import iso
from headrace.sinks.address import Address
from headrace.sinks.base import Kind, PredictionLayout, SinkColumn, SinkContext
from headrace.sinks.table import POSITIONS, TableColumn, TableSink
from headrace.sources.snowflake import FORM, SnowflakeAddress, address_of, folded

_HOLDS: Mapping[Kind, frozenset[str]] = {
    "text": frozenset(("TEXT",)),
    "integer": frozenset(("NUMBER",)),
    "float": frozenset(("FLOAT",)),
    "boolean": frozenset(("BOOLEAN",)),
    "time": frozenset(("TIMESTAMP_TZ", "TIMESTAMP_LTZ")),
}
_COLUMNS = """
    SELECT LOWER(column_name), data_type, is_nullable = 'NO' AND column_default IS NULL FROM information_schema.columns
    WHERE table_schema = CURRENT_SCHEMA() AND table_name = ? ORDER BY ordinal_position"""
_AWAY = ("08", "40", "53", "55", "57", "58")


class SnowflakeSink:
    """Rows are deleted by their id and inserted again in one transaction: Snowflake keeps no id unique by itself.

    Writers of one source take turns by the row of their position, which a transaction updates first.

    Args:
        address: Of the schema.
    """

    mark = "?"
    upserts = False
    types: Mapping[Kind, str] = {
        "text": "VARCHAR",
        "integer": "NUMBER(38, 0)",
        "float": "FLOAT",
        "boolean": "BOOLEAN",
        "time": "TIMESTAMP_TZ",
    }
    errors: tuple[type[Exception], ...] = (Error,)

    def __init__(self, address: SnowflakeAddress) -> None:
        self._address = address

    def connect(self) -> Any:
        """A connection whose wait for the login is bounded."""
        return _Connection(self._address.connect())

    def begin(self, connection: Any, name: str) -> None:
        """None while tables are made: what makes them ends a transaction there."""
        if name != "headrace":
            positions = folded(POSITIONS)
            connection.begin()
            connection.execute(f"UPDATE {positions} SET position = position WHERE sink = ?", (name,))  # noqa: S608

    def settled(self, connection: Any) -> bool:
        """A connection leads to one account for good."""
        return True

    def quoted(self, *names: str) -> str:
        """Plain names as Snowflake finds them without quotes."""
        return ".".join(map(folded, names))

    def columns(self, connection: Any, table: Sequence[str]) -> list[TableColumn]:
        """From the schema's own view."""
        name = folded(table[-1]).strip('"')
        return [TableColumn(*row) for row in connection.execute(_COLUMNS, (name,)).fetchall()]

    def fits(self, field: SinkColumn, declared: str) -> bool:
        """By the type's name."""
        return declared in _HOLDS[field.kind]

    def unique(self, connection: Any, table: Sequence[str], column: str) -> bool:
        """It is by how rows are written."""
        return True

    def value(self, kind: Kind, value: Any) -> Any:
        """Most as text, which becomes what it is there: the driver takes no times, and rounds floats."""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return repr(value)
        return iso(value) if isinstance(value, datetime) else value

    def is_away(self, error: BaseException) -> bool:
        """By the error's SQLSTATE, and by its kind where it has none."""
        state = str(getattr(error, "sqlstate", "") or "")
        return state.startswith(_AWAY) if state.strip("\0") else isinstance(error, OperationalError)


class _Connection:
    """The driver's connection and its one cursor, as the table's sink uses them: statements see to transactions."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._cursor = connection, connection.cursor()
        self.fetchone, self.fetchall = self._cursor.fetchone, self._cursor.fetchall
        self._began = False

    def cursor(self) -> _Connection:
        """Itself."""
        return self

    def execute(self, statement: str, values: Sequence[Any] = ()) -> _Connection:
        """Run a statement."""
        self._cursor.execute(statement, tuple(values) or None)
        return self

    def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run a statement for each row; values have types also where all of a column are missing."""
        import pyarrow as pa

        columns = [pa.array(column) for column in zip(*rows, strict=True)]
        columns = [column.cast(pa.string()) if pa.types.is_null(column.type) else column for column in columns]
        names = [str(place) for place in range(len(columns))]
        self._cursor.executemany(statement, pa.RecordBatch.from_arrays(columns, names=names))

    def begin(self) -> None:
        """Begin a transaction."""
        self.execute("BEGIN")
        self._began = True

    def commit(self) -> None:
        """End the transaction, if there is one."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """End it without a trace."""
        self._end("ROLLBACK")

    def _end(self, statement: str) -> None:
        began, self._began = self._began, False
        if began:
            self.execute(statement)

    def close(self) -> None:
        """Let go of it."""
        self._cursor.close()
        self._connection.close()


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> TableSink:
    """The table of a schema.

    Raises:
        UsageError: No schema or no table is named, or the URI holds a password.
    """
    where = address_of(address.uri)
    if len(where.names) != 3 or address.parts.password is not None:
        hint = f"write {FORM.partition('?')[0]}/TABLE; the password is SNOWFLAKE_PASSWORD in the environment"
        raise UsageError("names no table of a schema, or holds a password", where=address.shown, hint=hint)
    return TableSink(SnowflakeSink(where), (where.names[2],), layout, address)
