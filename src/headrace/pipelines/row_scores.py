"""Errors of predicted probabilities as sums that can be added up: by day, by model version, over any time.

A score is about the predictions of one day by one model version whose probability lies in one bin. From sums of such
scores every metric follows, the area under the ROC curve and the calibration too, so none needs the predictions again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

BINS = 200
"""Of a probability from 0 to 1. Rows of one bin count as equal in `auc`."""
TENTHS = 10
"""Groups of probabilities that `calibration` compares with what happened."""
SUMS = ("expected", "n", "right", "actual", "probability", "squared", "log")
"""Predictions, those whose truth is known, and of these: right classes, second classes y, probabilities p, (p - y)^2,
and -ln of the probability given to what happened, in nats."""
METRICS = ("accuracy", "log_loss", "brier", "auc", "calibration", "rate", "predicted_rate")
GROUP = ("time", "model_version", "bin")

_SMALLEST = 1e-15  # probabilities are clipped there, so that a loss is finite


def scores(pairs: pl.DataFrame) -> pl.DataFrame:
    """The score of every group of predictions.

    Args:
        pairs: Predictions: `time` and `model_version`, `probability` of the second class, `actual` (1 where it was the
            second class, 0 where not, null where that is not known or does not count), `right` (whether the class was),
            `known_at` of what is said. The order of rows within a group decides the last bit of its sums.

    Returns:
        `GROUP`, `SUMS` and `known_at`, ordered by group.
    """
    import polars as pl

    bins = (pairs["probability"] * BINS).floor().cast(pl.Int64).clip(0, BINS - 1).alias("bin")
    pairs = pairs.with_columns(bins).sort(GROUP, maintain_order=True)
    group = pairs.select(pl.struct(GROUP).rle_id()).to_series().to_numpy()
    groups = pairs.group_by(GROUP, maintain_order=True).agg(pl.col("known_at").max())
    # One addition after the other in the order of the rows: equal rows give equal bits, whatever else is in the table.
    count = groups.height
    totals = {name: np.bincount(group, weights=part, minlength=count) for name, part in _parts(pairs)}
    return groups.with_columns(pl.Series(name, total, dtype=pl.Float64) for name, total in totals.items())


def _parts(pairs: pl.DataFrame) -> list[tuple[str, Array]]:
    actual = pairs["actual"].cast(float).fill_null(float("nan")).to_numpy()
    known = ~np.isnan(actual)
    p, y = pairs["probability"].to_numpy(), np.where(known, actual, 0.0)
    said = np.clip(np.where(y == 1, p, 1 - p), _SMALLEST, 1)
    right = pairs["right"].cast(float).fill_null(0.0).to_numpy()
    parts = (np.ones(p.size), known, known * right, y, known * p, known * (p - y) ** 2, known * -np.log(said))
    return [(name, part.astype(np.float64)) for name, part in zip(SUMS, parts, strict=True)]


def measures(totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The metrics of every group of scores: `by`, `expected`, `n` and `METRICS`, ordered by `by`.

    `auc` counts rows of one bin as ties; `calibration` is the mean distance, over tenths of the probability, between
    what was predicted and the share of the second class (expected calibration error); `rate` is that share and
    `predicted_rate` the mean probability. Null where there is nothing to compare. An empty `by` gives one row over
    everything.
    """
    import polars as pl

    sums = totals.group_by([*by, "bin"], maintain_order=True).agg(pl.col(SUMS).sum()).sort([*by, "bin"])
    n = pl.col("n").sum()
    tenths = (pl.col("bin") // (BINS // TENTHS)).alias("tenth")
    gaps = sums.group_by([*by, tenths], maintain_order=True).agg((pl.col("probability") - pl.col("actual")).sum().abs())
    found = (
        _grouped(sums, by)
        .agg(
            pl.col("expected").sum().cast(pl.Int64),
            n.cast(pl.Int64),
            *(_share(pl.col(part).sum(), n).alias(name) for name, part in _MEANS.items()),
            _auc().alias("auc"),
        )
        .drop("_", strict=False)
    )
    gap = _grouped(gaps, by).agg(pl.col("probability").sum().alias("calibration")).drop("_", strict=False)
    found = found.hstack([(gap["calibration"] / found["n"]).fill_nan(None)])
    return found.select(*by, "expected", "n", *METRICS)


_MEANS = {
    "accuracy": "right",
    "log_loss": "log",
    "brier": "squared",
    "rate": "actual",
    "predicted_rate": "probability",
}


def _grouped(frame: pl.DataFrame, by: Sequence[str]) -> pl.dataframe.group_by.GroupBy:
    import polars as pl

    return frame.group_by(by or [pl.lit(0).alias("_")], maintain_order=True)


def _share(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    import polars as pl

    return pl.when(whole > 0).then(part / whole)


def _auc() -> pl.Expr:
    """How often a row of the second class has the larger bin, of all pairs of the two classes; ties count half."""
    import polars as pl

    second, first = pl.col("actual"), pl.col("n") - pl.col("actual")
    below = first.cum_sum() - first / 2
    return _share((second * below).sum(), second.sum() * first.sum())


def reliability(totals: pl.DataFrame) -> pl.DataFrame:
    """Per tenth of the probability that has matured predictions: `n`, mean `probability`, share `actual`."""
    import polars as pl

    tenths = (pl.col("bin") // (BINS // TENTHS)).alias("tenth")
    sums = totals.group_by(tenths).agg(pl.col("n", "probability", "actual").sum()).filter(pl.col("n") > 0).sort("tenth")
    return sums.with_columns(pl.col("probability", "actual") / pl.col("n")).with_columns(pl.col("n").cast(pl.Int64))
