"""The hour that happens twice: which of two equal local times is meant, by the order of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.contract.column import Column

if TYPE_CHECKING:
    import polars as pl


def happens_twice(column: Column, times: pl.Series) -> pl.Series:
    """Which times (UTC) have a local time that another moment has as well."""
    assert column.zone is not None
    local = times.dt.convert_time_zone(column.zone).dt.replace_time_zone(None)
    return (
        local.dt.replace_time_zone(column.zone, ambiguous="null", non_existent="null").is_null() & local.is_not_null()
    )


def copies(local: pl.Series, again: pl.Series, series: pl.DataFrame) -> pl.Series:
    """For each row ``earliest`` or ``latest``, or null where the order of the rows does not tell.

    Of two rows of a series with one local time the first is the earlier. They may stand side by side or in two blocks.
    Where one of the two is missing, the step back from one block to the next tells; without it rows after which their
    series ends are the earlier ones, rows before which it begins the later ones. Rows of a series that stand with the
    newest first are taken from the end.

    Args:
        local: Local times without a zone, in the order of the rows; null where there is none.
        again: Which of them happen twice.
        series: The keys, one row for each time, in one column at least.
    """
    import polars as pl

    series = series.rename(lambda name: f"key {name}")
    keys = series.columns
    rows = series.with_columns(local.alias("local"), again.alias("again")).with_row_index("row")
    rows = rows.filter(pl.col("local").is_not_null())
    rows = rows.join(rows.filter("again").select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    sure = pl.col("local").filter(~pl.col("again"))
    row = pl.col("row").cast(pl.Int64)
    rows = rows.with_columns(pl.when((sure.first() > sure.last()).over(keys)).then(-row).otherwise(row).alias("at"))
    rows = rows.sort("at").with_columns(
        pl.col("at").min().over(keys).alias("first"), pl.col("at").max().over(keys).alias("last")
    )
    nights = _of_nights(rows.filter("again"), keys)
    empty = pl.Series([None], dtype=pl.String).new_from_index(0, local.len())
    return empty.scatter(nights["row"], nights["which"])


def _of_nights(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """``row`` and ``which`` of rows that happen twice, in their order."""
    import polars as pl

    night = [*keys, "night"]
    rows = rows.with_columns(pl.col("local").dt.date().alias("night"))
    is_back = (pl.col("local") < pl.col("local").shift(1)).fill_null(False)
    rows = rows.with_columns(
        pl.len().over(*keys, "local").alias("count"),
        pl.int_range(pl.len()).over(*keys, "local").alias("rank"),
        is_back.cum_sum().over(night).alias("block"),
    )
    rows = rows.with_columns(pl.len().over(*keys, "local", "block").alias("in_block"))
    count, block = pl.col("count"), pl.col("block")
    plain = (pl.col("in_block").max() == 1) | (count.max() > 2)  # of many events several may have one time
    two_blocks = ((block.max() == 1) & plain).over(night)
    one_each = ((block.max() == 0) & (count.max() == 1)).over(night)
    begins = (pl.col("at").min() == pl.col("first").min()).over(night)
    ends = (pl.col("at").max() == pl.col("last").max()).over(night)
    place = (
        pl.when((count == 2).all().over(night))
        .then("rank")
        .when(two_blocks)
        .then("block")
        .when(count == 2)
        .then("rank")
        .when(one_each & ends & ~begins)
        .then(0)
        .when(one_each & begins & ~ends)
        .then(1)
    )
    return rows.select(
        "row", pl.when(place == 0).then(pl.lit("earliest")).when(place == 1).then(pl.lit("latest")).alias("which")
    )
