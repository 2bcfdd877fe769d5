"""What a contract refuses when it is declared, and where it says the mistake is."""

from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.contract import Column, Contract, Gaps, Share, ZScore
from headrace.errors import DeclarationError

X = Column("x", "float")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"type": "float", "minimum": 2, "maximum": 1}, "minimum"),
        ({"type": "text", "minimum": 2}, "minimum"),
        ({"type": "integer", "minimum": 2.5}, "minimum"),
        ({"type": "float", "maximum": float("nan")}, "maximum"),
        ({"type": "time", "minimum": 3}, "minimum"),
        ({"type": "float", "zone": "UTC"}, "zone"),
        ({"type": "time", "zone": "Europe/Kopenhagen"}, "zone"),
        ({"type": "time", "zone": "../etc/passwd"}, "zone"),
        ({"type": "time", "ambiguous": "latest"}, "ambiguous"),
        ({"type": "text", "pattern": "("}, "pattern"),
        ({"type": "text", "pattern": "(?=x)"}, "pattern"),
        ({"type": "float", "pattern": "x"}, "pattern"),
        ({"type": "integer", "values": ("a",)}, "values"),
        ({"type": "category", "values": (1, 2)}, "values"),
        ({"type": "category", "values": ()}, "values"),
        ({"type": "boolean", "values": (1,)}, "values"),
        ({"type": "integer", "decimal": ","}, "decimal"),
        ({"type": "category", "format": "%Y"}, "format"),
    ],
)
def test_contradictions_name_their_place(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=(X, Column("y", "text"), Column("bad", **fields)))
    assert caught.value.where == f"contract.columns[2].{field}"
    assert caught.value.exit_code == 2


def test_a_column_refuses_an_unknown_type_and_field() -> None:
    with pytest.raises(DeclarationError) as caught:
        Column("x", "floaty")
    assert caught.value.where == "contract.columns['x'].type"
    with pytest.raises(DeclarationError, match="no such field"):
        Column("x", "float", minimun=3)  # type: ignore[call-arg]


def test_a_contract_from_data_names_the_place() -> None:
    with pytest.raises(DeclarationError) as caught:
        Contract.model_validate({"columns": [{"name": "x", "type": "float"}, {"name": "y", "type": "floaty"}]})
    assert caught.value.where == "contract.columns[1].type"
    with pytest.raises(DeclarationError) as caught:
        Contract.model_validate({"columns": [{"name": "x", "type": "float", "minimun": 1}]})
    assert caught.value.where == "contract.columns[0].minimun"


def test_duplicate_names_and_no_columns() -> None:
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=(X, Column("y", "text"), X))
    assert caught.value.where == "contract.columns[2].name"
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=())
    assert caught.value.where == "contract.columns"
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=(X,), max_invalid_fraction=1.5)
    assert caught.value.where == "contract.max_invalid_fraction"


def test_rules_name_columns_that_exist() -> None:
    with pytest.raises(DeclarationError) as caught:
        Contract(columns=(X,), rules=(Gaps(), ZScore(column="y")))
    assert caught.value.where == "contract.rules[1].column"
    with pytest.raises(DeclarationError):
        Contract(columns=(Column("t", "text"),), rules=(Share(column="t", condition="zero", at_most=0.1),))


def test_round_trips_through_data_and_pickle() -> None:
    contract = Contract(
        columns=(
            Column("t", "time", zone="UTC", minimum=datetime(2020, 1, 1, tzinfo=UTC)),
            Column("c", "category", values=("a", "b"), pattern="^[ab]$"),
            Column("x", "float", minimum=0, nullable=True),
        ),
        rules=(Share(column="x", condition="zero", at_most=0.1), Gaps(severity="stop")),
        staleness="3d",
    )
    assert Contract.model_validate(contract.model_dump()) == contract
    assert Contract.model_validate_json(contract.model_dump_json()) == contract
    assert pickle.loads(pickle.dumps(contract)) == contract


def test_json_schema() -> None:
    contract = Contract(
        columns=(
            Column("t", "time"),
            Column("c", "category", values=("a",), nullable=True),
            Column("n", "integer", minimum=0, maximum=9, description="how many"),
            Column("b", "boolean"),
            Column("s", "text", pattern="^x"),
        )
    )
    schema = contract.json_schema()
    assert schema["required"] == ["t", "n", "b", "s"]
    assert schema["properties"] == {
        "t": {"type": "string", "format": "date-time"},
        "c": {
            "anyOf": [
                {"type": "string", "enum": ["a"]},
                {"type": "null"},
                {"type": "string", "pattern": r"^\s*$"},
            ]
        },
        "n": {"type": "integer", "minimum": 0, "maximum": 9, "description": "how many"},
        "b": {"type": "boolean"},
        "s": {"type": "string", "pattern": "^x", "allOf": [{"pattern": r"\S"}]},
    }
    plain = Contract(columns=(Column("n", "integer"), Column("x", "float", nullable=True), Column("c", "category")))
    most = sys.float_info.max
    assert plain.json_schema()["properties"] == {
        "n": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
        "x": {
            "anyOf": [
                {"type": ["number", "null"], "minimum": -most, "maximum": most},
                {"type": "string", "pattern": r"^\s*$"},  # as a form sends an empty field
            ]
        },
        "c": {"type": "string", "allOf": [{"pattern": r"\S"}]},  # a blank one is missing
    }
