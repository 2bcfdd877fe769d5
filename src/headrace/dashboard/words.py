"""Numbers, times and states as people read them; filters of the templates."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

STATES = {
    "good": "good",
    "ok": "good",
    "done": "good",
    "champion": "good",
    "warning": "warning",
    "warn": "warning",
    "pending": "warning",
    "stopped": "warning",
    "absent": "unknown",
    "queued": "unknown",
    "running": "unknown",
    "cancelled": "unknown",
    "bad": "bad",
    "alarm": "bad",
    "failed": "bad",
    "lost": "bad",
    "quarantine": "bad",
    "fail": "bad",
}
WORST_FIRST = ("bad", "warning", "unknown", "good")
_SIGNS = {"good": "✓", "warning": "▲", "bad": "✕", "unknown": "?"}
_LONG = 24
_OWN_SIGNS = {"queued": "…", "running": "▶", "cancelled": "■"}
_UNITS = ((86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))


def moment(value: object) -> datetime | None:
    """A time out of an answer, in UTC; None where it is none.

    >>> moment("2026-03-09T06:00:00Z").isoformat()
    '2026-03-09T06:00:00+00:00'
    """
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def clock(value: object) -> str:
    """A time, to the minute.

    >>> clock("2026-03-09T06:00:00Z")
    '2026-03-09 06:00'
    """
    found = moment(value)
    return "–" if found is None else f"{found:%Y-%m-%d %H:%M}"


def lasted(seconds: object) -> str:
    """A duration in its two largest units.

    >>> lasted(5400), lasted(0.25), lasted(None)
    ('1 h 30 min', '250 ms', '–')
    """
    if not isinstance(seconds, int | float):
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts, rest = [], round(seconds / 60) * 60
    for size, unit in _UNITS:
        if rest >= size:
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2])


def ago(value: object, now: datetime) -> str:
    """How long ago, or in how long.

    >>> ago("2026-03-09T06:00:00Z", datetime(2026, 3, 9, 8, tzinfo=UTC))
    '2 h ago'
    """
    found = moment(value)
    if found is None:
        return "–"
    seconds = (now - found) / timedelta(seconds=1)
    if abs(seconds) < 45:
        return "just now"
    text = lasted(abs(seconds)).split(" ")
    short = " ".join(text[:2])
    return f"{short} ago" if seconds > 0 else f"in {short}"


def number(value: object, share: bool = False) -> str:
    """A number with four digits that count; a share in per cent.

    >>> number(12345.678), number(0.12345), number(0.5, share=True), number(None)
    ('12,346', '0.1235', '50.0 %', '–')
    """
    if value is None or value == "":
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if value != value:
        return "–"
    if abs(value) < 1e-12:
        value = 0
    if share:
        return f"{value * 100:.1f} %"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def timely(value: object) -> bool:
    """Whether a cell is a time.

    >>> timely("2026-03-09T06:00:00Z"), timely("2026-03-09"), timely(7)
    (True, False, False)
    """
    return isinstance(value, str) and len(value) >= 19 and value[10] in "T " and moment(value) is not None


def long(value: object) -> bool:
    """Whether a cell needs room, and may be broken anywhere.

    >>> long("file:/data/2026/03/09/listings.jsonl"), long("north")
    (True, False)
    """
    return isinstance(value, str | list | tuple | Mapping) and len(cell(value)) > _LONG


def cell(value: object) -> str:
    """Any value of a table: numbers and times as people read them, everything else as it is."""
    if isinstance(value, str):
        return clock(value) if timely(value) else value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items()) or "–"
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value)) or "–"
    return number(value)


def state(value: object) -> str:
    """One of ``good warning bad unknown`` for a state of any part of the API."""
    return STATES.get(str(value), "unknown")


def sign(value: object) -> str:
    """The sign that a state has beside its colour."""
    return _OWN_SIGNS.get(str(value)) or _SIGNS[state(value)]


def numeric(value: Any) -> bool:
    """Whether a cell stands on the right."""
    return isinstance(value, int | float) and not isinstance(value, bool)
