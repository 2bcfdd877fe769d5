"""Errors of forecasts and coverage of intervals: pure functions of arrays.

`actual` and `predicted` are float64 arrays of one shape; pairs in which either is missing (NaN) are left out. Without
a single pair the result is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
STORED: dict[str, tuple[str, ...]] = {
    "forecast": ("mape", "wape", "rmse", "mase", "rmsse", "bias", "mae", "coverage"),
    "binary": ("accuracy", "log_loss", "brier", "auc", "calibration", "rate", "predicted_rate"),
    "multiclass": ("accuracy", "log_loss", "brier", "macro_f1", "calibration", "confidence"),
    "regression": ("mae", "rmse", "rmsle", "wape", "bias", "r2", "coverage", "width"),
}
"""What is measured of stored predictions, by what they are: forecasts, or an output of rows."""


def mape(actual: Array, predicted: Array) -> float:
    """Mean absolute percentage error, as a share: mean(|a - p| / |a|) over pairs with a != 0."""
    a, p = _pairs(actual, predicted)
    known = a != 0
    return _mean(np.abs(a[known] - p[known]) / np.abs(a[known]))


def wape(actual: Array, predicted: Array) -> float:
    """Weighted absolute percentage error, as a share: sum|a - p| / sum|a|. NaN where every value is zero."""
    a, p = _pairs(actual, predicted)
    total = np.abs(a).sum()
    return float(np.abs(a - p).sum() / total) if total else float("nan")


def rmse(actual: Array, predicted: Array) -> float:
    """Root mean squared error, in the target's unit."""
    a, p = _pairs(actual, predicted)
    return float(np.sqrt(_mean((a - p) ** 2)))


def rmse_error(actual: Array, predicted: Array) -> float:
    """Standard error of `rmse`, in the target's unit: that of the mean squared error, divided by 2 RMSE (delta method).

    NaN for fewer than two pairs.
    """
    a, p = _pairs(actual, predicted)
    squares = (a - p) ** 2
    if squares.size < 2 or not squares.any():
        return float("nan") if squares.size < 2 else 0.0
    return float(squares.std(ddof=1) / math.sqrt(squares.size) / (2 * np.sqrt(squares.mean())))


def mae(actual: Array, predicted: Array) -> float:
    """Mean absolute error, in the target's unit."""
    a, p = _pairs(actual, predicted)
    return _mean(np.abs(a - p))


def bias(actual: Array, predicted: Array) -> float:
    """Mean of p - a, in the target's unit: above zero when the forecast is too high."""
    a, p = _pairs(actual, predicted)
    return _mean(p - a)


def smape(actual: Array, predicted: Array) -> float:
    """Symmetric MAPE as a share, 0 to 2: mean(2|a - p| / (|a| + |p|)), pairs of zeros count as 0 (M4's definition)."""
    a, p = _pairs(actual, predicted)
    size = np.abs(a) + np.abs(p)
    return _mean(np.where(size > 0, 2 * np.abs(a - p) / np.where(size > 0, size, 1), 0.0))


def mase(actual: Array, predicted: Array, scale: Array | float) -> float:
    """Mean absolute scaled error (Hyndman & Koehler 2006): mean(|a - p| / scale).

    Args:
        scale: In-sample mean absolute error of the seasonal-naive forecast, per pair or one for all; see
            `seasonal_scale`. Pairs with a scale of zero or NaN are left out.
    """
    s = np.broadcast_to(np.asarray(scale, dtype=np.float64), actual.shape)
    good = ~np.isnan(actual) & ~np.isnan(predicted) & (s > 0)
    return _mean(np.abs(actual[good] - predicted[good]) / s[good])


