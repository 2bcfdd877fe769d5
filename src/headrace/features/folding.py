"""One spelling for texts that people read as the same: Unicode's compatibility forms and case are folded.

A text of ASCII alone is in lower case. Any other is brought to NFKC, case-folded and brought to NFKC again, as
Unicode's toNFKC_Casefold does; then what is neither a letter, a digit nor a mark of one becomes a space. Accents stay.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

WORD = re.compile("[0-9a-z\x80-\U0010ffff]+")
"""A word of a folded text: letters, digits and their marks."""
_ASCII, _SPACE = 128, 32
_SELECTORS = range(0xFE00, 0xFE10)
"""Say whether the character before is drawn as text or as a picture."""


class _Characters(dict[int, "int | None"]):
    """What each character of a folded text becomes, found where it is first met; None takes it out."""

    def __missing__(self, code: int) -> int | None:
        category = unicodedata.category(chr(code))
        letter = code < _ASCII or category[0] in "LNM"
        invisible = category == "Cf" or code in _SELECTORS
        kept = self[code] = None if invisible else code if letter else _SPACE
        return kept


_CHARACTERS = _Characters()


def fold(text: str) -> str:
    """The text in the one spelling of its words.

    >>> fold("Größe Ⅷ, CAFÉ")
    'grösse viii, café'
    """
    if text.isascii():
        return text.lower()
    normal = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFKC", normal).translate(_CHARACTERS)


def folded(texts: pl.Series) -> pl.Series:
    """`fold` of the texts of a column that are not ASCII alone; the others stay, for their bytes are lowered later.

    Args:
        texts: None missing.
    """
    import polars as pl

    beyond = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if not beyond.len():
        return texts
    changed = pl.Series([fold(text) for text in texts.gather(beyond).to_list()], dtype=pl.String)
    return texts.clone().scatter(beyond, changed)
