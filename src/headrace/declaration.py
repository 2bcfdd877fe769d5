"""What every declared object is made of: frozen, strict about unknown fields, with readable durations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

MONTH = timedelta(days=365.2425) / 12
"""The nominal length of a month, to the second: 12 make a year, so durations add up and compare as those of clocks do.

On a grid of months it counts as a month; nothing else is a whole number of it."""
BUSINESS_DAY = timedelta(days=7) / 5
"""The nominal length of a business day: five make a week."""
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "b": BUSINESS_DAY,
    "mo": MONTH,
    "q": 3 * MONTH,
    "y": 12 * MONTH,
}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(mo|[smhdwbqy])")
_MONTHS = re.compile(r"\d\s*M(?![a-zA-Z])")


def parse_duration(value: object) -> timedelta:
    """A duration from ``"15d"``, ``"1h30m"``, ``"0h"``, ``"3mo"``, or a ``timedelta``.

    Months, quarters and years (``mo q y``) and business days (``b``) are nominal: `MONTH`, `BUSINESS_DAY`.

    Raises:
        ValueError: The text is not a sequence of numbers with units s, m, h, d, w, mo, q, y or b, is longer than a
            `timedelta`, has a part of a month or of a business day, or says ``M``.
    """
    if isinstance(value, timedelta):
        return value
    if _MONTHS.search(str(value)):
        raise ValueError(f"{value!r} may mean months or minutes; write 1mo for a month, 1m for a minute")
    text = str(value).strip().lower()
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-")
    parts = _PART.findall(body)
    if not parts or _PART.sub("", body).strip():
        raise ValueError(f"{value!r} is not a duration; write it as 30m, 24h, 7d, 1h30m, 3mo or 1y")
    if any(unit in ("mo", "q", "y", "b") and float(number) % 1 for number, unit in parts):
        raise ValueError(f"{value!r} has a part of a month or business day; write whole ones, such as 6mo or 5b")
    try:
        return sign * sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())
    except OverflowError as error:
        raise ValueError(f"{value!r} is longer than time is counted") from error


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: ``timedelta(days=15)`` is ``"15d"``."""
    seconds = value.total_seconds()
    if seconds < 0:
        return "-" + format_duration(-value)
    if seconds and not value % MONTH:
        months = value // MONTH
        return f"{months}mo" if months % 12 else f"{months // 12}y"
    if seconds and not value % BUSINESS_DAY and value % timedelta(days=7):
        return f"{value // BUSINESS_DAY}b"
    if seconds != int(seconds):
        return f"{seconds:.6f}".rstrip("0") + "s"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s" if seconds else "0h"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
]
"""A length of time, written ``"15d"``, ``"24h"``, ``"1h30m"``, ``"3mo"``."""


class Declared(BaseModel):
    """Base of all declared objects: immutable, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
