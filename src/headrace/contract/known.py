"""Known time: when each row of a source became known, which decides what a run "as of T" may see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.declaration import Declared, Duration

if TYPE_CHECKING:
    import polars as pl

KNOWN_AT = "known_at"
"""The name of the known time in every table of headrace: UTC, microseconds."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""The known time of what is known always; no run is as of an earlier time."""


class KnownTimes(Declared):
    """How the known time of a row is found.

    Args:
        column: The column of the frame as read that holds it. A known time written without an offset is
            in the zone of the event-time column.
        lag: Otherwise: how long after its event time a row becomes known; after the end of its step, where that is
            what its time names. Rows of a system without event time are known at ``as_of``.
        ahead: How long before its event time a row becomes known at the latest, whatever `column` and `lag` say; True
            is always. For the part of a row that is known in advance.
        target: The column whose value cannot be known before the event time, in a system that forecasts.
        awaited: Rows of the future are no mistake: they tell what is known in advance, the rest when its time comes.
    """

    column: str | None = None
    lag: Duration = timedelta(0)
    ahead: bool | Duration = False
    target: str | None = None
    awaited: bool = False

    def times(
        self,
        time: pl.Series | None,
        own: pl.Series | None,
        as_of: datetime,
        rows: int,
        written: pl.Series | None = None,
    ) -> pl.Series:
        """The known time of every row: UTC, null where it cannot be told.

        Args:
            time: The parsed event times, null where they could not be parsed; None for a system without.
            own: The parsed values of ``column``, if there is one.
            as_of: The run's time.
            rows: How many rows there are.
            written: The times that the rows bear, where these are not their event times but the ends of steps.
        """
        import polars as pl

        utc = pl.Datetime("us", "UTC")
        if own is not None:
            known = own
        elif time is not None:
            known = ((time if written is None else written) + self.lag).cast(utc)
        else:
            known = pl.Series([as_of.astimezone(UTC)], dtype=utc).new_from_index(0, rows)
        if self.ahead is False or time is None:
            return known.alias(KNOWN_AT)
        early = pl.lit(ALWAYS, utc) if self.ahead is True else pl.col("time") - self.ahead
        frame = pl.DataFrame([known.alias(KNOWN_AT), time.alias("time")])
        least = pl.when(pl.col("time").is_not_null()).then(pl.min_horizontal(KNOWN_AT, early))
        return frame.select(least.alias(KNOWN_AT)).to_series()

    def rules(self, time: str, known_at: str) -> list[tuple[str, pl.Expr, pl.Expr]]:
        """What must hold of a row's known time: its label, which rows break it, and the reason of one."""
        import polars as pl

        if self.column is None or self.target is None:
            return []
        reason = f"{self.target} is known before its time"
        is_early = pl.col(self.target).is_not_null() & (pl.col(time) > pl.col(known_at))
        event, known = (pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ") for name in (time, known_at))
        return [(reason, is_early, pl.concat_str([pl.lit(f"{reason}: at "), known, pl.lit(" of "), event]))]


def is_pending(known_at: pl.Series, time: pl.Series | None, as_of: datetime, latest: datetime | None) -> pl.Series:
    """Which rows are not yet known at ``as_of``.

    A row whose known time cannot be told is not pending, and neither is one whose event time is after ``latest``: no
    clock explains it, so the contract must set it apart.
    """
    later = known_at > as_of.astimezone(UTC)
    if time is not None and latest is not None:
        later = later & ~(time > latest.astimezone(UTC)).fill_null(False)
    return later.fill_null(False)
