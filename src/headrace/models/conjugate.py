"""Ridge regression on sparse rows by conjugate gradients (Hestenes and Stiefel 1952)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from headrace.models.sparse import Array, SparseRows

_TOLERANCE = 1e-3
"""The residual at which it ends, beside that of no weights at all."""
_STEPS = 500


class Ridge(NamedTuple):
    """A fitted ridge.

    Attributes:
        intercept: Its own.
        weights: Of every column.
        means: Of every column, over the rows.
    """

    intercept: float
    weights: Array
    means: Array


def ridge(blocks: Iterable[SparseRows], target: Array, penalty: float) -> Ridge:
    """Intercept and weights that minimise ``|target - intercept - rows weights|^2 + penalty |weights|^2``.

    The columns are centred in the products alone, so that they stay sparse. Each step is scaled by the diagonal, and
    reads all blocks once. How the rows are parted into blocks changes no bit: sums go on from block to block.

    Args:
        blocks: The rows, which are read again and again; one at least.
        target: Shape (rows,).
        penalty: Above 0.
    """
    count, average = float(target.size), float(target.mean())
    sums, squares, wanted = None, None, None
    for block, part in _beside(blocks, target - average):
        sums, wanted = added(sums, block, np.ones(len(block))), added(wanted, block, part)
        squared = SparseRows(block.begins, block.columns, block.values**2, block.width)
        squares = added(squares, squared, np.ones(len(block)))
    if sums is None or squares is None or wanted is None:
        raise ValueError("there is no block of rows")
    means = sums / count
    diagonal = np.maximum(squares - count * means**2, 0.0) + penalty

    def product(weights: Array) -> Array:
        centred, offset, back = np.empty(target.size), _dot(means, weights), None
        for block, part in _beside(blocks, centred):
            part[:] = block.scipy @ weights - offset
            back = added(back, block, part)
        products: Array = back - means * centred.sum() + penalty * weights
        return products

    weights = _solved(product, wanted, diagonal)
    return Ridge(average - _dot(means, weights), weights, means)


def added(sums: Array | None, block: SparseRows, numbers: Array) -> Array:
    """Sums of every column, and a block's rows times their numbers: as one block of all rows would add them up.

    Args:
        sums: Of the rows before; None where there are none.
        block: Further rows.
        numbers: One a row.
    """
    if sums is None:
        products: Array = block.scipy.T @ numbers
        return products
    # The sums come first, as a row that has every column: then what adds up is the same code in the same order.
    width = block.width
    rows = SparseRows(
        np.concatenate(([0], block.begins + width)),
        np.concatenate((np.arange(width, dtype=block.columns.dtype), block.columns)),
        np.concatenate((sums, block.values)),
        width,
    )
    return added(None, rows, np.concatenate(([1.0], numbers)))


def _beside(blocks: Iterable[SparseRows], numbers: Array) -> Iterator[tuple[SparseRows, Array]]:
    """Every block, and the numbers of its rows."""
    begin = 0
    for block in blocks:
        yield block, numbers[begin : begin + len(block)]
        begin += len(block)


def _dot(one: Array, other: Array) -> float:
    """The same bits on any number of cores, which BLAS does not give."""
    return float((one * other).sum())


def _solved(product: Callable[[Array], Array], wanted: Array, diagonal: Array) -> Array:
    """The numbers whose product is what is wanted."""
    weights, residual = np.zeros(wanted.size), wanted.copy()
    step = residual / diagonal
    energy, limit = _dot(residual, step), _TOLERANCE * math.sqrt(_dot(wanted, wanted))
    for _ in range(_STEPS):
        if math.sqrt(_dot(residual, residual)) <= limit:
            break
        change = product(step)
        rate = energy / _dot(step, change)
        weights += rate * step
        residual -= rate * change
        scaled = residual / diagonal
        previous, energy = energy, _dot(residual, scaled)
        step = scaled + energy / previous * step
    return weights
