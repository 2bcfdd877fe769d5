"""What a source is: its declaration, the records it gives, and the protocol of those who read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pydantic import Field, ModelWrapValidatorHandler, SerializeAsAny, ValidationError, model_validator

from headrace.contract import KNOWN_AT, Known, declaration_error
from headrace.contract.apart import called
from headrace.contract.naming import found_as, under_names
from headrace.declaration import Declared, Duration, format_duration
from headrace.errors import DeclarationError, UsageError
from headrace.grid.calendars import CLOCK, kind_of

if TYPE_CHECKING:
    import polars as pl


class Api(Declared, ABC):
    """Base of the declared live services: what ``api`` reads."""

    @abstractmethod
    def reader(self, source: Source, cache: Path | None) -> Reader:
        """A reader of the service; `cache` is a folder for what a read has got before it broke off, or None."""


Named = str | tuple[str, ...]
"""What a source calls a column: its name there, or those of the columns that it is made of."""


def parts_of(named: Named) -> tuple[str, ...]:
    """The names of a source's columns that one of ours is made of."""
    return (named,) if isinstance(named, str) else named


class Source(Declared):
    """Where the records of a system come from. ``--source URI`` takes the place of ``uri``.

    Args:
        uri: The usual origin; without one the records are simulated.
        api: The live service that ``api`` stands for.
        simulate: Makes the records of ``simulated:``: a `headrace.sources.simulated.Simulation`, or a
            function of ``as_of`` and keyword arguments with defaults that returns a polars frame.
        columns: What the source calls a declared column, where the names differ. Several names are columns that make
            one together, their texts with a blank between them: ``{"time": ("date", "hour")}``, which the column's
            format reads.
        constants: Columns that the source lacks, with the one text that every row has there: the key of a lone series.
        lag: How long after its event time a record becomes known, for sources that do not say so themselves.
        known_at: The source's own column with the time at which a record became known; a column that is
            called ``known_at``, as in headrace's own tables, needs no mention.
        skip: Lines above the header of delimited text. Without it notes above the header are found where they have
            fewer fields than the table.
        query: The query, for sources that are asked one.

    Raises:
        DeclarationError: A mistake; ``where`` is the field's path, such as ``source.lag``.
    """

    uri: str | None = None
    api: SerializeAsAny[Api] | None = None
    simulate: Callable[..., Any] | None = Field(default=None, exclude=True)
    columns: dict[str, Named] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    lag: Duration = timedelta(0)
    known_at: str | None = None
    skip: int = Field(default=0, ge=0)
    query: str | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_with_path(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            source = handler(data)
        except ValidationError as error:
            raise declaration_error(error, "source") from error
        if source.lag < timedelta(0):
            raise DeclarationError("a record cannot be known before it happens", where="source.lag")
        if kind_of(source.lag) != CLOCK:
            raise DeclarationError(
                f"{format_duration(source.lag)} is no fixed length", where="source.lag", hint="write it in days: 31d"
            )
        for name, theirs in source.columns.items():
            if not name or not theirs or not all(parts_of(theirs)):
                raise DeclarationError("a column needs a name", where=f"source.columns.{name}")
        return source


Since = Callable[[], datetime | None]
"""Looks up the newest event time that is stored; None while there is nothing."""


@dataclass(frozen=True)
class Records:
    """What a reader read.

    Args:
        frame: The rows as they came, all of them, under declared names; text where the source holds text.
            No row is judged or dropped here: the contract does that, and the split by known time.
        more: Of a source that gives its records in parts the frames that follow, each made when it is asked for, once:
            no event time is in two of them.
        origin: The URI they came from, complete enough to read them again.
        known: How the known time of a row is found.
        placed: Its times are event times already: where the contract's name the end of a step, they have been moved to
            its begin.
        stored: To be called once the rows are durable: a reader that goes on where it was writes down where that is.
    """

    frame: pl.DataFrame
    origin: str
    known: Known
    stored: Callable[[], None] = lambda: None
    more: Iterable[pl.DataFrame] = ()
    placed: bool = False

    def each(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Records:
        """The records with every frame changed."""
        return replace(self, frame=change(self.frame), more=map(change, self.more) if self.more else ())


def under_declared_names(records: Records, source: Source, names: Iterable[str]) -> Records:
    """The records with columns called as declared where their names read the same, and the constants of the source.

    A column that the source has stays as it came, whatever the constants say.
    """
    import polars as pl

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        frame = under_names(frame, names)
        apart = {called(n): n for n in names if n not in frame.columns and called(n) in frame.columns}
        frame = frame.rename({theirs: n for theirs, n in apart.items() if theirs != n})
        lacking = {name: text for name, text in source.constants.items() if name not in frame.columns}
        return frame.with_columns(pl.lit(text).alias(name) for name, text in lacking.items())

    return records.each(change)


class Reader(Protocol):
    """Reads the records of one source. Made by `open_source`, used by the ingest step, once per run.

    A reader holds no state between calls, and reading twice at the same times gives the same records as long
    as the source has not changed.
    """

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """All records that may be known at ``as_of``.

        Called after the run has fixed its ``as_of`` and before anything is written, so a failure leaves
        nothing behind and the call can be repeated.

        It must guarantee that every record known at ``as_of`` is there, unchanged, in the source's order.
        Later ones may be there as well: ``check`` counts them as pending. ``now`` is the clock's time; a
        reader must not ask another clock.

        With ``since``, which looks up the newest event time that is stored, older records may be left out, as far
        as they have not been corrected; only a reader that can leave them out calls it. With ``first`` the records
        also serve a run as of that earlier time: a source that goes back a fixed while goes back from there.

        Raises:
            SourceError: The records could not be read whole: unreachable, missing, truncated, not in the
                format they claim. Never part of the records in silence.
            UsageError: A parameter of the URI is unknown or has the wrong type.
        """
        ...


def require_zone(**moments: datetime) -> None:
    """Refuses times without a zone.

    Raises:
        UsageError: One has none; ``where`` is its name.
    """
    for name, moment in moments.items():
        if moment.tzinfo is None:
            raise UsageError("the time has no zone", where=name, hint="write it as 2023-01-20T16:00:00Z")


def renamed(frame: pl.DataFrame, columns: dict[str, Named]) -> pl.DataFrame:
    """The frame under declared names; an undeclared column whose name is taken gets ``source.`` before it.

    A declared column that the source lacks is left out: the contract names it, beside those that are there. Columns
    that make another one together stay beside it.
    """
    import polars as pl

    made, mapped = dict[str, pl.Expr](), set[str]()
    for name, theirs in columns.items():
        parts = [found_as(part, frame.columns) for part in parts_of(theirs)]
        there = [part for part in parts if part is not None]
        if len(there) < len(parts):
            continue
        if isinstance(theirs, str):
            mapped.add(there[0])
            made[name] = pl.col(there[0])
        else:
            made[name] = pl.concat_str([_as_text(frame[part]) for part in there], separator=" ")
    rest = [name for name in frame.columns if name not in mapped]
    return frame.select(
        *(value.alias(name) for name, value in made.items()),
        *(pl.col(name).alias(f"source.{name}" if name in made else name) for name in rest),
    )


def _as_text(part: pl.Series) -> pl.Expr:
    """A column as text that a format can read: dates in ISO 8601, whole numbers without a fraction."""
    import polars as pl

    value, dtype = pl.col(part.name), part.dtype
    if isinstance(dtype, pl.Datetime):
        whole = part.dt.truncate("1d") == part
        return value.dt.strftime("%Y-%m-%d" if whole.all() else "%Y-%m-%dT%H:%M:%S")
    if dtype == pl.Time:
        return value.dt.strftime("%H:%M:%S")
    if dtype.is_float() and (part.floor() == part).all():
        value = value.cast(pl.Int64)
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def known_rule(source: Source, frame: pl.DataFrame) -> Known:
    """How the known time of ``frame`` (already under declared names) is found."""
    if source.known_at is None:
        return Known(column=KNOWN_AT if KNOWN_AT in frame.columns else None, lag=source.lag)
    declared = {theirs: name for name, theirs in source.columns.items()}
    name = declared.get(source.known_at, source.known_at)
    return Known(column=found_as(name, frame.columns) or source.known_at, lag=source.lag)
