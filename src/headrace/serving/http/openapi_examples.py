"""A value that fits a JSON Schema, for people to begin with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VALUES = {"string": "text", "integer": 1, "number": 1.5, "boolean": True, "array": [], "object": {}}
_TIME = "2026-01-31T12:00:00Z"


def example(row: Mapping[str, Any]) -> dict[str, Any]:
    """An object with what is required of it."""
    return {name: value(property_) for name, property_ in row["properties"].items() if name in row["required"]}


def value(schema: Mapping[str, Any]) -> Any:
    """A value that fits the schema, but for patterns other than of times."""
    if "anyOf" in schema:
        return value(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    of = schema.get("type", "object")
    kind = of[0] if isinstance(of, list) else of
    if kind == "string" and (schema.get("format") == "date-time" or "T" in schema.get("pattern", "")):
        return _TIME
    found = _VALUES[kind]
    if kind in ("integer", "number"):
        return min(max(found, schema.get("minimum", found)), schema.get("maximum", found))
    return found
