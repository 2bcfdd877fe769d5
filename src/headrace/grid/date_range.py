"""A range of time, and the times in it at which something happens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, takewhile

from headrace.errors import UsageError
from headrace.grid.later import later


@dataclass(frozen=True)
class DateRange:
    """The runs to do.

    Attributes:
        start: `as_of` of the first run, UTC.
        end: No run is later.
        every: Time between two runs; months, and days of a zone, by the calendar.
        zone: Whose days and months they are; UTC's otherwise.
    """

    start: datetime
    end: datetime
    every: timedelta
    zone: str | None = None

    def times(self) -> list[datetime]:
        """The `as_of` of every run.

        Raises:
            UsageError: There is none.
        """
        if self.every <= timedelta():
            raise UsageError("the time between two runs must be longer than nothing", where="every")
        if self.end < self.start:
            raise UsageError("the end lies before the start", where="end")
        runs = (later(self.start, self.every, i, zone=self.zone) for i in count())
        return list(takewhile(lambda as_of: as_of <= self.end, runs))
