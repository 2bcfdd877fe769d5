"""Rows decoded together are those decoded one by one, or are left to that."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import Column, Contract
from headrace.contract.many import ManyDecoder, quotes
from headrace.contract.row import RowDecoder
from headrace.identity import inputs_of

CONTRACT = Contract(
    columns=(
        Column("id", "integer", minimum=1),
        Column("won", "boolean"),
        Column("age in years", "float", minimum=0, maximum=120, nullable=True),
        Column("kind", "category", values=("a", "b"), nullable=True),
        Column("class", "integer", values=(1, 2, 3)),
        Column("port", "category"),
        Column("note", "text", nullable=True),
        Column("size", "float"),
    ),
    max_invalid_fraction=1,
)
TOGETHER, ALONE = ManyDecoder(CONTRACT, "won"), RowDecoder(CONTRACT, optional=("won",))
GOOD = {"id": 1, "class": 1, "port": "S", "size": 2.5}


def same_as_alone(rows: list[Any], body: bytes) -> bool:
    """Whether rows were decoded together; if they were, then to the same as alone, from one body or from many."""
    found = TOGETHER(body)
    assert TOGETHER.alone([json.dumps(row).encode() for row in rows]) == found
    if found is None:
        return False
    alone = [ALONE(row) for row in rows]
    assert [faults for _, faults in alone if faults] == []
    typed = [row for row, _ in alone]
    assert {name: list(values) for name, values in found.columns.items()} == {
        name: [row[name] for row in typed] for name in CONTRACT.names
    }
    assert [type(v) for values in found.columns.values() for v in values] == [
        type(row[name]) for name in CONTRACT.names for row in typed
    ]
    assert list(found.inputs) == [inputs_of(row, "won") for row in typed]
    return True


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6) | st.sampled_from(
    ['"', "\\", '\\"', "é", ":", "null"]
)
PLAIN = st.fixed_dictionaries(
    {
        "id": st.integers(1, 2**53),
        "class": st.sampled_from([1, 2, 3]),
        "port": TEXT.filter(lambda text: bool(text) and not text.isspace()),
        "size": st.floats(-(2.0**53), 2.0**53) | st.integers(-(2**53), 2**53),
    },
    optional={
        "won": st.none() | st.booleans(),
        "age in years": st.none() | st.floats(0, 120) | st.integers(0, 120),
        "kind": st.none() | st.sampled_from(["a", "b", "", " "]),
        "note": st.none() | TEXT,
    },
)
ANYTHING = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT


@given(rows=st.lists(PLAIN, max_size=8), ascii_only=st.booleans())
def test_property_good_rows_are_decoded_together_as_they_are_alone(
    rows: list[dict[str, Any]], ascii_only: bool
) -> None:
    assert same_as_alone(rows, json.dumps(rows, ensure_ascii=ascii_only).encode())


@given(
    rows=st.lists(PLAIN, min_size=1, max_size=3),
    strange=st.dictionaries(st.sampled_from([*CONTRACT.names, "else"]), ANYTHING, min_size=1, max_size=3),
)
def test_property_no_bad_row_passes(rows: list[dict[str, Any]], strange: dict[str, Any]) -> None:
    rows = [*rows, rows[0] | strange]
    together = same_as_alone(rows, json.dumps(rows).encode())
    blank = [isinstance(value, str) and not value.strip() for value in strange.values()]
    number = [isinstance(value, int | float) for value in strange.values()]
    assert together or ALONE(rows[-1])[1] or any(number) or any(blank)


@pytest.mark.parametrize(
    "twice",
    [
        b'[{"id":1,"class":1,"port":"S","size":2,"size":2}]',
        b'[{"id":1,"class":1,"port":"S","size":2,"note":null,"note":null}]',
        b'[{"id":1,"class":1,"port":"S","size":2,"note":null,"note":"null"}]',
        b'[{"id":1,"class":1,"port":"S","size":2,"kind":"\\"","note":"\\\\","k\\u0069nd":"a"}]',
        b'[{"id":1,"class":1,"port":"S","size":2},{"id":2,"class":1,"port":"S","size":2,"id":2}]',
        b'[{"id":1,"class":1,"port":"S","size":2}] x',
        b'{"id":1,"class":1,"port":"S","size":2}',
        b'[{"id":1,"class":1,"port":"S"}]',
        b"[[[[",
        b'[{"id":1,"class":1,"port":"\xff","size":2}]',
        b'[{"id":1,"class":1,"port":"S","size":1e999}]',
        b"[" * 100_000,
    ],
)
def test_what_is_not_plain_is_left_to_others(twice: bytes) -> None:
    assert TOGETHER(twice) is None
    assert TOGETHER.alone([json.dumps(GOOD).encode(), twice[1:-1]]) is None


@pytest.mark.parametrize("cut", [1, 20, -1])
def test_no_row_is_made_of_two_bodies(cut: int) -> None:
    """Nor two of one, even where there are as many rows as bodies then."""
    one = json.dumps(GOOD).encode()
    two = one + b"," + one
    for bodies in ([one[:cut], one[cut:]], [two, one[cut:]], [two, b""], [two[:cut], two[cut:]], [one, b"null"]):
        assert TOGETHER.alone(bodies) is None


def test_rows_of_all_kinds_come_together() -> None:
    rows = [GOOD, GOOD | {"won": True, "kind": "", "note": 'a"\\b'}, GOOD | {"age in years": 3, "kind": None}]
    assert same_as_alone(rows, json.dumps(rows).encode())
    assert same_as_alone([GOOD | {"won": True}], json.dumps([GOOD | {"won": True}]).encode())
    assert same_as_alone([], b"[]")


@pytest.mark.parametrize(
    "column", [Column("c", "time", zone="UTC"), Column("c", "text", pattern="x"), Column('a"', "text")]
)
def test_a_contract_with_other_rules_is_left_to_others(column: Column) -> None:
    decoder = ManyDecoder(Contract(columns=(Column("id", "integer"), column)), "id")
    body = json.dumps({"id": 1, column.name: "x"}).encode()
    assert decoder(b"[%b]" % body) is None
    assert decoder.alone([body]) is None


@given(st.lists(st.text(st.sampled_from('"\\x\n'), max_size=6), max_size=5))
def test_property_quotes_are_counted(texts: list[str]) -> None:
    assert quotes(json.dumps(texts).encode()) == 2 * len(texts)
