"""What a source is: its declaration, the records it gives, and the protocol of those who read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializeAsAny,
    ValidationError,
    field_serializer,
    model_validator,
)

from headrace.contract import KNOWN_AT, KnownTimes, declaration_error
from headrace.contract.apart import called
from headrace.contract.naming import found_as, under_names
from headrace.declaration import Declared, Duration, format_duration
from headrace.errors import DeclarationError, UsageError
from headrace.grid.calendars import CLOCK, kind_of
from headrace.user_code import code_digest

if TYPE_CHECKING:
    import polars as pl

    from headrace.sources.messages.opening import Opener


Since = Callable[[], datetime | None]
"""Looks up the newest event time that is stored; None while there is nothing."""


@dataclass
class Tally:
    """Counts rows as they come. Attributes: rows: How many came, once every frame was asked for."""

    rows: int = 0


@dataclass(frozen=True)
class Records:
    """What a reader read.

    Args:
        frame: The rows as they came, all of them, under the source's own names; text where the source holds text.
            No row is judged or dropped here: the contract does that, and the split by known time.
        origin: The URI they came from, complete enough to read them again. It holds no password.
        known: How the known time of a row is found, by declared names; None: as the source declares.
        stored: To be called once the rows are durable, with the number of those that are not, because they were not yet
            known: a reader that goes on where it was writes down where that is. Returns what people should be told.
        more: Of a source that gives its records in parts the frames that follow, each made when it is asked for, once:
            no event time is in two of them. Rows without event times come in any order.
        whole: Every read gives all rows that the source ever had: where some are missing, people are told.
        streamed: They are events of a topic, under declared names and typed, and each has been judged as a stream
            judges it: nothing is prepared or renamed, and what they say stands.
        raw: How many rows came before `prepare`; None where nothing is prepared.
    """

    frame: pl.DataFrame
    origin: str
    known: KnownTimes | None = None
    stored: Callable[[int], str | None] = lambda pending: None
    more: Iterable[pl.DataFrame] = ()
    whole: bool = False
    streamed: bool = False
    raw: Tally | None = None

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame], origin: str, *, whole: bool = False) -> Records:
        """The records of one frame or more; two of them are made by now."""
        parts = iter(frames)
        first = next(parts)
        second = next(parts, None)
        return cls(first, origin, whole=whole, more=() if second is None else chain([second], parts))

    def each(self, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Records:
        """The records with every frame changed."""
        return replace(self, frame=change(self.frame), more=map(change, self.more) if self.more else ())


@runtime_checkable
class Reader(Protocol):
    """Reads the records of one source. Made by `open_source`, or declared in ``Source(reader=...)``; used by the ingest
    step, once per run.

    A reader holds no state between calls, and reading twice at the same times gives the same records as long
    as the source has not changed. What it gives bears the source's own names: `Source.prepare`, `Source.columns` and
    the known time are applied to it afterwards, in the same way for every reader.
    """

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """All records that may be known at ``as_of``.

        Called after the run has fixed its ``as_of`` and before anything is written, so a failure leaves
        nothing behind and the call can be repeated.

        It must guarantee that every record known at ``as_of`` is there, unchanged, in the source's order.
        Later ones may be there as well: ``check`` counts them as pending. ``now`` is the clock's time; a
        reader must not ask another clock. All times have a zone.

        With ``since``, which looks up the newest event time that is stored, older records may be left out, as far
        as they have not been corrected; only a reader that can leave them out calls it. With ``first`` the records
        also serve a run as of that earlier time: a source that goes back a fixed while goes back from there.

        Raises:
            SourceError: The records could not be read whole: unreachable, missing, truncated, not in the
                format they claim. Never part of the records in silence. Any other exception of a reader that is not
                headrace's own is told as one.
            UsageError: A parameter of the URI is unknown or has the wrong type.
        """
        ...


@dataclass(frozen=True)
class SourceContext:
    """What headrace lends to a reader that it opens.

    Attributes:
        cache: A folder of this source's own in the home, which need not exist yet, for what a later read can use; None
            where nothing is kept. Whatever is in it may be deleted at any time.
        opener: Opens lines of JSON that are events in an envelope; None where they have the columns at the top.
        stream: What the events of a topic look like (`headrace.sources.kafka.EventTopic`); None where no topic is read.
        time: The declared column of the event time; None for rows without one.
    """

    cache: Path | None = None
    opener: Opener | None = None
    stream: Callable[[], Any] | None = None
    time: str | None = None

    def named(self, source: Source) -> str | None:
        """What a source calls the event time; None where there is none, or several of its columns make it."""
        own_name = source.columns.get(self.time or "", self.time)
        return own_name if isinstance(own_name, str) else None


class OpenReader(Protocol):
    """Opens the reader of one URI scheme; a class that is made from these arguments will do.

    It is what an entry point of the group ``headrace.sources`` names; the entry point's name is the scheme.
    """

    def __call__(self, source: Source, rest: str, context: SourceContext) -> Reader:
        """A reader of ``SCHEME:rest``. Called when a command begins to read; nothing is read yet.

        Args:
            source: The declaration, for readers that need more than the URI.
            rest: What follows the scheme and its colon, as it was written.
            context: What headrace lends.

        Raises:
            UsageError: The URI has another form; ``where`` is the URI, the hint says how to write it.
        """
        ...


class Api(Declared, ABC):
    """Base of the declared live services: what ``api`` reads."""

    @abstractmethod
    def reader(self, source: Source, cache: Path | None) -> Reader:
        """A reader of the service; `cache` is a folder for what a read has got before it broke off, or None."""


Bound = bool | int | float | datetime | date | str | None
"""The value of a parameter of a query."""
Named = str | tuple[str, ...]
"""What a source calls a column: its name there, or those of the columns that it is made of."""


def parts_of(named: Named) -> tuple[str, ...]:
    """The names of a source's columns that one of ours is made of."""
    return (named,) if isinstance(named, str) else named


