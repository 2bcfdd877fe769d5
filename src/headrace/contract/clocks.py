"""Clocks as formats cannot read them: 24:00, which is when a day ends, and hours and minutes without leading zeros."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_WHOLE = {"%T": "%H:%M:%S", "%R": "%H:%M", "%F": "%Y-%m-%d", "%D": "%m/%d/%y"}
_DIGITS = r"\s?\d{1,2}"
_PARTS = {
    **dict.fromkeys(("%m", "%d", "%e", "%y", "%H", "%k", "%M", "%S"), _DIGITS),
    **dict.fromkeys(("%b", "%B", "%h", "%a", "%A"), r"\pL+\.?"),
    **dict.fromkeys(("%z", "%:z", "%#z"), r"(?:[Zz]|[+-]\d{2}(?::?\d{2})?)"),
    **dict.fromkeys(("%f", "%.f", "%.3f", "%.6f", "%3f", "%6f"), r"\.?\d+"),
    "%Y": r"[+-]?\d{4}",
    "%j": r"\d{1,3}",
    "%%": "%",
}
_DIRECTIVE = re.compile(r"%[-_0]?[a-zA-Z%]|%:z|%#z|%\.?\d?f")
_JOINED = re.compile(r"%H%M(%S)?")


@dataclass(frozen=True)
class Clock:
    """Where a format has the clock, as regular expressions of whole texts.

    Attributes:
        last: Texts whose hour is 24, in two groups: what stands before it and after it; None where there is no hour.
        joined: Texts of which hour and minute (and second) are one number, in three groups; None where they are not.
        width: The digits of that number.
    """

    last: str | None
    joined: str | None
    width: int


@lru_cache(maxsize=64)
def clock_of(form: str) -> Clock:
    """The clock of a format; none where it has a directive whose texts are not known here."""
    for short, long in _WHOLE.items():
        form = form.replace(short, long)
    match = _JOINED.search(form)
    joined, width = None, 0
    if match is not None and not _touches_digits(form, match):
        parts = [_pattern(form[: match.start()]), _pattern(form[match.end() :])]
        width = 6 if match[1] else 4
        joined = None if None in parts else rf"^({parts[0]})(\d{{1,{width - 1}}})({parts[1]})$"
    hour = re.search(r"%[-_0]?[Hk]", form)
    before, after = (_pattern(form[: hour.start()]), _pattern(form[hour.end() :])) if hour else (None, None)
    return Clock(None if before is None or after is None else f"^({before})24({after})$", joined, width)


def _touches_digits(form: str, match: re.Match[str]) -> bool:
    """Whether other digits may stand right beside the number, so that its length tells nothing."""
    before, after = form[: match.start()], form[match.end() :]
    return bool(re.search(r"(%[-_0]?[a-zA-Z]|\d)$", before)) or after[:1] == "%" or after[:1].isdigit()


def _pattern(form: str) -> str | None:
    """What a part of a format matches; None where a directive is not known."""
    pattern, position = "", 0
    for directive in _DIRECTIVE.finditer(form):
        part = _PARTS.get(directive[0].replace("%-", "%").replace("%_", "%").replace("%0", "%"))
        if part is None:
            return None
        pattern += _literal(form[position : directive.start()]) + part
        position = directive.end()
    return pattern + _literal(form[position:])


def _literal(text: str) -> str:
    return re.sub(r"\s+", r"\\s*", re.sub(r"([^\w\s])", r"\\\1", text))


_DAYS = re.compile(r"%[-_0]?[deDFjxcsvaAuw+]")
_MONTHS, _YEARS, _WEEKS = re.compile(r"%[-_0]?[mbBh]"), re.compile(r"%[-_0]?[Yy]"), re.compile(r"%[-_0]?[GV]")


def completed(form: str) -> tuple[str, str] | None:
    """What makes texts of months, years or weeks texts of a day, and their format one; None where a day is there."""
    if _DAYS.search(form):
        return None
    if _WEEKS.search(form):
        return " 1", " %u"
    if not _YEARS.search(form):
        return None
    return (" 01", " %d") if _MONTHS.search(form) else (" 01 01", " %m %d")


def padded(raw: pl.Series, form: str) -> pl.Series:
    """The texts with leading zeros before hours and minutes that are one number: 930 is 0930, and 5 is 0005."""
    import polars as pl

    clock = clock_of(form)
    if clock.joined is None:
        return raw
    parts = raw.str.extract_groups(clock.joined).struct.unnest()
    first, number, last = (pl.col(name) for name in parts.columns)
    full = parts.select(pl.concat_str(first, number.str.pad_start(clock.width, "0"), last)).to_series()
    return full.zip_with(full.is_not_null(), raw).alias(raw.name)


def without_24(raw: pl.Series, form: str) -> tuple[pl.Series, pl.Series]:
    """The texts with 00 in place of an hour 24, and which these are: what they mean is a day later."""
    import polars as pl

    clock = clock_of(form)
    if clock.last is None:
        return raw, pl.Series([False]).new_from_index(0, raw.len())
    return raw.str.replace(clock.last, "${1}00${2}"), raw.str.contains(clock.last).fill_null(False)
