"""What every feature adds to a score, and the scale on which that adds up.

The scale is the *linear* one: of two classes the log odds of the second, of several the logarithm of each probability
less their mean (its softmax gives the probabilities back), and a number as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CLIP = 1e-6
"""Probabilities are at least so far from 0 and 1 before their logarithms are taken."""


class Contributions(NamedTuple):
    """What a learner's scores of some rows are made of, on the linear scale.

    Attributes:
        base: What it says on average, shape (width,); the width is 1, or the number of classes.
        parts: What every feature adds to that, shape (rows, features, width).
    """

    base: Array
    parts: Array

    @property
    def total(self) -> Array:
        """The scores on the linear scale, shape (rows, width)."""
        total: Array = self.base + self.parts.sum(axis=1)
        return total

    def centred(self) -> Contributions:
        """The same of several classes, each beside their mean; unchanged of anything else."""
        if self.base.size == 1:
            return self
        return Contributions(self.base - self.base.mean(), self.parts - self.parts.mean(axis=2, keepdims=True))


def linear_scale(scores: Array, output: str) -> Array:
    """Scores on the linear scale: shape (rows, width).

    Args:
        scores: Shape (rows,), or (rows, classes).
        output: What was asked for: ``binary``, ``multiclass`` or ``regression``.
    """
    if output == "multiclass":
        odds = np.log(np.clip(scores, CLIP, 1.0))
        return np.asarray(odds - odds.mean(axis=1, keepdims=True))
    if output == "binary":
        p = np.clip(scores, CLIP, 1 - CLIP)
        return np.log(p / (1 - p))[:, None]
    return scores[:, None]
