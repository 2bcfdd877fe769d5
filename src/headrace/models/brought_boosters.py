"""SHAP values of boosters of XGBoost and LightGBM that were brought as estimators, from the libraries themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.contributions import CLIP, Array, Contributions, linear_scale
from headrace.models.linear import Design

_NEAR = 1e-3
"""Where sums and scores differ by more than this share, the booster's objective has a scale of its own."""


def shap_values(estimator: Any, design: Design, matrix: Array, scores: Array, output: str) -> Contributions | None:
    """What every feature adds to the scores of rows; None where the estimator is no such booster, or its objective
    does not lead to them.

    Args:
        estimator: The fitted one.
        design: How it reads features.
        matrix: Encoded rows, shape (rows, features).
        scores: What it says of them.
        output: What it was asked for.
    """
    parts = _parts(estimator, design.dense(matrix))
    wanted = linear_scale(scores, output)
    if parts is None or parts.shape[1] != wanted.shape[1]:
        return None
    features = design.folded(parts[:, :, :-1].transpose(0, 2, 1))
    found = Contributions(parts[0, :, -1], features).centred()
    sure: NDArray[np.bool_] = np.ones(len(scores), dtype=bool)
    if output != "regression":  # beyond, the logarithm of a probability says little
        sure = np.all(np.abs(scores.reshape(len(scores), -1) - 0.5) < 0.5 - 10 * CLIP, axis=1)
    gap = np.where(sure[:, None], wanted - found.total, 0.0)
    if (np.abs(gap) > _NEAR * (1 + np.abs(wanted))).any():
        return None
    # XGBoost computes with 32 bits: what that rounds off is spread over the parts, so that they add up.
    size = np.abs(found.parts) + 1e-12
    return Contributions(found.base, found.parts + size / size.sum(axis=1, keepdims=True) * gap[:, None])


def _parts(estimator: Any, dense: Array) -> Array | None:
    """Shape (rows, outputs, columns + 1), the last of what it says on average."""
    library = (type(estimator).__module__ or "").partition(".")[0]
    if library == "xgboost" and hasattr(estimator, "get_booster"):
        import xgboost

        parts = estimator.get_booster().predict(xgboost.DMatrix(dense), pred_contribs=True)
    elif library == "lightgbm" and hasattr(estimator, "booster_"):
        parts = estimator.booster_.predict(dense, pred_contrib=True)
    else:
        return None
    return np.asarray(parts, dtype=np.float64).reshape(len(dense), -1, dense.shape[1] + 1)
