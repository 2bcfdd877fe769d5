"""Radial kernels (squared exponential) of one feature each, with the same bits for one row and for many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.models.sparse import Array

_BLOCK = 512
"""Rows whose kernels are in memory at once."""


def radial(rows: Array, points: Array, length: float) -> Array:
    """``exp(-|row - point|^2 / (2 length^2))`` of every pair: shape (rows, points).

    Args:
        rows: Shape (rows, dimensions). Of several dimensions the numbers are multiples of 2^-20 and no row is longer
            than 1, as those of an embedding are: their products then have no rounding, in whatever order they are
            added up.
        points: Shape (points, dimensions), likewise.
        length: Above 0, in the unit of the numbers.
    """
    if points.shape[1] == 1:
        squares = (rows - points[:, 0]) ** 2
    else:
        lengths = (rows * rows).sum(axis=1)[:, None] + (points * points).sum(axis=1)
        squares = lengths - 2.0 * (rows @ points.T)
    kernels: Array = np.exp(squares * (-0.5 / length**2))
    return kernels


@dataclass(frozen=True)
class Radial:
    """A weighted sum of radial kernels around the rows of the training.

    Attributes:
        place: Of the feature.
        length: Of the kernel.
        points: The feature of the training rows, each number once: shape (points, dimensions).
        weights: Shape (points,).
    """

    place: int
    length: float
    points: Array
    weights: Array

    @classmethod
    def around(cls, place: int, length: float, points: Array, weights: Array) -> Radial:
        """The kernels of training rows; those of rows with the same number are one.

        Args:
            place: Of the feature.
            length: Of the kernel.
            points: Shape (rows, dimensions).
            weights: Shape (rows,).
        """
        if points.shape[1] > 1:
            return cls(place, length, points, weights)
        numbers, places = np.unique(points[:, 0], return_inverse=True)
        sums = np.bincount(places, weights=weights, minlength=numbers.size)
        return cls(place, length, numbers[:, None], np.asarray(sums, dtype=np.float64))

    def of_rows(self, rows: Array) -> Array:
        """The sums of rows of shape (rows, dimensions): shape (rows,)."""
        sums = np.empty(len(rows))
        for begin in range(0, len(rows), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            products = radial(rows[part], self.points, self.length) * self.weights
            sums[part] = np.add.accumulate(products, axis=1)[:, -1]  # from left to right, which np.sum does not
        return sums

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; the arrays of `arrays` go beside it."""
        return {"place": self.place, "length": self.length}

    def arrays(self) -> dict[str, Any]:
        """For a file. Embeddings have 20 bits behind the point, which 32-bit floats hold."""
        points = self.points if self.points.shape[1] == 1 else self.points.astype(np.float32)
        return {f"points_{self.place}": points, f"weights_{self.place}": self.weights}

    @classmethod
    def from_arrays(cls, data: Mapping[str, Any], arrays: Mapping[str, Any]) -> Radial:
        """What `as_dict` and `arrays` gave."""
        place = data["place"]
        points = arrays[f"points_{place}"].astype(np.float64)
        return cls(place, data["length"], points, arrays[f"weights_{place}"])
