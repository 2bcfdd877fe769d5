"""Split conformal intervals: as wide as the model's own errors were after the time it was fitted on.

Series differ in how far their errors go beyond their scale, so each has a factor: its mean absolute residual beside
that of all, drawn towards 1 by `PRIOR` residuals of an average series. For each step ahead the half width, in units of
the series' scale and factor, is the k-th smallest absolute residual with k = ceil((n + 1) * level) (Lei et al. 2018,
"Distribution-free predictive inference for regression").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array

PRIOR = 400
"""Residuals of an average series that a factor starts from; many, since errors of neighbouring hours are alike."""


def series_factors(residual: Array, series: NDArray[np.intp], count: int) -> Array:
    """Factor per series, shape (count,), from absolute residuals in units of the scale; 1 where there are none."""
    good = np.isfinite(residual)
    if not good.any() or not (pooled := residual[good].mean()) > 0:
        return np.ones(count)
    total = np.bincount(series[good], weights=residual[good], minlength=count)
    number = np.bincount(series[good], minlength=count)
    factors: Array = (total + PRIOR * pooled) / (number + PRIOR) / pooled
    return factors


def half_widths(residual: Array, ahead: NDArray[np.intp], *, horizon: int, level: float) -> Array:
    """Half width per step ahead, shape (horizon,), from absolute residuals in units of their series' scale and factor.

    Steps with fewer than 20 residuals take those of all steps; without any the width is NaN.
    """
    good = np.isfinite(residual)
    everywhere = _conformal(residual[good], level)
    widths = np.full(horizon, everywhere)
    for step in range(1, horizon + 1):
        errors = residual[good & (ahead == step)]
        if errors.size >= 20:
            widths[step - 1] = _conformal(errors, level)
    return widths


def _conformal(scores: Array, level: float) -> float:
    if not scores.size:
        return float("nan")
    k = min(int(np.ceil((scores.size + 1) * level)), scores.size)
    return float(np.partition(scores, k - 1)[k - 1])
