"""``duckdb:PATH``: a query of a DuckDB file, which is opened to be read only. No extension is downloaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import ConfigError, SourceError, UsageError
from headrace.sources import arrow, sql
from headrace.sources.base import Reader, Source, SourceContext
from headrace.sources.statements import bound, named, quoted

if TYPE_CHECKING:
    import polars as pl

SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
"""Of every connection: what is not installed is missed by name, and not fetched from elsewhere."""


@dataclass(frozen=True)
class DuckDBFile:
    """See `SqlDatabase`.

    Attributes:
        path: Of the file.
    """

    path: Path
    typed: bool = True

    @property
    def origin(self) -> str:
        """Where it is."""
        return f"duckdb:{self.path}"

    def column(self, name: str) -> str:
        """See `SqlDatabase`."""
        return named(name)

    def table(self, name: str) -> str:
        """See `SqlDatabase`."""
        return quoted(name)

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """See `SqlDatabase`."""
        import duckdb

        if not self.path.is_file():
            raise SourceError("there is no such file", where=str(self.path))
        text, values = bound(statement, parameters, "$name")
        try:
            with closing(duckdb.connect(self.path, read_only=True, config=SETTINGS)) as connection:
                connection.execute("SET TimeZone = 'UTC'")
                batches = connection.sql(text, params=values or None).to_arrow_reader(arrow.PART)
                yield from arrow.frames(batches.schema, batches, self.origin)
        except (duckdb.Error, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            hint = "is another process writing to it?" if isinstance(error, duckdb.IOException) else None
            raise SourceError(f"cannot be read: {reason}", where=self.origin, hint=hint) from error


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the file ``rest``.

    Raises:
        ConfigError: DuckDB is not installed.
        UsageError: There is no path, or no query is declared.
    """
    uri = f"duckdb:{rest}"
    if not rest:
        raise UsageError("there is no path", where=uri, hint="write it as duckdb:data/shop.duckdb")
    sql.require_query(source, uri)
    for package in ("duckdb", "pyarrow"):
        if find_spec(package) is None:
            raise ConfigError(f"DuckDB needs {package}", where=uri, hint="pip install 'headrace[duckdb]'")
    return sql.SqlReader(source, DuckDBFile(Path(rest).expanduser()), context.named(source), context.cache)
