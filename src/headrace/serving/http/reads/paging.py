"""Pages of a list: each names the last row that it has, so that what comes new at the other end shifts none."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any

from headrace.errors import NotFoundError


def cursor_of(key: Any) -> str:
    """The text that stands for a row's key, JSON-ready.

    >>> key_of(cursor_of(["2026-03-02", 7]))
    ['2026-03-02', 7]
    """
    text = json.dumps(key, separators=(",", ":"), default=str)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def key_of(cursor: str) -> Any:
    """The key that a cursor stands for.

    Raises:
        NotFoundError: It is none.
    """
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise NotFoundError("is no cursor", where="cursor", hint="take it from `next` of the page before") from error


def page(
    rows: Sequence[Any], limit: int, cursor: str | None, key: Callable[[Any], Any]
) -> tuple[Sequence[Any], str | None]:
    """A page of rows, and the cursor of the next one; None at the end.

    Args:
        rows: All of them, in order.
        limit: How many at most.
        cursor: Of the page before, as it said it; None: the first page.
        key: What tells a row from all others, JSON-ready.

    Raises:
        NotFoundError: There is no such cursor any more.
    """
    start = 0
    if cursor is not None:
        last = cursor_of(key_of(cursor))  # as it would be written today
        place = next((place for place, row in enumerate(rows) if cursor_of(key(row)) == last), None)
        if place is None:
            hint = "begin with the first page"
            raise NotFoundError("what the cursor names is not there any more", where="cursor", hint=hint)
        start = place + 1
    part = rows[start : start + limit]
    more = start + limit < len(rows)
    return part, cursor_of(key(part[-1])) if more and len(part) else None
