"""A stretch of time and the times in it that something happens at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.errors import UsageError


@dataclass(frozen=True)
class Stretch:
    """The runs to do.

    Attributes:
        start: `as_of` of the first run, UTC.
        end: No run is later.
        every: Time between two runs.
    """

    start: datetime
    end: datetime
    every: timedelta

    def times(self) -> list[datetime]:
        """The `as_of` of every run.

        Raises:
            UsageError: There is none.
        """
        if self.every <= timedelta():
            raise UsageError("the time between two runs must be longer than nothing", where="--every")
        if self.end < self.start:
            raise UsageError("the end lies before the start", where="--end")
        return [self.start + self.every * i for i in range((self.end - self.start) // self.every + 1)]
