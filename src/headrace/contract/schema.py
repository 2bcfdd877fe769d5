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
    absent: list[dict[str, Any]] = [{"type": "string", "pattern": missing.pattern}]
    if missing.numbers:
        absent.append({"type": "number", "enum": sorted(missing.numbers)})
    schema: dict[str, Any]
    if column.nullable and column.textual and len(value) == 1 and not missing.numbers:
        schema = {"type": [value["type"], "null"]}  # a blank one is missing
    elif column.nullable and "enum" in value:  # null among the values makes generators name them twice
        schema = {"anyOf": [value, {"type": "null"}, *absent]}
    elif column.nullable:
        kinds = [value["type"]] if isinstance(value["type"], str) else value["type"]
        schema = {"anyOf": [value | {"type": [*kinds, "null"]}, *absent]}
    elif column.textual and column.values is None and not missing.texts:
        schema = value | {"allOf": [{"pattern": r"\S"}]}
    elif (column.textual and column.values is None) or (missing.numbers and not column.textual):
        forbidden = [value["not"]] if "not" in value else []
        schema = value | {"not": {"anyOf": [*absent, *forbidden]}}
    else:
        schema = value
    notes = [column.description, "When its step ends." if column.label == "end" else ""]
    if any(notes):
        schema["description"] = " ".join(filter(None, notes))
    return schema


def _value(column: Column) -> dict[str, Any]:
    """The schema of a value that is not missing."""
    kind = KINDS[column.type]
    schema: dict[str, Any] = {"type": kind.json}
    if column.format in EPOCHS:
        return {"type": ["number", "string"], "pattern": _NUMBER}
    if column.type == "time" and column.zone is None and column.format is None:
        schema["format"] = "date-time"
    if kind.least is not None and column.values is None:  # of those each is within the limits
        schema |= {"minimum": kind.least, "maximum": kind.most}
    for rule in rules_of(column):
        if rule.keyword == "forbids":
            schema["not"] = {"pattern": rule.operand}
        elif column.type != "time":
            schema[_KEYWORDS.get(rule.keyword, rule.keyword)] = (
                list(rule.operand) if isinstance(rule.operand, tuple) else rule.operand
            )
    return schema
