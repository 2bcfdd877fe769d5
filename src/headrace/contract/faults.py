"""A fault: one rule that rows of a batch broke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

RAW = "raw:"
"""Prefix of the columns of a working frame that hold values as they came."""
WRITTEN = ":written"
"""A column of a working frame: the end of a row's step, where that is what its time names."""

_SHOWN = 80


@dataclass(frozen=True)
class RuleFault:
    """Which rows broke one rule, and how to say it.

    Args:
        label: The rule in words, for counts: ``consumption: below the minimum 0``.
        mask: One boolean per row of the working frame, never null.
        reason: The reason of a row, over the working frame; computed for bad rows only.
    """

    label: str
    mask: pl.Series
    reason: pl.Expr

    def filter(self, keep: pl.Series) -> RuleFault:
        """The same fault over a part of the rows."""
        return RuleFault(self.label, self.mask.filter(keep), self.reason)


def shown(name: str, dtype: pl.DataType) -> pl.Expr:
    """A value as people read it: text in quotes and cut, times in ISO 8601."""
    import polars as pl

    value = pl.col(name)
    if dtype == pl.String:
        cut = pl.when(value.str.len_chars() > _SHOWN).then(value.str.slice(0, _SHOWN) + pl.lit("…")).otherwise(value)
        return pl.format("'{}'", cut)
    if isinstance(dtype, pl.Datetime):
        zone = "Z" if dtype.time_zone == "UTC" else "%:z" if dtype.time_zone else ""
        return value.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object, pl.Null):
        return pl.lit(f"a value of type {dtype}")
    return value.cast(pl.String)


def said(name: str, value: pl.Expr, what: str) -> pl.Expr:
    """``consumption: -5.0 is below the minimum 0`` from a value and what is wrong with it."""
    import polars as pl

    # The text goes in as a literal: names and patterns may hold braces, which a format string would read.
    return pl.concat_str([pl.lit(f"{name}: "), value.fill_null("null"), pl.lit(f" {what}")])
