"""What the times of a file look like: how they are written, how far apart they lie, whether rows are events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from headrace.contract.column import EPOCH_FORMATS, Column
from headrace.contract.parse import parse_column
from headrace.declaration import MONTH
from headrace.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

_DAY = timedelta(days=1)
_FORTNIGHT, _FRIDAY = 14 * _DAY, 5
_DATES = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%d.%m.%Y", "%d.%m.%y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%Y/%m/%d", "%Y-%m-%d", "%Y.%m.%d", "%Y%m%d", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y"),
)
"""Where days and months may be confused, the first that fits is taken."""
_NAMED = (
    "%m/%Y",
    "%m.%Y",
    "%m-%Y",
    "%Y/%m",
    "%Y.%m",
    "%Y%m",
    "%b %Y",
    "%b-%Y",
    "%B %Y",
    "%b-%y",
    "%b %y",
    "%G-W%V",
    "%GW%V",
)
_CALENDAR = (MONTH, 3 * MONTH, 12 * MONTH)
"""Steps of which ISO 8601 and statistics have names: 2024-03, 2024-Q1, 2024."""
_CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H", " %H%M")
_PLAUSIBLE = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_COUNTED = datetime(1980, 1, 1, tzinfo=UTC)
"""Counts since 1970 that would mean an earlier time are of another unit, or are years and numbers."""
_SEEN = 2000
"""Different texts that formats are tried on before all are."""
_MONTHS = ((28, 31, "1mo"), (90, 92, "1q"), (365, 366, "1y"))
_REPEATED = 0.01
"""More rows than this share at one time of one series: they are events."""
_FILLED = 0.1
"""Less than this share of steps with a row, no two of which mostly lie one step apart: they are events, too."""
_UNEVEN = 0.5
"""Of more than this share of rows the time to the next is no multiple of the usual one: they are events, too."""
_EVENTS = ((60 * _DAY, "1d"), (2 * _DAY, "1h"))
"""Events over so long a time are put together by this step."""


def written(name: str, raw: pl.Series) -> tuple[Column, pl.Series, tuple[str, ...]]:
    """The column that reads the times, the times, and other formats that would read them all.

    Raises:
        UsageError: No format reads them all.
    """
    zone = None if _has_zone(raw) else "UTC"
    fitting = list(_fitting(name, raw, zone))
    if not fitting:
        read = parse_column(Column(name, "time", nullable=True, zone=zone), raw).values
        odd = raw.filter(read.is_null() & raw.is_not_null()).head(1).to_list()
        hint = f"such as {odd[0]!r}; " if odd else ""
        hint += (
            "times in ISO 8601 are read as they are; others need Column(..., format=...), parts are named --time C,C"
        )
        raise UsageError(f"not all values of {name!r} are times", where="--time", hint=hint)
    (column, values), *others = fitting
    return column, values, tuple(str(other.format) for other, _ in others)


def _fitting(name: str, raw: pl.Series, zone: str | None) -> Iterator[tuple[Column, pl.Series]]:
    """As ISO 8601 has it, or else in the formats that read all of them, one for each order of day, month and year."""
    import polars as pl

    plain = Column(name, "time", nullable=True, zone=zone)
    for column in (plain, *(plain.of_step(step) for step in _CALENDAR)):
        values = parse_column(column, raw)
        if not values.faults:
            yield plain, values.values
            return
    if raw.dtype != pl.String and not raw.dtype.is_integer():
        return
    some = raw.unique(maintain_order=True)
    some = some.gather_every(max(some.len() // _SEEN, 1))
    kinds: list[Sequence[str]] = [EPOCH_FORMATS]
    if raw.dtype == pl.String:
        clocks = _CLOCKS if some.str.contains(r"\S\s+\S").any() else _CLOCKS[:1]  # 2025 would be the year 20 at 2:05
        kinds = [*([day + clock for clock in clocks] for day in _DATES), *([month] for month in _NAMED), *kinds]
    for forms in kinds:
        columns = (Column(name, "time", nullable=True, zone=zone, format=form) for form in forms)
        found = next((column for column in columns if _reads(column, some) and _reads(column, raw)), None)
        if found is not None:
            yield found, parse_column(found, raw).values


def _reads(column: Column, raw: pl.Series) -> bool:
    found = parse_column(column, raw)
    first, last = found.values.min(), found.values.max()
    if found.faults or not isinstance(first, datetime) or not isinstance(last, datetime):
        return False
    earliest = _COUNTED if column.format in EPOCH_FORMATS else _PLAUSIBLE[0]
    return earliest <= first and last < _PLAUSIBLE[1]


def _has_zone(raw: pl.Series) -> bool:
    import polars as pl

    if raw.dtype == pl.String:
        return bool(raw.drop_nulls().str.contains(r"(?:[Zz]|:\d\d[+-]\d{2}:?\d{2})$").all())
    return isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None


def step_of(series: pl.DataFrame) -> tuple[str, bool]:
    """The time between two rows of a series, and whether rows are events, of which a step has any number.

    Args:
        series: The keys, and the times as the last column.

    Raises:
        UsageError: No series has two times.
    """
    import polars as pl

    *keys, time = series.columns
    rows = series.drop_nulls()
    single = rows.unique().sort(*keys, time)
    gap = pl.col(time).diff()
    same = pl.all_horizontal(pl.lit(value=True), *(pl.col(key) == pl.col(key).shift(1) for key in keys))
    gaps = single.select(pl.when(same).then(gap).alias("gap"))["gap"].drop_nulls()
    if not gaps.len():
        raise UsageError("no series has two times", where="--time", hint="is --keys right?")
    usual = gaps.value_counts(sort=True).row(0, named=True)
    least: timedelta = usual["gap"]
    crowded = rows.height - single.height > _REPEATED * rows.height
    scarce = (
        usual["count"] < gaps.len() / 2
        and _FILLED * float(gaps.dt.total_seconds().sum()) > gaps.len() * least.total_seconds()
    )
    uneven = (gaps.dt.total_microseconds() % (least // timedelta(microseconds=1)) != 0).mean() or 0.0
    first, last = single[time].min(), single[time].max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    if least < _DAY and (crowded or scarce or float(uneven) > _UNEVEN):  # type: ignore[arg-type]
        return next((step for length, step in _EVENTS if last - first >= length), "1m"), True
    if least == _DAY and not crowded and last - first > _FORTNIGHT and (single[time].dt.weekday() <= _FRIDAY).all():
        return "1b", False
    month = next((text for low, high, text in _MONTHS if low * _DAY <= least <= high * _DAY), None)
    return month or _text(least), crowded


def _text(gap: timedelta) -> str:
    if not gap % (7 * _DAY):
        return f"{gap // (7 * _DAY)}w"
    for unit, size in (("d", _DAY), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1))):
        if not gap % size:
            return f"{gap // size}{unit}"
    return f"{gap.total_seconds():g}s"
