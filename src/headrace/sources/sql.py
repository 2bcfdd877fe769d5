"""What the databases have in common: a query, read in parts, and from its watermark on when it is read again.

A position says how far the stored rows go. It moves once the rows of a read are stored, and past none that was not yet
known then. Rows of the position itself are read again: the tables add nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headrace.contract import KNOWN_AT
from headrace.contract.naming import found_as
from headrace.errors import SourceError, UsageError
from headrace.lineage import digest_of
from headrace.sources.arrow import no_order
from headrace.sources.base import Records, Since, Source, require_zone
from headrace.sources.statements import BEGIN, names_of, one_query
from headrace.sources.watermark import ReadPosition, Watermark

if TYPE_CHECKING:
    import polars as pl

_NO_QUERY = "declare Source(query='SELECT ...'), or Source(table='sales'), or --set source.table=sales"


class SqlDatabase(Protocol):
    """What differs between databases.

    Attributes:
        typed: Whether a column has one type, which tells if its values have an order.
    """

    @property
    def origin(self) -> str:
        """Where it is, without who logs in."""

    @property
    def typed(self) -> bool:
        """See above."""

    def column(self, name: str) -> str:
        """The name of a column, as it comes in frames, as a statement writes it."""

    def table(self, name: str) -> str:
        """The name of a table, with that of its schema before a dot, as a statement writes it."""

    def frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        """The rows of a statement, as of one moment, `arrow.PART` at a time; one empty frame where there are none.

        Args:
            statement: Its parameters are written ``:name``.
            parameters: Their values; the database gets them beside the statement, not in it.

        Raises:
            SourceError: They could not be read whole.
        """


@dataclass(frozen=True)
class SqlReader:
    """Reads a query or table of a database.

    Attributes:
        source: The declaration.
        database: Where it is asked.
        time: What the query calls the event time; None where there is none, or several columns make it.
        cache: Folder of the position; None: every read is whole.
    """

    source: Source
    database: SqlDatabase
    time: str | None = None
    cache: Path | None = None

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """The rows from the position on; all of them the first time, without a watermark, and of an empty table.

        Raises:
            SourceError: The database cannot be reached, the query is wrong, or it has no such column.
            UsageError: The query is none, or names a parameter that has no value.
        """
        require_zone(as_of=as_of, now=now)
        query, given = self._query(), dict(self.source.parameters)
        names, column = self._checked(query, given)
        origin = f"{self.database.origin}#{self._digest()}"
        time = None if self.time is None else found_as(self.time, names)
        if column is None:
            return _records(self._frames(_statement(query, self._names(time)), given), time, origin)
        position = ReadPosition(self._path(origin), self.source.overlap)
        is_empty = time is not None and since is not None and since() is None
        stored = None if is_empty else position.value()
        where = ""
        if stored is not None:  # rows without a watermark may come at any time
            (name,) = self._names(column)
            where = f" WHERE ({name} >= :{BEGIN} OR {name} IS NULL)"
            given[BEGIN] = position.begin(stored)
        statement = _statement(query, self._names(time, column), where)
        mark = Watermark(column, self._limit(names, as_of), position, stored)
        records = _records(map(mark.seen, self._frames(statement, given)), time, origin)
        return Records(records.frame, origin, stored=mark.save, more=records.more)

    def _query(self) -> str:
        source = self.source
        if source.table is not None:
            return f"SELECT * FROM {self.database.table(source.table)}"  # noqa: S608  # a quoted name
        query = one_query(str(source.query))
        unknown = [name for name in names_of(query) if name not in source.parameters]
        if unknown:
            hint = f"--set source.parameters.{unknown[0]}=..., or put quotes around what is text"
            raise UsageError(f"the query's parameter :{unknown[0]} has no value", where="source.parameters", hint=hint)
        return query

    def _checked(self, query: str, parameters: Mapping[str, Any]) -> tuple[list[str], str | None]:
        """The query's columns, and which of them is the watermark.

        Raises:
            SourceError: The watermark is none of them, or has no order.
        """
        statement = f"SELECT * FROM ({query}\n) AS records LIMIT 0"  # noqa: S608  # the query is what is asked
        schema = next(iter(self._frames(statement, parameters))).schema
        names, watermark = list(schema), self.source.watermark
        if watermark is None:
            return names, None
        column = found_as(watermark, names)
        if column is None:
            hint = f"the query has {', '.join(names)}"
            raise SourceError(f"the query has no column {watermark!r}", where="source.watermark", hint=hint)
        if self.database.typed and no_order(schema, column):
            hint = "cast it in the query, to a whole number or a time"
            raise SourceError(f"{column} is no number, date or time", where="source.watermark", hint=hint)
        return names, column

    def _frames(self, statement: str, parameters: Mapping[str, Any]) -> Iterator[pl.DataFrame]:
        return self.database.frames(statement, parameters)

    def _names(self, *names: str | None) -> list[str]:
        """Names as the statement writes them, each once."""
        return [self.database.column(name) for name in dict.fromkeys(names) if name is not None]

    def _digest(self) -> str:
        """Of what is asked: another query, table or parameter begins anew."""
        source = self.source
        asked = [source.query or source.table, *(f"{n}={v!r}" for n, v in sorted(source.parameters.items()))]
        return digest_of(asked[0] if len(asked) == 1 else asked, 12)

    def _path(self, origin: str) -> Path | None:
        """The position of this query and watermark: another one begins anew."""
        name = digest_of([origin, self.source.watermark], 24)
        return None if self.cache is None else self.cache / f"position-{name}.json"

    def _limit(self, names: list[str], as_of: datetime) -> datetime | None:
        """Up to which watermark all rows are known; None where it is not what tells."""
        known = self.source.known_at or (KNOWN_AT if KNOWN_AT in names else None)
        if self.source.watermark == known:
            return as_of
        return as_of - self.source.lag if known is None and self.source.watermark == self.time else None


def _records(frames: Iterable[pl.DataFrame], time: str | None, origin: str) -> Records:
    return Records.of(frames if time is None else _by_time(frames, time), origin)


def _by_time(frames: Iterable[pl.DataFrame], time: str) -> Iterator[pl.DataFrame]:
    """Frames that have no event time in common, of such as are in its order."""
    import polars as pl

    rest: pl.DataFrame | None = None
    for fetched in frames:
        frame = fetched if rest is None else pl.concat([rest, fetched], how="vertical_relaxed")
        if frame.is_empty():
            rest = frame
            continue
        last = _equal(frame[time])
        if not last.all():
            yield frame.filter(~last)
        rest = frame.filter(last)
    if rest is not None:
        yield rest


def _equal(times: pl.Series) -> pl.Series:
    """Which are the last one."""
    return times.is_null() if times[-1] is None else times.eq_missing(times[-1])


def _statement(query: str, order: list[str], where: str = "") -> str:
    """The query from its watermark on, in the order of the event time.

    Names are those of the query's own columns, quoted; values are parameters.
    """
    by = f" ORDER BY {', '.join(order)}" if order else ""
    return f"SELECT * FROM ({query}\n) AS records{where}{by}"  # noqa: S608  # see above


def require_query(source: Source, uri: str) -> None:
    """Refuse a database without a query or table.

    Raises:
        UsageError: None is declared.
    """
    if source.query is None and source.table is None:
        raise UsageError("nothing says what to read of it", where=uri, hint=_NO_QUERY)
