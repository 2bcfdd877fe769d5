"""How the OpenAPI document tells of what is posted, row by row, and by other protocols."""

from __future__ import annotations

from typing import Any

from headrace.serving.http.described import ARROW_TYPE, CSV_TYPE, PROBLEMS, TABLES, problem
from headrace.serving.http.events import shape_of
from headrace.serving.http.openapi_events import event_and_answer
from headrace.serving.http.openapi_examples import example
from headrace.serving.http.protocols.answers import kind_of
from headrace.serving.http.schemas import WHOLE, Schema, part, record, rows
from headrace.serving.http.served import Served, request_schema

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


def posted(served: Served, prefix: str, most: int) -> tuple[dict[str, Any], dict[str, Schema]] | None:
    """The route that rows or events are posted to, and the components that it is made of; None where there is none.

    Args:
        served: The system.
        prefix: What its components begin with.
        most: Rows of a request.
    """
    system = served.system
    if not system.forecasts:
        one, said = "Row", f"Predict {system.target} for one row or an array of rows"
        answered, row, answer = "Prediction", _row(served), _row_answer(served)
    else:
        shape = shape_of(system, served.home, logged=served.logged)
        if isinstance(shape, str):
            return None
        one, said = "Event", f"Predict the next steps of {system.target} from an event or an array of events"
        answered, (row, answer) = "Forecast", event_and_answer(served, shape)
    names = f"{prefix}{one}", f"{prefix}{answered}", f"{prefix}{answered}s"
    many = record(predictions=rows(part(names[1])) | {"maxItems": most}, model_version=WHOLE)
    return _operation(served, said, names, row, most), dict(zip(names, (row, answer, many), strict=True))


def _row(served: Served) -> Schema:
    return {name: value for name, value in request_schema(served.system).items() if name != "$schema"}


def _row_answer(served: Served) -> Schema:
    system = served.system
    columns = system.contract.json_schema()["properties"]
    keys = [columns[name] for name in system.keys]
    return record(
        id={"type": "string", "format": "uuid"},
        key=keys[0] if len(keys) == 1 else {"type": "array", "prefixItems": keys},
        **{system.target: {"type": kind_of(served, system.target)}},
        probability={"type": "number", "minimum": 0, "maximum": 1},
        model_version=WHOLE,
    )


def _operation(served: Served, said: str, names: tuple[str, str, str], row: Schema, most: int) -> dict[str, Any]:
    one = example(row)
    return {
        "summary": said,
        "description": (
            "The same key and content again gives the stored prediction and writes no second one. "
            f"A body may be {CSV_TYPE} or {ARROW_TYPE} too, and so may the answer, by `Accept`."
        ),
        "operationId": f"predict_{served.system.name}",
        "parameters": [KEY] if served.system.forecasts else [KEY, VERSION],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [part(names[0]), {"type": "array", "items": part(names[0]), "maxItems": most}]},
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


def spoken(served: Served, many: str, *, only: bool) -> dict[str, dict[str, Any]]:
    """The routes that other protocols post to, by path.

    Args:
        served: A system that answers what is posted.
        many: The component of its answers.
        only: Whether it is the only one.
    """
    name = served.system.name
    inferring = _protocol("Predict by the Open Inference Protocol", f"infer_{name}", "InferenceRequest")
    inferring["responses"]["200"]["content"] = {"application/json": {"schema": part("InferenceResponse")}}
    found = {f"/v2/models/{name}/infer": inferring}
    paths = [f"/v1/systems/{name}/invocations", *(["/invocations"] if only else [])]
    for path in paths:
        number = f"invoke_{name}" if path != "/invocations" else "invoke"
        invoking = _protocol("Predict by MLflow's scoring format", number, "Invocation")
        invoking["responses"]["200"]["content"] = {"application/json": {"schema": part(many)}}
        found[path] = invoking
    return found


def _protocol(said: str, operation: str, body: str) -> dict[str, Any]:
    codes = [code for code in PROBLEMS if code not in (304, 406)]
    return {
        "summary": said,
        "operationId": operation,
        "parameters": [KEY],
        "requestBody": {"required": True, "content": {"application/json": {"schema": part(body)}}},
        "responses": {"200": {"description": "The predictions."}, **{str(code): problem(code) for code in codes}},
    }
