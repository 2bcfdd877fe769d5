"""Names of columns that read the same: in another Unicode form, or with blanks around them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def plain_name(name: str) -> str:
    """A name as it reads: composed, without blanks and byte-order marks around it."""
    return unicodedata.normalize("NFC", name).strip().strip("\ufeff").strip()


def found_as(name: str, names: Sequence[str]) -> str | None:
    """What a name is called among others: the very name, or the only one that reads the same; None if there is none."""
    if name in names:
        return name
    alike = [each for each in names if plain_name(each) == plain_name(name)]
    return alike[0] if len(alike) == 1 else None


def under_names(frame: pl.DataFrame, wanted: Iterable[str]) -> pl.DataFrame:
    """The frame with its columns called as wanted, where they read the same."""
    found = {found_as(name, frame.columns): name for name in wanted if name not in frame.columns}
    return frame.rename({theirs: name for theirs, name in found.items() if theirs is not None})
