"""JSON Schemas of what the reading routes answer: the components of the OpenAPI document."""

from __future__ import annotations

from typing import Any

from headrace.models.forecast import SERVED as KINDS

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
NUMBER: Schema = {"type": ["number", "null"]}
WHOLE: Schema = {"type": "integer"}
SERVED: Schema = {"enum": list(KINDS)}
ANYTHING: Schema = {"type": "object"}


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


def part(name: str) -> Schema:
    """A reference to one of `PARTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


_TENSOR = {"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 2}}
"""What a tensor has in every document."""
_SOME: Schema = {"type": ["object", "null"]}
_LIST: Schema = {"type": "array", "items": {}}

PROTOCOLS: dict[str, Schema] = {
    "Tensor": record(("data", "parameters"), **_TENSOR, data=_LIST, parameters=_SOME)
    | {"description": "A column: `data`, or bytes behind the document, `binary_data_size` of them."},
    "InferenceRequest": record(
        ("id", "parameters", "outputs"),
        inputs=rows(part("Tensor")) | {"minItems": 1},
        id={"type": ["string", "null"]},
        parameters=_SOME,
        outputs=maybe(rows(record(("parameters",), name=TEXT, parameters=_SOME))),
    ),
    "InferenceResponse": record(("id",), model_name=TEXT, model_version=TEXT, id=TEXT, outputs=rows(part("Tensor"))),
    "Invocation": record(
        ("dataframe_split", "dataframe_records", "instances", "inputs"),
        dataframe_split=record(("index",), columns=rows(TEXT), data=rows(_LIST), index=_LIST),
        dataframe_records=rows(ANYTHING),
        instances=rows(ANYTHING),
        inputs={"anyOf": [ANYTHING, rows(ANYTHING)]},
    )
    | {"description": "Rows, written in one of four ways."},
}
"""What other protocols post and answer."""

PARTS: dict[str, Schema] = {
    "InferenceServer": record(name=TEXT, version=TEXT, extensions=rows(TEXT)),
    "InferenceLive": record(live={"const": True}),
    "InferenceReady": record(ready={"const": True}),
    "InferenceModelReady": record(name=TEXT, ready={"const": True}),
    "InferenceModel": record(
        name=TEXT,
        versions=rows(TEXT),
        platform=TEXT,
        inputs=rows(part("TensorMetadata")),
        outputs=rows(part("TensorMetadata")),
    ),
    "TensorMetadata": record(("parameters",), **_TENSOR, parameters=ANYTHING),
    "InferenceIndex": rows(record(name=TEXT, version=TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=TEXT)),
    "Problem": record(
        ("errors",),
        type=TEXT,
        title=TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail=TEXT,
        errors=rows(record(loc=rows({"type": ["string", "integer"]}), msg=TEXT)),
    )
    | {"description": "RFC 9457; `errors` says what is wrong where: a path into the body, the query or the headers."},
    "Health": record(status={"const": "alive"}),
    "Ready": record(ready={"const": True}, systems={"type": "object", "additionalProperties": TEXT}),
    "Run": record(
        run_id=TEXT,
        as_of=TIME,
        created_at=TIME,
        ended_at=maybe(TIME),
        status={"enum": ["done", "failed"]},
        error=maybe(TEXT),
        model_version=maybe(WHOLE),
        data_version=maybe(WHOLE),
        predictions=maybe(WHOLE),
    ),
    "System": record(
        name=TEXT,
        kind={"enum": ["forecast", "rows"]},
        keys=rows(TEXT),
        target=TEXT,
        horizon=maybe(TEXT),
        step=maybe(TEXT),
        contract=ANYTHING | {"description": "JSON Schema of a row."},
        model_version=maybe(WHOLE),
        last_run=maybe(part("Run")),
        ready={"type": "boolean"},
        reason=maybe(TEXT),
    ),
    "Systems": record(systems=rows(part("System"))),
    "Series": record(series=rows({"type": "object", "additionalProperties": TEXT})),
    "Observations": record(observations=rows(record(time=TIME, value=NUMBER))),
    "Predictions": record(
        predictions=rows(
            record(
                time=TIME,
                value=NUMBER,
                lower=NUMBER,
                upper=NUMBER,
                served=SERVED,
                id={"type": "string", "format": "uuid"},
            )
        ),
        as_of=maybe(TIME),
        model_version=maybe(WHOLE),
    ),
    "Metrics": record(
        ("by_version",),
        metrics={"type": "object", "additionalProperties": NUMBER},
        over_time=rows(record(time=TIME) | {"additionalProperties": NUMBER}),
        by_version=rows(record(model_version=WHOLE) | {"additionalProperties": NUMBER}),
    ),
    "Runs": record(runs=rows(part("Run"))),
    "Alerts": record(
        alerts=rows(
            record(
                id=TEXT,
                system=TEXT,
                severity={"enum": ["warning", "alarm"]},
                name=TEXT,
                message=TEXT,
                opened_at=TIME,
                closed_at=maybe(TIME),
                details=ANYTHING,
            )
        )
    ),
    "Trace": record(
        id={"type": "string", "format": "uuid"},
        system=TEXT,
        prediction=ANYTHING,
        pins=ANYTHING,
        model=record(version=WHOLE, digest=TEXT, state=TEXT, trained=ANYTHING, metrics=ANYTHING),
        run=maybe(ANYTHING),
    ),
}
