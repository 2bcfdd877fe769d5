"""Calendars of a zone: when its days, weeks, months and business days begin, as tables of UTC microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from headrace.declaration import BUSINESS_DAY, MONTH
from headrace.errors import DeclarationError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

CLOCK, MONTHS, BUSINESS_DAYS = "clock", "months", "business days"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = _EPOCH.replace(tzinfo=None)
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1) // _MICROSECOND
_WEEK = timedelta(days=7)
_YEARS = (1700, 2200)
"""Calendars of days and longer reach so far, local years."""
_HOURS_YEARS = (1970, 2100)
"""And those of shorter steps, of which there are more."""


def kind_of(step: timedelta) -> str:
    """What a duration counts in: months, business days, or by the clock (days and weeks among them)."""
    if step and not step % MONTH:
        return MONTHS
    return BUSINESS_DAYS if step and not step % BUSINESS_DAY and step % _WEEK else CLOCK


@dataclass(frozen=True)
class Beginnings:
    """When the steps of a calendar begin.

    Attributes:
        table: UTC microseconds, ascending.
        first: The slot of the table's first.
    """

    table: Ints
    first: int

    def slots(self, times: Ints) -> Ints:
        """The step that each time lies in."""
        import numpy as np

        index: Ints = np.searchsorted(self.table, times, side="right") - 1 + self.first
        return index

    def times(self, slots: Ints) -> Ints:
        """When steps begin.

        Raises:
            DeclarationError: Out of the years of the calendar.
        """
        import numpy as np

        index = np.asarray(slots) - self.first
        if index.size and (int(index.min()) < -1 or int(index.max()) >= self.table.size):
            raise DeclarationError("a time is out of the years that calendars know", hint="look for a mistyped year")
        return self.table[np.maximum(index, 0)]

    def slot(self, time: int) -> int:
        """The step that one time lies in."""
        return int(self.table.searchsorted(time, side="right")) - 1 + self.first

    def time(self, slot: int) -> int:
        """When one step begins; of a slot before or after the calendar its first or last."""
        return int(self.table[min(max(slot - self.first, 0), self.table.size - 1)])

    @classmethod
    def of(cls, step: timedelta, zone: str, phase: timedelta, turn: int) -> Beginnings:
        """The calendar of a grid; see `Grid` for the arguments."""
        return _beginnings(step, zone, phase, turn)


@lru_cache(maxsize=32)
def _beginnings(step: timedelta, zone: str, phase: timedelta, turn: int) -> Beginnings:
    first, local = _local_beginnings(step, phase // _MICROSECOND, turn)
    return Beginnings(_table(local, zone), first)


def _local_beginnings(step: timedelta, phase: int, turn: int) -> tuple[int, Ints]:
    """The first slot, and when steps begin by the zone's clocks, in microseconds."""
    import numpy as np

    kind = kind_of(step)
    years = _YEARS if kind != CLOCK or step >= timedelta(days=1) else _HOURS_YEARS
    if kind == MONTHS:
        count = step // MONTH
        lo, hi = ((year - 1970) * 12 // count for year in years)
        months = (np.arange(lo, hi) * count + turn).astype("datetime64[M]")
        begin, end = (m.astype("datetime64[us]").astype(np.int64) for m in (months, months + 1))
        days, clock = divmod(phase, _DAY)
        return lo, begin + np.minimum(days, (end - begin) // _DAY - 1) * _DAY + clock
    begin_day, end_day = map(_new_year, years)
    if kind == BUSINESS_DAYS:
        weeks = [(day + 3) // 7 for day in (begin_day, end_day)]
        slots = np.arange(weeks[0] * 5, weeks[1] * 5)
        return int(slots[0]), (slots // 5 * 7 + slots % 5 - 3) * _DAY + phase
    size = step // _MICROSECOND
    slots = np.arange(begin_day * _DAY // size, end_day * _DAY // size)
    return int(slots[0]), slots * size + phase


def _new_year(year: int) -> int:
    """Days from 1970 to the first of a year."""
    return (datetime(year, 1, 1, tzinfo=UTC) - _EPOCH).days


def _table(local: Ints, zone: str) -> Ints:
    import numpy as np
    import polars as pl

    if zone == "UTC":
        return local
    instants = in_utc(pl.Series(local).cast(pl.Datetime("us")), zone)
    ascending: Ints = np.maximum.accumulate(instants.to_physical().to_numpy())
    return ascending


def in_utc(local: pl.Series, zone: str) -> pl.Series:
    """Local times as UTC: of two that are alike the earlier; for one that does not exist the next that does."""
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    instants = local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
    gaps = (instants.is_null() & local.is_not_null()).arg_true()
    if gaps.is_empty():
        return instants
    after = [_after_gap(time, zone) for time in local.gather(gaps).to_physical()]
    return instants.scatter(gaps, pl.Series(after, dtype=pl.Int64).cast(utc))


def spelled(texts: pl.Series, step: timedelta) -> pl.Series:
    """Names of months as their first days: 2024-03, 2024M03; on steps of quarters 2024-Q1, on those of years 2024."""
    if kind_of(step) != MONTHS:
        return texts
    texts = texts.str.replace(r"^(\d{4})[-M](\d{2})$", "${1}-${2}-01")
    if not step % (3 * MONTH):
        for quarter in range(1, 5):
            texts = texts.str.replace(rf"^(\d{{4}})-?Q{quarter}$", f"${{1}}-{3 * quarter - 2:02}-01")
    return texts if step % (12 * MONTH) else texts.str.replace(r"^(\d{4})$", "${1}-01-01")


def _after_gap(local: int, zone: str) -> int:
    """The first moment, UTC microseconds, after the clocks jump over a local time."""
    tz = ZoneInfo(zone)
    wall = _LOCAL_EPOCH + local * _MICROSECOND
    ends = sorted((wall.replace(tzinfo=tz, fold=fold).astimezone(UTC) - _EPOCH) // _MICROSECOND for fold in (0, 1))
    low, high = ends
    if low == high:
        return low
    offset = _offset(low, tz)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(middle, tz) == offset else (low, middle)
    return high


def _offset(time: int, tz: ZoneInfo) -> timedelta:
    offset = (_EPOCH + time * _MICROSECOND).astimezone(tz).utcoffset()
    assert offset is not None
    return offset


def local_us(times: Ints, zone: str) -> Ints:
    """UTC microseconds as the zone's clocks show them."""
    import polars as pl

    if zone == "UTC" or not times.size:
        return times
    local = pl.Series(times).cast(pl.Datetime("us", "UTC")).dt.convert_time_zone(zone)
    clock: Ints = local.dt.replace_time_zone(None).to_physical().to_numpy()
    return clock


@lru_cache(maxsize=64)
def shifts(zone: str) -> frozenset[int]:
    """By how many microseconds the zone's clocks have been ahead of UTC since 1970, and will be."""
    import numpy as np

    if zone == "UTC":
        return frozenset((0,))
    noons = np.arange(*map(_new_year, _HOURS_YEARS)) * _DAY + _DAY // 2
    return frozenset(np.unique(local_us(noons, zone) - noons).tolist())
