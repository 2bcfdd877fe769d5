"""The JSON Schema of one row of a contract."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.contract.column import Column

_TYPES = {"time": "string", "category": "string", "text": "string", "float": "number"}


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
    if column.type in ("float", "integer"):
        for field in ("minimum", "maximum"):
            if (bound := getattr(column, field)) is not None:
                found[field] = bound
    if column.values is not None:
        found["enum"] = [*column.values, None] if column.nullable else list(column.values)
    if column.pattern is not None:
        found["pattern"] = column.pattern
    if column.description:
        found["description"] = column.description
    return found
