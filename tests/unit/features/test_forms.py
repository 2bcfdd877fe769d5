"""The forms of a history primitive agree to the last bit, and nothing after the origin can enter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import DeclarationError, FeatureError
from headrace.features import (
    CompileTarget,
    Features,
    col,
    difference,
    holiday,
    hour,
    lag,
    native,
    rolling_count,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    scaled,
    seasonal_change,
    seasonal_features,
    seasonal_lag,
    seasonal_mean,
    step_ahead,
    weekday,
)
from headrace.features.arrays import History, history_of
from headrace.features.history import Rolling
from headrace.features.matrix import Examples, every_example, every_origin, feature_matrix
from headrace.grid import Grid

HOUR = timedelta(hours=1)
GRID = Grid(HOUR)
START = datetime(2026, 3, 28, tzinfo=UTC)  # the clocks of Copenhagen go forward on the 29th

PRIMITIVES = Features(
    {
        "lag": lag("y", "3h"),
        "newest": lag("y", "0h"),
        "difference": difference("y", "5h"),
        "mean": rolling_mean("y", "7h"),
        "std": rolling_std("y", "6h"),
        "min": rolling_min("y", "5h"),
        "max": rolling_max("y", "11h", min_periods=3),
        "count": rolling_count("y", "9h"),
        "sum": Rolling("sum", col("y"), timedelta(hours=13)),
        "nested": rolling_mean(abs(difference("y", "2h")), "6h"),
        "seasonal": seasonal_lag("y", "6h"),
        "older": seasonal_lag("y", "6h", back=2),
        "before": seasonal_lag("y", "6h", near=-1),
        "after": seasonal_lag("y", "6h", near=1),
        "change": seasonal_change(rolling_mean("y", "4h"), "6h"),
        "phase": seasonal_mean("y", "6h", 3, around=1),
        "mixed": (seasonal_lag("y", "6h") - rolling_mean("y", "7h")) / (rolling_std("y", "6h") + 1),
        "ahead": step_ahead(),
        "hour": hour("Europe/Copenhagen"),
        "weekday": weekday("Europe/Copenhagen"),
        "holiday": holiday("DK", "Europe/Copenhagen", shift=-1),
    }
)

values = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 5).map(float))
panels = st.integers(1, 3).flatmap(
    lambda n: st.lists(st.lists(values, min_size=40, max_size=40), min_size=n, max_size=n)
)


def history(panel):
    y = np.array([[np.nan if v is None else v for v in row] for row in panel])
    return History(pl.DataFrame({"k": list(range(len(panel)))}), {"y": y}, GRID.slot(START), GRID)


def table(panel, ahead):
    """The same panel as a table whose rows are origins; the calendar columns are those of the target time."""
    rows = [
        (k, START + HOUR * t, START + HOUR * (t + ahead), v) for k, row in enumerate(panel) for t, v in enumerate(row)
    ]
    utc = pl.Datetime("us", "UTC")
    return pl.DataFrame(rows, {"k": pl.Int64, "at": utc, "target": utc, "y": pl.Float64}, orient="row")


@given(panels, st.integers(1, 8), st.integers(0, 39))
def test_the_table_form_and_the_array_form_give_the_same_bits(panel, ahead, origin):
    frame = PRIMITIVES.over(table(panel, ahead), CompileTarget(time="target", step=HOUR, series=("k",), ahead=ahead))
    rows = frame.filter(pl.Series([t == origin for _ in panel for t in range(40)]))
    from_table = rows.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    n = len(panel)
    examples = Examples(np.arange(n), np.full(n, origin), np.full(n, ahead))
    from_arrays = feature_matrix(PRIMITIVES, history(panel), examples)
    np.testing.assert_array_equal(from_table, from_arrays)


@given(panels, st.integers(20, 39), st.lists(values, min_size=20, max_size=20))
def test_changing_the_future_changes_no_feature(panel, origin, other):
    changed = [row[: origin + 1] + other[: 39 - origin] for row in panel]
    examples = every_example(np.arange(len(panel)), np.array([origin]), 8)
    before, after = (feature_matrix(PRIMITIVES, history(p), examples) for p in (panel, changed))
    np.testing.assert_array_equal(before, after)


@given(panels, st.integers(30, 39))
def test_where_the_history_begins_changes_no_bit(panel, origin):
    whole = history(panel)
    skip = origin - PRIMITIVES.lookback // HOUR - 8
    later = replace(whole, values={"y": whole.values["y"][:, max(skip, 0) :]}, first=whole.first + max(skip, 0))
    series = np.arange(len(panel))
    one = feature_matrix(PRIMITIVES, whole, every_example(series, np.array([origin]), 8))
    many = feature_matrix(
        PRIMITIVES, whole, every_example(*every_origin(len(panel), np.array([origin - 1, origin])), 8)
    )
    short = feature_matrix(PRIMITIVES, later, every_example(series, np.array([origin - max(skip, 0)]), 8))
    np.testing.assert_array_equal(one, short)
    np.testing.assert_array_equal(one, many.reshape(len(panel), 2, 8, -1)[:, 1].reshape(one.shape))


def test_values_against_hand_computed_ones():
    y = [float(v) for v in range(40)]
    examples = Examples(np.array([0]), np.array([20]), np.array([2]))
    row = dict(zip(PRIMITIVES.names, feature_matrix(PRIMITIVES, history([y]), examples)[0], strict=True))
    assert (row["lag"], row["difference"], row["mean"], row["count"]) == (17, 5, 17, 9)
    assert (row["min"], row["max"], row["sum"]) == (16, 20, sum(range(8, 21)))
    assert row["std"] == pytest.approx(np.std(y[15:21]))
    assert (row["seasonal"], row["older"], row["before"], row["after"]) == (16, 4, 15, 17)
    assert (row["change"], row["phase"], row["ahead"]) == (6, 10, 2)
    assert row["hour"] == 23  # 22:00 UTC on the day before the clocks change


def test_a_definition_travels_as_json_and_keeps_its_digest():
    again = Features.from_list(PRIMITIVES.as_list())
    assert again.digest == PRIMITIVES.digest
    assert again["mixed"].digest == PRIMITIVES["mixed"].digest
    assert (PRIMITIVES | {"lag": lag("y", "4h")}).digest != PRIMITIVES.digest
    kept = Features({"own": native(pl.col("x").log1p() * 2)})
    frame = pl.DataFrame({"x": [0.0, 1.0]})
    assert (
        Features.from_list(kept.as_list())
        .over(frame, CompileTarget())
        .equals(frame.select(own=pl.col("x").log1p() * 2))
    )


def test_row_primitives():
    frame = pl.DataFrame({"a": [6.0, None, -2.0], "b": [4.0, 1.0, 0.0], "t": ["Mr. Ab c", None, "Mlle. X"]})
    found = Features(
        {
            "ratio": col("a") / col("b"),
            "rest": col("a") % 4,
            "filled": col("a").fill(0),
            "bin": col("a").cut(0, 5),
            "title": col("t").extract(r"^(\w+)\.").map({"Mlle": "Miss"}, keep=("Mr",)),
            "words": col("t").words(),
            "part": col("t").split(". ", 1),
            "short": col("t").slice(0, 2).lower(),
            "both": (col("a") > 0) & (col("b") != 1),
            "gone": col("a").is_missing(),
        }
    ).over(frame, CompileTarget())
    assert found.to_dict(as_series=False) == {
        "ratio": [1.5, None, None],
        "rest": [2.0, None, 2.0],
        "filled": [6.0, 0.0, -2.0],
        "bin": [2, None, 0],
        "title": ["Mr", None, "Miss"],
        "words": [3, None, 2],
        "part": ["Ab c", None, "X"],
        "short": ["mr", None, "ml"],
        "both": [True, False, False],
        "gone": [False, True, False],
    }


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (lambda: col("y"), "sees the future"),
        (lambda: lag("y", "1h") + col("y"), "sees the future"),
        (lambda: native(pl.col("y").log1p()), "sees the future"),
        (lambda: lag("x", "1h"), "not in the contract"),
        (lambda: lag("y", "90m"), "not a multiple of the step"),
        (lambda: lag("y", "-1h"), "sees the future"),
        (lambda: seasonal_lag("y", "24h", back=-1), "sees the future"),
    ],
)
def test_what_is_refused(feature, said):
    with pytest.raises(DeclarationError, match=said):
        Features({"f": feature()}).check(frozenset({"y", "t"}), known_future=frozenset(), step=HOUR)


def test_known_future_columns_are_read_at_the_target_time():
    features = Features({"price": col("price")})
    features.check(frozenset({"price"}), known_future=frozenset({"price"}), step=HOUR)
    prices = History(pl.DataFrame({"k": [0]}), {"price": np.arange(10.0)[None, :]}, GRID.slot(START), GRID)
    matrix = feature_matrix(features, prices, every_example(np.array([0]), np.array([4]), 3))
    assert matrix[:, 0].tolist() == [5, 6, 7]


def test_scaled_is_filled_in_by_a_model():
    features = Features({"f": scaled(lag("y", "0h"))})
    with pytest.raises(FeatureError, match="filled in"):
        features.over(table([[1.0] * 40], 1), CompileTarget(step=HOUR, series=("k",)))
    bound = features.bind(rolling_mean("y", "2h"), rolling_std("y", "2h"))
    y = [float(v) for v in range(40)]
    matrix = feature_matrix(bound, history([y]), every_example(np.array([0]), np.array([9]), 1))
    assert matrix[0, 0] == (9 - 8.5) / 0.5


def test_a_table_on_its_grid_in_any_order():
    rows = [("b", 1, 5.0), ("a", 2, 1.0), ("a", 0, 3.0)]
    frame = pl.DataFrame([(k, START + HOUR * t, v) for k, t, v in rows], ["k", "at", "y"], orient="row").with_columns(
        pl.col("at").cast(pl.Datetime("us", "UTC"))
    )
    found = history_of(frame, keys=("k",), time="at", columns=("y",), grid=GRID)
    assert found.keys["k"].to_list() == ["a", "b"]
    np.testing.assert_array_equal(found.values["y"], [[3, np.nan, 1], [np.nan, 5, np.nan]])


def test_the_standard_features_reach_five_long_seasons_back():
    features = seasonal_features("y", step="1h", country="DK", zone="Europe/Copenhagen")
    assert features.lookback == timedelta(hours=168 * 5)
    assert {"mean_short", "mean_long"} <= set(features.at_origin().names)
