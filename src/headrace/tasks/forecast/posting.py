"""What is posted to a system that forecasts, an event, and what it answers, as JSON Schemas."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from headrace.contract.schema import column_schema
from headrace.errors import DeclarationError, HeadraceError
from headrace.grid import Grid
from headrace.home import Home
from headrace.registry import ModelVersion
from headrace.sources.events import EventShape
from headrace.system import System
from headrace.tasks.forecast.predictor import Schema
from headrace.tasks.schemas import NUMBER, SERVED, TEXT, TIME, UUID, WHOLE, DoorSchemas, maybe, record, rows

_DAYS = r"(0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8])"
_LEAP = r"19(7[26]|8[048]|9[26])|[2-9]\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[3579][26])00"
_DATE = rf"((19[7-9]\d|[2-9]\d{{3}})-({_DAYS})|({_LEAP})-02-29)"
_MOST = 1_000
"""Series that are listed; of more the document does not say which there are."""


def posting(system: System, home: Home, version: ModelVersion | None) -> DoorSchemas | None:
    """An event, and the forecast that answers it; None where no event can be answered.

    Args:
        system: The declaration.
        home: Where the model's files are.
        version: Who answers; None while nobody does.
    """
    try:
        shape = system.event_shape(home.grid(system))
    except DeclarationError:  # what it needs to know in advance no event brings
        return None
    known = [] if system.stream.unseen_series == "accept" else _series(home, version, shape)
    summary = f"Predict the next steps of {system.target} from an event or an array of events"
    return DoorSchemas("Event", "Forecast", summary, _event(shape, known), _answer(shape))


def _event(shape: EventShape, known: list[dict[str, Any]]) -> dict[str, Any]:
    schema = {name: value for name, value in shape.contract.json_schema().items() if name != "$schema"}
    properties, target = dict(schema["properties"]), shape.columns[0]
    column = shape.contract.column(shape.time)
    anywhere = column.align or bool(shape.aggregates)
    if column.format is None:
        properties[shape.time] = {"type": "string", "pattern": _time_pattern(shape.grid, any_time=anywhere)}
    properties[target] = column_schema(shape.contract.column(target).model_copy(update={"nullable": False}))
    if len(shape.keys) == 1 and known:
        name = shape.keys[0]
        properties[name] = properties[name] | {"enum": [key[name] for key in known]}
    elif shape.keys and known:
        schema["anyOf"] = [{"properties": {k: {"const": v} for k, v in key.items()}} for key in known]
    required = list(dict.fromkeys([*schema["required"], shape.time, target]))
    return schema | {"properties": properties, "required": required}


def _time_pattern(grid: Grid, *, any_time: bool) -> str:
    """Times in UTC; where they may not lie between two steps, those on one, as far as a pattern can tell."""
    clock = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
    plain = not any_time and grid.fixed is not None and not grid.fixed[1]
    if plain and not grid.step % timedelta(days=1):
        clock = "00:00:00"
    elif plain and not grid.step % timedelta(hours=1):
        clock = r"([01]\d|2[0-3]):00:00"
    return f"^{_DATE}T{clock}Z$"


def _series(home: Home, version: ModelVersion | None, shape: EventShape) -> list[dict[str, Any]]:
    """The series that are answered, those that the model was fitted on; none where that cannot be told."""
    if version is None:
        return []
    try:
        known = Schema.load(home.registry.fetch(version)).keys
    except HeadraceError:  # the document does without; a request is told
        return []
    keys = [dict(zip(shape.keys, json.loads(text), strict=True)) for text in sorted(known)[: _MOST + 1]]
    return keys if len(keys) <= _MOST else []


def _key(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """The value of the one key column; of several, or none, an array."""
    if len(kinds) == 1:
        return kinds[0]
    return rows({"anyOf": kinds}) if kinds else {"type": "array", "maxItems": 0}


def _answer(shape: EventShape) -> dict[str, Any]:
    columns = shape.contract.json_schema()["properties"]
    keys = {name: {n: v for n, v in columns[name].items() if n != "description"} for name in shape.keys}
    return record(
        ("reason",),
        id=UUID,
        key=_key(list(keys.values())),
        **keys,
        prediction_id=UUID,
        event_id=TEXT | {"description": "The event's key, or the Idempotency-Key that it came with."},
        as_of=TIME | {"description": "When the event counts as known: a batch run as of then says the same."},
        origin=TIME | {"description": "The newest value's time."},
        event_time=TIME,
        observed={"type": "number"},
        anomaly=maybe({"type": "boolean"}),
        degree=maybe({"type": "number", "minimum": 0}),
        expected=maybe(record(value=NUMBER, lower=NUMBER, upper=NUMBER)),
        value=NUMBER | {"description": "The next step."},
        served=maybe(SERVED),
        model_share=NUMBER | {"description": "How much of the predictions the model's members have said, 0 to 1."},
        predictions=rows(record(time=TIME, value={"type": "number"}, lower=NUMBER, upper=NUMBER)),
        model_version=WHOLE,
        pins=record(model=TEXT, features=TEXT, config=TEXT, code=TEXT),
        reason=TEXT | {"description": "Why there are no predictions."},
    )