class Source(Declared):
    """Where the records of a system come from. ``--source URI`` takes the place of ``uri`` and ``reader``.

    Args:
        uri: The usual origin; without one, and without a reader, the records are simulated.
        reader: Reads the records: an object of your own with the method of `Reader`.
        prepare: A function of yours from a frame to a frame, which every frame goes through as the source gave it:
            joins, lists to rows, a target that is computed. Databases, and large files of rows without an event time,
            give several frames. `columns`, `known_at` and the contract see what it returns.
            Models remember its digest, and that of what it uses: after an edit a new one is due. Events of a
            topic and posted rows do not pass through it: they come as the contract has them.
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
        query: What is read of a database: one SELECT. Parameters are written ``:name``.
        table: In place of a query: a table of the database, all of its columns. ``SCHEMA.TABLE`` for one of a schema.
        parameters: The values of the query's parameters, by name: the database gets them beside the query, not in it.
        watermark: The column that grows with every row that is written or changed, such as ``updated_at``: a number or
            a time. Later reads begin a little before the newest that is stored; without it they are whole.
        overlap: How far before the newest: as long as a transaction may take to commit rows that it stamped before.
            ``"1h"`` without mention; of a watermark that is a number a number, 0 without mention.
        retracts: Whether an empty target takes back one that is known already. Otherwise it is not known yet: a file
            that was written before the truth came can be read again, and what it says of other columns is stored.

    Raises:
        DeclarationError: A mistake; ``where`` is the field's path, such as ``source.lag``.
    """

    uri: str | None = None
    reader: Reader | None = Field(default=None, exclude=True)
    prepare: Callable[[Any], Any] | None = None
    api: SerializeAsAny[Api] | None = None
    simulate: Callable[..., Any] | None = Field(default=None, exclude=True)
    columns: dict[str, Named] = Field(default_factory=dict)
    constants: dict[str, str] = Field(default_factory=dict)
    lag: Duration = timedelta(0)
    known_at: str | None = None
    skip: int = Field(default=0, ge=0)
    query: str | None = None
    table: str | None = None
    parameters: dict[str, Bound] = Field(default_factory=dict)
    watermark: str | None = None
    overlap: Duration | float | None = None
    retracts: bool = False
    _digest: str | None = PrivateAttr(default=None)

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
        if source.reader is not None and source.uri is not None:
            hint = "leave one out; --source URI reads another place for once"
            raise DeclarationError("there is a reader and a URI", where="source.reader", hint=hint)
        for name, own_name in source.columns.items():
            if not name or not own_name or not all(parts_of(own_name)):
                raise DeclarationError("a column needs a name", where=f"source.columns.{name}")
        return source

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.query is not None and self.table is not None:
            raise DeclarationError("there is a query and a table", where="source.table", hint="leave one out")
        for name in self.parameters:
            if not name.isidentifier() or name.startswith("headrace"):
                hint = "write a name of letters and digits, such as since"
                raise DeclarationError("a parameter has no such name", where=f"source.parameters.{name}", hint=hint)
        overlap = self.overlap
        if overlap is not None and (overlap < timedelta(0) if isinstance(overlap, timedelta) else overlap < 0):
            raise DeclarationError("a read cannot begin after the newest", where="source.overlap")
        if overlap is not None and self.watermark is None:
            raise DeclarationError("only a watermark has one", where="source.overlap", hint="say source.watermark too")
        return self

    @field_serializer("prepare", when_used="json")
    def _told(self, prepare: Callable[[Any], Any] | None) -> dict[str, str] | None:
        if prepare is None:
            return None
        if self._digest is None:
            self._digest = code_digest(prepare)  # once: the file may be edited while a process runs
        return {"function": function_name(prepare), "digest": self._digest}

    @property
    def own(self) -> bool:
        """Whether it says itself where its records are, or how they are made."""
        return self.uri is not None or self.reader is not None or self.simulate is not None


