"""Frames by their key columns. A lone series has none, and polars neither selects nor joins on no columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import polars as pl


def key_frame(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The key columns of a frame, as many rows high as it is also where there are none."""
    import polars as pl

    return frame.select(keys) if keys else pl.DataFrame(height=frame.height)


def joined(
    left: pl.DataFrame, right: pl.DataFrame, on: Sequence[str], how: Literal["left", "semi", "inner"] = "left"
) -> pl.DataFrame:
    """The join of two frames in the left one's order; nulls equal one another.

    Without columns to join on, all rows belong to the one series: the right one then has a row, or none.
    """
    import polars as pl

    if on:
        return left.join(right, on=list(on), how=how, nulls_equal=True, maintain_order="left")
    if how == "semi" or not right.width:
        return left if right.height or how == "left" else left.clear()
    if not right.height and how == "inner":
        return left.join(right, how="cross")
    values = right.row(0) if right.height else (None,) * right.width
    return left.with_columns(
        pl.lit(value, dtype).alias(name) for (name, dtype), value in zip(right.schema.items(), values, strict=True)
    )


def numbers_in(known: pl.DataFrame, keys: pl.DataFrame) -> pl.Series:
    """The row of `known` that each row of `keys` equals (UInt32), null where there is none; both key columns alone."""
    return joined(keys, known.with_row_index("_row"), known.columns)["_row"]
