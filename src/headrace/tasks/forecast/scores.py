"""Errors of forecasts as sums that can be added up: by series, by step ahead, by run, over any time.

A score holds, for the forecast itself and for each baseline, the sums from which its metrics follow. Sums of scores
are scores, so a metric over a month costs no look at the predictions of the month.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headrace.tasks.forecast.predictor import baseline_column

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

SUMS = ("n", "actual", "absolute", "relative_n", "relative", "squared", "error", "scaled_n", "scaled", "scaled_squared")
"""Of one forecast: pairs, |y|, |e|, pairs with y != 0, |e / y|, e^2, e = forecast - y, pairs with scale,
|e / scale|, (e / scale)^2""" ""
INTERVAL = ("interval_n", "covered")
EXPECTED = "expected"
"""Predictions that were made, matured or not."""
METRICS = ("mape", "wape", "rmse", "mase", "rmsse", "bias")
FORMULAS = {
    "mape": ("relative", "relative_n"),
    "wape": ("absolute", "actual"),
    "rmse": ("squared", "n"),
    "mase": ("scaled", "scaled_n"),
    "rmsse": ("scaled_squared", "scaled_n"),
    "bias": ("error", "n"),
    "mae": ("absolute", "n"),
    "coverage": ("covered", "interval_n"),
}
"""Each metric as a sum over another; of `_ROOTS` the root of it."""
_ROOTS = ("rmse", "rmsse")
_MOSTLY = ("mape", "wape")


def naive_name(season: timedelta) -> str:
    """What the metrics of a seasonal-naive forecast begin with: ``naive_1d``."""
    return baseline_column(season).replace("baseline", "naive")


def ours_name(season: timedelta) -> str:
    """What the forecast's own metrics begin with on the pairs that a seasonal-naive forecast has."""
    return f"{naive_name(season)}_model"


def sum_columns(seasons: Iterable[timedelta]) -> list[str]:
    """All columns of a score: of the forecast, of each naive one, and of the forecast on the pairs of each."""
    names = ["", *(f"{name_of(season)}_" for season in seasons for name_of in (naive_name, ours_name))]
    return [EXPECTED, *INTERVAL, *(f"{name}{column}" for name in names for column in SUMS)]


def scores(pairs: pl.DataFrame, groupings: Sequence[Sequence[str]], seasons: Sequence[timedelta]) -> list[pl.DataFrame]:
    """The score of every group of predictions, for each grouping.

    Args:
        pairs: Predictions (`value lower upper scale baseline_*`) with their truth in `actual`, null where it is not
            known. The order of rows within a group decides the last bit of its sums.
        groupings: Columns that make a group.
        seasons: Of the baselines.

    Returns:
        For each grouping its columns and those of `sum_columns`, ordered by the former.
    """
    shares = _contributions(pairs, seasons)
    return [_totals(pairs.select(by), shares) for by in groupings]


def _totals(values: pl.DataFrame, shares: Mapping[str, Array]) -> pl.DataFrame:
    """The sums of shares by group, of rows that belong to these."""
    import polars as pl

    groups = values.unique().sort(values.columns)
    numbered = groups.with_row_index("_group")
    group = values.join(numbered, on=values.columns, how="left", nulls_equal=True, maintain_order="left")[
        "_group"
    ].to_numpy()
    # One addition after the other in the order of the rows: equal rows give equal bits, whatever else is in the table.
    different = {id(share): share for share in shares.values()}
    totals = {key: np.bincount(group, weights=share, minlength=groups.height) for key, share in different.items()}
    return groups.with_columns(pl.Series(name, totals[id(share)].astype(float)) for name, share in shares.items())


