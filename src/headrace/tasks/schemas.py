"""JSON Schemas of what is posted to a door and answered, and what they are put together from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headrace.models.forecast import SERVED as KINDS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
NUMBER: Schema = {"type": ["number", "null"]}
WHOLE: Schema = {"type": "integer"}
SERVED: Schema = {"enum": list(KINDS)}
ANYTHING: Schema = {"type": "object"}
UUID: Schema = {"type": "string", "format": "uuid"}


@dataclass(frozen=True)
class DoorSchemas:
    """What a door is posted, and what it answers.

    Attributes:
        item: The name of what is posted, such as ``Row``: a component of the OpenAPI document.
        answered: The name of its answer, such as ``Prediction``.
        summary: What posting does, in a line.
        request: JSON Schema of one item.
        answer: JSON Schema of its answer.
    """

    item: str
    answered: str
    summary: str
    request: Schema
    answer: Schema


def record(optional: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    """An object that has these properties, all but the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def rows(item: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": item}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}
