"""Events of a series system as they come on a topic: decoded, and given the time at which they became known.

The stream door and the archive share this file, so that what was predicted live is what a replay finds in the tables.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.contract import KNOWN_AT, Column, Contract
from headrace.contract.aggregation import Aggregate, waits
from headrace.contract.row import RowDecoder, moments_of
from headrace.contract.table import EPOCHS, MISSING, missing_of, refusal, rules_of
from headrace.grid import Grid
from headrace.sources.messages.base import Headers, Ignored, Unreadable
from headrace.sources.messages.natural import Unfit

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from headrace.sources.messages.opening import Opener

    Ints = NDArray[np.int64]

MILLISECOND = 1_000
"""In microseconds: how much later than the one before an event of a series becomes known at the least."""
EVER = 2**53
"""A time of arrival, in milliseconds, before which no event lies: what was accepted once is not early any more."""
NEVER = -(2**62)
"""The newest step and the clock of a series that has said nothing."""
LEAST_JUMP = 10
"""Steps that a series may leave out in any case."""
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)").fullmatch
_MARK = b"\xef\xbb\xbf"
"""A byte-order mark, which is no part of the JSON after it."""
_NUMBERS = re.compile(rb"\b(?:NaN|-?Infinity|nan|inf)\b")
_SIZES = (("epoch_ns", 1e17), ("epoch_us", 1e14), ("epoch_ms", 1e11))
"""Numbers from which on a time of these decades is counted in that."""
_TYPED = (datetime, date)
"""What a time may be that is none of JSON's types."""
_REMEMBERED = 100_000
"""Texts of times that are kept with what they mean; series of one system say the same ones."""


@dataclass(frozen=True)
class EventShape:
    """What events look like, and when they count as known.

    Attributes:
        contract: The column rules.
        keys: Columns that tell one series from another.
        time: Column of the event time.
        columns: Numeric columns that are kept; the first is the target, which no event may lack.
        grid: When the steps of a series begin.
        lag: How long after its event time a value becomes known.
        allowed_lateness: How much older than the newest of its series an event may be.
        max_clock_skew: How much later than its arrival an event time may be.
        largest: Bytes of an event at most.
        aggregates: How each of the columns is aggregated, where a step has any number of events.
        retracts: Whether an event without the target takes back what was known of it.
        jump: How many steps after the newest of its series an event may be; None: any number.
        agreeing: How many events in a row have to lie further for the last of them to be believed.
        false_alarms: Anomalies that mean nothing, at most so many a week and series.
    """

    contract: Contract
    keys: tuple[str, ...]
    time: str
    columns: tuple[str, ...]
    grid: Grid
    lag: timedelta
    allowed_lateness: timedelta
    max_clock_skew: timedelta
    largest: int = 65_536
    aggregates: tuple[Aggregate, ...] = ()
    retracts: bool = False
    jump: int | None = None
    agreeing: int = 2
    false_alarms: float = 0.5

    @property
    def waits(self) -> bool:
        """Whether the value of a step counts only once the step is over."""
        return waits(self.aggregates)

    @property
    def late(self) -> bool:
        """Whether the value of a step is known, or counts, at its end only."""
        return self.waits or (self.contract.column(self.time).label == "end" and not self.aggregates)

    @property
    def lag_us(self) -> int:
        """The lag in microseconds."""
        return self.lag // _MICROSECOND


@dataclass
class Events:
    """Good events, in their order, and the places of bad ones with the reason.

    Attributes:
        place: Where each good event stood among those given.
        rows: Their typed columns but the time, as attributes; see `EventDecoder.fields`.
        keys: Their series: the values of the key columns.
        slot: Event times as slots of the grid.
        time: Event times, microseconds since 1970.
        at: When they become known by their own time: what is written plus the lag. That is the event time, or the end
            of the step where times name it.
        bad: Place and reason of the others.
        ignored: Place of messages that are no events, and what they are.
    """

    place: Sequence[int]
    rows: list[Any]
    keys: list[tuple[Any, ...]]
    slot: Ints
    time: Ints
    at: Ints
    bad: list[tuple[int, EventReason]]
    ignored: list[tuple[int, str]] = field(default_factory=list)

    def only(self, kept: list[int]) -> Events:
        """Some of the good ones."""
        place, rows = [self.place[i] for i in kept], [self.rows[i] for i in kept]
        times = self.slot[kept], self.time[kept], self.at[kept]
        return Events(place, rows, [self.keys[i] for i in kept], *times, self.bad, self.ignored)

    def numbers(self, attribute: str) -> NDArray[np.float64]:
        """A numeric column of the rows."""
        import numpy as np

        return np.array(list(map(operator.attrgetter(attribute), self.rows)), dtype=np.float64)


