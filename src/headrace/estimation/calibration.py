"""From the probabilities that a model states to those with which things happen, learnt on held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
PARTS = 5
"""Parts of the held-out rows: each is told by a calibration that was fitted on the others."""
LEAST = 50
"""Fewer rows calibrate nothing."""


@dataclass(frozen=True)
class Isotonic:
    """A function that never falls, of least squared error (pool adjacent violators), straight between its knots.

    Attributes:
        x: Ascending.
        y: Of each the value, from 0 to 1.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, values: Array) -> Array:
        """Its value at each of some places; beyond the outermost knots that of the knot."""
        return np.interp(values, self.x, self.y)

    @classmethod
    def fit(cls, x: Array, happened: Array) -> Self:
        """The function that is nearest to what happened.

        Args:
            x: Shape (rows,); one row at least.
            happened: 1 or 0 for each of them.

        >>> Isotonic.fit(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))
        Isotonic(x=(0.1, 0.2, 0.3, 0.4), y=(0.0, 0.5, 0.5, 1.0))
        """
        places, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        sums = np.bincount(inverse, weights=happened, minlength=places.size)
        blocks: list[tuple[float, int, int]] = []  # what happened, in how many rows, and up to which place
        for place, (total, count) in enumerate(zip(sums.tolist(), counts.tolist(), strict=True)):
            blocks.append((total, count, place))
            while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
                total_last, count_last, last = blocks.pop()
                total_before, count_before, _ = blocks.pop()
                blocks.append((total_before + total_last, count_before + count_last, last))
        knots, first = dict[float, float](), 0
        for total, count, last in blocks:
            knots |= dict.fromkeys((float(places[first]), float(places[last])), total / count)
            first = last + 1
        return cls(tuple(knots), tuple(knots.values()))


@dataclass(frozen=True)
class Calibration:
    """Stated probabilities made right, class by class; none where those stated are as good.

    Attributes:
        curves: One a class, or of two classes that of the second; empty: probabilities stay as they are.
    """

    curves: tuple[Isotonic, ...] = ()

    def __call__(self, stated: Array) -> Array:
        """The probabilities with which things happen.

        Args:
            stated: Shape (rows, classes), where each row adds up to 1.

        Returns:
            The same shape; each row adds up to 1.
        """
        if not self.curves:
            return stated
        if stated.shape[1] == 2:
            second = self.curves[0](stated[:, 1])
            return np.column_stack([1 - second, second])
        chances = np.column_stack([curve(stated[:, place]) for place, curve in enumerate(self.curves)])
        totals = chances.sum(axis=1, keepdims=True)
        return np.where(totals > 0, chances / np.where(totals > 0, totals, 1.0), stated)

    @classmethod
    def fit(cls, truth: NDArray[np.intp], stated: Array) -> Self:
        """Learn from held-out rows whether stated probabilities are to be made right, and how.

        Curves are taken where the Brier score of rows that they were not fitted on is less by more than the standard
        error of the difference.

        Args:
            truth: The class of each row, by its place: shape (rows,).
            stated: Shape (rows, classes).
        """
        if truth.size < LEAST:
            return cls()
        happened, part = one_hot(truth, stated.shape[1]), np.arange(truth.size) % PARTS
        right = np.empty_like(stated)
        for place in range(PARTS):
            right[part == place] = cls._of(happened[part != place], stated[part != place])(stated[part == place])
        gains = ((stated - happened) ** 2).sum(axis=1) - ((right - happened) ** 2).sum(axis=1)
        better = float(gains.mean()) > float(gains.std(ddof=1)) / math.sqrt(gains.size)
        return cls._of(happened, stated) if better else cls()

    @classmethod
    def _of(cls, happened: Array, stated: Array) -> Self:
        classes = range(stated.shape[1])
        if stated.shape[1] == 2:
            classes = range(1, 2)
        return cls(tuple(Isotonic.fit(stated[:, place], happened[:, place]) for place in classes))

    def as_list(self) -> list[list[tuple[float, ...]]]:
        """Knots of every curve, JSON-ready."""
        return [[curve.x, curve.y] for curve in self.curves]

    @classmethod
    def from_list(cls, data: Sequence[Sequence[Sequence[Any]]]) -> Self:
        """What `as_list` gave.

        Raises:
            TypeError, ValueError: It is not that.
        """
        return cls(tuple(Isotonic(tuple(map(float, x)), tuple(map(float, y))) for x, y in data))


def one_hot(truth: NDArray[np.intp], classes: int) -> Array:
    """What happened as probabilities: 1 for the class of each row, nothing for a row of none (-1).

    >>> one_hot(np.array([1, -1]), 2).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    happened = np.zeros((truth.size, classes))
    known = truth >= 0
    happened[np.flatnonzero(known), truth[known]] = 1.0
    return happened
