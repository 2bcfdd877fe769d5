"""What every declared object is made of: frozen, strict about unknown fields, with readable durations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(value: object) -> timedelta:
    """A duration from ``"15d"``, ``"1h30m"``, ``"0h"``, or a ``timedelta``.

    Raises:
        ValueError: The text is not a sequence of numbers with units s, m, h, d or w, or is longer than a `timedelta`.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip().lower()
    sign = -1 if text.startswith("-") else 1
    body = text.lstrip("+-")
    parts = _PART.findall(body)
    if not parts or _PART.sub("", body).strip():
        raise ValueError(f"{value!r} is not a duration; write it as 30m, 24h, 7d or 1h30m")
    try:
        return sign * sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
    except OverflowError as error:
        raise ValueError(f"{value!r} is longer than time is counted") from error


def format_duration(value: timedelta) -> str:
    """The shortest text that `parse_duration` reads back: ``timedelta(days=15)`` is ``"15d"``."""
    seconds = value.total_seconds()
    if seconds < 0:
        return "-" + format_duration(-value)
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
"""A length of time, written ``"15d"``, ``"24h"``, ``"1h30m"``."""


class Declared(BaseModel):
    """Base of all declared objects: immutable, and an unknown field is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
