"""Times, durations and ranges as people write them, in Python and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.errors import UsageError
from headrace.lineage import iso

if TYPE_CHECKING:
    from headrace.grid.date_range import DateRange

Time = datetime | str
"""A time with a zone, or its text in ISO 8601, such as ``2023-01-20T16:00:00Z``."""
Length = timedelta | str
"""A duration, or its text, such as ``6h``."""
SKEW = timedelta(minutes=5)
"""Clocks of hosts differ by less."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(value: datetime | str | None, now: datetime, where: str = "as_of") -> datetime:
    """A time in UTC; `now` where none was given.

    Args:
        value: A time with a zone, or its text in ISO 8601.
        now: What stands for no time.
        where: The name of the option or argument, for errors.

    Raises:
        UsageError: It is no time, has no zone, or lies before 1970 or beyond the calendar.

    >>> time_of("2023-01-20T17:00:00+01:00", datetime.now(UTC))
    datetime.datetime(2023, 1, 20, 16, 0, tzinfo=datetime.timezone.utc)
    """
    if value is None:
        return now
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{value!r} is not a time", where=where, hint="write it as 2023-01-20T16:00:00Z") from error
    text = value if isinstance(value, str) else str(value)
    if moment.tzinfo is None:
        raise UsageError(
            f"{text!r} has no zone", where=where, hint=f"for UTC write it as {iso(moment.replace(tzinfo=UTC))}"
        )
    try:
        moment = moment.astimezone(UTC)
    except OverflowError as error:
        raise UsageError(f"{text!r} is beyond the times that there are in UTC", where=where) from error
    if moment < _EPOCH:  # ids of predictions count from there
        raise UsageError(f"{text!r} is before 1970", where=where)
    return moment


def place_of(text: str, where: str = "--from") -> int | datetime:
    """A place in a topic: an offset of every partition, or a time."""
    return int(text) if text.isdigit() else time_of(text, datetime.now(UTC), where)


def refuse_future(moment: datetime, now: datetime, where: str, *, simulated: bool) -> datetime:
    """The time as of which something is to be written, unless it lies after the clock.

    Whatever is trained or decided there counts from then on only, for runs that nobody does for years.

    Raises:
        UsageError: It does, and no simulation is meant.
    """
    if not simulated and moment > now + SKEW:
        clock = iso(now.replace(microsecond=0))
        hint = "for a simulation: --simulated, or simulated=True in Python"
        raise UsageError(f"{iso(moment)} lies after the clock ({clock})", where=where, hint=hint)
    return moment


def duration_of(value: timedelta | str, where: str) -> timedelta:
    """A duration, or its text, such as ``1h``.

    Raises:
        UsageError: It is none.

    >>> duration_of("6h", "every")
    datetime.timedelta(seconds=21600)
    """
    from headrace.declaration import parse_duration

    try:
        return parse_duration(value)
    except ValueError as error:
        raise UsageError(str(error), where=where) from error


def date_range_of(start: datetime | str, end: datetime | str, every: timedelta | str, zone: str | None) -> DateRange:
    """The times from `start` to `end`."""
    from headrace.grid.date_range import DateRange

    first, last = (time_of(text, _EPOCH, name) for name, text in (("start", start), ("end", end)))
    return DateRange(first, last, duration_of(every, "every"), zone)