class EventReason(str):
    """Why an event is bad, as one text.

    Attributes:
        faults: The same column by column; None for what is wrong with the event as a whole.
        early: Only the clock refuses it: later it is good.
    """

    faults: Sequence[tuple[str | None, str]]
    early: bool

    @classmethod
    def of(cls, *faults: tuple[str | None, str], early: bool = False) -> EventReason:
        """The reason that these faults are."""
        reason = cls("; ".join(message if column is None else f"{column}: {message}" for column, message in faults))
        reason.faults, reason.early = faults, early
        return reason


class _BadEvent(Exception):
    """An event is bad."""

    def __init__(self, *faults: tuple[str | None, str], early: bool = False) -> None:
        super().__init__()
        self.reason = EventReason.of(*faults, early=early)


class EventDecoder:
    """Decodes events of one shape. Not for several threads at once: it remembers texts of times.

    Args:
        shape: What they look like.
        opener: Opens the messages that they come in; None: a message is a JSON object with the contract's columns.
    """

    def __init__(self, shape: EventShape, opener: Opener | None = None) -> None:
        import msgspec

        self._shape, self._open = shape, None if opener is None or opener.plain else opener
        time = shape.contract.column(shape.time)
        self._time = time.of_step(shape.grid.step, events=bool(shape.aggregates))
        self._ends, self._lag = self._time.ends is not None, shape.lag_us
        rest_columns = tuple(c for c in shape.contract.columns if c.name != shape.time)
        self.fields = {c.name: f"column_{i}" for i, c in enumerate(rest_columns)}
        self._names = tuple(c.called for c in rest_columns)
        self._keys = [operator.attrgetter(self.fields[name]) for name in shape.keys]
        self._texts = [(self.fields[c.name], missing_of(c).texts) for c in rest_columns if c.textual]
        self._json = msgspec.json.Decoder().decode
        self._broken = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
        self._row = RowDecoder(Contract(columns=rest_columns))
        self._typed = _row_type(self.fields, rest_columns, self._time)
        plain = all(map(_is_plain, rest_columns))
        self._quick = msgspec.json.Decoder(self._typed).decode if plain else None
        self._lines = msgspec.json.Decoder(self._typed).decode_lines if plain else None
        self._times: dict[str | float | date, int] = {}
        self._written: dict[str | float | date, int] = {}
        self._kinds = (*_TYPED, str, int, float) if self._time.format in EPOCHS else (*_TYPED, str)

    def __call__(
        self, values: Sequence[bytes | None], received: Sequence[int], headers: Sequence[Headers | None] = ()
    ) -> Events:
        """Decode a batch.

        Args:
            values: The bytes of each event; None for a message without a value.
            received: When the broker got each, milliseconds since 1970.
            headers: Of each message; empty where no message has any.
        """
        if self._open is not None:
            return self._one_by_one(values, received, headers)
        rows = self._together(values)
        if rows is not None:
            try:
                times = self._moments([row.time for row in rows])
            except _BadEvent:
                return self._one_by_one(values, received)
            if all(map(operator.le, self._as_written(rows, times), self._latest(received))):
                return self._events(range(len(rows)), rows, times, [])
        return self._one_by_one(values, received)

    def _one_by_one(
        self, values: Sequence[bytes | None], received: Sequence[int], headers: Sequence[Headers | None] = ()
    ) -> Events:
        """The same, and what is wrong with each bad one."""
        place, rows, times, bad, ignored = [], [], [], list[tuple[int, EventReason]](), list[tuple[int, str]]()
        for i, (value, latest) in enumerate(zip(values, self._latest(received), strict=True)):
            try:
                row = (
                    self._decoded(value) if self._open is None else self._opened(value, (headers and headers[i]) or ())
                )
                time = self._moment(row.time)
                (written,) = self._as_written([row], [time])
                if written > latest:
                    raise _BadEvent((self._shape.time, f"{_text(written)} is in the future"), early=True)
            except _BadEvent as refused:
                bad.append((i, refused.reason))
                continue
            except Ignored as other:
                ignored.append((i, str(other)))
                continue
            place.append(i)
            rows.append(row)
            times.append(time)
        events = self._events(place, rows, times, bad)
        events.ignored = ignored
        return events

    def _events(
        self, place: Sequence[int], rows: list[Any], times: list[int], bad: list[tuple[int, EventReason]]
    ) -> Events:
        import numpy as np

        keys = list(zip(*(map(read, rows) for read in self._keys), strict=True)) if self._keys else [()] * len(rows)
        time = np.array(times, dtype=np.int64)
        written = np.array(self._as_written(rows, times), dtype=np.int64) if self._ends else time
        return Events(place, rows, keys, self._shape.grid.slots(time), time, written + self._lag, bad)

    def _as_written(self, rows: Sequence[Any], times: list[int]) -> list[int]:
        """What the rows' times say: their event times, or the ends of steps where they name those."""
        if not self._ends:
            return times
        for row in rows:
            if row.time not in self._written:  # forgotten since
                self._learnt(row.time)
        return [self._written[row.time] for row in rows]

    def _latest(self, received: Sequence[int]) -> list[int]:
        """The latest times, in microseconds, that events may have which came then, in milliseconds."""
        ahead = self._shape.max_clock_skew // _MICROSECOND
        return [milliseconds * 1000 + ahead for milliseconds in received]

    def _together(self, values: Sequence[bytes | None]) -> list[Any] | None:
        """All rows from one call of the decoder; None where an event needs to be looked at by itself.

        A line break between a closing and an opening brace is outside of every JSON document. So each event that
        begins and ends with its brace gives one document at least, and as many documents as events one each.
        """
        if self._lines is None or not values or None in values:
            return None
        import numpy as np

        sizes = np.fromiter(map(len, values), dtype=np.int64, count=len(values))  # type: ignore[arg-type]
        text = b"\n".join(values)  # type: ignore[arg-type]
        letters, ends = np.frombuffer(text, dtype=np.uint8), np.cumsum(sizes + 1) - 1
        if not 2 <= sizes.min() <= sizes.max() <= self._shape.largest:
            return None
        if (letters[ends - sizes] != ord("{")).any() or (letters[ends - 1] != ord("}")).any():
            return None
        try:
            rows: list[Any] = self._lines(text)
        except self._broken:
            return None
        return None if len(rows) != len(values) or any(self._gone(rows)) else rows

    def _gone(self, rows: list[Any]) -> Iterator[bool]:
        """For each column of texts, whether one of them is a missing value."""
        for name, spelled in self._texts:
            texts = list(map(str.strip, map(operator.attrgetter(name), rows)))
            yield not all(texts) or not spelled.isdisjoint(texts)

    def _decoded(self, value: bytes | None) -> Any:
        """The typed row, and the time as it came."""
        if value is None:
            raise _BadEvent((None, "the message has no value"))
        self._bounded(value)
        if self._quick is not None:
            try:
                row = self._quick(value)
            except self._broken:
                return self._checked(value)  # which says what is wrong with it
            return self._checked(value) if any(self._gone([row])) else row
        return self._checked(value)

    def _bounded(self, value: bytes) -> None:
        if len(value) > self._shape.largest:
            raise _BadEvent((None, f"is {len(value):,} bytes long, at most {self._shape.largest:,} are read"))

    def _opened(self, value: bytes | None, headers: Headers) -> Any:
        """The row inside of a message."""
        assert self._open is not None
        if value is not None:
            self._bounded(value)
        try:
            return self._judged(self._open(value, headers))
        except Unfit as unfit:
            raise _BadEvent((unfit.column, str(unfit))) from unfit
        except Unreadable as unreadable:
            raise _BadEvent((None, str(unreadable))) from unreadable

    def _checked(self, value: bytes) -> Any:
        """The row by every rule of the contract."""
        try:
            data = self._json(value.removeprefix(_MARK))
        except self._broken as error:
            raise _BadEvent((None, f"is not JSON: {error}{_why(value)}")) from error
        if type(data) is not dict:
            raise _BadEvent((None, "is not a JSON object"))
        return self._judged(data)

    def _judged(self, data: dict[str, Any]) -> Any:
        """The same, of what a document holds."""
        row, faults = self._row({name: data[name] for name in self._names if name in data})
        if faults:
            pairs = ((fault["loc"][0], fault["msg"]) for fault in faults)
            raise _BadEvent(*pairs, *self._time_faults(data.get(self._time.called)))
        if row[self._shape.columns[0]] is None:
            raise _BadEvent((self._shape.columns[0], "is missing"))
        return self._typed(time=data.get(self._time.called), **{self.fields[name]: row.get(name) for name in row})

    def _moments(self, values: list[Any]) -> list[int]:
        known: list[Any] = list(map(self._times.get, values))
        return [self._moment(value) for value in values] if None in known else known

    def _moment(self, value: Any) -> int:
        """An event time, microseconds since 1970."""
        known = self._times.get(value) if type(value) in self._kinds else None
        return self._learnt(value) if known is None else known

    def _time_faults(self, value: Any) -> Sequence[tuple[str | None, str]]:
        try:
            self._moment(value)
        except _BadEvent as refused:
            return refused.reason.faults
        return ()

    def _learnt(self, value: Any) -> int:
        name = self._shape.time
        if missing_of(self._time)(value):
            raise _BadEvent((name, MISSING))
        if type(value) not in self._kinds:
            raise _BadEvent((name, refusal(self._time) if self._time.format else _no_time(value)))
        (moment, written), text = self._parsed(value), str(value)[:40]
        if moment < 0:  # ids of predictions count from there
            raise _BadEvent((name, f"{text} is before 1970"))
        grid = self._shape.grid
        if not self._time.align and not self._shape.aggregates and not grid.holds(moment):
            raise _BadEvent((name, f"{text} {grid.fault}"))
        if len(self._times) >= _REMEMBERED:
            self._times.clear()
            self._written.clear()
        self._times[value] = moment
        if self._ends:
            self._written[value] = written
        return moment

    def _parsed(self, value: str | float) -> tuple[int, int]:
        """The event time, and the moment that is written."""
        if self._time.format is None and not self._ends and _EXACT(str(value)):
            with suppress(ValueError, OverflowError):  # 24:00, or no time at all
                exact = (datetime.fromisoformat(str(value)) - _EPOCH) // _MICROSECOND
                return exact, exact
        moment, written, wrong = moments_of(self._time, value)
        if moment is None or written is None:
            raise _BadEvent((self._shape.time, f"{str(value)[:40]!r} {wrong}"))
        return (moment - _EPOCH) // _MICROSECOND, (written - _EPOCH) // _MICROSECOND


