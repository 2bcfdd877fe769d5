"""A table of a database as a target: predictions and how far they came are one transaction."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from headrace.errors import SinkError, SinkMovedError, SinkUnavailableError
from headrace.sinks.address import Address
from headrace.sinks.base import Begun, Kind, Position, Prediction, PredictionLayout, Sent, SinkColumn, written

POSITIONS = "headrace_positions"
"""The table beside that of the predictions that says how far each source came."""


class TableColumn(NamedTuple):
    """A column that a table has: `required` if a row must name a value of it."""

    name: str
    type: str
    required: bool


class Dialect(Protocol):
    """One kind of database. Methods raise the driver's own errors.

    Attributes:
        mark: What stands for a value in a statement.
        types: What columns are declared as.
        errors: The driver's own.
        upserts: Whether an insert of an id that is there changes its row; else rows are deleted first.
    """

    mark: str
    upserts: bool
    types: Mapping[Kind, str]
    errors: tuple[type[Exception], ...]

    def connect(self) -> Any:
        """A connection whose every wait has an end, outside of a transaction; statements see to transactions."""

    def begin(self, connection: Any, name: str) -> None:
        """Begin a transaction; of one `name` one at a time gets on, until its transaction ends."""

    def settled(self, connection: Any) -> bool:
        """Called after a commit: whether the connection still leads to what the URI names."""

    def quoted(self, *names: str) -> str:
        """A name as a statement writes it, with that of its schema before it."""

    def columns(self, connection: Any, table: Sequence[str]) -> list[TableColumn]:
        """The columns of a table; none where there is no such table."""

    def fits(self, field: SinkColumn, declared: str) -> bool:
        """Whether a column of a declared type holds all values of a field as they are."""

    def unique(self, connection: Any, table: Sequence[str], column: str) -> bool:
        """Whether no two rows of a table can have one value of a column."""

    def value(self, kind: Kind, value: Any) -> Any:
        """A value as the driver takes it."""

    def is_away(self, error: BaseException) -> bool:
        """Whether a driver's error says that the database cannot be used now, not that it refuses what it was given."""


