"""The OpenAPI document: FastAPI's own, with the routes of every system spelled out, the hot one included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.serving.http.events import shape_of
from headrace.serving.http.openapi_events import event_and_answer
from headrace.serving.http.problem import MEDIA_TYPE
from headrace.serving.http.schemas import PARTS, WHOLE, part, record, rows
from headrace.serving.http.served import Served, request_schema

PROBLEMS = {
    304: "What the client has is what there is.",
    400: "Not JSON, or a name occurs twice in an object.",
    401: "A known bearer token is needed.",
    403: "The token does not allow this.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "The key is taken by another row or event; or an event is ahead of the clock, or too late for its series.",
    413: "Too large.",
    415: "Not JSON by its content type, or compressed.",
    422: "Not as it should be; `errors` says where.",
    503: "Not ready, or too busy; try again later.",
}
_GENERIC = "/v1/systems/{name}"
_OF_SERIES = frozenset(("series", "observations", "predictions"))
_KEYED = frozenset(("observations", "predictions"))


def described_answer(schema: str | None, problems: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """The responses of a reading route.

    Args:
        schema: Name of the schema of what it answers with 200; None for plain text.
        problems: Other statuses that it may answer with.
    """
    answer = (
        {"application/json": {"schema": part(schema)}} if schema else {"text/plain": {"schema": {"type": "string"}}}
    )
    return {200: {"description": "Done.", "content": answer}, **{code: problem(code) for code in problems}}


def problem(code: int) -> dict[str, Any]:
    """The response of one other status."""
    content = {} if code == 304 else {"content": {MEDIA_TYPE.decode(): {"schema": part("Problem")}}}
    return {"description": PROBLEMS[code], **content}


def document(described: Mapping[str, Any], served: Mapping[str, Served], *, tokens: bool) -> dict[str, Any]:
    """The whole document.

    Args:
        described: FastAPI's; left as it is.
        served: Systems by name.
        tokens: Whether the routes ask for one.
    """
    generic = {path: item for path, item in described["paths"].items() if path.startswith(_GENERIC + "/")}
    paths = {path: item for path, item in described["paths"].items() if path not in generic}
    for name, each in served.items():
        for path, item in generic.items():
            route = path.rpartition("/")[2]
            if each.system.forecasts or route not in _OF_SERIES:
                paths[path.replace("{name}", name)] = {"get": _reading(item["get"], route, each)}
        operation = _predicting(each)
        if operation is not None:
            paths[f"/v1/systems/{name}/predict"] = {"post": operation}
    components: dict[str, Any] = {"schemas": {**described.get("components", {}).get("schemas", {}), **PARTS}}
    whole = {**described, "paths": paths, "components": components}
    if tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, item in paths.items():
            for operation in item.values() if path.startswith("/v1/") else ():
                operation["security"] = [{"token": []}]
    return whole


def _reading(generic: Mapping[str, Any], route: str, served: Served) -> dict[str, Any]:
    """A reading route of one system: its keys are parameters by name."""
    system = served.system
    parameters = [each for each in generic.get("parameters", ()) if each["name"] != "name"]
    known = served.forecasts.series() if served.forecasts is not None else []
    for key in system.keys if system.forecasts and route in (*_KEYED, "metrics", "series") else ():
        values = sorted({series[key] for series in known})[:20]
        parameters.append(
            {
                "name": key,
                "in": "query",
                "required": route in _KEYED,
                "schema": {"type": "string"},
                **({"examples": {value: {"value": value} for value in values}} if values else {}),
            }
        )
    return {**generic, "operationId": f"{route}_{system.name}", "parameters": parameters}


def _predicting(served: Served) -> dict[str, Any] | None:
    """The route that rows or events are posted to; None for a system that answers neither."""
    if not served.system.forecasts:
        said = f"Predict {served.system.target} for one row or an array of rows"
        return _posting(served, said, _row(served), _row_answer(served))
    shape = shape_of(served.system, served.home, logged=served.logged)
    if isinstance(shape, str):
        return None
    said = f"Predict the next steps of {served.system.target} from an event or an array of events"
    return _posting(served, said, *event_and_answer(served, shape))


def _row(served: Served) -> dict[str, Any]:
    return {name: value for name, value in request_schema(served.system).items() if name != "$schema"}


def _row_answer(served: Served) -> dict[str, Any]:
    system = served.system
    columns = system.contract.json_schema()["properties"]
    keys = [columns[name] for name in system.keys]
    target = {name: value for name, value in columns[system.target].items() if name != "enum"}
    return record(
        id={"type": "string", "format": "uuid"},
        key=keys[0] if len(keys) == 1 else {"type": "array", "prefixItems": keys},
        **{system.target: target},
        probability={"type": "number", "minimum": 0, "maximum": 1},
        model_version=WHOLE,
    )


def _posting(served: Served, summary: str, row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    many = record(predictions=rows(answer), model_version=WHOLE)
    return {
        "summary": summary,
        "description": "The same key and content again gives the stored prediction and writes no second one.",
        "operationId": f"predict_{served.system.name}",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
                "description": "In place of the key that a row or an event has by itself.",
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
            **{str(code): problem(code) for code in PROBLEMS if code != 304},
        },
    }