class EventFacts:
    """Events as rows of the raw table, each with the time at which it became known."""

    def __init__(self, shape: EventShape, decoder: EventDecoder) -> None:
        self._shape, self._fields = shape, decoder.fields
        self._columns: dict[str, list[Any]] = {name: [] for name in (*shape.contract.names, KNOWN_AT)}

    def __len__(self) -> int:
        return len(self._columns[KNOWN_AT])

    def add(self, events: Events, i: int, known: int) -> None:
        """The i-th good event, known since so many microseconds after 1970."""
        for name, attribute in self._fields.items():
            self._columns[name].append(getattr(events.rows[i], attribute))
        shape = self._shape
        time = shape.grid.time(int(events.slot[i]))
        if shape.aggregates:
            time = _EPOCH + int(events.time[i]) * _MICROSECOND
        self._columns[shape.time].append(time)
        self._columns[KNOWN_AT].append(_EPOCH + known * _MICROSECOND)

    def frame(self) -> pl.DataFrame:
        """All rows, in the order in which they became known."""
        import polars as pl

        utc = pl.Datetime("us", "UTC")
        kinds: dict[str, Any] = {"float": pl.Float64, "integer": pl.Int64, "boolean": pl.Boolean, "time": utc}
        schema = {c.name: kinds.get(c.type, pl.String) for c in self._shape.contract.columns} | {KNOWN_AT: utc}
        return pl.DataFrame(self._columns, schema=schema).sort(KNOWN_AT, maintain_order=True)