class TableSink:
    """Writes predictions into a table, each row under its id: the same id again is the same row, as it is said last.

    Args:
        dialect: The kind of database.
        table: Names of the schema, if one is given, and of the table.
        layout: What predictions look like.
        address: The URI.
    """

    def __init__(self, dialect: Dialect, table: Sequence[str], layout: PredictionLayout, address: Address) -> None:
        self.target, self._address = address.shown, address
        self._dialect, self._table, self._layout = dialect, tuple(table), layout
        self._name = f"{layout.system}|{layout.source}|{'.'.join(table)}"
        names, marks = [field.name for field in layout.fields], ", ".join(dialect.mark for _ in layout.fields)
        table_name, first = dialect.quoted(*table), dialect.quoted(names[0])
        columns = ", ".join(map(dialect.quoted, names))
        changes = ", ".join(f"{dialect.quoted(name)} = excluded.{dialect.quoted(name)}" for name in names[1:])
        # Names of columns and tables are quoted; values are never part of a statement.
        conflict = f" ON CONFLICT ({first}) DO UPDATE SET {changes}" if dialect.upserts else ""
        self._insert = f"INSERT INTO {table_name} ({columns}) VALUES ({marks}){conflict}"  # noqa: S608
        self._delete = f"DELETE FROM {table_name} WHERE {first} = {dialect.mark}"  # noqa: S608
        positions, mark = dialect.quoted(*table[:-1], POSITIONS), dialect.mark
        self._make_positions = f"CREATE TABLE IF NOT EXISTS {positions} (sink text PRIMARY KEY, position text NOT NULL)"
        self._read = f"SELECT position FROM {positions} WHERE sink = {mark}"  # noqa: S608
        self._sinks = f"SELECT sink FROM {positions}"  # noqa: S608
        self._forget = f"DELETE FROM {positions} WHERE sink = {mark}"  # noqa: S608
        self._note = f"INSERT INTO {positions} (sink, position) VALUES ({mark}, {mark})"  # noqa: S608
        if dialect.upserts:
            self._note += " ON CONFLICT (sink) DO UPDATE SET position = excluded.position"
        self._connection: Any = None

    def begin(self) -> Begun:
        """Make what is missing, look at what is there, and read the position."""
        self.close()
        with self._transaction("headrace") as cursor:  # everybody's: tables are made by one at a time
            self._make(cursor)
            return Begun(self._position(cursor))

    def send(self, predictions: Sequence[Prediction], before: Position | None, after: Position) -> Sent:
        """One transaction. What newer revisions replace is deleted in it."""
        kinds, value = [field.kind for field in self._layout.fields], self._dialect.value
        with self._transaction(self._name) as cursor:
            if self._position(cursor) != before:
                raise SinkMovedError(
                    "another process passed on to it meanwhile, or it is another database now", where=self.target
                )
            rows: dict[Any, tuple[Any, ...]] = {}
            replaced = []
            for prediction in predictions:
                replaced += [(name,) for name in prediction.replaces]
                rows |= {row[0]: tuple(map(value, kinds, row)) for row in prediction.rows}  # the last of an id counts
            if not self._dialect.upserts:
                replaced += [(name,) for name in rows]
                cursor.execute(self._forget, (self._name,))
            if replaced:
                cursor.executemany(self._delete, replaced)
            if rows:
                cursor.executemany(self._insert, list(rows.values()))
            cursor.execute(self._note, (self._name, written(after)))
        return Sent(passed=len(predictions))

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _position(self, cursor: Any) -> Position | None:
        row = cursor.execute(self._read, (self._name,)).fetchone()
        if row is None:
            return None
        position: Position = json.loads(row[0])
        return position

    def _make(self, cursor: Any) -> None:
        dialect, fields = self._dialect, self._layout.fields
        columns = dialect.columns(self._connection, self._table)
        if columns:
            self._check(columns)
        else:
            declared = [f"{dialect.quoted(field.name)} {dialect.types[field.kind]}" for field in fields]
            declared[0] += " PRIMARY KEY"
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {dialect.quoted(*self._table)} ({', '.join(declared)})")
        if not dialect.columns(self._connection, (*self._table[:-1], POSITIONS)):
            cursor.execute(self._make_positions)
        elif not columns:  # it was dropped: a new one lacks everything, from whichever source
            names = [name for (name,) in cursor.execute(self._sinks).fetchall()]
            ends = f"|{self._table[-1]}", f".{self._table[-1]}"
            for name in names:
                if name.endswith(ends):
                    cursor.execute(self._forget, (name,))

    def _check(self, columns: Sequence[TableColumn]) -> None:
        """Refuse a table that cannot hold the predictions, or asks for more than they say."""
        dialect, by_name = self._dialect, {column.name: column for column in columns}
        wrong = []
        for field in self._layout.fields:
            if field.name not in by_name:
                wrong.append(f"{field.name} ({dialect.types[field.kind]}) is missing")
            elif not dialect.fits(field, by_name[field.name].type):
                wrong.append(f"{field.name} is {by_name[field.name].type}, not {dialect.types[field.kind]}")
        names = {field.name for field in self._layout.fields}
        wrong += [
            f"{column.name} must have a value, and predictions have none"
            for column in columns
            if column.required and column.name not in names
        ]
        first = self._layout.fields[0].name
        if first in by_name and not dialect.unique(self._connection, self._table, first):
            wrong.append(f"{first} is neither a primary key nor unique by itself")
        if wrong:
            raise SinkError(
                f"the table does not fit: {'; '.join(wrong)}",
                where=self.target,
                hint="name a table that is not there yet: it is made; or change this one",
            )

    @contextmanager
    def _transaction(self, name: str) -> Iterator[Any]:
        dialect = self._dialect
        try:
            if self._connection is None:
                self._connection = dialect.connect()
            connection = self._connection
            dialect.begin(connection, name)
            try:
                yield connection.cursor()
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            settled = dialect.settled(connection)
        except dialect.errors as error:
            self.close()
            raise self._failure(error) from error
        if not settled:
            self.close()
            raise SinkUnavailableError("it was moved or replaced meanwhile", where=self.target)

    def _failure(self, error: BaseException) -> SinkError:
        reason = self._address.hide(str(error))
        reason = (reason.strip().splitlines() or [type(error).__name__])[0]
        if self._dialect.is_away(error):
            return SinkUnavailableError(f"the database cannot be used: {reason}", where=self.target)
        return SinkError(f"the database refuses: {reason}", where=self.target, hint="nothing of it was written")


def quoted(*names: str) -> str:
    """A name as SQL takes it, whatever is in it.

    >>> quoted("public", 'an "odd" name')
    '"public"."an ""odd"" name"'
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