def rmsse(actual: Array, predicted: Array, scale: Array | float) -> float:
    """Root mean squared scaled error (Makridakis et al. 2022): sqrt(mean(((a - p) / scale)^2)).

    Args:
        scale: In-sample root mean squared change from one value to the next, per pair or one for all. Pairs with a
            scale of zero or NaN are left out.
    """
    s = np.broadcast_to(np.asarray(scale, dtype=np.float64), actual.shape)
    good = ~np.isnan(actual) & ~np.isnan(predicted) & (s > 0)
    return float(np.sqrt(_mean(((actual[good] - predicted[good]) / s[good]) ** 2)))


def seasonal_scale(history: Array, season: int) -> float:
    """Mean |y[t] - y[t - season]| over a history in time order: the denominator of `mase`."""
    return _mean(_known(np.abs(history[season:] - history[:-season]))) if history.size > season else float("nan")


def coverage(actual: Array, lower: Array, upper: Array) -> float:
    """Share of actual values inside [lower, upper]."""
    good = ~np.isnan(actual) & ~np.isnan(lower) & ~np.isnan(upper)
    return _mean(((actual >= lower) & (actual <= upper))[good].astype(np.float64))


def winkler(actual: Array, lower: Array, upper: Array, level: float) -> Array:
    """Interval score of each value (Winkler 1972): the width, and 2 / (1 - level) times what lies outside it.

    NaN where anything is missing.
    """
    outside = np.maximum(lower - actual, 0.0) + np.maximum(actual - upper, 0.0)
    score: Array = upper - lower + 2 / (1 - level) * outside
    return score


def pinball(actual: Array, predicted: Array, level: float) -> float:
    """Mean pinball loss of a quantile: what lies above it costs `level` a unit, below it the rest."""
    a, p = _pairs(actual, predicted)
    return _mean(np.where(a >= p, level * (a - p), (1 - level) * (p - a)))


def accuracy(actual: Array, probability: Array, threshold: float = 0.5) -> float:
    """Share of rows whose class (0 or 1) is predicted, the second one from `threshold` on."""
    a, p = _pairs(actual, probability)
    return _mean(((p >= threshold) == (a == 1)).astype(np.float64))


def log_loss(actual: Array, probability: Array) -> float:
    """Mean of -ln of the probability given to what happened, in nats; probabilities are clipped at 1e-15."""
    a, p = _pairs(actual, probability)
    return _mean(-np.log(np.clip(np.where(a == 1, p, 1 - p), 1e-15, 1)))


def brier(actual: Array, probability: Array) -> float:
    """Mean squared difference of the probability and what happened (Brier 1950, for two classes)."""
    a, p = _pairs(actual, probability)
    return _mean((p - a) ** 2)


def auc(actual: Array, probability: Array) -> float:
    """Area under the ROC curve: how often a row of the second class has the larger probability; ties count half."""
    a, p = _pairs(actual, probability)
    positive = int((a == 1).sum())
    negative = a.size - positive
    if not positive or not negative:
        return float("nan")
    _, place, count = np.unique(p, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank[a == 1].sum() - positive * (positive + 1) / 2) / (positive * negative))


def of_probabilities(actual: Array, probability: Array, threshold: float = 0.5) -> dict[str, float]:
    """``accuracy log_loss brier auc`` of a classifier of two classes."""
    return {
        "accuracy": accuracy(actual, probability, threshold),
        "log_loss": log_loss(actual, probability),
        "brier": brier(actual, probability),
        "auc": auc(actual, probability),
    }


def _pairs(actual: Array, predicted: Array) -> tuple[Array, Array]:
    good = ~np.isnan(actual) & ~np.isnan(predicted)
    return actual[good], predicted[good]


def _known(values: Array) -> Array:
    return values[~np.isnan(values)]


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def apart(ours: float, theirs: float, between: str = "to") -> str:
    """Two figures as texts, with as many digits as tell them apart, four at least: ``0.37081 to 0.37079``."""
    if ours == theirs:
        return f"{ours:.4g}, the same"
    for digits in range(4, 18):
        one, other = f"{ours:.{digits}g}", f"{theirs:.{digits}g}"
        if one != other:
            break
    return f"{one} {between} {other}"