def _is_plain(column: Column) -> bool:
    """Whether its type is all that is to be checked of a value, so that decoding it is the check.

    Which texts are missing values is looked at as well.
    """
    spelled = column.type == "float" and bool(missing_of(column).numbers)
    ruled = bool(rules_of(column)) or column.nullable or spelled
    return not ruled and column.type in ("float", "category", "text")


def _row_type(fields: Mapping[str, str], columns: Sequence[Column], time: Column) -> Any:
    """A class with the time and the columns as attributes, which decodes JSON of plain columns by itself."""
    import msgspec

    kinds = {"float": float, "category": str, "text": str}
    moment: Any = str | int | float if time.format in EPOCHS else str
    typed = [("time", moment), *((fields[c.name], kinds.get(c.type, Any)) for c in columns)]
    names = {fields[c.name]: c.called for c in columns} | {"time": time.called}
    return msgspec.defstruct("Row", typed, rename=names, gc=False)


def known_at(newest: int, clock: int, slot: int, at: int, shape: EventShape) -> int | str:
    """When an event of a series becomes known, microseconds since 1970; or why it is too late for the series.

    By its own time (`at`) if it comes in order. One that comes late, or again, becomes known just after whatever the
    series said before, so that no prediction made before has seen it. That order is all that counts: the same log gives
    the same known times, at whatever speed it is read.

    Args:
        newest: The newest step of the series, `NEVER` before its first event.
        clock: When its last event became known.
        slot: The event's step.
        at: Its time plus the lag.
        shape: For the allowed lateness and the step.
    """
    known = max(at, clock + MILLISECOND)
    if slot > newest and known == at:
        return known
    grid = shape.grid
    if newest > slot and (grid.time_at(newest) - grid.time_at(slot)) * _MICROSECOND > shape.allowed_lateness:
        return f"{_text(grid.time_at(slot))} is more than {shape.allowed_lateness} before the newest of its series"
    # Until then no other series can have moved the origin that this one's prediction begins at.
    if known >= grid.time_at(max(slot, newest) + (2 if shape.late else 1)) + shape.lag_us:
        return "its series has had a correction since then, or more events than one a millisecond"
    return known