def function_name(function: Callable[..., Any]) -> str:
    """What people call a function, or an object that is called."""
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).removeprefix("<locals>.").rpartition("<locals>.")[2]


def under_declared_names(records: Records, source: Source, names: Iterable[str]) -> Records:
    """The records with columns called as declared where their names read the same, and the constants of the source.

    A column that the source has stays as it came, whatever the constants say.
    """
    import polars as pl

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        frame = under_names(frame, names)
        renames = {called(n): n for n in names if n not in frame.columns and called(n) in frame.columns}
        frame = frame.rename({own_name: n for own_name, n in renames.items() if own_name != n})
        lacking = {name: text for name, text in source.constants.items() if name not in frame.columns}
        return frame.with_columns(pl.lit(text).alias(name) for name, text in lacking.items())

    return records.each(change)


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

    expressions, mapped = dict[str, pl.Expr](), set[str]()
    for name, own_name in columns.items():
        parts = [found_as(part, frame.columns) for part in parts_of(own_name)]
        present = [part for part in parts if part is not None]
        if len(present) < len(parts):
            continue
        if isinstance(own_name, str):
            mapped.add(present[0])
            expressions[name] = pl.col(present[0])
        else:
            expressions[name] = pl.concat_str([_as_text(frame[part]) for part in present], separator=" ")
    rest = [name for name in frame.columns if name not in mapped]
    return frame.select(
        *(value.alias(name) for name, value in expressions.items()),
        *(pl.col(name).alias(f"source.{name}" if name in expressions else name) for name in rest),
    )


def _as_text(part: pl.Series) -> pl.Expr:
    """A column as text that a format can read: dates in ISO 8601, whole numbers without a fraction."""
    import polars as pl

    value, dtype = pl.col(part.name), part.dtype
    if isinstance(dtype, pl.Datetime):
        is_midnight = part.dt.truncate("1d") == part
        return value.dt.strftime("%Y-%m-%d" if is_midnight.all() else "%Y-%m-%dT%H:%M:%S")
    if dtype == pl.Time:
        return value.dt.strftime("%H:%M:%S")
    if dtype.is_float() and (part.floor() == part).all():
        value = value.cast(pl.Int64)
    text = value.cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def known_rule(source: Source, frame: pl.DataFrame) -> KnownTimes:
    """How the known time of ``frame`` (already under declared names) is found."""
    if source.known_at is None:
        return KnownTimes(column=KNOWN_AT if KNOWN_AT in frame.columns else None, lag=source.lag)
    declared = {own_name: name for name, own_name in source.columns.items()}
    name = declared.get(source.known_at, source.known_at)
    return KnownTimes(column=found_as(name, frame.columns) or source.known_at, lag=source.lag)
