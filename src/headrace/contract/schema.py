"""The JSON Schema of one row of a contract."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from headrace.contract.column import Column

_TYPES = {"time": "string", "category": "string", "text": "string", "float": "number"}
_RANGES = {"integer": (-(2**63), 2**63 - 1), "float": (-sys.float_info.max, sys.float_info.max)}
"""What the types themselves can hold."""


def row_schema(columns: Iterable[Column]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one row as an object; nullable columns may be left out."""
    columns = tuple(columns)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {column.name: _property(column) for column in columns},
        "required": [column.name for column in columns if not column.nullable],
    }


def _property(column: Column) -> dict[str, Any]:
    kind = _TYPES.get(column.type, column.type)
    found: dict[str, Any] = {"type": [kind, "null"] if column.nullable else kind}
    if column.type == "time" and column.zone is None and column.format is None:
        found["format"] = "date-time"
    if column.type in _RANGES:
        least, most = _RANGES[column.type]
        found["minimum"] = least if column.minimum is None else column.minimum
        found["maximum"] = most if column.maximum is None else column.maximum
    if column.values is not None:
        found["enum"] = [*column.values, None] if column.nullable else list(column.values)
    if column.pattern is not None:
        found["pattern"] = column.pattern
    if column.type == "category":
        found = _with_blanks(column, found)
    if column.description:
        found["description"] = column.description
    return found


def _with_blanks(column: Column, found: dict[str, Any]) -> dict[str, Any]:
    """A blank category is a missing one."""
    if column.nullable and (column.values is not None or column.pattern is not None):
        return {"anyOf": [found, {"type": "string", "pattern": r"^\s*$"}]}
    if not column.nullable and column.values is None:
        return found | {"allOf": [{"pattern": r"\S"}]}
    return found
