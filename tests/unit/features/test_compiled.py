"""The row form gives what the table form gives, to the last bit."""

import math
import struct
from datetime import UTC, datetime
from zoneinfo import ZoneInfoNotFoundError

import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from headrace.errors import FeatureError
from headrace.features import (
    CompileTarget,
    Features,
    col,
    day_of_year,
    holiday,
    hour,
    lit,
    maximum,
    minimum,
    minute_of_day,
    month,
    native,
    text,
    weekday,
)
from headrace.features.calendar import DatetimePart
from headrace.features.compiled import compile_row
from headrace.features.expression import Expression

TYPES = {"x": "float", "y": "float", "n": "integer", "b": "boolean", "c": "category", "t": "text"}
DTYPES = {"x": pl.Float64, "y": pl.Float64, "n": pl.Int64, "b": pl.Boolean, "c": pl.String, "t": pl.String}

numbers = st.one_of(
    st.none(), st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e300]), st.floats(allow_nan=False, allow_infinity=False)
)
integers = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3))
texts = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.sampled_from(["", "Braund, Mr. Owen", "a/b/c", " \x1c\u2003x ", "ΑΣ", "one  two\nthree", "C85 C87", "İ"]),
)
rows = st.fixed_dictionaries(
    {"x": numbers, "y": numbers, "n": integers, "b": st.one_of(st.none(), st.booleans()), "c": texts, "t": texts}
)


