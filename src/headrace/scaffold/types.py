"""What type a column of a file has: the narrowest that all its values have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.contract.column import Column
from headrace.contract.parse import parse_column

if TYPE_CHECKING:
    import polars as pl

_EACH = 4
"""Texts of which a value has so many rows on average are categories."""
_SPELLINGS = 2
"""Different texts among numbers that may spell a missing value, each of them"""
_AGAIN = 3
"""so often, or more."""


def typed(raw: pl.Series, *, key: bool) -> tuple[Column, pl.Series]:
    """The column, and its values.

    Args:
        raw: As the source reads it; its name is the column's.
        key: Whether it tells one series or row from another: then text stays text, and no value is missing.
    """
    for column in _keys(raw) if key else _candidates(raw):
        parsed = parse_column(column, raw)
        if not any(fault.mask.any() for fault in parsed.faults):
            nullable = parsed.values.null_count() > 0 and not key
            return column.model_copy(update={"nullable": nullable}), parsed.values
    return Column(raw.name, "text", nullable=raw.null_count() > 0), raw


def _keys(raw: pl.Series) -> Iterator[Column]:
    """Whole numbers if no other text is written as they are: 007 is none."""
    import polars as pl

    whole = raw.str.contains(r"^(0|[1-9]\d{0,17})$").all() if raw.dtype == pl.String else raw.dtype.is_integer()
    if whole:
        yield Column(raw.name, "integer", nullable=True)
    yield Column(raw.name, "category")


def _candidates(raw: pl.Series) -> Iterator[Column]:
    name = raw.name
    whole, part = Column(name, "integer", nullable=True), Column(name, "float", nullable=True)
    comma = Column(name, "float", nullable=True, decimal=",")
    yield from (whole, part, Column(name, "boolean", nullable=True), comma)
    yield Column(name, "time", nullable=True, zone="UTC")
    yield from filter(None, (_spelled(column, raw) for column in (whole, part, comma)))
    if raw.n_unique() <= max(50, raw.len() // _EACH):
        yield Column(name, "category", nullable=True)


def _spelled(column: Column, raw: pl.Series) -> Column | None:
    """The column if all that is no number is a text or two that come again and again: they mean a missing value."""
    parsed = parse_column(column, raw)
    texts = raw.filter(parsed.values.is_null() & raw.is_not_null()).value_counts()
    if not 1 <= texts.height <= _SPELLINGS or parsed.values.n_unique() <= texts.height + 2:
        return None
    again = bool((texts["count"] >= _AGAIN).all())
    return column.model_copy(update={"missing": tuple(sorted(map(str, texts[raw.name])))}) if again else None
