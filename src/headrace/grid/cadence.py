"""A step as it is declared, and the grid that follows from it and the data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.declaration import MONTH
from headrace.grid.calendars import BUSINESS_DAYS, CLOCK, kind_of, local_us
from headrace.grid.grid import DAY, MICROSECOND, Grid

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cadence:
    """A step as it is declared: where steps begin may be for the data to say.

    Attributes:
        step: Nominal length of a step.
        zone: Of the column of the event time; None where its times carry an offset.
        phase: A time at which a step begins, microseconds since 1970-01-01 UTC; None: that of the data.
        moved: Times are moved down to their step, so they do not say where one begins: with the zone's day, on Monday.
    """

    step: timedelta
    zone: str | None = None
    phase: int | None = None
    moved: bool = False

    def grid(self, times: Ints | None = None) -> Grid:
        """The grid that most of these times (microseconds, in any order) lie on; the plain one where on none do."""
        import numpy as np

        if self.phase is not None:
            times = np.array([self.phase])
        if times is not None and times.size and (self.phase is not None or not self.moved):
            hits, _, _, grid = max(map(_judged, self._candidates(times), [times] * 2), key=lambda judged: judged[:3])
            if 2 * hits > times.size:
                return _tidied(grid)
        return _tidied(_begun(self.step, self.zone or "UTC", np.empty(0, dtype=np.int64)))

    def of(self, times: pl.Series) -> Grid:
        """As `grid`, of a column of times (UTC); missing ones say nothing."""
        return self.grid(times.drop_nulls().dt.epoch("us").to_numpy())

    def _candidates(self, times: Ints) -> list[Grid]:
        """By the zone's clocks and by UTC: a file may give the zone of its texts and yet count in UTC."""
        zones = dict.fromkeys((self.zone or "UTC", "UTC"))
        if self.phase is not None:
            zones = {self.zone or "UTC": None}
        return [_begun(self.step, zone, times) for zone in zones]


def _judged(grid: Grid, times: Ints) -> tuple[int, bool, bool, Grid]:
    """How many times lie on a grid, and of two that are as good: the one without a phase, the zone's for whole days."""
    hits = int((grid.floor(times) == times).sum())
    return hits, not grid.phase % DAY, (grid.zone == "UTC") != (grid.step >= DAY), grid


def _tidied(grid: Grid) -> Grid:
    """Steps of a fixed length shorter than a day are those of UTC: no zone has a say in them."""
    fixed = grid.fixed
    if fixed is None or grid.step >= DAY:
        return grid
    return Grid(grid.step, "UTC", fixed[1] * MICROSECOND)


def _begun(step: timedelta, zone: str, times: Ints) -> Grid:
    """The grid of a zone with the phase that most times have; of equally many the least."""
    import numpy as np

    kind, local = kind_of(step), local_us(times, zone)
    day = DAY // MICROSECOND
    if kind == BUSINESS_DAYS:
        return Grid(step, zone, _usual(local % day) * MICROSECOND)
    if kind == CLOCK:
        size, weekly = step // MICROSECOND, not step % timedelta(days=7)
        return Grid(step, zone, _usual(local % size, 4 * day if weekly else 0) * MICROSECOND)
    months = local.astype("datetime64[us]").astype("datetime64[M]")
    offset = local - months.astype("datetime64[us]").astype(np.int64)
    last = (months + 1).astype("datetime64[us]").astype(np.int64) - local <= day
    turn = months.astype(np.int64) % (step // MONTH) * 64 * day
    on_day, on_last = turn + offset, (turn + 30 * day + offset % day)[last]
    usual = _usual(on_day if _most(on_day) > _most(on_last) else on_last)
    return Grid(step, zone, usual % (64 * day) * MICROSECOND, usual // (64 * day))


def _most(values: Ints) -> int:
    import numpy as np

    return int(np.unique(values, return_counts=True)[1].max(initial=0))


def _usual(values: Ints, plain: int = 0) -> int:
    """The commonest value, the least of equally common ones; `plain` where there is none."""
    import numpy as np

    distinct, counts = np.unique(values, return_counts=True)
    return int(distinct[counts.argmax()]) if distinct.size else plain
