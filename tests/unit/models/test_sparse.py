"""Products of sparse rows: the same bits alone and among others, from left to right, and never beyond the weights."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.models.products import add_products
from headrace.models.sparse import Array, SparseRow, SparseRows

WIDTH = 400


def rows() -> SparseRows:
    """Rows of 0 to 60 values, of very different sizes, so that the order in which they are added shows."""
    random = np.random.default_rng(3)
    sizes = [0, 1, 2, 60, 17, 0]
    columns = [np.sort(random.choice(WIDTH, size, replace=False)) for size in sizes]
    values = random.normal(size=sum(sizes)) * 10.0 ** random.integers(-12, 12, size=sum(sizes))
    begins = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    return SparseRows(begins, np.concatenate(columns).astype(np.int64), values, WIDTH)


def by_hand(row: SparseRow, weights: Array) -> Array:
    """The sums as Python adds them."""
    sums = []
    for column in weights.T:
        total = 0.0
        for place, value in zip(row.columns, row.values, strict=True):
            total += float(value) * float(column[place])
        sums.append(total)
    return np.array(sums)


@pytest.mark.parametrize("outputs", [1, 2, 40])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_has_the_same_bits_alone_and_among_others(outputs: int, order: str) -> None:
    weights = np.array(np.random.default_rng(5).normal(size=(WIDTH, outputs)), order=order)  # type: ignore[call-overload]
    many = rows()
    together = many.product(weights)
    for place in range(len(many)):
        row = many.row(place)
        expected = by_hand(row, weights)
        assert together[place].tobytes() == expected.tobytes()
        assert row.product(weights).tobytes() == expected.tobytes()
        assert row.dot(weights[:, 0]) == many.dot(weights[:, 0])[place] == expected[0]


@pytest.mark.parametrize("column", [WIDTH, -1])
def test_a_column_beyond_the_weights_is_refused(column: int) -> None:
    row = SparseRow(np.array([0, column], dtype=np.int64), np.ones(2))
    with pytest.raises(IndexError, match="beyond the 400"):
        row.dot(np.ones(WIDTH))
    with pytest.raises(IndexError, match="beyond the 400"):
        row.product(np.ones((WIDTH, 3)))


def test_products_of_all_pairs_are_those_of_dense_rows_whether_a_column_is_common_or_rare() -> None:
    random = np.random.default_rng(0)
    dense = np.hstack([random.normal(size=(60, 5)), random.normal(size=(60, 200)) * (random.random((60, 200)) < 0.02)])
    filled = dense != 0
    begins = np.concatenate(([0], np.cumsum(filled.sum(axis=1))))
    rows = SparseRows(begins, np.nonzero(filled)[1], dense[filled], dense.shape[1])
    sums = np.ones((60, 60))
    add_products(rows, sums)
    assert np.allclose(np.tril(sums), np.tril(dense @ dense.T + 1))
