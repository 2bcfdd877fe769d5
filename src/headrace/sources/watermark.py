"""How far the rows of a table go that are stored, and where the next read begins."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import SourceError, UsageError
from headrace.files import write_whole

if TYPE_CHECKING:
    import polars as pl

OVERLAP = timedelta(hours=1)
"""A read begins so far before the position: a transaction may commit rows with an earlier time than others have."""
_DAY = timedelta(days=1)
"""Times without a zone are at most so far from UTC."""
_DATED = re.compile(r"\d{4}-\d\d-\d\d")
_AGAIN = "delete it: the query is then read as a whole, and what is stored is not stored again"


@dataclass(frozen=True)
class ReadPosition:
    """What was the newest value of the watermark that is stored, in a file of the home.

    Attributes:
        path: Of the file; None: nothing is kept, every read is whole.
        overlap: How far before it the next read begins; None: an hour of a time, nothing of a number.
    """

    path: Path | None
    overlap: timedelta | float | None = None

    def value(self) -> Any:
        """The newest that is stored; None: nothing is.

        Raises:
            SourceError: The file is damaged.
        """
        if self.path is None or not self.path.exists():
            return None
        try:
            position = json.loads(self.path.read_text(encoding="utf-8"))
            kind, value = position["kind"], position["value"]
            if kind in ("datetime", "date"):
                return (datetime if kind == "datetime" else date).fromisoformat(value)
        except (ValueError, KeyError, TypeError) as error:
            raise SourceError(f"is no position ({error})", where=str(self.path), hint=_AGAIN) from error
        return value

    def begin(self, value: Any) -> Any:
        """Where the next read begins.

        Raises:
            UsageError: The overlap is a time and the watermark a number, or the other way round.
        """
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._before(value)
        if isinstance(self.overlap, timedelta):
            raise UsageError("is a time, and the watermark a number", where="source.overlap", hint="write a number")
        return value if self.overlap is None else value - _plain(self.overlap)

    def _before(self, value: Any) -> Any:
        overlap = OVERLAP if self.overlap is None else self.overlap
        if not isinstance(overlap, timedelta):
            raise UsageError("is a number, and the watermark a time", where="source.overlap", hint="write it as 1h")
        if isinstance(value, datetime):
            return value - overlap
        days = timedelta(days=max(1, math.ceil(overlap / _DAY)))
        if isinstance(value, date):
            return value - days
        dated = isinstance(value, str) and _DATED.match(value)
        return (date.fromisoformat(value[:10]) - days).isoformat() if dated else value

    def save(self, value: Any) -> None:
        """Write down the newest that is stored."""
        if self.path is not None and value is not None:
            text = value.isoformat() if isinstance(value, date) else value
            write_whole(self.path, json.dumps({"kind": type(value).__name__, "value": text}).encode())

    def forget(self) -> None:
        """The next read is whole."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _plain(number: float) -> float:
    return int(number) if float(number).is_integer() else number


@dataclass
class Watermark:
    """How far the rows go that were read.

    Attributes:
        column: The query's column that tells.
        limit: Rows up to this time were known when they were read; None: not told by this column.
        position: What is stored.
        stored: The newest value that is stored, before this read.
        newest: The largest value that was read.
        known: The largest one up to the limit.
    """

    column: str
    limit: datetime | None
    position: ReadPosition
    stored: Any = None
    newest: Any = field(default=None, init=False)
    known: Any = field(default=None, init=False)

    def seen(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same frame, noted."""
        values = frame[self.column].drop_nulls()
        if values.is_empty():
            return frame
        newest: Any = values.max()
        before = self.stored if self.newest is None else self.newest
        if before is not None and not _comparable(newest, before):
            raise SourceError(
                f"{self.column} holds both {type(before).__name__} and {type(newest).__name__}",
                where="source.watermark",
                hint=f"cast it to one type in the query; was it changed on purpose? {self.position.path}: {_AGAIN}",
            )
        self.newest = newest if self.newest is None else max(self.newest, newest)
        limit = _like(newest, self.limit)
        if limit is not None:
            known = values.filter(values <= limit)
            if not known.is_empty():
                largest: Any = known.max()
                self.known = largest if self.known is None else max(self.known, largest)
        return frame

    def save(self, pending: int) -> str | None:
        """Write down how far the stored rows go: to the newest, unless some were not known yet.

        The row of the position itself is always read again. Is it gone, the table has lost rows, or has been put back
        to an earlier state, and may get others under values that were passed: the next read is whole.

        Returns:
            What to tell people of a watermark that went back; None where it did not.
        """
        went_back = self.stored is not None and (self.newest is None or self.newest < self.stored)
        if went_back:
            self.position.forget()
            newest = "no row from there on" if self.newest is None else f"none after {self.newest}"
            return (
                f"the watermark {self.column} went back: {self.stored} was stored, and now there is {newest}; "
                "the next read is whole"
            )
        value = self.known if pending else self.newest
        if value is not None and (self.stored is None or value >= self.stored):
            self.position.save(value)
        return None


def _comparable(one: Any, other: Any) -> bool:
    """Whether values have one order: both numbers, or both of one type and zone."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return True
    zoned = [getattr(value, "tzinfo", None) is None for value in (one, other)]
    return type(one) is type(other) and zoned[0] == zoned[1]


def _like(value: Any, limit: datetime | None) -> Any:
    """A limit as a watermark of this type; never later than it is meant."""
    if limit is None:
        return None
    if isinstance(value, datetime):
        return limit if value.tzinfo is not None else limit.astimezone(UTC).replace(tzinfo=None) - _DAY
    day = (limit.astimezone(UTC) - _DAY).date()
    if isinstance(value, date):
        return day
    return day.isoformat() if isinstance(value, str) and _DATED.match(value) else None
