"""The JSON Schema of one row of a contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.contract.column import Column
from headrace.contract.table import EPOCHS, KINDS, missing_of, rules_of

_KEYWORDS = {"values": "enum"}
"""Where JSON Schema has another word than a rule."""
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def row_schema(columns: Iterable[Column]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one row as an object; nullable columns may be left out."""
    columns = tuple(columns)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {column.called: column_schema(column) for column in columns},
        "required": [column.called for column in columns if not column.nullable],
    }


def column_schema(column: Column) -> dict[str, Any]:
    """The JSON Schema of a column's values."""
    missing, value = missing_of(column), _value(column)
    gone: list[dict[str, Any]] = [{"type": "string", "pattern": missing.pattern}]
    if missing.numbers:
        gone.append({"type": "number", "enum": sorted(missing.numbers)})
    found: dict[str, Any]
    if column.nullable and column.textual and len(value) == 1 and not missing.numbers:
        found = {"type": [value["type"], "null"]}  # a blank one is missing
    elif column.nullable and "enum" in value:  # null among the values makes generators name them twice
        found = {"anyOf": [value, {"type": "null"}, *gone]}
    elif column.nullable:
        kinds = [value["type"]] if isinstance(value["type"], str) else value["type"]
        found = {"anyOf": [value | {"type": [*kinds, "null"]}, *gone]}
    elif column.textual and column.values is None and not missing.texts:
        found = value | {"allOf": [{"pattern": r"\S"}]}
    elif (column.textual and column.values is None) or (missing.numbers and not column.textual):
        found = value | {"not": {"anyOf": gone}}
    else:
        found = value
    told = [column.description, "When its step ends." if column.label == "end" else ""]
    if any(told):
        found["description"] = " ".join(filter(None, told))
    return found


def _value(column: Column) -> dict[str, Any]:
    """The schema of a value that is not missing."""
    kind = KINDS[column.type]
    found: dict[str, Any] = {"type": kind.json}
    if column.format in EPOCHS:
        return {"type": ["number", "string"], "pattern": _NUMBER}
    if column.type == "time" and column.zone is None and column.format is None:
        found["format"] = "date-time"
    if kind.least is not None and column.values is None:  # of those each is within the limits
        found |= {"minimum": kind.least, "maximum": kind.most}
    for rule in rules_of(column):
        if column.type != "time":
            found[_KEYWORDS.get(rule.keyword, rule.keyword)] = (
                list(rule.operand) if isinstance(rule.operand, tuple) else rule.operand
            )
    return found
