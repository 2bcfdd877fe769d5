"""Grids: which times are the steps of a system, and how many steps make up a duration.

A grid numbers its steps: slot 0 is at or near the start of 1970. Everything between reading a time and telling one
counts in slots, so that a day of 23 hours, a month of 28 days or a weekend is no concern of anything else.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.declaration import format_duration, parse_duration
from headrace.errors import DeclarationError
from headrace.grid.calendars import BUSINESS_DAYS, CLOCK, MONTHS, Beginnings, kind_of, shifts

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
FEWEST = 24
"""Weeks or months of which something is shown."""
_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def steps_of(duration: timedelta, step: timedelta, what: str = "", where: str | None = None) -> int:
    """How many steps make up a duration; both nominal, so a month is twelve to the year and a week five business days.

    Raises:
        DeclarationError: Not a whole number of steps.
    """
    count, remainder = divmod(duration, step)
    if remainder:
        reason = f"{format_duration(duration)} is not a multiple of the step {format_duration(step)}"
        raise DeclarationError(f"{what}: {reason}" if what else reason, where=where, hint=_hint(step))
    return count


def spanned(span: timedelta, step: timedelta) -> timedelta:
    """How far back to show of the past: a span, or the last `FEWEST` steps where these are longer than days."""
    return span if step <= DAY else max(span, FEWEST * step)


def _hint(step: timedelta) -> str:
    kind = kind_of(step)
    if kind == MONTHS:
        return f"count in steps of it, such as {format_duration(12 * step)}: days do not make a whole month"
    if kind == BUSINESS_DAYS:
        return "count in business days or weeks, such as 5b or 1w"
    return f"count in steps of it, such as {format_duration(2 * step)}: a month or a year is no whole number of days"


@dataclass(frozen=True)
class Grid:
    """Regular times: steps of fixed length, or days, weeks, months or business days of a zone.

    Times are microseconds since 1970-01-01 UTC or aware datetimes; slots are whole numbers. Immutable; equal where it
    means the same.

    Attributes:
        step: Nominal length of a step: a month is a twelfth of 365.2425 days, a business day a fifth of a week.
        zone: Whose clocks and dates the steps follow; UTC for a fixed length.
        phase: How long after the beginning of its day, week (from Thursday: as 1970 began), month or length a step
            begins, by the zone's clocks; 30 days into a month is its last day.
        turn: Of steps of several months: how many months after January 1970 one begins.
    """

    step: timedelta
    zone: str = "UTC"
    phase: timedelta = timedelta()
    turn: int = 0

    def slots(self, times: Ints) -> Ints:
        """The step that each time lies in."""
        if self.fixed is not None:
            size, phase = self.fixed
            index: Ints = (times - phase) // size if phase else times // size
            return index
        return self._beginnings.slots(times)

    def times(self, slots: Ints) -> Ints:
        """When steps begin."""
        if self.fixed is not None:
            size, phase = self.fixed
            return slots * size + phase
        return self._beginnings.times(slots)

    def floor(self, times: Ints) -> Ints:
        """When the step begins that each time lies in."""
        return self.times(self.slots(times))

    def slot(self, moment: datetime) -> int:
        """The step that a time lies in."""
        return self.slot_at((moment - EPOCH) // MICROSECOND)

    def slot_at(self, time: int) -> int:
        """The step that a time, in microseconds, lies in."""
        if self.fixed is not None:
            return (time - self.fixed[1]) // self.fixed[0]
        return self._beginnings.slot(time)

    def time_at(self, slot: int) -> int:
        """When a step begins, in microseconds."""
        if self.fixed is not None:
            return slot * self.fixed[0] + self.fixed[1]
        return self._beginnings.time(slot)

    def time(self, slot: int) -> datetime:
        """When a step begins, UTC."""
        return EPOCH + self.time_at(slot) * MICROSECOND

    def holds(self, time: int) -> bool:
        """Whether a step begins at this time, in microseconds."""
        return self.time_at(self.slot_at(time)) == time

    def steps(self, duration: timedelta, what: str = "") -> int:
        """How many steps make up a duration.

        Raises:
            DeclarationError: Not a whole number of them; `what` says whose duration it is.
        """
        return steps_of(duration, self.step, what)

    def shift(self, moment: datetime, by: timedelta) -> datetime:
        """The time that lies `by` later, or earlier where negative: in steps where it is whole steps, else by clock."""
        count, remainder = divmod(by, self.step)
        return moment + by if remainder else self.time(self.slot(moment) + count)

    # --- over a column -------------------------------------------------------------------------------------------

    def floored(self, times: pl.Series) -> pl.Series:
        """Times (UTC, microseconds) moved down to the beginning of their step; null stays null."""
        import polars as pl

        inside = self._inside(times)
        moved = pl.Series(times.name, self.floor(inside.to_numpy())).cast(pl.Datetime("us", "UTC"))
        return moved.set(times.is_null(), None) if times.null_count() else moved

    def ends(self, times: pl.Series) -> pl.Series:
        """When the steps end that these times (UTC, microseconds, none missing) lie in."""
        import polars as pl

        slots = self.slots(times.dt.epoch("us").to_numpy())
        return pl.Series(times.name, self.times(slots + 1)).cast(pl.Datetime("us", "UTC"))

    def slots_of(self, time: pl.Expr) -> pl.Expr:
        """The step that each time (UTC, microseconds) of an expression lies in."""
        import polars as pl

        us = time.dt.epoch("us")
        if self.fixed is not None:
            size, phase = self.fixed
            return (us - phase) // size
        return us.map_batches(lambda part: pl.Series(part.name, self.slots(part.to_numpy())), return_dtype=pl.Int64)

    def off(self, times: pl.Series) -> pl.Series:
        """Which times (UTC, microseconds) are not the beginning of a step; null is not off."""
        import polars as pl

        inside = self._inside(times)
        return (pl.Series(times.name, self.floor(inside.to_numpy())) != inside) & times.is_not_null()

    @staticmethod
    def _inside(times: pl.Series) -> pl.Series:
        return times.dt.epoch("us").fill_null(0)

    # --- for people, and beside a model ---------------------------------------------------------------------------

    @property
    def dates(self) -> str | None:
        """The zone whose dates the steps are, for steps of whole days, weeks or months; None for shorter ones."""
        return self.zone if self.step >= DAY else None

    @property
    def fault(self) -> str:
        """What is wrong with a time that is not the beginning of a step."""
        name = format_duration(self.step)
        if self.fixed is not None and not self.fixed[1]:
            local = " (days of UTC; are they those of a zone? then the column needs it)" if self.step >= DAY else ""
            return f"is not a multiple of the step {name}{local}"
        if self.kind == BUSINESS_DAYS:
            return f"is not a multiple of the step {name}: no business day (Monday to Friday){self._where}"
        return f"is not a multiple of the step {name}, which begins {self._said}{self._where}"

    @property
    def kind(self) -> str:
        """What its steps are: of the clock, months, or business days."""
        return kind_of(self.step)

    @property
    def _where(self) -> str:
        return "" if self.zone == "UTC" else f" in {self.zone}"

    @property
    def _said(self) -> str:
        days, clock = divmod(self.phase, DAY)
        clock_text = f"at {EPOCH + clock:%H:%M:%S}".removesuffix(":00")
        if self.kind == MONTHS:
            return (
                f"on day {days + 1} of its month {clock_text}"
                if days < 30
                else f"on the last day of its month {clock_text}"
            )
        if self.step == 7 * DAY:
            return f"on {_NAMES[(days + 3) % 7]} {clock_text}"
        if self.step < DAY:
            return f"{format_duration(self.phase)} after the whole {format_duration(self.step)}"
        return clock_text

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        named = {"step": format_duration(self.step), "zone": self.zone, "phase": format_duration(self.phase)}
        return named | {"turn": self.turn}

    @property
    def code(self) -> int:
        """A number that tells it from other grids: of plain steps their length in microseconds."""
        if self.fixed is not None and not self.fixed[1]:
            return self.fixed[0]
        return -int(hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()[:15], 16)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Grid:
        """What `as_dict` described."""
        return cls(parse_duration(data["step"]), data["zone"], parse_duration(data["phase"]), data["turn"])

    @cached_property
    def fixed(self) -> tuple[int, int] | None:
        """Length and first beginning in microseconds of UTC, where all steps have one length; else None."""
        if self.kind != CLOCK:
            return None
        size, phase = self.step // MICROSECOND, self.phase // MICROSECOND
        offsets = {offset % size for offset in shifts(self.zone)}
        return (size, (phase - offsets.pop()) % size) if len(offsets) == 1 else None

    @property
    def _beginnings(self) -> Beginnings:
        return Beginnings.of(self.step, self.zone, self.phase, self.turn)
