"""From sums to scores: the same bits for one row and for many."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LOGISTIC, SOFTMAX, IDENTITY = "logistic", "softmax", "identity"


def logistic(x: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def logistics(x: Array) -> Array:
    """`logistic` of many numbers, to the same bits.

    NumPy's exponential differs from the C library's in the last bit, and a row has only the latter.
    """
    e = np.array(list(map(math.exp, (-np.abs(x)).tolist())), dtype=np.float64)
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def softmax(odds: list[float]) -> list[float]:
    """A probability for each class from their log odds, without overflow."""
    largest = max(odds)
    parts = [math.exp(odd - largest) for odd in odds]
    total = 0.0
    for part in parts:  # sum() rounds otherwise, from Python 3.12 on
        total += part
    return [part / total for part in parts]


def softmaxes(odds: Array) -> Array:
    """`softmax` of many rows, shape (rows, classes), to the same bits."""
    shifted = odds - odds.max(axis=1, keepdims=True)
    parts = np.array(list(map(math.exp, shifted.ravel().tolist()))).reshape(odds.shape)
    total = np.zeros(odds.shape[0])
    for column in parts.T:
        total = total + column
    return parts / total[:, None]
