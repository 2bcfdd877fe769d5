"""Where a value lies inside of a nested record: ``a.b[0].c``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]
ENVELOPE = "@"
"""First part of a path that begins at the envelope rather than at the event inside of it."""
_PART = re.compile(r"""(?:^|\.)(?P<name>[^.\[\]"']+)|\[(?P<place>\d{1,9})\]|\[(?P<quoted>"[^"]+"|'[^']+')\]""")


def parsed(text: str) -> Path:
    r"""The names and places that a path is made of.

    Args:
        text: Names with points between them, places in lists as ``[0]``, names that have points in them as ``["a.b"]``.

    Raises:
        ValueError: It is no path.

    >>> parsed("a.b[0].c")
    ('a', 'b', 0, 'c')
    >>> parsed('a["x.y"]')
    ('a', 'x.y')
    """
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None or (match["name"] is not None and text[position] == "." and position == 0):
            break
        name, place, quoted = match.group("name", "place", "quoted")
        parts.append(int(place) if place is not None else name if name is not None else quoted[1:-1])
        position = match.end()
    if position < len(text) or not parts or isinstance(parts[0], int):
        raise ValueError(f"{text!r} is no path: write names with points between them, as in a.b[0].c")
    return tuple(parts)


def found(record: Any, path: Path) -> Any:
    """The value at a path; None where there is nothing.

    >>> found({"a": [{"b": 7}]}, ("a", 0, "b"))
    7
    """
    for part in path:
        if isinstance(part, str):
            record = record.get(part) if isinstance(record, Mapping) else None
        else:
            record = record[part] if isinstance(record, (list, tuple)) and part < len(record) else None
        if record is None:
            return None
    return record
