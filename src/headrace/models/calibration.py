"""Split conformal intervals: as wide as the model's own errors were after the time it was fitted on.

For each step ahead the half width, in units of the series' scale, is the k-th smallest absolute residual with
k = ceil((n + 1) * level) (Lei et al. 2018, "Distribution-free predictive inference for regression").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array


def half_widths(
    actual: Array, predicted: Array, scale: Array, ahead: NDArray[np.intp], *, horizon: int, level: float
) -> Array:
    """Half width per step ahead, shape (horizon,), in units of the scale; all arrays have one length.

    Steps with fewer than 20 residuals take those of all steps; without any the width is NaN.
    """
    score = np.abs(actual - predicted) / scale
    good = np.isfinite(score)
    everywhere = _conformal(score[good], level)
    widths = np.full(horizon, everywhere)
    for step in range(1, horizon + 1):
        own = score[good & (ahead == step)]
        if own.size >= 20:
            widths[step - 1] = _conformal(own, level)
    return widths


def _conformal(scores: Array, level: float) -> float:
    if not scores.size:
        return float("nan")
    k = min(int(np.ceil((scores.size + 1) * level)), scores.size)
    return float(np.partition(scores, k - 1)[k - 1])
