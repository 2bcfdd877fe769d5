"""`Between`: facts of a range, and which files can hold some of those that a reader wants."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import polars as pl

_CUT = timedelta(milliseconds=1)
"""Statistics of times are cut off to milliseconds."""


class Between(NamedTuple):
    """Facts whose column lies between two values, both included: where no file can hold one, none is opened."""

    column: str
    least: Any
    most: Any

    def may_be_in(self, files: pl.DataFrame) -> pl.Series:
        """Per file of a table, whether its statistics leave room for such a fact."""
        import polars as pl

        low, high = f"min.{self.column}", f"max.{self.column}"
        if not files.schema.get(low, pl.String()).is_temporal():  # texts are cut off there
            return pl.repeat(True, files.height, eager=True)
        beyond = (pl.col(low) > self.most) | (pl.col(high) + _CUT < self.least)
        return files.select(~beyond.fill_null(False)).to_series()

    def holds(self) -> pl.Expr:
        """Whether a fact is one of them. Bounds are values: polars takes a bare text for the name of a column."""
        import polars as pl

        return pl.col(self.column).is_between(pl.lit(self.least), pl.lit(self.most))


def wanted(
    files: pl.DataFrame, between: Between | None, version: int | None = None, as_of: datetime | None = None
) -> pl.DataFrame:
    """Those of a table's files that can hold a fact of a range, a logical version and a known time."""
    import polars as pl

    if between is not None:
        files = files.filter(between.may_be_in(files))
    for column, bound in (("min._version", version), ("min.known_at", as_of)):
        if bound is not None and column in files.columns:
            files = files.filter((pl.col(column) <= pl.lit(bound)).fill_null(True))
    return files
