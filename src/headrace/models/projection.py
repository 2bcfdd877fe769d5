"""N-grams as a few numbers: the first right singular vectors of the training rows, found at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.sparse import Array, Places, SparseRow, SparseRows
from headrace.models.sparse_design import used

_SPARE = 10
"""Vectors that are sought beyond those that are kept."""
_ROUNDS = 4
_LITTLE = 1e-12
"""Beside the largest, the square of a singular value that is 0 but for rounding: its vector is zeros."""


@dataclass(frozen=True)
class Projection:
    """The sums of a sparse row times each of a few vectors.

    Attributes:
        place: Of the feature.
        slots: The row of `vectors` that each column has; 0 of columns that no training row had.
        vectors: Shape (columns that are used + 1, components); the first row is zeros.
    """

    place: int
    slots: Places
    vectors: Array

    @classmethod
    def fit(cls, place: int, rows: SparseRows, components: int, seed: int) -> Projection:
        """The truncated singular value decomposition of the training rows (Halko, Martinsson and Tropp 2011)."""
        columns = used(rows)
        vectors = _singular_vectors(columns.rows, components, seed)
        slots = np.zeros(rows.width, dtype=np.int64)
        slots[columns.columns] = np.arange(1, columns.columns.size + 1)
        return cls(place, slots, np.vstack([np.zeros((1, vectors.shape[1])), vectors]))

    @property
    def components(self) -> int:
        """How many numbers a row becomes."""
        return int(self.vectors.shape[1])

    def of_rows(self, rows: SparseRows) -> Array:
        """Shape (rows, components)."""
        return self._used(rows).product(self.vectors)

    def of_row(self, row: SparseRow) -> list[float]:
        """One row: the very numbers of `of_rows`."""
        numbers: list[float] = SparseRow(self.slots[row.columns], row.values).product(self.vectors).tolist()
        return numbers

    def shares(self, row: SparseRow) -> Array:
        """How much of each of a row's numbers every n-gram makes up, by size: shape (n-grams, components)."""
        parts = np.abs(row.values[:, None] * self.vectors[self.slots[row.columns]])
        sums = parts.sum(axis=0)
        return np.where(sums > 0, parts / np.where(sums > 0, sums, 1.0), 1 / max(len(parts), 1))

    def _used(self, rows: SparseRows) -> SparseRows:
        return SparseRows(rows.begins, self.slots[rows.columns], rows.values, len(self.vectors))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a file."""
        return {f"slots_{self.place}": self.slots.astype(np.int32), f"vectors_{self.place}": self.vectors}

    @classmethod
    def from_arrays(cls, place: int, arrays: Mapping[str, NDArray[Any]]) -> Projection:
        """What `arrays` gave."""
        return cls(place, arrays[f"slots_{place}"].astype(np.int64), arrays[f"vectors_{place}"])


def _singular_vectors(rows: SparseRows, components: int, seed: int) -> Array:
    """Shape (width, components), each with its largest number above 0; fewer where there are not so many."""
    count = min(components, len(rows), rows.width)
    if not count:
        return np.zeros((rows.width, max(components, 1)))
    from threadpoolctl import threadpool_limits

    matrix: Any = rows.scipy
    transposed = matrix.T.tocsr()
    random = np.random.default_rng(seed)
    width = min(count + _SPARE, len(rows), rows.width)
    with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
        basis = matrix @ random.standard_normal((rows.width, width))
        for _ in range(_ROUNDS):  # rows are fewer than columns: a basis of theirs is made orthogonal, and of them alone
            basis = matrix @ (transposed @ np.linalg.qr(basis)[0])
        found = transposed @ np.linalg.qr(basis)[0]
        squares, turned = np.linalg.eigh(found.T @ found)
        most = np.argsort(-squares)[:count]
        sizes = np.sqrt(np.where(squares[most] > _LITTLE * squares.max(), squares[most], np.inf))
        vectors = found @ turned[:, most] / sizes
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(count)]
    return np.ascontiguousarray(vectors * np.where(largest < 0, -1.0, 1.0))
