"""What the hot route answers, column by column: for protocols and media types that have columns, not objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from headrace.contract.table import KINDS
from headrace.row_predictor import PROBABILITY
from headrace.serving.http.served import Served

Kind = Literal["string", "integer", "number", "boolean"]
"""What JSON Schema calls the values of a column."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_STEP: Mapping[str, Kind] = {"time": "string", "value": "number", "lower": "number", "upper": "number"}
"""What is said of a step ahead."""
_EVENT: Mapping[str, Kind] = {"as_of": "string", "origin": "string", "model_version": "integer", "reason": "string"}


def kind_of(served: Served, name: str) -> Kind:
    """What the values of a column of the contract are."""
    return KINDS[served.system.contract.column(name).type].json  # type: ignore[return-value]


def _key(served: Served) -> Kind:
    keys = served.system.keys
    return kind_of(served, keys[0]) if len(keys) == 1 else "string"


def columns_of_rows(served: Served) -> dict[str, Kind]:
    """The columns of an answer to rows. The key of several columns, or none, is the JSON of an array."""
    target = served.system.target
    return {
        "id": "string",
        "key": _key(served),
        target: kind_of(served, target),
        PROBABILITY: "number",
        "model_version": "integer",
    }


def columns_of_events(served: Served) -> dict[str, Kind]:
    """The columns of an answer to events; those of `STEPS` have as many values an event as there are steps."""
    return {"id": "string", "key": _key(served), **_EVENT, **_STEP}


STEPS = frozenset(_STEP)
"""Columns of an answer to events that have a value for each step ahead."""


def predictions(body: bytes) -> list[dict[str, Any]]:
    """The predictions that the hot route answers with, for one object or an array."""
    data = _decode(body)
    found: list[dict[str, Any]] = [data] if "id" in data else data["predictions"]
    return found


def version(body: bytes) -> int:
    """The version of the model that answers."""
    found: int = _decode(body)["model_version"]
    return found


def column(told: list[dict[str, Any]], name: str) -> list[Any]:
    """A column of the answers, but for those of `STEPS`."""
    values = [each.get(name) for each in told]
    return [_encode(each).decode() if isinstance(each, list) else each for each in values]


def steps(told: list[dict[str, Any]], name: str) -> Iterator[list[Any]]:
    """A column of `STEPS`, a list an event: empty where nothing could be predicted."""
    for each in told:
        yield [step[name] for step in each["predictions"]]
