"""Parses times to UTC: ISO 8601, a declared format or a count since 1970, with an offset or in the declared zone."""

from __future__ import annotations

import re
from datetime import time
from typing import TYPE_CHECKING, NamedTuple

from headrace.contract.clocks import completed, padded, without_24
from headrace.contract.column import Column
from headrace.contract.labels import of_calendar, written_ends
from headrace.contract.table import EPOCHS, refusal
from headrace.contract.twice import copies
from headrace.errors import DeclarationError
from headrace.grid.calendars import in_utc, spelled
from headrace.grid.grid import DAY, EPOCH, MICROSECOND

if TYPE_CHECKING:
    import polars as pl

    Wrong = list[tuple[str, pl.Series]]

_PLAIN = "%Y-%m-%dT%H:%M:%S"
_ISO = (
    r"^(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](?<clock>\d{2}:\d{2})(?::(?<second>\d{2})(?:[.,](?<part>\d{1,9}))?)?"
    r"\s?(?<offset>[Zz]|[+-]\d{2}(?::?\d{2})?)?)?$"
)
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds from 1970 to the first and the last moment of the years 1 to 9999, in UTC."""
_HOUR, _MINUTE = re.compile("%[-_0]?[HIkl]"), re.compile("%[-_0]?[MTRXrcs+]")
_OUTSIDE = "is outside of the years 1 to 9999"
_OFFSET_IN_FORMAT = ("%z", "%:z", "%#z", "%+")


class Times(NamedTuple):
    """Parsed times.

    Attributes:
        values: UTC, microseconds; null where bad or missing. Of a column of steps (`Column.of_step`) their begins.
        wrong: What was wrong with which rows.
        ends: Where times name the end of a step, that end; None where they name the begin.
    """

    values: pl.Series
    wrong: Wrong
    ends: pl.Series | None = None


def parse_times(column: Column, raw: pl.Series, series: pl.DataFrame | None = None) -> Times:
    """Times as UTC with microseconds.

    Text without an offset and typed times without a zone are read in ``column.zone``.

    Args:
        column: The time column.
        raw: Its values, text without blanks around it.
        series: The keys of the rows, where these stand in the order of a file.
    """
    times = _parsed(column, raw, series)
    # A column holds a wider span than Python's own times, through which all rows go sooner or later.
    inside = times.values.dt.epoch("us").is_between(_FIRST, _LAST).fill_null(True)
    if times.ends is not None:
        inside = inside & times.ends.dt.epoch("us").is_between(_FIRST, _LAST).fill_null(True)
    if inside.all():
        return times
    ends = None if times.ends is None else times.ends.set(~inside, None)
    return Times(times.values.set(~inside, None), [*times.wrong, (_OUTSIDE, ~inside)], ends)


def moment_of(column: Column, text: str) -> int:
    """A declared time at which a step begins, microseconds since 1970-01-01 UTC.

    Raises:
        DeclarationError: It is not a time.
    """
    import polars as pl

    plain = {"format": None, "zone": column.zone or "UTC", "label": "begin"}
    times = parse_times(column.model_copy(update=plain).of_step(DAY), pl.Series(column.name, [text.strip()])).values[0]
    if times is None:
        raise DeclarationError(f"{text!r} is not a time", where="phase", hint="write 2024-01-01 or 2024-01-01T06:00Z")
    return int((times - EPOCH) // MICROSECOND)


def as_written(column: Column, times: pl.Series) -> pl.Series:
    """Times in UTC as the column's format writes them, so that they are read again; without one they stay times.

    A local time that happens twice is written as such: only ISO 8601 tells which is meant.
    """
    if column.format is None:
        return times
    if column.format in EPOCHS:
        size, micros = EPOCHS[column.format][1], times.dt.epoch("us")
        parts = bool((micros % max(size, 1) != 0).any())
        counts: pl.Series = micros * round(1 / size) if size < 1 else micros / size if parts else micros // int(size)
        return counts
    local = times.dt.convert_time_zone(column.zone if column.zone is not None else "UTC")
    if column.midnight == "ends":
        midnight = (local.dt.hour() == 0) & (local.dt.minute() == 0) & (local.dt.second() == 0)
        local = local.dt.replace_time_zone(None)
        local = local.zip_with(~midnight.fill_null(False), local - DAY)
    return local.dt.strftime(column.format)


def _parsed(column: Column, raw: pl.Series, series: pl.DataFrame | None) -> Times:
    import polars as pl

    local, exact, wrong = _read(column, raw)
    if column.ends is None:
        if local is None:
            assert exact is not None
            return Times(exact, wrong)
        times, misplaced = _in_zone(column, local, series)
        values = times if exact is None else pl.select(pl.coalesce(exact, times)).to_series()
        return Times(values, [*wrong, *misplaced])
    if local is None:
        local = pl.Series(raw.name, [None], dtype=pl.Datetime("us")).new_from_index(0, raw.len())
    local = written_ends(column, raw, local)
    if column.named is not None and column.ends >= DAY:
        homeless = [("time has no zone", local.is_not_null())] if column.zone is None else []
        local = local if column.zone is not None else local.clear(local.len())
        begins, ends = of_calendar(column, local, exact, column.ends)
        return Times(begins, [*wrong, *homeless], ends)
    begins, misplaced = _in_zone(column, local - column.ends, series)
    if exact is not None:
        begins = pl.select(pl.coalesce(exact - column.ends, begins)).to_series()
    return Times(begins, [*wrong, *misplaced], begins + column.ends)


def _read(column: Column, raw: pl.Series) -> tuple[pl.Series | None, pl.Series | None, Wrong]:
    """Local times, exact UTC times of what says its offset, and what could not be read; None where there is none."""
    import polars as pl

    if column.format in EPOCHS and (raw.dtype == pl.String or raw.dtype.is_numeric()):
        exact, wrong = _counted(column, raw)
        return None, exact, wrong
    utc = pl.Datetime("us", "UTC")
    if isinstance(raw.dtype, pl.Datetime) and raw.dtype.time_zone is not None:
        return None, raw.cast(pl.Datetime("us", raw.dtype.time_zone)).dt.convert_time_zone("UTC"), []
    if raw.dtype == pl.String:
        local, ambiguous = _from_text(column, raw)
    elif isinstance(raw.dtype, pl.Datetime) or raw.dtype == pl.Date:
        local, ambiguous = raw.cast(pl.Datetime("us")), None
    else:
        empty = pl.Series(raw.name, [None], dtype=utc).new_from_index(0, raw.len())
        return None, empty, [(refusal(column), raw.is_not_null())]
    unread = local.is_null() & raw.is_not_null()
    if ambiguous is not None:
        unread = unread & ambiguous.is_null()
    return local, ambiguous, [(refusal(column), unread)]


def _counted(column: Column, raw: pl.Series) -> tuple[pl.Series, Wrong]:
    """Times from counts since 1970, rounded to microseconds."""
    import polars as pl

    size = EPOCHS[str(column.format)][1]
    number = raw.cast(pl.Float64, strict=False)
    number = pl.select(pl.when(number.is_finite()).then(number)).to_series()
    possible = (number * size).is_between(_FIRST, _LAST)
    micros = (number * size).round().set(~possible.fill_null(False), None).cast(pl.Int64)
    if size >= 1 and (raw.dtype == pl.String or raw.dtype.is_integer()):  # a whole number is counted exactly
        integers = raw.cast(pl.Int64, strict=False).set(~possible.fill_null(False), None)
        micros = pl.select(pl.coalesce(integers * int(size), micros)).to_series()
    wrong = [(refusal(column), number.is_null() & raw.is_not_null())]
    if not possible.all():
        wrong.append((_OUTSIDE, ~possible.fill_null(True)))
    return micros.cast(pl.Datetime("us")).dt.replace_time_zone("UTC").alias(raw.name), wrong


def _in_zone(column: Column, local: pl.Series, series: pl.DataFrame | None) -> tuple[pl.Series, Wrong]:
    """Local times as UTC; hours that do not exist, happen twice, or have no zone are wrong."""
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    if column.zone is None:
        empty = pl.Series(local.name, [None], dtype=utc).new_from_index(0, local.len())
        return empty, [("time has no zone", local.is_not_null())]
    if column.zone == "UTC":
        return local.dt.replace_time_zone("UTC"), []
    if column.named is not None:
        return in_utc(local, column.zone), []
    twice = column.ambiguous if column.ambiguous in ("earliest", "latest") else "null"
    placed = local.dt.replace_time_zone(column.zone, ambiguous=twice, non_existent="null")
    lost = placed.is_null() & local.is_not_null()
    wrong: Wrong = []
    if lost.any():
        is_real = local.dt.replace_time_zone(column.zone, ambiguous="earliest", non_existent="null").is_not_null()
        is_twice, reason = lost & is_real, f"happens twice in {column.zone} (clocks go back)"
        if column.ambiguous == "in_order" and series is not None and is_twice.any():
            copy_index = copies(local, is_twice, series).fill_null("null")
            placed = local.dt.replace_time_zone(column.zone, ambiguous=copy_index, non_existent="null")
            is_twice, reason = (
                is_twice & (copy_index == "null"),
                f"{reason}, and the order of the rows does not tell which is meant",
            )
        wrong = [(f"does not exist in {column.zone} (clocks go forward)", lost & ~is_real), (reason, is_twice)]
    return placed.dt.convert_time_zone("UTC"), wrong


def _from_text(column: Column, raw: pl.Series) -> tuple[pl.Series, pl.Series | None]:
    """Local times, and exact UTC times of the texts that carry an offset."""
    import polars as pl

    if column.format is not None:
        parsed = _by_format(raw, column.format)
        if any(directive in column.format for directive in _OFFSET_IN_FORMAT):
            none = pl.Series(raw.name, [None], dtype=pl.Datetime("us")).new_from_index(0, raw.len())
            return none, parsed.dt.convert_time_zone("UTC")
        return parsed, None
    raw = raw if column.named is None else spelled(raw, column.named)
    plain = raw.str.to_datetime(_PLAIN, time_unit="us", strict=False)
    # The quick format also takes 2023-1-2 and second 60; what is not of the one exact shape is read below.
    odd = raw.is_not_null() & (plain.is_null() | (raw.str.len_bytes() != 19) | raw.str.ends_with(":60"))
    if not odd.any():
        return plain, None
    local, exact = _from_iso(raw.filter(odd))
    where = odd.arg_true()
    none = pl.Series([None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, raw.len())
    return plain.scatter(where, local), none.scatter(where, exact)


def _by_format(raw: pl.Series, form: str) -> pl.Series:

    full_form = completed(form)
    if full_form is not None:  # a month is named by its first day, a week by its Monday
        raw, form = raw + full_form[0], form + full_form[1]
    if _HOUR.search(form) and not _MINUTE.search(form):  # an hour alone is one from its beginning
        raw, form = raw + " 00", f"{form} %M"
    raw = padded(raw, form)
    parsed = _strictly(raw, form)
    odd = parsed.is_null() & raw.is_not_null()
    if not odd.any():
        return parsed
    texts, last = without_24(raw.filter(odd), form)
    again = _strictly(texts.filter(last), form)
    midnight = again.dt.time() == time(0)  # there is no 24:01
    return parsed.scatter(odd.arg_true().filter(last), (again + DAY).set(~midnight.fill_null(False), None))


def _strictly(raw: pl.Series, form: str) -> pl.Series:
    import polars as pl

    try:
        return raw.str.to_datetime(form, time_unit="us", strict=False, exact=True)
    except pl.exceptions.ComputeError as error:
        reason = str(error).splitlines()[0]
        raise DeclarationError(
            f"no time can be read by the format {form!r}: {reason}", where="contract.columns"
        ) from error


def _from_iso(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Any ISO 8601 calendar time: local ones, and exact ones as UTC."""
    import polars as pl

    parts = text.str.extract_groups(_ISO).struct.unnest()
    clock = pl.col("clock").fill_null("00:00") + ":" + pl.col("second").fill_null("00")
    clock = pl.when(pl.col("second").fill_null("") != "60").then(clock)
    last = (clock == "24:00:00") & (pl.col("part").fill_null("0").str.strip_chars("0") == "")  # when the day ends
    clock = pl.when(last).then(pl.lit("00:00:00")).otherwise(clock)
    local = (pl.col("date") + "T" + clock).str.to_datetime(_PLAIN, time_unit="us", strict=False)
    micros = pl.col("part").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    local = local + pl.duration(microseconds=micros, days=last.fill_null(False).cast(pl.Int64))
    digits = pl.col("offset").str.replace_all(r"[^0-9]", "")
    hours = digits.str.slice(0, 2).cast(pl.Int64, strict=False).fill_null(0)
    minutes = digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0)
    ahead = pl.duration(minutes=hours * 60 + minutes)
    shift = pl.when(pl.col("offset").str.starts_with("-")).then(-ahead).otherwise(ahead)
    possible = (hours < 24) & (minutes < 60)
    zoned = pl.col("offset").is_not_null()
    exact = pl.when(zoned & possible).then(local - shift).dt.replace_time_zone("UTC")
    times = parts.select(pl.when(~zoned).then(local).alias("local"), exact.alias("exact"))
    return times["local"], times["exact"]
