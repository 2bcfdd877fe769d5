"""Primitives of the row's time: parts of the local date and public holidays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.errors import DeclarationError, FeatureError
from headrace.features.expression import INTEGER, CodeWriter, CompileTarget, Expression, NoRowForm, Value
from headrace.features.holidays import public_holidays

if TYPE_CHECKING:
    import polars as pl

_PARTS = {
    "minute": timedelta(hours=1),
    "hour": timedelta(days=1),
    "minute_of_day": timedelta(days=1),
    "weekday": timedelta(days=7),
    "day": timedelta(days=31),
    "day_of_year": timedelta(days=366),
    "month": timedelta(days=366),
}
"""The parts of a time, and the period after which each repeats."""
_OF_LOCAL: dict[str, Callable[[datetime], int]] = {
    "minute": lambda t: t.minute,
    "hour": lambda t: t.hour,
    "minute_of_day": lambda t: t.hour * 60 + t.minute,
    "weekday": datetime.weekday,
    "day": lambda t: t.day,
    "day_of_year": lambda t: t.timetuple().tm_yday,
    "month": lambda t: t.month,
}
_ALIKE = datetime(1970, 1, 2, tzinfo=UTC), datetime(2099, 12, 31, tzinfo=UTC)
"""Between these Python and the table engine know the same offsets of a zone; neither is sure about clocks of others."""


@dataclass(frozen=True, eq=False)
class DatetimePart(Expression):
    """A part of the row's time, in local time of `zone`. `weekday` runs from 0, Monday, to 6.

    A step of whole days or longer is a date of the zone that it is counted in, whatever `zone` says.
    """

    op = "datetime_part"
    part: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.part not in _PARTS:
            raise DeclarationError(f"unknown part of a time {self.part!r}", hint=f"one of {', '.join(_PARTS)}")

    @property
    def period(self) -> timedelta:
        """Time after which its values repeat."""
        return _PARTS[self.part]

    def uses_time(self) -> bool:
        return True

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        local = _local(table, self.zone).dt
        match self.part:
            case "minute_of_day":
                value = local.hour().cast(pl.Int64) * 60 + local.minute().cast(pl.Int64)
            case "weekday":
                value = local.weekday() - 1
            case "day_of_year":
                value = local.ordinal_day()
            case _:
                value = getattr(local, self.part)()
        return value.cast(pl.Int64)

    def emit(self, code: CodeWriter) -> Value:
        return _emit(self, self.zone, _OF_LOCAL[self.part], code)


@dataclass(frozen=True, eq=False)
class Holiday(Expression):
    """1 where the row's local day (or the day `shift` days later) is a public holiday of `country`, else 0."""

    op = "holiday"
    country: str
    zone: str = "UTC"
    shift: int = 0

    def __post_init__(self) -> None:
        try:
            public_holidays(self.country, 2000, 2000)
        except NotImplementedError as error:
            raise DeclarationError(
                f"no holidays are known for country {self.country!r}", hint="use an ISO 3166 code such as DK"
            ) from error

    def uses_time(self) -> bool:
        return True

    def polars(self, table: CompileTarget) -> pl.Expr:
        import polars as pl

        days = public_holidays(self.country, *table.years)
        local = _local(table, self.zone).dt.date().dt.offset_by(f"{self.shift}d")
        return local.is_in(pl.Series(days, dtype=pl.Date).implode()).cast(pl.Int64)

    def emit(self, code: CodeWriter) -> Value:
        days, shift = frozenset(public_holidays(self.country, *CompileTarget().years)), timedelta(days=self.shift)
        return _emit(self, self.zone, lambda local: int(local.date() + shift in days), code)


def _local(table: CompileTarget, zone: str) -> pl.Expr:
    import polars as pl

    if table.time is None:
        raise FeatureError("a calendar feature needs rows with a time", hint="declare time= in the system")
    column = pl.col(table.time)
    zone = table.zone or zone  # a step of a day or longer is a date, whatever the clocks say elsewhere
    return column if zone == "UTC" else column.dt.convert_time_zone(zone)


def _emit(node: Expression, zone: str, of_local: Callable[[datetime], int], code: CodeWriter) -> Value:
    """A calendar feature of one row: by Python's own calendar, and by the table's where the two may differ."""
    if code.time is None:
        raise NoRowForm
    try:
        tz = UTC if zone == "UTC" else ZoneInfo(zone)
    except ZoneInfoNotFoundError as error:
        raise NoRowForm from error
    first, last = _ALIKE

    def value(moment: datetime) -> int:
        return of_local(moment.astimezone(tz)) if first <= moment < last else _in_table(node, moment)

    moment = code.column(code.time).name
    return code.set(f"None if {moment} is None else {code.constant(value)}({moment})", INTEGER)


def _in_table(node: Expression, moment: datetime) -> int:
    import polars as pl

    row = pl.DataFrame({"time": [moment]}, schema={"time": pl.Datetime("us", "UTC")})
    return int(row.select(node.compile(CompileTarget(time="time"))).item())


def hour(zone: str = "UTC") -> DatetimePart:
    """Hour of the day, 0 to 23, in local time of `zone`."""
    return DatetimePart("hour", zone)


def minute_of_day(zone: str = "UTC") -> DatetimePart:
    """Minutes since local midnight, 0 to 1439."""
    return DatetimePart("minute_of_day", zone)


def weekday(zone: str = "UTC") -> DatetimePart:
    """Day of the week, 0 (Monday) to 6."""
    return DatetimePart("weekday", zone)


def month(zone: str = "UTC") -> DatetimePart:
    """Month, 1 to 12."""
    return DatetimePart("month", zone)


def day_of_year(zone: str = "UTC") -> DatetimePart:
    """Day of the year, 1 to 366."""
    return DatetimePart("day_of_year", zone)


def holiday(country: str, zone: str = "UTC", *, shift: int = 0) -> Holiday:
    """Whether the local day, or the one `shift` days later, is a public holiday of `country`."""
    return Holiday(country, zone, shift)
