"""Times that name the end of a step: from what is written to when the step ends, and when it began.

By local clocks a step ends so long after it began as its length says: the hour that ends at 02:00 is the one that
begins at 01:00, also in the night in which clocks go forward at 02:00 or back to 01:00. So do exports count that name
hours by their end. A time with an offset is a moment, and exact.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.declaration import BUSINESS_DAY, MONTH
from headrace.grid.calendars import BUSINESS_DAYS, MONTHS, in_utc, kind_of

if TYPE_CHECKING:
    import polars as pl

_CLOCK = (":", "%H", "%I", "%k", "%l", "%T", "%R", "%X", "%r", "%c", "%s", "%+")
"""What a text, or a format, has that tells more than a day."""
_NAMES = ((r"^\d{4}$", 12), (r"^\d{4}-?Q\d$", 3), (r"^\d{4}[-M]\d{2}$", 1))
"""Names of years, quarters and months, and how many months they are."""


def written_ends(column: Column, raw: pl.Series, local: pl.Series) -> pl.Series:
    """Local times as written, as the local times at which something ends.

    The name of a day, month, quarter or year ends with it, where steps are days or longer. Midnight is the end of the
    day whose date it has where the column says so.
    """
    import polars as pl

    frame = pl.DataFrame([local.alias("local"), raw.alias("raw")])
    moment, day = pl.col("local"), timedelta(days=1)
    midnight = moment.dt.time() == pl.time(0, 0)
    is_end = midnight if column.midnight == "ends" else pl.lit(False)
    if column.named is None:
        return frame.select(pl.when(is_end).then(moment + day).otherwise(moment)).to_series().alias(local.name)
    if raw.dtype == pl.Date or (column.format is not None and not any(sign in column.format for sign in _CLOCK)):
        is_end = pl.lit(True)
    elif raw.dtype == pl.String and column.format is None:
        is_end = is_end | ~pl.col("raw").str.contains(":", literal=True)
    ends = pl.when(is_end).then(moment + day).otherwise(moment)
    if raw.dtype == pl.String and column.format is None and kind_of(column.named) == MONTHS:
        for name, months in _NAMES:
            ends = pl.when(pl.col("raw").str.contains(name)).then(moment.dt.offset_by(f"{months}mo")).otherwise(ends)
    return frame.select(ends).to_series().alias(local.name)


def begun(ends: pl.Series, length: timedelta) -> pl.Series:
    """When steps began, by the clocks that show when they end."""
    kind = kind_of(length)
    if kind == MONTHS:
        return ends.dt.offset_by(f"-{length // MONTH}mo")
    if kind == BUSINESS_DAYS:
        return ends.dt.add_business_days(-(length // BUSINESS_DAY), roll="forward")
    return ends - length


def of_calendar(
    column: Column, ends: pl.Series, exact: pl.Series | None, length: timedelta
) -> tuple[pl.Series, pl.Series]:
    """When steps of days or longer began and end, UTC: the zone's dates count, those of UTC where there is none.

    Args:
        column: The time column.
        ends: Local times at which they end.
        exact: The same in UTC, of texts with an offset; None where there is no such text.
        length: That of a step.
    """
    import polars as pl

    zone = column.zone or "UTC"
    if exact is not None:
        local = exact.dt.convert_time_zone(zone).dt.replace_time_zone(None)
        ends = pl.select(pl.coalesce(local, ends)).to_series()
    return placed(begun(ends, length), zone), placed(ends, zone)


def placed(local: pl.Series, zone: str) -> pl.Series:
    """Local times at which days begin, as UTC."""
    return local.dt.replace_time_zone("UTC") if zone == "UTC" else in_utc(local, zone)
