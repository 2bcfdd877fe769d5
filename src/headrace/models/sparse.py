"""Rows of which few numbers are not zero, with sums that have the same bits for one row and for many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Places = NDArray[np.int64]


class SparseRow(NamedTuple):
    """One row: rising columns, and their values."""

    columns: Places
    values: Array

    def dot(self, weights: Array) -> float:
        """The sum of values times weights, added up from left to right."""
        return float(_products(_ends(self.columns.size), self.columns, self.values, weights)[0])

    def product(self, weights: Array) -> Array:
        """`dot` with every column of weights of shape (width, outputs): shape (outputs,)."""
        sums: Array = _products(_ends(self.columns.size), self.columns, self.values, weights)[0]
        return sums


@dataclass(frozen=True)
class SparseRows:
    """Rows one after the other, as `scipy.sparse.csr_array` has them.

    Attributes:
        begins: Where each row begins in the others, and where the last ends: shape (rows + 1,).
        columns: Rising within a row.
        values: As many.
        width: How many columns there are.
    """

    begins: Places
    columns: Places
    values: Array
    width: int

    def __len__(self) -> int:
        return self.begins.size - 1

    def row(self, place: int) -> SparseRow:
        """One of the rows."""
        part = slice(self.begins[place], self.begins[place + 1])
        return SparseRow(self.columns[part], self.values[part])

    @cached_property
    def rows(self) -> Places:
        """The row of every value."""
        return np.repeat(np.arange(len(self)), np.diff(self.begins))

    def dot(self, weights: Array) -> Array:
        """What `SparseRow.dot` gives for every row: shape (rows,)."""
        return _products(self.begins, self.columns, self.values, weights)

    def product(self, weights: Array) -> Array:
        """`dot` with every column of weights of shape (width, outputs): shape (rows, outputs)."""
        if weights.flags.c_contiguous:
            return _products(self.begins, self.columns, self.values, weights)
        return np.column_stack([self.dot(column) for column in weights.T])

    @property
    def scipy(self) -> Any:
        """The same for SciPy, whose sums may differ in their last bits."""
        from scipy.sparse import csr_array

        return csr_array((self.values, self.columns, self.begins), shape=(len(self), self.width))


def _products(begins: Places, columns: Places, values: Array, weights: Array) -> Array:
    """The sums of the values of every row times weights of shape (width,) or (width, outputs).

    SciPy's loops add from left to right, so that a row has the same bits alone and among others, which BLAS and np.sum
    do not promise. They are called by themselves: to make a `csr_array` takes longer than they do, for one row.

    Raises:
        IndexError: A column has no weights; the loops would read beyond them.
    """
    if columns.size and columns.view(np.uint64).max() >= len(weights):
        raise IndexError(f"column {columns.max()} of rows is beyond the {len(weights)} that have weights")
    rows, weights = begins.size - 1, np.ascontiguousarray(weights)
    sums = np.zeros((rows, *weights.shape[1:]))
    loops = _loops()
    if weights.ndim == 1:
        loops.csr_matvec(rows, len(weights), begins, columns, values, weights, sums)
    else:
        shape = rows, len(weights), weights.shape[1]
        loops.csr_matvecs(*shape, begins, columns, values, weights.ravel(), sums.ravel())
    return sums


@cache
def _loops() -> Any:
    from scipy.sparse import _sparsetools

    return _sparsetools


@lru_cache(maxsize=4096)
def _ends(size: int) -> Places:
    """Where one row of so many values begins and ends."""
    ends = np.array([0, size], dtype=np.int64)
    ends.setflags(write=False)
    return ends


def total(numbers: Array) -> float:
    """The sum of numbers, added up from left to right."""
    return float(np.add.accumulate(numbers)[-1]) + 0.0 if numbers.size else 0.0


def side_by_side(blocks: Sequence[SparseRows]) -> SparseRows:
    """Blocks of the same rows as one, the columns of the first coming first."""
    counts = [np.diff(block.begins) for block in blocks]
    begins = np.zeros(len(blocks[0]) + 1, dtype=np.int64)
    np.cumsum(np.sum(counts, axis=0), out=begins[1:])
    columns, values = np.empty(begins[-1], dtype=np.int64), np.empty(begins[-1])
    starts, offset = begins[:-1].copy(), 0
    for block, count in zip(blocks, counts, strict=True):
        places = np.repeat(starts - block.begins[:-1], count) + np.arange(block.values.size)
        columns[places], values[places] = block.columns + offset, block.values
        starts += count
        offset += block.width
    return SparseRows(begins, columns, values, offset)
