"""The OpenAPI document: FastAPI's own, with the routes of every system spelled out, the hot one included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.serving.http.openapi_explaining import explained
from headrace.serving.http.openapi_names import named, operation_id, prefixes, route_name, tag_of, tags
from headrace.serving.http.openapi_posting import posted, spoken
from headrace.serving.http.schemas import PARTS, PROTOCOLS
from headrace.serving.http.served import ServedSystem

_GENERIC = "/v1/systems/{name}"
_OF_SERIES = frozenset(("series", "series_search", "observations", "predictions"))
_KEYED = frozenset(("observations", "predictions"))
_FILTERED = frozenset(("metrics", "series", "series_search", "scores"))


def document(
    described: Mapping[str, Any], served: Mapping[str, ServedSystem], *, tokens: bool, limit: int, only: bool
) -> dict[str, Any]:
    """The whole document.

    Args:
        described: FastAPI's; left as it is.
        served: Systems by name.
        tokens: Whether the routes ask for one.
        limit: Rows of a request.
        only: Whether the server has no other system, told or not.
    """
    paths, parts = _paths(described, served, limit, only=only)
    components: dict[str, Any] = {"schemas": {**described.get("components", {}).get("schemas", {}), **parts}}
    for path, item in paths.items():
        for operation in item.values():
            operation["tags"] = [tag_of(path, served)]
            if tokens and (path.startswith(("/v1/", "/v2/models", "/v2/repository")) or path == "/invocations"):
                operation["security"] = [{"token": []}]
    if tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    servers = described.get("servers") or [{"url": "/", "description": "Where this document came from."}]
    return {**described, "servers": servers, "tags": tags(served), "paths": paths, "components": components}


def _paths(
    described: Mapping[str, Any], served: Mapping[str, ServedSystem], limit: int, *, only: bool
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Every route, and every component."""
    generic = {path: item for path, item in described["paths"].items() if path.startswith(_GENERIC + "/")}
    paths = {
        path: {method: {**operation, "operationId": operation_id(path, method)} for method, operation in item.items()}
        for path, item in described["paths"].items()
        if path not in generic
    }
    parts = dict(PARTS)
    names = prefixes(served, PARTS | PROTOCOLS)
    for name, each in served.items():
        for path, item in generic.items():
            route = route_name(path.removeprefix(_GENERIC + "/"))
            if each.task.has_series or route not in _OF_SERIES:
                paths[path.replace("{name}", name)] = {
                    method: _reading(operation, named(route, method, item), each) for method, operation in item.items()
                }
        routes = posted(each, names[name], limit)
        row = next(iter(routes[1])) if routes is not None and not each.task.has_series else None
        paths[f"/v1/systems/{name}/explain"] = {"post": explained(each, row)}
        if routes is not None:
            paths[f"/v1/systems/{name}/predict"] = {"post": routes[0]}
            parts |= {**routes[1], **PROTOCOLS}
            rest = spoken(each, list(routes[1])[-1], only=only)
            paths |= {path: {"post": operation} for path, operation in rest.items()}
    return paths, parts


def _reading(generic: Mapping[str, Any], route: str, served: ServedSystem) -> dict[str, Any]:
    """A reading route of one system: its keys are parameters by name."""
    system = served.system
    parameters = [parameter for parameter in generic.get("parameters", ()) if parameter["name"] != "name"]
    known = served.series.series() if served.series is not None else []
    for key in system.keys if served.task.has_series and route in (*_KEYED, *_FILTERED) else ():
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
