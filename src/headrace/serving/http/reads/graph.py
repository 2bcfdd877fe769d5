"""The trace of a prediction as a graph, from the source to the number; and the number computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.pipelines.predictions import find, trace
from headrace.pipelines.predictions import replay as replay_of
from headrace.serving.http.reads.reader import ReadHome

Node = dict[str, Any]


def graph(place: ReadHome, prediction_id: str) -> dict[str, Any]:
    """What a prediction was made from: nodes, and edges from each thing to what was made of it."""
    chain = trace(place.home, prediction_id)
    pins, model, trained = chain["pins"], chain["model"], chain["model"]["trained"]
    system = place.systems.get(chain["system"])
    origin = "source" if system is None or system.source.uri is None else system.source.uri.partition(":")[0]
    nodes = [
        _node("source", "source", "Source", origin, {}),
        _node("facts", "data", "Facts", f"version {pins['data_version']}", {"data_version": pins["data_version"]}),
        _node("features", "features", "Features", str(pins["feature_version"]), {"as_of": pins["as_of"]}),
        _node("training", "data", "Facts of the training", _version(trained), trained),
        _node("model", "model", "Model", f"version {model['version']}, {model['state']}", _of_model(model)),
        _node("config", "configuration", "Configuration", str(pins["config_digest"]), model["configuration"] or {}),
        _node("code", "code", "Code", str(pins["code_revision"]), {}),
        _node("prediction", "prediction", "Prediction", prediction_id, chain["prediction"]),
    ]
    edges = [
        _edge("source", "facts", "ingested and checked"),
        _edge("facts", "features", "as they were known"),
        _edge("source", "training", "ingested and checked"),
        _edge("training", "model", "learnt from"),
        _edge("config", "model", "set"),
        _edge("features", "prediction", "asked with"),
        _edge("model", "prediction", "answered"),
        _edge("code", "prediction", "computed"),
    ]
    if chain["run"] is not None:
        run = chain["run"]
        nodes.append(_node("run", "run", "Run", str(run.get("run_id")), _brief(run)))
        edges.append(_edge("run", "prediction", "made"))
    return {"id": prediction_id, "system": chain["system"], "role": chain["role"], "nodes": nodes, "edges": edges}


def _node(name: str, kind: str, title: str, says: str, facts: Mapping[str, Any]) -> Node:
    return {"id": name, "kind": kind, "title": title, "says": says, "facts": dict(facts)}


def _edge(source: str, target: str, says: str) -> dict[str, str]:
    return {"source": source, "target": target, "says": says}


def _version(pins: Mapping[str, Any]) -> str:
    number = pins.get("data_version")
    return f"version {number}, as of {pins.get('as_of')}" if number is not None else "not known"


def _of_model(model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: model[name] for name in ("version", "digest", "state", "because", "decided_by", "decision", "metrics")
    }


def _brief(run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: run[name] for name in ("run_id", "as_of", "steps", "ingested", "quarantined", "trained") if name in run
    }


def replay(place: ReadHome, prediction_id: str) -> dict[str, Any]:
    """The prediction computed again from its pins; writes nothing."""
    return replay_of(place.home, prediction_id)


def system_of(place: ReadHome, prediction_id: str) -> str:
    """The system that a prediction is of."""
    return find(place.home, prediction_id)[0]
