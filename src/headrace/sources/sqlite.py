"""``sqlite:PATH``: a query of an SQLite file, which is opened to be read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import SourceError, UsageError
from headrace.sources import arrow, sql
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.statements import named, quoted

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class SQLiteFile:
    """See `SqlDatabase`.

    Attributes:
        path: Of the file.
    """

    path: Path
    typed: bool = False

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"sqlite:{self.path}"

    def column(self, name: str) -> str:
        """See `SqlDatabase`."""
        return named(name)

    def table(self, name: str) -> str:
        """See `SqlDatabase`."""
        return quoted(name)

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """See `SqlDatabase`."""
        with closing(self._open()) as connection:
            cursor = self._asked(connection, statement, {name: _value(value) for name, value in parameters.items()})
            names = [name for name, *_ in cursor.description]
            rows = self._fetched(cursor)
            yield self._frame(names, rows)
            while rows := self._fetched(cursor) if rows else []:
                yield self._frame(names, rows)

    def _open(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise SourceError("there is no such file", where=str(self.path))
        try:
            return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error as error:
            raise SourceError(f"cannot be opened: {error}", where=str(self.path)) from error

    def _asked(self, connection: sqlite3.Connection, statement: str, parameters: Mapping[str, Any]) -> sqlite3.Cursor:
        try:
            return connection.execute(statement, parameters)
        except sqlite3.Error as error:
            raise SourceError(f"cannot be read: {error}", where=self.origin, hint="is source.query right?") from error

    def _fetched(self, cursor: sqlite3.Cursor) -> list[tuple[Any, ...]]:
        try:
            return cursor.fetchmany(arrow.PART)
        except sqlite3.Error as error:
            raise SourceError(f"cannot be read: {error}", where=self.origin) from error

    def _frame(self, names: list[str], rows: list[tuple[Any, ...]]) -> pl.DataFrame:
        import polars as pl

        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return pl.DataFrame([self._series(name, list(values)) for name, values in zip(names, columns, strict=True)])

    def _series(self, name: str, values: list[Any]) -> pl.Series:
        """A column: numbers as such, anything else as text."""
        import polars as pl

        kinds = {type(value) for value in values} - {type(None)}
        if bytes in kinds:
            raise SourceError(f"{name} holds bytes", where=self.origin, hint="leave it out of source.query, or cast it")
        if kinds == {int}:
            return pl.Series(name, values, pl.Int64)
        if kinds and kinds <= {int, float}:
            return pl.Series(name, values, pl.Float64, strict=False)
        return pl.Series(name, [None if value is None else str(value) for value in values], pl.String)


def _value(value: Any) -> Any:
    """Times as the texts that SQLite's own functions write."""
    return (
        value.isoformat(" ") if isinstance(value, datetime) else value.isoformat() if isinstance(value, date) else value
    )


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the file ``rest``.

    Raises:
        UsageError: There is no path, or no query is declared.
    """
    uri = f"sqlite:{rest}"
    if not rest:
        raise UsageError("there is no path", where=uri, hint="write it as sqlite:data/shop.db")
    sql.require_query(source, uri)
    return sql.SqlReader(source, SQLiteFile(Path(rest).expanduser()), context.named(source), context.cache)
