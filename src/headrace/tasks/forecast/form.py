"""The form of forecasts outside of the tables: one answer for all steps of a series, a row a step in targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from headrace.lineage import beside, iso
from headrace.sinks.base import SinkColumn
from headrace.sources.messages.fields import DocumentField
from headrace.system import System
from headrace.tasks.form import (
    COMMON_NAMES,
    SHORT,
    JsonKind,
    Passed,
    key_kind,
    of_run,
    plain,
    sink_column,
    sink_run,
    topic_field,
    topic_version,
)

NUMBERS = ("value", "lower", "upper")
_STEP: Mapping[str, JsonKind] = {"time": "string", "value": "number", "lower": "number", "upper": "number"}
"""What is said of a step ahead."""
_EVENT: Mapping[str, JsonKind] = {"as_of": "string", "origin": "string", "model_version": "integer", "reason": "string"}


@dataclass(frozen=True)
class ForecastForm:
    """See `headrace.tasks.form.PredictionForm`."""

    system: System

    @property
    def columns(self) -> Mapping[str, JsonKind]:
        """Those of an event, and of its steps."""
        return {"id": "string", "key": key_kind(self.system), **_EVENT, **_STEP}

    @property
    def steps(self) -> tuple[str, ...]:
        """Time and numbers."""
        return tuple(_STEP)

    @property
    def names(self) -> frozenset[str]:
        """The origin, and the list of steps."""
        return COMMON_NAMES | {"origin", "predictions"}

    def topic_fields(self) -> tuple[DocumentField, ...]:
        """Of the event, what was expected of it, and what is forecast."""
        numbers = tuple(DocumentField(name, "float", nullable=True) for name in NUMBERS)
        return (
            *(topic_field(self.system, name) for name in self.system.keys),
            *(DocumentField("prediction_id", "text"), DocumentField("event_id", "text")),
            *(DocumentField(name, "time") for name in ("as_of", "origin", "event_time")),
            DocumentField("expected", "record", nullable=True, inner=numbers),
            DocumentField("anomaly", "boolean", nullable=True),
            DocumentField("degree", "float", nullable=True),
            DocumentField("observed", "float", nullable=True),
            *(numbers[0], DocumentField("served", "text", nullable=True)),
            DocumentField("model_share", "float", nullable=True),
            DocumentField("predictions", "records", inner=(DocumentField("time", "time"), *numbers)),
            *(*topic_version(), DocumentField("reason", "text", optional=True)),
        )

    def sink_columns(self) -> tuple[SinkColumn, ...]:
        """A step of a series."""
        keys = (sink_column(self.system, name) for name in self.system.keys)
        step = SinkColumn(self.system.event_time, "time"), SinkColumn("ahead", "integer")
        numbers = (SinkColumn(name, "float") for name in NUMBERS)
        last = SinkColumn("origin", "time"), SinkColumn("revision", "integer")
        return (SinkColumn("id", "text"), *keys, *step, *numbers, *sink_run(), *last)

    @property
    def order(self) -> list[str]:
        """The steps of one forecast in their order."""
        return [self.system.event_time, "revision"]

    def documents(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """One for all steps of a forecast, which stand together."""
        cause = (*self.system.keys, *SHORT.values(), "run_id", "revision")
        for _, steps in groupby(rows, lambda row: tuple(row[name] for name in cause)):
            yield self._document(list(steps))

    def _document(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        first, time = steps[0], self.system.event_time
        rows = [
            {
                "id": step["id"],
                "ahead": step["ahead"],
                "time": iso(step[time]),
                **{name: plain(step[name]) for name in NUMBERS},
            }
            for step in steps
        ]
        return {
            **{name: plain(first[name]) for name in self.system.keys},
            **of_run(first),
            "prediction_id": first["id"],
            "origin": iso(first["origin"]),
            "revision": first["revision"],
            "value": rows[0]["value"],
            "predictions": rows,
        }

    def passed(self, document: Mapping[str, Any]) -> Passed:
        """A row for every step, with its `id` and how far `ahead` it is; where it has none, they follow from the
        first one's."""
        name, revision = document["prediction_id"], document.get("revision", 0)
        steps = [
            {"id": beside(name, place), "ahead": place + 1, **step} if "id" not in step else step
            for place, step in enumerate(document["predictions"])
        ]
        head = {key: document.get(key) for key in (*self.system.keys, "as_of", "origin", "model_version")}
        head |= {"revision": revision, "run_id": document.get("event_id", document.get("run_id"))}
        time = self.system.event_time
        rows = [{**head, **step, time: step["time"]} for step in steps]
        replaces = [beside(step["id"], 0, -1) for step in steps] if revision else []
        return Passed({**document, "predictions": steps}, rows, replaces)