def _contributions(pairs: pl.DataFrame, seasons: Sequence[timedelta]) -> dict[str, Array]:
    actual, value, lower, upper, scale = (_floats(pairs, c) for c in ("actual", "value", "lower", "upper", "scale"))
    known = ~np.isnan(actual) & ~np.isnan(lower) & ~np.isnan(upper)
    columns_found = {
        EXPECTED: np.ones(pairs.height),
        "interval_n": known.astype(np.float64),
        "covered": (known & (actual >= lower) & (actual <= upper)).astype(np.float64),
    }
    totals_own = _sums(actual, value, scale)
    columns_found |= totals_own
    for season in seasons:
        naive = np.where(np.isnan(value), np.nan, _floats(pairs, baseline_column(season)))
        lacks = np.isnan(naive) & ~np.isnan(value)
        common = _sums(actual, np.where(lacks, np.nan, value), scale) if lacks.any() else totals_own
        for name, sums in ((naive_name(season), _sums(actual, naive, scale)), (ours_name(season), common)):
            columns_found |= {f"{name}_{column}": values for column, values in sums.items()}
    return columns_found


def _sums(actual: Array, forecast: Array, scale: Array) -> dict[str, Array]:
    error = forecast - actual
    present = ~np.isnan(error)
    error, size = np.where(present, error, 0.0), np.where(present, np.abs(actual), 0.0)
    relative, scaled = present & (size > 0), present & (scale > 0)
    absolute = np.abs(error)
    in_units = np.divide(absolute, scale, out=np.zeros_like(size), where=scaled)
    columns = (
        present,
        size,
        absolute,
        relative,
        np.divide(absolute, size, out=np.zeros_like(size), where=relative),
        error * error,
        error,
        scaled,
        in_units,
        in_units * in_units,
    )
    return {name: column.astype(np.float64, copy=False) for name, column in zip(SUMS, columns, strict=True)}


def _floats(frame: pl.DataFrame, column: str) -> Array:
    if column not in frame.columns:
        return np.full(frame.height, np.nan)
    return frame[column].cast(float).fill_null(float("nan")).to_numpy()


def measures(totals: pl.DataFrame, by: Sequence[str], seasons: Sequence[timedelta]) -> pl.DataFrame:
    """The metrics of every group of scores: `by`, `expected`, `n`, `METRICS`, `coverage`, and ``naive_*`` ones.

    Those of a naive forecast stand beside its pairs, ``naive_1d_n``, and the forecast's own on the very same pairs,
    ``naive_1d_model_*``: where a naive forecast is missing, the others are not compared with it.

    Shares are shares (0.05 is 5 %); `rmse` and `bias` are in the target's unit; null where there is nothing to compare.
    An empty `by` gives one row over everything.
    """
    import polars as pl

    there = [c for c in sum_columns(seasons) if c in totals.columns]
    sums = pl.col(there).sum()
    grouped = totals.group_by(by, maintain_order=True).agg(sums) if by else totals.select(sums)
    columns = [pl.col(EXPECTED).cast(pl.Int64), pl.col("n").cast(pl.Int64), *_metrics("")]
    columns.append(_share("covered", "interval_n").alias("coverage"))
    for season in seasons:
        name = f"{naive_name(season)}_"
        if f"{name}n" in there:
            columns += [pl.col(f"{name}n").cast(pl.Int64), *_metrics(name), *_metrics(f"{ours_name(season)}_")]
    return grouped.select(*by, *columns)


def _metrics(name: str) -> list[pl.Expr]:
    return metric_columns(name, METRICS)


def metric_columns(name: str, metrics: Sequence[str]) -> list[pl.Expr]:
    """Metrics of one forecast. Where most values are zero there is no MAPE and no WAPE: zero would win them."""
    import polars as pl

    columns = []
    for metric in metrics:
        part, total = FORMULAS[metric]
        value = _share(f"{name}{part}", f"{name}{total}")
        if metric in _MOSTLY:
            value = pl.when(pl.col(f"{name}relative_n") * 2 >= pl.col(f"{name}n")).then(value)
        columns.append((value.sqrt() if metric in _ROOTS else value).alias(f"{name}{metric}"))
    return columns


def metric_sums(metric: str) -> tuple[str, ...]:
    """The sums that a metric follows from."""
    return (*FORMULAS[metric], *(("relative_n", "n") if metric in _MOSTLY else ()))


def _share(part: str, total: str) -> pl.Expr:
    import polars as pl

    return pl.when(pl.col(total) > 0).then(pl.col(part) / pl.col(total))
