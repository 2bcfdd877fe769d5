"""Names of columns that read the same: in another Unicode form, or with blanks around them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


_LOOKED_AT = 50


def plain_name(name: str) -> str:
    """A name as it reads: composed, without blanks and byte-order marks around it."""
    return unicodedata.normalize("NFC", name).strip().strip("\ufeff").strip()


def found_as(name: str, names: Sequence[str]) -> str | None:
    """What a name is called among others: the very name, or the only one that reads the same; None if there is none."""
    if name in names:
        return name
    alike = [item for item in names if plain_name(item) == plain_name(name)]
    return alike[0] if len(alike) == 1 else None


def hint_of_header(frame: pl.DataFrame, name: str) -> str:
    """What to say where a name that is missing stands in one of the first rows: the header is further down."""
    import polars as pl

    texts = frame.head(_LOOKED_AT).select(pl.col(pl.String)).get_columns()
    if not any(plain_name(text) == plain_name(name) for column in texts for text in column.drop_nulls()):
        return ""
    return f"; {name!r} stands in a row below: if that is the header, say how many lines are above it: Source(skip=...)"


def under_names(frame: pl.DataFrame, names: Iterable[str]) -> pl.DataFrame:
    """The frame with its columns called as wanted, where they read the same."""
    renames = {found_as(name, frame.columns): name for name in names if name not in frame.columns}
    return frame.rename({old: name for old, name in renames.items() if old is not None})
