"""What happens to every frame that a reader gives: `Source.prepare`, the declared names, and how its rows are known."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, PrepareError, SourceError
from headrace.sources.base import Reader, Records, Since, Source, Tally, function_name, known_rule, renamed

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class PreparedReader:
    """Reads what another reader does; its frames are prepared and have declared names.

    Attributes:
        reader: The other one.
        source: The declaration.
        where: What to call it in an error.
    """

    reader: Reader
    source: Source
    where: str

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """The records of the reader, prepared and renamed.

        Raises:
            SourceError: They could not be read whole, or the reader gives no such thing as records.
            PrepareError: `Source.prepare` failed, or returned no frame.
        """
        records = self._guarded(lambda: self.reader.read(as_of=as_of, now=now, since=since, first=first))
        if not isinstance(records, Records):
            raise SourceError(f"the reader returned a {type(records).__name__}, not Records", where=self.where)
        self._require_frame(records.frame)
        if records.more:
            records = replace(records, more=self._parts(records.more))
        if records.streamed:
            return records
        raw = None
        if self.source.prepare is not None:
            raw = Tally()
            records = records.each(counted(self.source.prepare, raw))
        records = records.each(lambda frame: renamed(frame, self.source.columns))
        known = records.known
        if known is None or known.column not in (None, *records.frame.columns):
            known = known_rule(self.source, records.frame)
        return replace(records, known=known, raw=raw)

    def _parts(self, more: Any) -> Iterator[pl.DataFrame]:
        frames = iter(more)
        while (frame := self._guarded(lambda: next(frames, None))) is not None:
            self._require_frame(frame)
            yield frame

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except HeadraceError:
            raise
        except Exception as error:
            kind = type(self.reader)
            if kind.__module__.partition(".")[0] == "headrace":
                raise
            raise SourceError(f"{kind.__name__} failed: {_said(error)}", where=self.where) from error

    def _require_frame(self, frame: object) -> None:
        import polars as pl

        if not isinstance(frame, pl.DataFrame):
            text = f"the reader gives a {type(frame).__name__} as records, not a polars DataFrame"
            raise SourceError(text, where=self.where)


def counted(prepare: Callable[[Any], Any], raw: Tally) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """`prepare`, with its errors told, and the rows that go into it counted."""
    import polars as pl

    name = function_name(prepare)

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        raw.rows += frame.height
        try:
            after = prepare(frame)
            after = after.collect() if isinstance(after, pl.LazyFrame) else after
        except Exception as error:  # whatever a user's function raises is a mistake in it, or in the data
            where = f"source.prepare: {name} ({_line(prepare, error)})"
            hint = f"it was given {frame.height:,} rows with {', '.join(frame.columns)}; nothing was stored"
            raise PrepareError(_said(error), where=where, hint=hint) from error
        if not isinstance(after, pl.DataFrame):
            hint = "return the changed frame"
            text = f"returned a {type(after).__name__}, not a polars DataFrame"
            raise PrepareError(text, where=f"source.prepare: {name}", hint=hint)
        return after

    return change


def _line(function: Any, error: BaseException) -> str:
    """File and line where a function failed: the last that is in the file it is written in."""
    while hasattr(function, "func"):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if code is not None and frame.filename == code.co_filename]
    last = (own_frames or list(frames))[-1]
    return f"{last.filename}:{last.lineno}"


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
