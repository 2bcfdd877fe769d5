"""Known time: when each row of a source became known, which decides what a run "as of T" may see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.declaration import Declared, Duration

if TYPE_CHECKING:
    import polars as pl

KNOWN_AT = "known_at"
"""The name of the known time in every table of headrace: UTC, microseconds."""


class Known(Declared):
    """How the known time of a row is found.

    Args:
        column: The column of the frame as read that holds it. A known time written without an offset is
            in the zone of the event-time column.
        lag: Otherwise: how long after its event time a row becomes known. Rows of a system without event
            time are known at ``as_of``.
    """

    column: str | None = None
    lag: Duration = timedelta(0)

    def times(self, time: pl.Series | None, own: pl.Series | None, as_of: datetime, rows: int) -> pl.Series:
        """The known time of every row: UTC, null where it cannot be told.

        Args:
            time: The parsed event times, null where they could not be parsed; None for a system without.
            own: The parsed values of ``column``, if there is one.
            as_of: The run's time.
            rows: How many rows there are.
        """
        import polars as pl

        utc = pl.Datetime("us", "UTC")
        if own is not None:
            return own.alias(KNOWN_AT)
        if time is not None:
            return (time + self.lag).cast(utc).alias(KNOWN_AT)
        return pl.Series(KNOWN_AT, [as_of.astimezone(UTC)], dtype=utc).new_from_index(0, rows)


def is_pending(known_at: pl.Series, time: pl.Series | None, as_of: datetime, now: datetime) -> pl.Series:
    """Which rows are not yet known at ``as_of``.

    A row whose known time cannot be told is not pending, and neither is one whose event time is later than
    both ``as_of`` and ``now``: no clock explains it, so the contract must set it apart.
    """
    later = known_at > as_of.astimezone(UTC)
    if time is not None:
        later = later & ~is_future(time, as_of, now)
    return later.fill_null(False)


def is_future(time: pl.Series, as_of: datetime, now: datetime) -> pl.Series:
    """Which event times are later than both ``as_of`` and ``now``; null counts as not."""
    return (time > max(as_of, now).astimezone(UTC)).fill_null(False)
