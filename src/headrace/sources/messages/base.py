"""What opening a message may come to, beside the record inside of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Headers = Sequence[tuple[str, bytes | None]]
"""Of one message, as the client gives them."""
Decode = Callable[[bytes, Headers], Any]
"""From the bytes to what they hold, as JSON has it: objects, lists, texts, numbers; and times, where they are typed.

Raises `Unreadable` for bytes that are no such thing. It may wait for a service that it needs.
"""
Opened = tuple[Any, Mapping[str, Any]]
"""The event, and the envelope that it came in."""


class Unreadable(Exception):
    """A message is bad, whatever the contract says. Its text is the reason."""


class Ignored(Exception):
    """A message is no event: it says what it is instead."""


def header(headers: Headers, name: str) -> str | None:
    """The last header of a name, in any case, as text."""
    values = [value for header, value in headers if header.lower() == name]
    return None if not values or values[-1] is None else values[-1].decode(errors="replace")
