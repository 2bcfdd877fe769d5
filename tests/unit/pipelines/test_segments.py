"""Segments of rows: every value has one, and the rare ones are together."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import UsageError
from headrace.tasks.rows.segments import MISSING, MOST_VALUES, OTHER, _segments

VALUES = st.one_of(
    st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1, max_size=60).map(
        lambda values: pl.Series(values, dtype=pl.Float64)
    ),
    st.lists(st.one_of(st.none(), st.integers(-9, 9)), min_size=1, max_size=60).map(
        lambda values: pl.Series(values, dtype=pl.Int64)
    ),
    st.lists(st.one_of(st.none(), st.sampled_from("abcde")), min_size=1, max_size=60).map(
        lambda values: pl.Series(values, dtype=pl.String)
    ),
)


@given(VALUES)
def test_every_row_has_one_segment_and_no_segment_is_empty(values):
    codes, labels = _segments(values, "x")
    assert codes.null_count() == 0
    assert set(codes) == set(range(len(labels)))
    assert len(set(labels)) == len(labels)
    empty = values.fill_nan(None).null_count() if values.dtype.is_float() else values.null_count()
    assert (codes == labels.index(MISSING)).sum() == empty if MISSING in labels else empty == 0


def test_the_rarest_values_are_one_segment_and_names_are_refused():
    values = pl.Series([f"v{number:03}" for number in range(MOST_VALUES + 5) for _ in range(number + 3)])
    _, labels = _segments(values, "brand")
    assert (labels[0], labels[-1], len(labels)) == (f"v{MOST_VALUES + 4:03}", OTHER, MOST_VALUES + 1)
    with pytest.raises(UsageError, match="almost every row"):
        _segments(pl.Series([f"name {number}" for number in range(100)]), "name")
    _, bands = _segments(pl.Series(range(100), dtype=pl.Int64), "age")
    assert bands == ["to 20", "20 to 40", "40 to 59", "59 to 79", "above 79"]
