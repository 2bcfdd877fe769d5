"""``postgresql://USER@HOST/DATABASE``: a query of a PostgreSQL server, by ADBC: its rows come as Arrow.

The password comes from the environment, as for every client of PostgreSQL: ``PGPASSWORD``, ``PGPASSFILE`` or
``~/.pgpass``. One in the URI is refused, since URIs are kept in records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.passwords import holds_password
from headrace.sources import arrow, sql
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.statements import bound, named, quoted

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

_PATIENCE = 10
"""Seconds to wait for a connection."""
_REASON = re.compile(r"(?:ERROR|FATAL):\s+([^\n]*)")
_BEGIN = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "SET LOCAL TIME ZONE 'UTC'",
    "SET LOCAL cursor_tuple_fraction = 1",  # all rows are fetched: plan for the last one, not the first
)


@dataclass(frozen=True)
class PostgreSQLServer:
    """See `SqlDatabase`.

    Attributes:
        uri: Of the database, without a password.
    """

    uri: str
    typed: bool = True

    @property
    def origin(self) -> str:
        """Where it is, without who logs in."""
        parts = urlsplit(self.uri)
        return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def column(self, name: str) -> str:
        """See `SqlDatabase`."""
        return named(name)

    def table(self, name: str) -> str:
        """See `SqlDatabase`."""
        return quoted(name)

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """See `SqlDatabase`. Without parameters rows come by COPY, which is faster; a cursor takes parameters."""
        import pyarrow as pa

        text, values = bound(statement, parameters, "$1")
        with self._connected() as cursor:
            try:
                if values:
                    cursor.execute(f"DECLARE headrace NO SCROLL CURSOR FOR {text}", tuple(values))
                    schema, batches = _fetched(cursor)
                else:
                    cursor.execute(text)
                    batches = cursor.fetch_record_batch()
                    schema = batches.schema
                yield from arrow.frames(schema, batches, self.origin)
            except (pa.ArrowException, OSError) as error:  # of a stream that broke off
                raise self._failure(error) from error

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        """A transaction that reads only, and sees one moment."""
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi

        try:
            with closing(dbapi.connect(self._bounded())) as connection, closing(connection.cursor()) as cursor:
                for statement in _BEGIN:
                    cursor.execute(statement)
                yield cursor
        except Error as error:
            raise self._failure(error) from error

    def _bounded(self) -> str:
        """The URI with a bound of the wait for a connection, unless it has one."""
        parts = urlsplit(self.uri)
        settings = {"connect_timeout": str(_PATIENCE), "application_name": "headrace", **dict(parse_qsl(parts.query))}
        return parts._replace(query=urlencode(settings)).geturl()

    def _failure(self, error: BaseException) -> SourceError:
        text = str(error)
        match = _REASON.search(text)
        reason = match[1] if match else (text.splitlines() or [type(error).__name__])[0]
        return SourceError(f"cannot be read: {reason}", where=self.origin)


def _fetched(cursor: Any) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema and batches of the open cursor's rows, `arrow.PART` rows fetched at a time."""
    cursor.adbc_statement.set_options(**{"adbc.postgresql.use_copy": "false"})  # COPY knows no FETCH

    def fetched() -> pa.Table:
        cursor.execute(f"FETCH FORWARD {arrow.PART} FROM headrace")
        return cursor.fetch_arrow_table()

    first = fetched()

    def batches() -> Iterator[pa.RecordBatch]:
        table = first
        while table.num_rows:
            yield from table.to_batches()
            table = fetched()

    return first.schema, batches()


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the database ``rest``: ``//USER@HOST:PORT/DATABASE``.

    Raises:
        ConfigError: The driver is not installed.
        UsageError: The URI has another form or a password, or no query is declared.
    """
    uri = f"postgresql:{rest}"
    parts = urlsplit(uri)
    if holds_password(uri):
        hint = "set PGPASSWORD in the environment, or write ~/.pgpass"
        raise UsageError("a password in the URI would be kept in records", where="postgresql://...", hint=hint)
    if not rest.startswith("//") or not parts.path.strip("/"):
        raise UsageError("names no database", where=uri, hint="write it as postgresql://USER@HOST/DATABASE")
    sql.require_query(source, uri)
    for package in ("adbc_driver_postgresql", "pyarrow"):
        if find_spec(package) is None:
            raise ConfigError(f"PostgreSQL needs {package}", where=uri, hint="pip install 'headrace[postgres]'")
    return sql.SqlReader(source, PostgreSQLServer(uri), context.named(source), context.cache)
