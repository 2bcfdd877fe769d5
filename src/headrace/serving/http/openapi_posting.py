"""How the OpenAPI document tells of what is posted, row by row, and by other protocols."""

from __future__ import annotations

from typing import Any

from headrace.serving.http.described import ARROW_TYPE, CSV_TYPE, PROBLEMS, TABLES, problem
from headrace.serving.http.openapi_examples import example
from headrace.serving.http.openapi_explaining import at_once, with_explanation
from headrace.serving.http.schemas import part
from headrace.serving.http.served import ServedSystem
from headrace.tasks.schemas import WHOLE, DoorSchemas, Schema, record, rows

KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "In place of the key that a row or an event has by itself.",
}

VERSION = {
    "name": "version",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    "description": "Of the model, in place of the champion; 409 where another one has answered the key.",
}


def posted(served: ServedSystem, prefix: str, limit: int) -> tuple[dict[str, Any], dict[str, Schema]] | None:
    """The route that rows or events are posted to, and the components that it is made of; None where there is none.

    Args:
        served: The system.
        prefix: What its components begin with.
        limit: Rows of a request.
    """
    schemas = _schemas(served)
    if schemas is None:
        return None
    names = f"{prefix}{schemas.item}", f"{prefix}{schemas.answered}", f"{prefix}{schemas.answered}s"
    many = record(predictions=rows(part(names[1])) | {"maxItems": limit}, model_version=WHOLE)
    answer = with_explanation(schemas.answer) if at_once(served) else schemas.answer
    parts = dict(zip(names, (schemas.request, answer, many), strict=True))
    return _operation(served, schemas, names, limit), parts


def _schemas(served: ServedSystem) -> DoorSchemas | None:
    """What is posted; None where a server that logs nothing cannot answer it."""
    if served.task.stateful and not served.logged:
        return None
    champion = served.champion
    version, predictor = (None, None) if champion is None else (champion.version, champion.predictor)
    return served.task.door_schemas(served.home, version=version, predictor=predictor)


def _operation(served: ServedSystem, schemas: DoorSchemas, names: tuple[str, str, str], limit: int) -> dict[str, Any]:
    one = example(schemas.request)
    return {
        "summary": schemas.summary,
        "description": (
            "The same key and content again gives the stored prediction and writes no second one. "
            f"A body may be {CSV_TYPE} or {ARROW_TYPE} too, and so may the answer, by `Accept`. "
            "CloudEvents are read in each of their modes."
        ),
        "operationId": f"predict_{served.system.name}",
        "parameters": [KEY, VERSION, *at_once(served)],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [part(names[0]), {"type": "array", "items": part(names[0]), "maxItems": limit}]
                    },
                    "examples": {"one": {"value": one}, "several": {"value": [one]}},
                }
            },
        },
        "responses": {
            "200": {
                "description": "The prediction of an object, or the predictions of an array in its order.",
                "content": {"application/json": {"schema": {"anyOf": [part(names[1]), part(names[2])]}}, **TABLES},
            },
            **{str(code): problem(code) for code in PROBLEMS if code != 304},
        },
    }


def spoken(served: ServedSystem, answers: str, *, only: bool) -> dict[str, dict[str, Any]]:
    """The routes that other protocols post to, by path.

    Args:
        served: A system that answers what is posted.
        answers: The component of its answers.
        only: Whether it is the only one.
    """
    name = served.system.name
    inferring = _protocol("Predict by the Open Inference Protocol", f"infer_{name}", "InferenceRequest")
    inferring["responses"]["200"]["content"] = {"application/json": {"schema": part("InferenceResponse")}}
    routes = {f"/v2/models/{name}/infer": inferring}
    paths = [f"/v1/systems/{name}/invocations", *(["/invocations"] if only else [])]
    for path in paths:
        number = f"invoke_{name}" if path != "/invocations" else "invoke"
        invoking = _protocol("Predict by MLflow's scoring format", number, "Invocation")
        invoking["responses"]["200"]["content"] = {"application/json": {"schema": part(answers)}}
        routes[path] = invoking
    return routes


def _protocol(summary: str, operation: str, body: str) -> dict[str, Any]:
    codes = [code for code in PROBLEMS if code not in (304, 406)]
    return {
        "summary": summary,
        "operationId": operation,
        "parameters": [KEY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": part(body)}}},
        "responses": {"200": {"description": "The predictions."}, **{str(code): problem(code) for code in codes}},
    }
