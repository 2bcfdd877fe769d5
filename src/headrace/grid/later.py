"""Durations after a time, by the calendar where they are months, business days, or days of a zone."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from headrace.declaration import BUSINESS_DAY, MONTH
from headrace.grid.calendars import BUSINESS_DAYS, CLOCK, MONTHS, kind_of
from headrace.grid.grid import DAY


def later(moment: datetime, by: timedelta, times: int = 1, *, zone: str | None = None) -> datetime:
    """The time `times` durations later: months and business days by the calendar, whole days too where `zone` is given.

    Args:
        moment: UTC.
        by: One duration.
        times: How many of it; negative ones are earlier.
        zone: Whose calendar and clocks; UTC otherwise.
    """
    if kind_of(by) == CLOCK and (zone is None or by % DAY):
        return moment + by * times
    local = moment.astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None)
    if kind_of(by) == MONTHS:
        months = local.year * 12 + local.month - 1 + by // MONTH * times
        year, month = divmod(months, 12)
        local = local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))
    elif kind_of(by) == BUSINESS_DAYS:
        local = _on_business_days(local, by // BUSINESS_DAY * times)
    else:
        local += by * times
    return local.replace(tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC)


def _on_business_days(local: datetime, count: int) -> datetime:
    days_back = max(local.weekday() - 4, 0)
    weeks, days = divmod((local - DAY * days_back).weekday() + count, 5)
    monday = local - DAY * local.weekday()
    return monday + DAY * (7 * weeks + days)