class Leap(NamedTuple):
    """The events of a series that came last, where they lay too far after it: the `step` of the last, and how many."""

    step: int = NEVER
    events: int = 0


NONE = Leap()


def leap_of(newest: int, slot: int, leap: Leap, shape: EventShape) -> tuple[str | None, Leap]:
    """Why an event lies too far after its series, and the leap that is remembered from then on.

    One event may have a wrong clock. Later ones that agree with it show that time went on meanwhile: the last of enough
    in a row is believed. The log alone decides, as with `known_at`.

    Args:
        newest: The newest step that the series has on the stream, `NEVER` before its first event, which is believed.
        slot: The event's step.
        leap: What is remembered; `NONE` if the event before this one did not lie too far after the series.
        shape: For how far is too far, and how many are enough.
    """
    if shape.jump is None or newest == NEVER or slot - newest <= shape.jump:
        return None, NONE
    agrees = leap.events > 0 and 0 < slot - leap.step <= shape.jump
    if agrees and leap.events + 1 >= shape.agreeing:
        return None, NONE
    grid = shape.grid
    distance = timedelta(microseconds=grid.time_at(slot) - grid.time_at(newest))
    reason = f"{_text(grid.time_at(slot))} is {distance.days} days after the newest of its series: a wrong clock?"
    if slot != leap.step:  # the same one again says nothing new
        leap = Leap(slot, leap.events + 1 if agrees else 1)
    more = shape.agreeing - leap.events
    return f"{reason} The last of {more} later ones near it is believed", leap


def _text(micros: int) -> str:
    try:
        return f"{_EPOCH + micros * _MICROSECOND:%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        return f"{micros} microseconds after 1970"


def _why(value: bytes) -> str:
    """More on why a text is no JSON, where it is one that many programs write."""
    match = _NUMBERS.search(value)
    return f"; JSON has no {match[0].decode()}: send null, or leave the column out" if match else ""


def _no_time(value: object) -> str:
    """Why a value is no time; of a number also how to declare it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "is not a time in ISO 8601"
    size = abs(value)
    unit = next((name for name, least in _SIZES if size >= least), "epoch_s")
    return f'is a number, not a time in ISO 8601; declare the column with format="{unit}" if that is what it counts'
