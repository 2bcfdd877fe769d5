"""``duckdb:///PATH?table=TABLE``: a table of a DuckDB file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from headrace.sinks.address import Address
from headrace.sinks.base import Kind, PredictionLayout, SinkColumn, SinkContext
from headrace.sinks.database_file import DatabaseFile, file_and_table
from headrace.sinks.table import TableColumn, TableSink
from headrace.sources.duckdb import SETTINGS

_HOLDS: Mapping[Kind, frozenset[str]] = {
    "text": frozenset(("VARCHAR",)),
    "integer": frozenset(("BIGINT", "HUGEINT")),
    "float": frozenset(("DOUBLE",)),
    "boolean": frozenset(("BOOLEAN",)),
    "time": frozenset(("TIMESTAMP WITH TIME ZONE",)),
}
"""Types that hold every value as it is."""
_COLUMNS = """
    SELECT column_name, data_type, NOT is_nullable AND column_default IS NULL
    FROM duckdb_columns() WHERE table_name = ? AND schema_name = current_schema()
        AND database_name = current_database() ORDER BY column_index"""
_UNIQUE = """
    SELECT count(*) FROM duckdb_constraints() WHERE table_name = ? AND schema_name = current_schema()
        AND database_name = current_database()
        AND constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND constraint_column_names = [?]"""


class DuckDBSink(DatabaseFile):
    """One file, which one process at a time may write to, and nobody may read meanwhile.

    Args:
        path: Of the file.
    """

    types: Mapping[Kind, str] = {
        "text": "VARCHAR",
        "integer": "BIGINT",
        "float": "DOUBLE",
        "boolean": "BOOLEAN",
        "time": "TIMESTAMP WITH TIME ZONE",
    }
    errors: tuple[type[Exception], ...] = (duckdb.Error,)

    def connect(self) -> Any:
        """The file is made where it is missing."""
        self.refuse_no_folder()
        connection = _OneTransaction(duckdb.connect(self.path, config=SETTINGS))
        self.remember()
        return connection

    def begin(self, connection: Any, name: str) -> None:
        """Nobody else has the file open."""
        connection.execute("BEGIN TRANSACTION")

    def columns(self, connection: Any, table: Sequence[str]) -> list[TableColumn]:
        """From the catalogue."""
        return [TableColumn(*row) for row in connection.execute(_COLUMNS, (table[-1],)).fetchall()]

    def fits(self, field: SinkColumn, declared: str) -> bool:
        """By the type's name."""
        return declared in _HOLDS[field.kind] or (field.name == "id" and declared == "UUID")

    def unique(self, connection: Any, table: Sequence[str], column: str) -> bool:
        """By the table's constraints."""
        return bool(connection.execute(_UNIQUE, (table[-1], column)).fetchone()[0])

    def value(self, kind: Kind, value: Any) -> Any:
        """As it is."""
        return value

    def is_away(self, error: BaseException) -> bool:
        """Whether another process has the file, or the disk fails."""
        return isinstance(error, duckdb.IOException | duckdb.OutOfMemoryException)


class _OneTransaction:
    """A connection whose cursor is itself: DuckDB's cursors are connections with transactions of their own."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.execute, self.executemany = connection.execute, connection.executemany
        self.commit, self.rollback, self.close = connection.commit, connection.rollback, connection.close

    def cursor(self) -> _OneTransaction:
        """Itself."""
        return self


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> TableSink:
    """The table of a file.

    Raises:
        UsageError: No file or no table is named.
    """
    path, table = file_and_table(address, "duckdb")
    return TableSink(DuckDBSink(path), table, layout, address)
