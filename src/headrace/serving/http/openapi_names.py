"""Names in the OpenAPI document: of operations, tags and components, as generated clients make them into code."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

SERVER, SYSTEMS, INFERENCE, MLFLOW = "server", "systems", "inference", "mlflow"
_ABOUT = {
    SERVER: "Whether the server is alive, ready, and what it counts.",
    SYSTEMS: "What is served, and the trace of each prediction.",
    INFERENCE: "The Open Inference Protocol, version 2, over the same predictor and ledger.",
    MLFLOW: "MLflow's scoring format, over the same predictor and ledger.",
}
_VERBS = ("promote", "reject")
_MLFLOW_PATHS = ("/ping", "/version", "/invocations")


def route_name(path: str) -> str:
    """``model_card`` of ``models/{version}/card``: what a route of a system is called.

    >>> route_name("models/{version}"), route_name("models/{version}/promote"), route_name("runs")
    ('model', 'promote', 'runs')
    """
    parts = path.split("/")
    if parts[-1] in _VERBS:
        return parts[-1]
    words = [
        part.removesuffix("s") if after.startswith("{") else part
        for part, after in zip(parts, [*parts[1:], ""], strict=True)
        if not part.startswith("{")
    ]
    return re.sub(r"\W", "_", "_".join(words))


def named(route: str, method: str, methods: Collection[str]) -> str:
    """A route by its name, with the method where it has several and this one changes something.

    >>> named("simulations", "post", ("get", "post")), named("rollback", "post", ("post",))
    ('post_simulations', 'rollback')
    """
    return f"{method}_{route}" if len(methods) > 1 and method != "get" else route


def operation_id(path: str, method: str) -> str:
    """``get_system`` of ``/v1/systems/{name}``: the words of a path, singular where one of them is named."""
    parts = [part for part in path.split("/") if part and part != "v1"]
    words = [
        part.removesuffix("s") if after.startswith("{") else part
        for part, after in zip(parts, [*parts[1:], ""], strict=True)
        if not part.startswith("{")
    ]
    return "_".join([method, *(re.sub(r"\W", "_", word) for word in words)])


def tag_of(path: str, systems: Iterable[str]) -> str:
    """What a route is listed under: a system's routes under its name."""
    parts = path.split("/")
    if path.startswith("/v1/"):
        return parts[3] if len(parts) > 4 and parts[3] in systems else SYSTEMS
    if path.startswith("/v2"):
        return INFERENCE
    return MLFLOW if path in _MLFLOW_PATHS else SERVER


def tags(systems: Iterable[str]) -> list[dict[str, str]]:
    """All tags."""
    told = [{"name": name, "description": text} for name, text in _ABOUT.items()]
    return [*told, *({"name": name, "description": f"The routes of {name}."} for name in systems)]


def camel(name: str) -> str:
    """``LiveMetrics`` of ``live_metrics``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name) if word) or "System"


def prefixes(systems: Iterable[str], taken: Mapping[str, Any]) -> dict[str, str]:
    """What the components of each system begin with: no two systems have the same."""
    names_found: dict[str, str] = {}
    for system in systems:
        name, number = camel(system), 1
        while name in names_found.values() or any(name_taken.startswith(name) for name_taken in taken):
            number += 1
            name = f"{camel(system)}{number}"
        names_found[system] = name
    return names_found
