"""Simulated hourly electricity consumption, as the Danish energy API publishes it: late, and later corrected.

The value of an hour depends on the seed, the series and the hour alone. So what is made as of T is exactly
what is made as of a later time, cut at the facts known at T.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field

from headrace.contract import KNOWN_AT
from headrace.declaration import Declared, Duration
from headrace.features.holidays import public_holidays
from headrace.sources.hashing import normal, uniform, words
from headrace.sources.profiles import AREAS, HOLIDAY, codes, day_profiles, levels, year_profiles

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BLOCK = 1_000_000
"""Values made at once: bounds the memory of a world of any size."""
_MEMORY = 24
"""Hours over which the noise of one hour is felt."""
_OFF_GRID = 17 * 60_000_000


class Consumption(Declared):
    """Options of the simulated consumption.

    Args:
        seed: The world.
        series: How many series; overrides ``industries``.
        areas: How many price areas, 1 or 2.
        industries: How many industry codes: the 38 real ones, then made-up ones.
        days: How far back from ``as_of - lag`` the records go, or from ``start`` on.
        start: The first hour, with a zone.
        lag: How long after its hour a value is published.
        corrections: Share of the hours that are published again, 1 to 240 hours later, with another value.
        outliers: Share of the hours with an absurdly high or low value.
        gaps: Share of the hours that are never published, in runs of 1 to 7 hours.
        bad: Share of the records that break the contract.
    """

    seed: int = 0
    series: int | None = Field(default=None, ge=1)
    areas: int = Field(default=2, ge=1, le=2)
    industries: int = Field(default=38, ge=1)
    days: float = Field(default=60, gt=0)
    start: AwareDatetime | None = None
    lag: Duration = timedelta(days=15)
    corrections: float = Field(default=0.01, ge=0, le=1)
    outliers: float = Field(default=0.0005, ge=0, le=1)
    gaps: float = Field(default=0.001, ge=0, le=0.5)
    bad: float = Field(default=0.0, ge=0, le=1)


def consumption_rows(options: Consumption, as_of: datetime) -> Iterator[pl.DataFrame]:
    """The facts known at ``as_of``, ordered by hour, series and known time; those of an hour in one of the frames.

    Columns: ``HourUTC`` (UTC), ``HourDK`` (local, without a zone), ``PriceArea``, ``ConsumerType_DE35``,
    ``TotalCon`` (kWh, text when broken rows are asked for) and ``known_at`` (UTC).
    """
    import numpy as np

    hours = _hours(options, as_of)
    industries = options.industries if options.series is None else ceil(options.series / options.areas)
    series = (np.arange(industries)[:, None] * 2 + np.arange(options.areas)[None, :]).ravel()[: options.series]
    size = max(_BLOCK // max(series.size, 1), 2 * _MEMORY)
    names = codes(industries)
    for index in range(0, max(hours.size, 1), size):
        facts = _facts(options, series, _Calendar(hours[index : index + size]), as_of).sort("hour", "series", KNOWN_AT)
        yield _as_published(facts, names, options.bad > 0)


def _hours(options: Consumption, as_of: datetime) -> Ints:
    """The hours since 1970 that are published at ``as_of`` and asked for."""
    import numpy as np

    last = floor((as_of - options.lag - _EPOCH) / _HOUR)
    if options.start is None:
        return np.arange(last - max(floor(options.days * 24), 1) + 1, last + 1, dtype=np.int64)
    first = ceil((options.start - _EPOCH) / _HOUR)
    if "days" in options.model_fields_set:
        last = min(last, first + floor(options.days * 24) - 1)
    return np.arange(first, last + 1, dtype=np.int64)


class _Calendar:
    """What an hour is in Denmark: kind of day, local hour, day of the year."""

    def __init__(self, hours: Ints) -> None:
        import polars as pl

        self.hours = hours
        utc = pl.Series(hours * 3_600_000_000).cast(pl.Datetime("us", "UTC"))
        local = utc.dt.convert_time_zone("Europe/Copenhagen").dt.replace_time_zone(None)
        years = local.dt.year().unique().to_list()
        free = {date(year, 12, day) for year in years for day in (24, 31)}
        free.update(*(public_holidays("DK", year, year) for year in years))
        is_free = local.dt.date().is_in(list(free)).to_numpy()
        self.kind = (local.dt.weekday().cast(pl.Int64) - 1).to_numpy().copy()
        self.kind[is_free] = HOLIDAY
        self.hour = local.dt.hour().cast(pl.Int64).to_numpy()
        self.day = local.dt.ordinal_day().cast(pl.Int64).to_numpy()


def _facts(options: Consumption, series: Ints, calendar: _Calendar, as_of: datetime) -> pl.DataFrame:
    """First publications and corrections of a block of series, those known at ``as_of``."""
    import numpy as np
    import polars as pl

    seed, hours = options.seed, calendar.hours
    final = _values(options, series, calendar)
    draw = words(seed, 3, series, hours)
    corrected = uniform(draw) < options.corrections
    # The first publication is off by 2 to 12 %, either way, and at least by one.
    off = uniform(words(seed, 4, series, hours))
    factor = np.where(off < 0.5, 0.88 + 0.2 * off, 1.02 + 0.2 * (off - 0.5))
    early = np.maximum(np.rint(final * factor), 1.0)
    early = np.where(early == final, final + 1, early)
    first = np.where(corrected, early, final)
    present = ~_gaps(options, series, hours)
    broken = uniform(words(seed, 5, series, hours)) < options.bad
    kind = np.where(broken, (words(seed, 6, series, hours) % np.uint64(7)).astype(np.int64) + 1, 0)
    delay = (words(seed, 7, series, hours) % np.uint64(240)).astype(np.int64) + 1
    lag = int(options.lag / timedelta(microseconds=1))
    published = np.broadcast_to(hours * 3_600_000_000 + lag, first.shape)
    is_corrected = present & corrected & (kind == 0)
    parts = [
        (present, first, published, kind),
        (is_corrected, final, published + delay * 3_600_000_000, np.zeros_like(kind)),
    ]
    rows, columns = np.broadcast_to(series[:, None], first.shape), np.broadcast_to(hours, first.shape)
    frame = [
        pl.DataFrame({"hour": columns[m], "series": rows[m], "value": v[m], KNOWN_AT: k[m], "broken": b[m]})
        for m, v, k, b in parts
    ]
    return pl.concat(frame).filter(pl.col(KNOWN_AT) <= int((as_of - _EPOCH) / timedelta(microseconds=1)))


def _values(options: Consumption, series: Ints, calendar: _Calendar) -> Floats:
    """The true consumption in whole kWh, series by hours."""
    import numpy as np

    seed, hours = options.seed, calendar.hours
    growth = (uniform(words(seed, 16, series)) - 0.5) * 0.04
    trend = np.clip(1 + growth[:, None] * ((hours - 438_288) / 8_766.0)[None, :], 0.3, 3.0)
    values = levels(seed, series)[:, None] * trend
    values *= day_profiles(seed, series)[:, calendar.kind, calendar.hour]
    values *= year_profiles(seed, series)[:, calendar.day]
    spread = 0.015 + 0.035 * uniform(words(seed, 17, series))
    values *= np.maximum(1 + spread[:, None] * _noise(seed, series, hours), 0.2)
    draw = uniform(words(seed, 1, series, hours))
    strange = uniform(words(seed, 2, series, hours))
    absurd = np.where(strange < 0.5, 0.05 + 0.3 * strange, 2.0 + 6.0 * (strange - 0.5))
    values *= np.where(draw < options.outliers, absurd, 1.0)
    rounded: Floats = np.maximum(np.rint(values), 1.0)
    return rounded


def _noise(seed: int, series: Ints, hours: Ints) -> Floats:
    """Noise of deviation 1, alike in neighbours: an hour feels the shocks of the last `_MEMORY` hours."""
    import numpy as np

    if not hours.size:
        return np.zeros((series.size, 0))
    reach = np.arange(hours[0] - _MEMORY, hours[-1] + 1, dtype=np.int64)
    shocks = normal(words(seed, 8, series, reach))
    total = np.zeros((series.size, hours.size))
    weight = (1 - 0.8**2) ** 0.5
    for lag in range(_MEMORY + 1):
        total += weight * shocks[:, _MEMORY - lag : _MEMORY - lag + hours.size]
        weight *= 0.8
    return total


def _gaps(options: Consumption, series: Ints, hours: Ints) -> NDArray[np.bool_]:
    """Which hours are never published: on some days of a series, a run of 1 to 7 hours (4 on average)."""
    import numpy as np

    if not hours.size or not options.gaps:
        return np.zeros((series.size, hours.size), dtype=np.bool_)
    days = hours // 24
    unique = np.arange(days[0], days[-1] + 1, dtype=np.int64)
    draw = words(options.seed, 9, series, unique)
    shape = words(options.seed, 10, series, unique)
    length = (shape % np.uint64(7)).astype(np.int64) + 1
    start = ((shape >> np.uint64(8)) % np.uint64(18)).astype(np.int64)
    length = np.where(uniform(draw) < options.gaps * 6, length, 0)
    day, hour = days - days[0], hours % 24
    gap: NDArray[np.bool_] = (hour[None, :] >= start[:, day]) & (hour[None, :] < (start + length)[:, day])
    return gap


def _as_published(facts: pl.DataFrame, industries: list[str], broken: bool) -> pl.DataFrame:
    """The facts under the API's names; broken ones are broken here, each in one of seven ways."""
    import polars as pl

    utc, kind = pl.Datetime("us", "UTC"), pl.col("broken")
    time = (pl.col("hour") * 3_600_000_000 + pl.when(kind == 6).then(_OFF_GRID).otherwise(0)).cast(utc)
    areas = pl.lit(pl.Series(AREAS)).gather(pl.col("series") % 2)
    codes = pl.lit(pl.Series(industries)).gather(pl.col("series") // 2)
    value = pl.col("value")
    if broken:
        value = pl.when(kind == 1).then(-value).otherwise(value).cast(pl.String)
        value = pl.when(kind == 2).then(pl.lit("12abc")).when(kind == 3).then(pl.lit("NaN")).otherwise(value)
        value = pl.when(kind != 4).then(value)
        areas = pl.when(kind == 5).then(pl.lit("DK9")).otherwise(areas)
        time = pl.when(kind != 7).then(time)
    local = time.dt.convert_time_zone("Europe/Copenhagen").dt.replace_time_zone(None)
    return facts.select(
        time.alias("HourUTC"),
        local.alias("HourDK"),
        areas.alias("PriceArea"),
        codes.alias("ConsumerType_DE35"),
        value.alias("TotalCon"),
        pl.col(KNOWN_AT).cast(utc),
    )
