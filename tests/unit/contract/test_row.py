"""The row form of a contract agrees with its table form and with its JSON Schema."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import Column, Contract, check
from headrace.contract.row import RowDecoder

CONTRACT = Contract(
    columns=(
        Column("id", "integer", minimum=1),
        Column("age", "float", minimum=0, maximum=120, nullable=True),
        Column("kind", "category", values=("a", "b"), nullable=True),
        Column("code", "text", pattern=r"^\w+$"),
        Column("yes", "boolean", nullable=True),
        Column("at", "time", zone="Europe/Copenhagen", nullable=True),
    ),
    max_invalid_fraction=1,
)
GOOD = {"id": 1, "age": 22, "kind": "a", "code": "x", "yes": True, "at": "2026-07-01T12:00:00"}
NOW = datetime(2026, 11, 1, tzinfo=UTC)


def decode(row):
    return RowDecoder(CONTRACT)(row)


def test_a_good_row_gets_its_types():
    row, faults = decode(GOOD)
    assert faults == []
    assert row == {**GOOD, "age": 22.0, "at": datetime(2026, 7, 1, 10, tzinfo=UTC)}
    assert isinstance(row["age"], float)


def test_what_may_be_missing_may_be_left_out_or_null():
    row, faults = decode({"id": 1, "code": "x", "age": None})
    assert (row["age"], row["kind"], row["yes"], faults) == (None, None, None, [])


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"id": "1"}, ["id"], "not a whole number, but a text"),
        ({"id": 1.5}, ["id"], "not a whole number"),
        ({"id": 2**70}, ["id"], "64 bits"),
        ({"id": 0}, ["id"], "below the minimum"),
        ({"id": True}, ["id"], "not a whole number, but a truth value"),
        ({"id": None}, ["id"], "is missing"),
        ({"age": "22"}, ["age"], "not a number, but a text"),
        ({"age": [1]}, ["age"], "not a number, but an array"),
        ({"age": 10**400}, ["age"], "finite"),
        ({"age": 121}, ["age"], "above the maximum"),
        ({"kind": "c"}, ["kind"], "not one of a, b"),
        ({"kind": 3}, ["kind"], "not a text, but a number"),
        ({"code": "!"}, ["code"], "does not match"),
        ({"yes": 1}, ["yes"], "not true or false"),
        ({"at": "yesterday"}, ["at"], "not a time"),
        ({"at": "2026-03-29T02:30:00"}, ["at"], "does not exist"),
        ({"ages": 3}, ["ages"], "is 'age' meant?"),
    ],
)
def test_a_fault_names_its_field(change, path, said):
    _, faults = decode({**GOOD, **change})
    assert [fault["loc"] for fault in faults] == [path]
    assert said in faults[0]["msg"]


def test_a_name_that_looks_like_a_column_is_told_apart():
    decoder = RowDecoder(Contract(columns=(Column("m\u00e5ned", "float", nullable=True),)))
    _, faults = decoder({"ma\u030aned": 1})
    said = r"is not a column of the contract: it reads as one, but is 'ma\u030aned', not 'm\xe5ned'"
    assert faults == [{"loc": ["ma\u030aned"], "msg": said}]


@pytest.mark.parametrize("data", [None, 3, "x", [], [GOOD], True])
def test_a_row_is_an_object(data):
    _, faults = decode(data)
    assert faults[0]["loc"] == []


def test_every_fault_is_told():
    _, faults = decode({"id": -1, "age": "x", "kind": "z"})
    assert [fault["loc"][0] for fault in faults] == ["id", "age", "kind", "code"]


values = st.fixed_dictionaries(
    {
        "id": st.integers(-2, 2**62),
        "age": st.one_of(st.none(), st.floats(-10, 200), st.integers(-5, 150).map(float)),
        "kind": st.sampled_from([None, "a", "b", "c", " "]),
        "code": st.sampled_from(["x", "é1", "", "a b", "x\n"]),
        "yes": st.sampled_from([None, True, False]),
        "at": st.sampled_from([None, "2026-01-01T00:00:00Z", "2026-10-25T02:30:00", "2026-06-01", "soon"]),
    }
)


@given(values)
def test_both_forms_agree(row):
    table = check(CONTRACT, pl.DataFrame([row], schema_overrides=_dtypes()), as_of=NOW, now=NOW)
    decoded, faults = decode(row)
    assert (table.bad.height == 0) == (not faults), (table.bad.to_dicts(), faults)
    if not faults:
        assert decoded == table.good.drop("known_at").row(0, named=True)


def _dtypes():
    return {"id": pl.Int64, "age": pl.Float64, "yes": pl.Boolean, **dict.fromkeys(("kind", "code", "at"), pl.String)}
