"""What a terminal says of predicted values."""

from __future__ import annotations

import polars as pl
import pytest

from headrace.tasks.rows.summary import SHOWN, values_line


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], "no row waits for a prediction"),
        ([9.408045012322265, 1234.56], "9.408, 1,235"),
        ([float(n) for n in range(SHOWN + 1)], "from 0 to 12, 6 on average"),
        ([1, 0, 1], "2 x 1, 1 x 0"),
    ],
)
def test_few_numbers_are_shown_and_of_many_where_they_lie(values, line):
    assert values_line(pl.Series("price", values, dtype=pl.Float64 if not values else None)) == line
