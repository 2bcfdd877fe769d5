"""``sqlite:///PATH?table=TABLE``: a table of an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from headrace.lineage import iso
from headrace.sinks.address import Address
from headrace.sinks.base import Kind, PredictionLayout, SinkColumn, SinkContext
from headrace.sinks.database_file import DatabaseFile, file_and_table
from headrace.sinks.table import TableColumn, TableSink, quoted

_AWAY = frozenset((3, 5, 6, 8, 10, 13, 14))
"""SQLite's codes: no permission, busy, locked, read-only, input or output fails, full, cannot be opened."""
_HOLDS: Mapping[Kind, tuple[str, ...]] = {
    "text": ("TEXT", "CHAR", "CLOB"),
    "integer": ("INT",),
    "float": ("REAL", "DOUB", "FLOA"),
    "boolean": ("BOOL", "INT"),
    "time": ("TEXT", "CHAR", "TIME", "DATE"),
}
"""Parts of declared types, of which one must be in a column's."""


class SQLiteSink(DatabaseFile):
    """One file. Writers take turns by its lock; times are texts in ISO 8601.

    Args:
        path: Of the file.
        timeout: Seconds that a lock is waited for.
    """

    types: Mapping[Kind, str] = {
        "text": "TEXT",
        "integer": "INTEGER",
        "float": "REAL",
        "boolean": "BOOLEAN",
        "time": "TEXT",
    }
    errors: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__(path)
        self._timeout = timeout

    def connect(self) -> Any:
        """The file is made where it is missing."""
        self.refuse_no_folder()
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL").close()
        self.remember()
        return connection

    def begin(self, connection: Any, name: str) -> None:
        """One writer at a time, whatever it writes; none into a file that is not there any more."""
        if self.is_new:
            self.remember()
        connection.execute("BEGIN IMMEDIATE")

    def columns(self, connection: Any, table: Sequence[str]) -> list[TableColumn]:
        """By SQLite's own pragma."""
        rows = connection.execute(f"PRAGMA table_info({quoted(table[-1])})").fetchall()
        return [
            TableColumn(name, kind, bool(must and default is None and not key))
            for _, name, kind, must, default, key in rows
        ]

    def fits(self, field: SinkColumn, declared: str) -> bool:
        """By the parts of the declared type that say what SQLite does with values."""
        return any(part in declared.upper() for part in _HOLDS[field.kind])

    def unique(self, connection: Any, table: Sequence[str], column: str) -> bool:
        """Whether it is the primary key, or has a whole unique index of its own."""
        info = connection.execute(f"PRAGMA table_info({quoted(table[-1])})").fetchall()
        if [row[1] for row in info if row[5]] == [column]:
            return True
        for _, name, unique, _, partial in connection.execute(f"PRAGMA index_list({quoted(table[-1])})").fetchall():
            columns = [row[2] for row in connection.execute(f"PRAGMA index_info({quoted(name)})").fetchall()]
            if unique and not partial and columns == [column]:
                return True
        return False

    def value(self, kind: Kind, value: Any) -> Any:
        """Times as texts that sort as the times do."""
        return iso(value) if isinstance(value, datetime) else value

    def is_away(self, error: BaseException) -> bool:
        """By SQLite's code."""
        code = getattr(error, "sqlite_errorcode", None)
        return isinstance(code, int) and code & 0xFF in _AWAY


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> TableSink:
    """The table of a file.

    Raises:
        UsageError: No file or no table is named.
    """
    path, table = file_and_table(address, "sqlite")
    return TableSink(SQLiteSink(path, place.timeout), table, layout, address)
