"""What is posted to a system that scores rows, and what it answers, as JSON Schemas."""

from __future__ import annotations

from headrace.models.tabular import declared_values
from headrace.system import System
from headrace.tasks.form import json_kind
from headrace.tasks.rows.outputs.base import Output
from headrace.tasks.schemas import UUID, WHOLE, DoorSchemas, Schema, record


def posting(system: System, output: Output, schema: Schema) -> DoorSchemas:
    """A row, and its prediction by an output.

    Args:
        system: The declaration.
        output: Of the version that answers, or as it is declared.
        schema: JSON Schema of a row.
    """
    columns = system.contract.json_schema()["properties"]
    keys = [columns[name] for name in system.keys]
    classes = declared_values(system.contract.column(system.target)) if output.classes else None
    named = {} if classes is None else {"enum": list(classes)}
    answer = record(
        id=UUID,
        key=keys[0] if len(keys) == 1 else {"type": "array", "prefixItems": keys},
        **{system.target: {"type": json_kind(system, system.target), **named}},
        **output.schema_beside(),
        model_version=WHOLE,
    )
    request = {name: value for name, value in schema.items() if name != "$schema"}
    summary = f"Predict {system.target} for one row or an array of rows"
    return DoorSchemas("Row", "Prediction", summary, request, answer)