def number_of(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    pairs = st.tuples(children, children)
    return st.one_of(
        pairs.map(lambda p: p[0] + p[1]),
        pairs.map(lambda p: p[0] - p[1]),
        pairs.map(lambda p: p[0] * p[1]),
        pairs.map(lambda p: p[0] / p[1]),
        pairs.map(lambda p: p[0] // p[1]),
        pairs.map(lambda p: p[0] % p[1]),
        pairs.map(lambda p: maximum(p[0], p[1])),
        pairs.map(lambda p: minimum(p[0], p[1])),
        children.map(lambda e: -e),
        children.map(abs),
        children.map(lambda e: e.log1p()),
        children.map(lambda e: e.sqrt()),
        children.map(lambda e: e.fill(1.5)),
        children.map(lambda e: e.cut(-1, 0, 2.5)),
    )


number = st.recursive(
    st.sampled_from([col("x"), col("y"), col("n"), lit(2), lit(0.25), col("t").length(), col("c").words()]),
    number_of,
    max_leaves=5,
)
compared = st.tuples(number, number, st.sampled_from(["==", "!=", "<", "<=", ">", ">="])).map(
    lambda p: {
        "==": p[0] == p[1],
        "!=": p[0] != p[1],
        "<": p[0] < p[1],
        "<=": p[0] <= p[1],
        ">": p[0] > p[1],
        ">=": p[0] >= p[1],
    }[p[2]]
)
truth = st.recursive(
    st.one_of(compared, st.just(col("b")), st.just(col("c") == "a"), number.map(lambda e: e.is_missing())),
    lambda t: st.one_of(
        st.tuples(t, t).map(lambda p: p[0] & p[1]), st.tuples(t, t).map(lambda p: p[0] | p[1]), t.map(lambda e: ~e)
    ),
    max_leaves=3,
)
string = st.recursive(
    st.sampled_from([col("c"), text("t"), col("n").map({"1": "one"}), col("b").map({"true": "yes"}, default=None)]),
    lambda s: st.one_of(
        s.map(lambda e: e.lower()),
        s.map(lambda e: e.strip()),
        s.map(lambda e: e.slice(1, 3)),
        s.map(lambda e: e.slice(-2, 2)),
        s.map(lambda e: e.split("/", 1)),
        s.map(lambda e: e.split(" ", -1)),
        s.map(lambda e: e.extract(r" ([A-Za-z]+)\.")),
        s.map(lambda e: e.extract(r"(\w+)")),
        s.map(lambda e: e.map({"a": "b"}, keep=("c",))),
        s.map(lambda e: e.fill("none")),
    ),
    max_leaves=3,
)
expression = st.one_of(number, truth, string, string.map(lambda e: e.contains("a")), string.map(lambda e: e.words()))


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    return type(a) is type(b) and a == b


@settings(max_examples=400, deadline=None)
@given(st.lists(expression, min_size=1, max_size=3), st.lists(rows, min_size=1, max_size=4))
def test_both_forms_give_the_same_bits(expressions, data):
    features = Features({"x": col("x")} | {f"f{i}": e for i, e in enumerate(expressions)})
    try:
        table = features.over(pl.DataFrame(data, schema=DTYPES), CompileTarget())
    except FeatureError as error:
        if "doesn't match the DataFrame height" not in error.message:
            raise
        reject()  # polars takes some columns of nothing but nulls for one value, and refuses them then
    compiled = compile_row(features, TYPES)
    for row, expected in zip(data, table.iter_rows(), strict=True):
        for name, ours, theirs in zip(features.names, compiled.call(row), expected, strict=True):
            assert same(ours, theirs), (features[name].as_dict(), row, ours, theirs)
    if compiled.many is not None:
        together = compiled.many({name: [row[name] for row in data] for name in TYPES})
        for row, found in zip(data, together, strict=True):
            assert all(map(same, compiled.call(row), found))
    assert (compiled.many is None) == bool(compiled.slow)


def test_a_constant_is_compared_with_a_column_that_is_missing_everywhere():
    binned = lit(2).cut(-1, 0, 2.5)
    features = Features({"same": binned == (-col("x")).sqrt(), "less": binned < (-col("x")).sqrt()})
    for values, same, less in (
        ([None, None], [None, None], [None, None]),
        ([-4.0, -9.0], [True, False], [False, True]),
    ):
        table = features.over(pl.DataFrame({"x": values}, schema={"x": pl.Float64}), CompileTarget())
        assert (table["same"].to_list(), table["less"].to_list()) == (same, less)


def test_a_text_operation_that_python_does_otherwise_takes_the_tables_way():
    features = Features({"word": col("t").extract(r"(\w+)"), "plain": col("t").extract("([a-z]+)"), "x": col("x")})
    compiled = compile_row(features, TYPES)
    assert compiled.slow == ("word",)
    assert compiled.call({"t": "  e\u0301a b", "x": 1}) == ("e\u0301a", "e", 1)


def test_a_users_own_polars_expression_works_on_the_row_path():
    features = Features({"own": native(pl.col("x").clip(0, 1) + pl.col("n")), "twice": native(pl.col("x")) * 2})
    compiled = compile_row(features, TYPES)
    assert compiled.slow == ("own", "twice")
    assert compiled.kinds == ("float", "float")
    assert compiled.call({"x": 7.0, "n": 2}) == (3.0, 14.0)


ZONES = st.sampled_from(
    ["UTC", "Europe/Copenhagen", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Monrovia"]
)
calendars = st.one_of(
    st.builds(
        lambda part, zone: part(zone), st.sampled_from([hour, minute_of_day, weekday, month, day_of_year]), ZONES
    ),
    st.builds(lambda zone, shift: holiday("DK", zone, shift=shift), ZONES, st.integers(-2, 2)),
    st.builds(DatetimePart, st.sampled_from(["minute", "day"]), ZONES),
)
moments = st.one_of(
    st.none(),
    st.datetimes(datetime.fromisoformat("1960-01-01"), datetime.fromisoformat("2110-01-01"), timezones=st.just(UTC)),
    st.datetimes(datetime.fromisoformat("0001-01-05"), datetime.fromisoformat("9999-12-25"), timezones=st.just(UTC)),
)


@settings(max_examples=300, deadline=None)
@given(calendars, st.lists(moments, min_size=1, max_size=4))
def test_both_forms_of_a_calendar_give_the_same(calendar, times):
    features = Features({"part": calendar, "filled": calendar.fill(-1)})
    table = features.over(
        pl.DataFrame({"at": times}, schema={"at": pl.Datetime("us", "UTC")}), CompileTarget(time="at")
    )
    compiled = compile_row(features, {"at": "time"}, time="at")
    assert (compiled.slow, compiled.kinds[0]) == ((), "integer")
    for moment, expected in zip(times, table.iter_rows(), strict=True):
        for ours, theirs in zip(compiled.call({"at": moment}), expected, strict=True):
            assert same(ours, theirs), (calendar.as_dict(), moment, ours, theirs)


def test_a_zone_that_python_does_not_know_takes_the_tables_way(monkeypatch):
    compiled = compile_row(Features({"hour": hour("Europe/Copenhagen")}), {"at": "time"}, time="at")
    assert compiled.call({"at": datetime(2026, 7, 1, 12, tzinfo=UTC)}) == (14,)

    def unknown(zone):
        raise ZoneInfoNotFoundError(zone)

    monkeypatch.setattr("headrace.features.calendar.ZoneInfo", unknown)
    compiled = compile_row(Features({"hour": hour("Europe/Copenhagen")}), {"at": "time"}, time="at")
    assert (compiled.slow, compiled.call({"at": datetime(2026, 7, 1, 12, tzinfo=UTC)})) == (("hour",), (14,))


def test_what_occurs_twice_is_computed_once():
    family = col("x") + col("y") + 1
    compiled = compile_row(Features({"family": family, "alone": family == 1, "each": col("n") / family}), TYPES)
    assert compiled.call({"x": 0.0, "y": 0.0, "n": 8}) == (1.0, True, 8.0)


def test_what_cannot_be_computed_is_named():
    from headrace.errors import FeatureError

    with pytest.raises(FeatureError, match="bad"):
        compile_row(Features({"bad": col("t") == col("x")}), TYPES)
