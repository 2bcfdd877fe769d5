"""One column of a contract: its name, its type, and what its values must be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack, cast

from pydantic import PrivateAttr, ValidationError

from headrace.contract.aggregation import Aggregate, Empty, Kind
from headrace.contract.apart import called
from headrace.declaration import Declared, Duration, declaration_error

ColumnType = Literal["time", "category", "text", "float", "integer", "boolean"]
Ambiguous = Literal["raise", "earliest", "latest", "in_order"]
Label = Literal["begin", "end"]
Bound = int | float | datetime
Value = str | int | float

EPOCH_FORMATS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns")
"""Formats of a time that is a count since 1970."""

_DAY = timedelta(days=1)
# What the regular expressions of the table form cannot do: look around, and refer back to a group.
_UNSUPPORTED = re.compile(r"\(\?<?[=!]|\\[1-9]|\(\?P=")


class _Fields(TypedDict, total=False):
    zone: str | None
    nullable: bool
    minimum: Bound | None
    maximum: Bound | None
    values: tuple[Value, ...] | None
    pattern: str | None
    forbids: str | None
    known_future: bool | timedelta | str
    align: bool
    aggregate: Kind | None
    empty: Empty
    ambiguous: Ambiguous
    format: str | None
    label: Label
    midnight: Literal["begins", "ends"]
    decimal: Literal[".", ","]
    missing: tuple[Value, ...] | None
    description: str


class Column(Declared):
    """A declared column.

    Args:
        name: Its name in headrace; `Source.columns` says what the source calls it.
        type: ``time`` (stored as UTC, microseconds), ``category`` or ``text`` (kept as they came),
            ``float`` (finite), ``integer`` (64 bit) or ``boolean`` (true, false, 1, 0).
        zone: For times without an offset: the zone they are meant in. Without it such a row is bad.
        nullable: Whether a value may be missing.
        minimum: The smallest allowed value, itself included.
        maximum: The largest allowed value, itself included.
        values: The allowed values.
        pattern: A regular expression that must be found in the text; anchor it with ``^`` and ``$``.
        forbids: A regular expression that must not be found in it, such as `headrace.contract.URL`.
        known_future: The value is known before its time comes: so long before as a duration says, such as ``"48h"`` (a
            weather forecast), or ``True``, always (a calendar, a plan; but where rows bring their known time, then).
        align: Event times between two steps are moved down to the step; when they became known stays exact. Otherwise
            such a row is bad. Two different rows of one step contradict one another.
        aggregate: Rows are events, of which a step has any number, and this is what a step's values become: ``sum``,
            ``mean``, ``last``, ``first`` (by event time), ``min``, ``max``, or ``count`` of those that are not missing.
        empty: What a step without any value is: ``missing``, or ``zero`` once it is over and its series has begun.
        ambiguous: What an hour that happens twice, when clocks go back, means: a bad row (``raise``), the
            ``earliest`` or the ``latest`` of the two, or what the order of a file's rows says (``in_order``): of the
            rows of a series the first is the earlier hour's. An hour that does not exist is always bad. Where steps are
            days or longer neither matters: the time counts for its day.
        format: How times are written when not in ISO 8601, such as ``%d/%m/%Y %H:%M``; or what they count since
            1970, as numbers or text: ``epoch_s``, ``epoch_ms``, ``epoch_us``, ``epoch_ns``.
        label: What a time names of its step: its ``begin``, or its ``end``. An event that happens just then counts for
            the step that begins, or for the one that ends. Either way a step is stored and predicted under its begin;
            one that is named by its end is known then, and not before.
        midnight: What 00:00 of a date is where times name the end: when that day ``begins``, or when it ``ends``, as
            24:00 does.
        decimal: The decimal separator of numbers in text.
        missing: Spellings of a missing value beside the empty and the blank text, such as ``("NA", "-", -9999)``;
            in place of the contract's, where it has such.
        description: For people, and for the JSON Schema.

    Raises:
        DeclarationError: A field has the wrong type. Fields that contradict one another are refused by
            the `Contract`, which knows the column's place.
    """

    name: str
    type: ColumnType
    zone: str | None = None
    nullable: bool = False
    minimum: Bound | None = None
    maximum: Bound | None = None
    values: tuple[Value, ...] | None = None
    pattern: str | None = None
    forbids: str | None = None
    known_future: bool | Duration = False
    align: bool = False
    aggregate: Kind | None = None
    empty: Empty = "missing"
    ambiguous: Ambiguous = "raise"
    format: str | None = None
    label: Label = "begin"
    midnight: Literal["begins", "ends"] = "begins"
    decimal: Literal[".", ","] = "."
    missing: tuple[Value, ...] | None = None
    description: str = ""

    _step: timedelta | None = PrivateAttr(default=None)
    _length: timedelta | None = PrivateAttr(default=None)

    def __init__(self, name: str, type: ColumnType, **fields: Unpack[_Fields]) -> None:  # noqa: A002
        try:
            data: dict[str, Any] = {"name": name, "type": type, **fields}
            super().__init__(**data)
        except ValidationError as error:
            raise declaration_error(error, f"contract.columns[{name!r}]") from error

    def of_step(self, step: timedelta, *, events: bool = False) -> Column:
        """The same column of times that name steps of this length, or tell when events within such steps happened.

        A day whose midnight the clocks jump over begins after the jump, one whose midnight comes twice with the first.
        Months, quarters and years may be named by themselves: ``2024-03``, ``2024-Q1``, ``2024``.
        """
        column = self.model_copy()
        column._step = step if step >= _DAY else None  # noqa: SLF001
        if self.label == "end":
            column._length = timedelta(microseconds=1) if events else step  # noqa: SLF001
        return column

    @property
    def called(self) -> str:
        """What files, requests and events call it; see `headrace.contract.apart`."""
        return called(self.name)

    @property
    def named(self) -> timedelta | None:
        """Length of the steps that its times name, where these are days or longer; see `of_step`."""
        return self._step

    @property
    def ends(self) -> timedelta | None:
        """How long before the end that is written a row's event time lies; None where times name the begin."""
        return self._length

    @property
    def textual(self) -> bool:
        """Whether its values are text."""
        return self.type in ("text", "category")

    @property
    def aggregated(self) -> Aggregate | None:
        """How the events of a step become its value; None where a row is a step's value by itself."""
        return None if self.aggregate is None else Aggregate(self.aggregate, self.empty)

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """Each field that contradicts another, with the reason."""
        if not self.name.strip():
            yield "name", "a column needs a name"
        yield from self._time_mistakes()
        yield from self._bound_mistakes()
        yield from self._value_mistakes()
        if self.aggregate is not None and self.type not in ("float", "integer", "boolean"):
            yield "aggregate", f"only numbers are aggregated, {self.name!r} is {self.type}"
        if self.empty != "missing" and self.aggregate is None:
            yield "empty", "only an aggregated column has empty steps: declare aggregate="
        if self.decimal != "." and self.type != "float":
            yield "decimal", f"only a float column has a decimal separator, {self.name!r} is {self.type}"

    def _time_mistakes(self) -> Iterator[tuple[str, str]]:
        for field in ("zone", "format"):
            if getattr(self, field) is not None and self.type != "time":
                yield field, f"only a time column has a {field}, {self.name!r} is {self.type}"
        if self.format is not None and "%" not in self.format and self.format not in EPOCH_FORMATS:
            yield "format", f"{self.format!r} is none: write %Y-%m-%d %H:%M, or one of {', '.join(EPOCH_FORMATS)}"
        if isinstance(self.known_future, timedelta) and self.known_future <= timedelta():
            yield "known_future", "is no time before; write a duration such as 48h, or True"
        for field, plain in (("label", "begin"), ("midnight", "begins")):
            if getattr(self, field) != plain and self.type != "time":
                yield field, f"only a time column has a {field}, {self.name!r} is {self.type}"
        if self.midnight != "begins" and self.label != "end":
            yield "midnight", 'only where times name the end of a step can midnight be one: declare label="end"'
        if self.align and self.type != "time":
            yield "align", f"only a time column is aligned, {self.name!r} is {self.type}"
        if self.ambiguous != "raise" and (self.type != "time" or self.zone is None):
            yield "ambiguous", "only a time column with a zone has ambiguous hours"
        if self.zone is not None and not _zone_exists(self.zone):
            yield "zone", f"there is no time zone {self.zone!r}; write it as UTC or Europe/Copenhagen"

    def _bound_mistakes(self) -> Iterator[tuple[str, str]]:
        for field in ("minimum", "maximum"):
            bound = getattr(self, field)
            if bound is None:
                continue
            if self.type == "time" and (not isinstance(bound, datetime) or bound.tzinfo is None):
                yield field, "the bound of a time column is a datetime with a zone"
            elif self.type != "time" and self.type not in ("float", "integer"):
                yield field, f"a {self.type} column has no {field}"
            elif self.type != "time" and (isinstance(bound, datetime) or bound != bound):
                yield field, f"the {field} of a {self.type} column is a number"
            elif self.type == "integer" and bound != int(cast(float, bound)):
                yield field, f"the {field} of an integer column is a whole number"
            else:
                continue
            return
        low, high = self.minimum, self.maximum
        if low is not None and high is not None and low > high:  # type: ignore[operator]
            yield "minimum", f"the minimum {low} is above the maximum {high}"

    def _value_mistakes(self) -> Iterator[tuple[str, str]]:
        for field in ("pattern", "forbids"):
            pattern = getattr(self, field)
            if pattern is not None and not self.textual:
                yield field, f"only a text or category column has a pattern, {self.name!r} is {self.type}"
            elif pattern is not None and (problem := bad_pattern(pattern)) is not None:
                yield field, problem
        if self.values is None:
            return
        allowed: tuple[type, ...] = {"float": (int, float), "integer": (int,)}.get(self.type, (str,))
        if self.type in ("time", "boolean"):
            yield "values", f"a {self.type} column has no value set"
        elif not self.values:
            yield "values", "an empty value set allows no row at all"
        elif wrong := [value for value in self.values if not isinstance(value, allowed)]:
            yield "values", f"{wrong[0]!r} is not a {self.type} value"


def _zone_exists(zone: str) -> bool:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def bad_pattern(pattern: str) -> str | None:
    """What is wrong with a pattern; None where a table can be checked with it."""
    try:
        re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is not a regular expression: {error}"
    if _UNSUPPORTED.search(pattern):
        return f"{pattern!r} looks around or refers back, which checks over a table cannot do"
    return None
