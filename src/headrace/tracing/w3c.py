"""W3C's Trace Context: what the headers ``traceparent`` and ``tracestate`` say, and what of them counts."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
_PARENT = re.compile(
    r"(?:00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
    r"|(?!00|ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?)"
).fullmatch
"""Of a later version only what is known here is read."""
_MEMBER = re.compile(
    r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
).fullmatch
_MEMBERS, _ROOM, _LONG = 32, 512, 128
"""Members of a state at most; characters that are passed on; a member beyond which it is the first to go."""


class TraceContext(NamedTuple):
    """A place in a trace.

    Attributes:
        trace: 32 hexadecimal digits.
        span: 16 of the caller's span.
        flags: The lowest bit says that the caller records the trace.
        state: What systems on the way add, as ``tracestate`` has it; empty where there is none.
    """

    trace: str
    span: str
    flags: int = 0
    state: str = ""

    @property
    def parent(self) -> str:
        """As ``traceparent`` tells it."""
        return f"00-{self.trace}-{self.span}-{self.flags:02x}"

    @property
    def text(self) -> str:
        """As a ledger keeps it: trace and span with a hyphen between, then the state after a blank."""
        return f"{self.trace}-{self.span} {self.state}" if self.state else f"{self.trace}-{self.span}"


def context_of(parent: bytes | str | None, state: bytes | str | None = None) -> TraceContext | None:
    """The place in a trace that the two headers tell of; None where ``traceparent`` is none.

    A ``tracestate`` counts only beside a ``traceparent`` that does; one that is not well formed is left out.

    >>> context_of(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b").text
    '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7 a=b'
    """
    match = _PARENT(_text(parent).strip(" \t")) if parent else None
    if match is None:
        return None
    trace, span, flags = (group for group in match.groups() if group is not None)
    return TraceContext(trace, span, int(flags, 16), state_of(_text(state)) if state else "")


def from_text(text: str) -> TraceContext:
    """What `TraceContext.text` made."""
    trace, _, remainder = text.partition("-")
    span, _, state = remainder.partition(" ")
    return TraceContext(trace, span, 0, state)


@lru_cache(256)
def state_of(text: str) -> str:
    """A ``tracestate`` in its shortest form; empty where it is not well formed. Of a long one as much as has room.

    >>> state_of("a=b, ,c=d")
    'a=b,c=d'
    """
    members = [stripped for part in text.split(",") if (stripped := part.strip(" \t"))]
    if len(members) > _MEMBERS or not all(map(_MEMBER, members)):
        return ""
    if len({member.partition("=")[0] for member in members}) < len(members):
        return ""
    while members and sum(map(len, members)) + len(members) - 1 > _ROOM:
        longest = [place for place, member in enumerate(members) if len(member) > _LONG]
        del members[longest[-1] if longest else -1]
    return ",".join(members)


def _text(header: bytes | str | None) -> str:
    return header.decode("latin-1") if isinstance(header, bytes) else header or ""
