"""Texts that came with data, as people may be shown them: one line, of signs that only stand for themselves."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"[@<]|:(?=//)|\](?=\()|\b(?:www)(?=\.)")
"""What a chat makes more of than a text: who is called, tags, addresses and links."""
_BREAK = "\u200b"
LONGEST = 120
"""So many signs of a value are shown in a sentence."""


def legible(text: str, limit: int | None = None) -> str:
    r"""A text without signs that a terminal, a log or a mail acts on: those are written as escapes.

    Args:
        text: Any.
        limit: So many signs at most; what is left out is marked.

    >>> legible("north\nalarm: forged \x1b[2J")
    'north\\nalarm: forged \\x1b[2J'
    >>> legible("abcdef", 4)
    'abc…'
    """
    short = text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…"
    if short.isprintable():
        return short
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in short)


def inert(text: str) -> str:
    """A text that calls nobody and links nowhere where a chat shows it: an invisible sign parts what would.

    >>> inert("@channel <!here> [you](http://x)").replace("\u200b", "|")
    '@|channel <|!here> [you]|(http:|//x)'
    """
    return _ACTIVE.sub(lambda match: match[0] + _BREAK, text)
