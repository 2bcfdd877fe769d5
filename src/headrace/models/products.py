"""Products of every pair of sparse rows: common columns go through BLAS, and rare ones through SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.models.sparse import Array, SparseRows

_COMMON = 0.08
"""The share of the rows that have a column, from which on it is quicker among numbers without gaps."""
_CHUNK = 1024
"""Common columns that are without gaps at once."""
_BLOCK = 512
"""Rows whose products are sparse at once."""


def add_products(rows: SparseRows, sums: Array) -> None:
    """Add the product of every pair of rows to the lower triangle of `sums`; what stands above it means nothing then.

    The cost of a column is the square of how many rows have it, so few columns make nearly all of it.

    Args:
        rows: So many.
        sums: Shape (rows, rows), C-contiguous.
    """
    from threadpoolctl import threadpool_limits

    counts = np.bincount(rows.columns, minlength=rows.width)
    common = counts > _COMMON * len(rows)
    often = common[rows.columns]
    with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
        _add_common(rows, np.flatnonzero(common), often, sums)
    _add_rare(rows, np.flatnonzero(~common & (counts > 0)), ~often, sums)


def _add_common(rows: SparseRows, columns: Any, some: Any, sums: Array) -> None:
    from scipy.linalg.blas import dsyrk

    places = np.zeros(rows.width, dtype=np.int64)
    places[columns] = np.arange(columns.size)
    of, at, values = rows.rows[some], places[rows.columns[some]], rows.values[some]
    for begin in range(0, columns.size, _CHUNK):
        width = min(_CHUNK, columns.size - begin)
        chunk = np.zeros((len(rows), width), order="F")
        inside = (at >= begin) & (at < begin + width)
        chunk[of[inside], at[inside] - begin] = values[inside]
        dsyrk(1.0, chunk, beta=1.0, c=sums.T, overwrite_c=1)  # the upper triangle of the transposed


def _add_rare(rows: SparseRows, columns: Any, some: Any, sums: Array) -> None:
    from scipy.sparse import csr_array

    places = np.zeros(rows.width, dtype=np.int64)
    places[columns] = np.arange(columns.size)
    begins = np.concatenate(([0], np.cumsum(np.bincount(rows.rows[some], minlength=len(rows)))))
    shape = len(rows), columns.size
    matrix: Any = csr_array((rows.values[some], places[rows.columns[some]], begins), shape=shape)
    for begin in range(0, len(rows), _BLOCK):
        end = begin + _BLOCK
        products = matrix[begin:end] @ matrix[:end].T.tocsr()
        sums[begin:end, :end] += products.toarray()
