"""JSON Schemas of what the reading routes answer: the components of the OpenAPI document."""

from __future__ import annotations

from headrace.serving.http.schemas_reads import READ_PARTS
from headrace.tasks import kinds
from headrace.tasks.schemas import ANYTHING, NUMBER, SERVED, TEXT, TIME, WHOLE, Schema, maybe, record, rows


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

PARTS: dict[str, Schema] = READ_PARTS | {
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
        ("error", "hint", "errors"),
        type=TEXT,
        title=TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail=TEXT,
        error={"type": "string", "description": "The type of error, as the reference of errors has it."},
        hint={"type": "string", "description": "What you can do."},
        errors=rows(record(loc=rows({"type": ["string", "integer"]}), msg=TEXT)),
    )
    | {"description": "RFC 9457; `errors` says what is wrong where: a path into the body, the query or the headers."},
    "Health": record(status={"const": "alive"}),
    "Ready": record(ready={"const": True}, systems={"type": "object", "additionalProperties": TEXT}),
    "System": record(
        name=TEXT,
        kind={"enum": list(kinds())},
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
                ("actual",),
                time=TIME,
                value=NUMBER,
                lower=NUMBER,
                upper=NUMBER,
                served=SERVED,
                id={"type": "string", "format": "uuid"},
                actual=maybe(NUMBER),
            )
        ),
        as_of=maybe(TIME),
        model_version=maybe(WHOLE),
    ),
    "Metrics": record(
        ("by_version", "beside"),
        metrics={"type": "object", "additionalProperties": NUMBER},
        over_time=rows(record(time=TIME) | {"additionalProperties": NUMBER}),
        by_version=rows(record(model_version=WHOLE) | {"additionalProperties": NUMBER}),
        beside=rows(ANYTHING),
    ),
    "DriftedFeature": record(
        name=TEXT,
        role={"enum": ["feature", "target", "prediction"]},
        kind={"enum": ["numeric", "categorical", "text"]},
        statistic=TEXT,
        value=NUMBER,
        threshold=NUMBER,
        p_value=NUMBER,
        drifted={"type": "boolean"},
        importance=maybe(NUMBER),
        reference=ANYTHING,
        current=ANYTHING,
        distances=rows(ANYTHING),
    ),
    "Performance": record(
        rows=WHOLE,
        matured=WHOLE,
        metrics=rows(
            record(
                name=TEXT,
                estimated=maybe(NUMBER),
                held_out=NUMBER,
                deviation=NUMBER,
                realised=maybe(NUMBER),
            )
        ),
        reason=maybe(TEXT),
    ),
    "Drift": record(
        system=TEXT,
        as_of=TIME,
        reference=record(model_version=WHOLE, as_of=TIME, rows=WHOLE),
        since=TIME,
        rows=WHOLE,
        features=rows(part("DriftedFeature")),
        segments=rows(record(column=TEXT, value=TEXT, rows=WHOLE, features=rows(part("DriftedFeature")))),
        share=NUMBER,
        drifted={"type": "boolean"},
        judged={"type": "boolean"},
        reason=maybe(TEXT),
        performance=maybe(part("Performance")),
    ),
    "Validation": record(
        system=TEXT,
        as_of=TIME,
        created_at=TIME,
        source=TEXT,
        rows=WHOLE,
        good=WHOLE,
        bad=WHOLE,
        pending=WHOLE,
        invalid_fraction=NUMBER,
        max_invalid_fraction=NUMBER,
        broken={"type": "boolean"},
        why_broken=rows(TEXT),
        reasons={"type": "object", "additionalProperties": WHOLE},
        extra_columns=rows(TEXT),
        findings=rows(ANYTHING),
        rules=rows(
            record(
                rule=TEXT,
                column=maybe(TEXT),
                severity={"enum": ["warn", "quarantine", "stop"]},
                passed={"type": "boolean"},
                failed=maybe(WHOLE),
                rows=maybe(WHOLE),
                share=maybe(NUMBER),
                message=TEXT,
                numbers=ANYTHING,
                examples=rows(record(row=TEXT, reason=TEXT)),
            )
        ),
        history=rows(
            record(
                created_at=TIME,
                as_of=TIME,
                source=TEXT,
                rows=WHOLE,
                good=WHOLE,
                bad=WHOLE,
                pending=WHOLE,
                broken={"type": "boolean"},
                warnings=WHOLE,
            )
        ),
    )
    | {"description": "What the contract said of an ingest, rule by rule, and the ingests before it."},
    "Quarantine": record(
        system=TEXT,
        apart=WHOLE,
        released=WHOLE,
        counts=rows(record(column=maybe(TEXT), reason=TEXT, rows=WHOLE, released=WHOLE)),
        rows=rows(
            record(
                id=TEXT,
                time=maybe(TIME),
                known_at=TIME,
                row=TEXT,
                reasons=rows(TEXT),
                source=maybe(TEXT),
                place=maybe(WHOLE),
                state={"enum": ["apart", "released"]},
                decided_at=maybe(TIME),
            )
        ),
        next=maybe(TEXT),
    )
    | {"description": "Rows that broke the contract, counted by reason and column, and the newest of them."},
    "Explanation": record(
        id=maybe({"type": "string", "format": "uuid"}),
        keys=ANYTHING,
        target=TEXT,
        value=NUMBER,
        label={},
        scale=TEXT,
        mapping=TEXT,
        base=NUMBER,
        base_means=TEXT,
        total=NUMBER,
        contributions=rows(
            record(feature=TEXT, value={}, contribution=NUMBER, kind={"enum": ["feature", "baseline", "step", "rest"]})
        ),
        method={"enum": ["exact", "permutation"]},
        model_version=WHOLE,
        answer=ANYTHING,
    )
    | {"description": "Why a prediction has its value: `base` and all contributions add up to `total`."},
    "Explanations": record(explanations=rows(part("Explanation"))),
    "Trace": record(
        id={"type": "string", "format": "uuid"},
        system=TEXT,
        prediction=ANYTHING,
        pins=ANYTHING,
        model=record(version=WHOLE, digest=TEXT, state=TEXT, trained=ANYTHING, metrics=ANYTHING),
        run=maybe(ANYTHING),
    ),
}
