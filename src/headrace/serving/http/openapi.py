"""The OpenAPI document: FastAPI's own, with the hot route of every system that scores rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.serving.http.problem import MEDIA_TYPE
from headrace.serving.http.served import Served, request_schema

_PROBLEMS = {
    400: "Not JSON, or a name occurs twice.",
    409: "The key is taken by another row.",
    413: "Too large.",
    415: "Not JSON by its content type.",
    422: "A row breaks the contract; `errors` says where.",
    503: "Not ready, or too busy; try again later.",
}


def document(described: dict[str, Any], served: Mapping[str, Served]) -> dict[str, Any]:
    """The whole document.

    Args:
        described: FastAPI's.
        served: Systems by name.
    """
    for name, each in served.items():
        if not each.system.forecasts:
            described["paths"][f"/v1/systems/{name}/predict"] = {"post": _operation(each)}
    return described


def _operation(served: Served) -> dict[str, Any]:
    system = served.system
    row = {name: value for name, value in request_schema(system).items() if name != "$schema"}
    target = system.contract.json_schema()["properties"][system.target]
    answer = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "key": {},
            system.target: {name: value for name, value in target.items() if name != "enum"},
            "probability": {"type": "number", "minimum": 0, "maximum": 1},
            "model_version": {"type": "integer"},
        },
        "required": ["id", "key", system.target, "model_version"],
    }
    many = {
        "type": "object",
        "properties": {"predictions": {"type": "array", "items": answer}, "model_version": {"type": "integer"}},
        "required": ["predictions", "model_version"],
    }
    problems = {
        str(code): {"description": text, "content": {MEDIA_TYPE.decode(): {}}} for code, text in _PROBLEMS.items()
    }
    return {
        "summary": f"Predict {system.target} for one row or an array of rows",
        "operationId": f"predict_{system.name}",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                "description": "In place of the row's own key.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"anyOf": [row, {"type": "array", "items": row}]}}},
        },
        "responses": {
            "200": {
                "description": "The prediction of an object, or the predictions of an array in its order.",
                "content": {"application/json": {"schema": {"anyOf": [answer, many]}}},
            },
            **problems,
        },
    }
