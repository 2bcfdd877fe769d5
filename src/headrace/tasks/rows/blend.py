"""How members' scores become one: their weights, learnt on held-out scores, none of which is below 0.

Stacking with non-negative weights (Breiman 1996, *Stacked Regressions*). Numbers are blended by least squares of what
lies around their mean. Probabilities are blended as a mixture, which the log loss fits: its weights add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LEAST = 0.01
"""A member with a smaller share of the weights is dropped: it costs as much to ask as any other."""
_STEPS, _STILL = 500, 1e-9
"""Of the mixture's fit: how many steps at most, and by how much weights move in one that changes nothing."""
_SMALLEST = 1e-15


@dataclass(frozen=True)
class Blend:
    """Members' scores as one: `offset` and the sum of each score times its weight, in order.

    Attributes:
        weights: One a member, 0 or more.
        offset: What is added to a score; 0 of classes.

    >>> Blend.mean(2).of([np.array([1.0, 3.0]), np.array([2.0, 5.0])]).tolist()
    [1.5, 4.0]
    """

    weights: tuple[float, ...]
    offset: float = 0.0

    @classmethod
    def mean(cls, count: int) -> Self:
        """The plain mean of so many members."""
        return cls((1 / count,) * count)

    @classmethod
    def of_numbers(cls, learnt: Array, scores: Array) -> Self:
        """Non-negative least squares of `learnt` on scores, both less the mean of `learnt`.

        The weights need not add up to 1: members that are too careful together are spread.

        Args:
            learnt: Shape (rows,).
            scores: Shape (members, rows).
        """
        from scipy.optimize import nnls

        centre = float(learnt.mean())
        design, wanted = (scores - centre).T, learnt - centre

        def fitted(places: NDArray[np.intp]) -> Array:
            return np.asarray(nnls(design[:, places], wanted)[0], dtype=np.float64)

        weights = _without_small(len(scores), fitted)
        if not any(weights):  # each of them is worse than the mean of the target
            return cls.mean(len(scores))
        return cls(weights, centre * (1 - sum(weights)))

    @classmethod
    def of_classes(cls, learnt: Array, scores: Array) -> Self:
        """The mixture of probabilities with the least log loss, by expectation and maximisation (Dempster et al. 1977).

        Args:
            learnt: The class of each row, by its place: shape (rows,).
            scores: Shape (members, rows) of two classes, (members, rows, classes) of more.
        """
        if scores.ndim == 2:
            chances = np.where(learnt == 1, scores, 1 - scores)
        else:
            chances = scores[:, np.arange(learnt.size), learnt.astype(np.intp)]
        chances = np.clip(chances, _SMALLEST, 1.0)

        def fitted(places: NDArray[np.intp]) -> Array:
            some, weights = chances[places], np.full(places.size, 1 / places.size)
            for _ in range(_STEPS):
                mixed = weights @ some
                new = weights * (some / mixed).mean(axis=1)
                new /= new.sum()
                done = float(np.abs(new - weights).max()) <= _STILL
                weights = new
                if done:
                    break
            return np.asarray(weights, dtype=np.float64)

        return cls(_without_small(len(scores), fitted))

    @property
    def used(self) -> tuple[int, ...]:
        """Places of the members that have a weight."""
        return tuple(place for place, weight in enumerate(self.weights) if weight)

    def of_one(self, scores: Sequence[Any]) -> Any:
        """`of` for one row, to the same bits: a float, or a list of floats where scores are lists."""
        if isinstance(scores[0], list):
            return [self.of_one(parts) for parts in zip(*scores, strict=True)]
        total = self.offset
        for weight, score in zip(self.weights, scores, strict=True):
            if weight:
                total += weight * score
        return total

    def of(self, scores: Sequence[Array] | Array) -> Array:
        """What it makes of members' scores of the same rows, added up in their order."""
        total = np.full(np.shape(scores[0]), self.offset)
        for weight, score in zip(self.weights, scores, strict=True):
            if weight:
                total = total + weight * score
        return total


def _without_small(count: int, fitted: Callable[[NDArray[np.intp]], Array]) -> tuple[float, ...]:
    """Weights of members, fitted again without those that have next to none."""
    places = np.arange(count)
    while True:
        weights = fitted(places)
        kept = weights >= _LEAST * weights.sum()
        if kept.all() or not weights.any():
            break
        places = places[kept]
    placed = np.zeros(count)
    placed[places] = weights
    return tuple(placed.tolist())
