"""The form of predictions of rows outside of the tables: an answer a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.sinks.base import Kind as SinkKind
from headrace.sinks.base import SinkColumn
from headrace.sources.messages.fields import DocumentField
from headrace.sources.messages.fields import Kind as TopicKind
from headrace.system import System
from headrace.tasks.form import (
    COMMON_NAMES,
    JsonKind,
    Passed,
    json_kind,
    key_kind,
    of_run,
    plain,
    sink_column,
    sink_run,
    topic_field,
    topic_version,
)
from headrace.tasks.rows.outputs.base import Kind, encoded, told_beside
from headrace.tasks.rows.outputs.declared import columns_of

_JSON: Mapping[Kind, JsonKind] = {"float": "number", "object": "string", "texts": "string"}
_TOPIC: Mapping[Kind, TopicKind] = {"float": "float", "object": "numbers", "texts": "texts"}
_SINK: Mapping[Kind, SinkKind] = {"float": "float", "object": "text", "texts": "text"}
"""Of what an output puts beside the target: numbers by name and lists are themselves on topics, and JSON as text in
columns."""


@dataclass(frozen=True)
class RowForm:
    """See `headrace.tasks.form.PredictionForm`."""

    system: System

    @property
    def columns(self) -> Mapping[str, JsonKind]:
        """The target, and what its output puts beside it."""
        target = self.system.target
        beside = {name: _JSON[kind] for name, (kind, _) in columns_of(self.system).items()}
        kinds: dict[str, JsonKind] = {target: json_kind(self.system, target), **beside}
        return {"id": "string", "key": key_kind(self.system), **kinds, "model_version": "integer"}

    @property
    def steps(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def names(self) -> frozenset[str]:
        """The target, and what is always beside it."""
        always = {name for name, (_, is_there) in columns_of(self.system).items() if is_there}
        return COMMON_NAMES | {self.system.target} | always

    def topic_fields(self) -> tuple[DocumentField, ...]:
        """Of the row, and what is said of it."""
        columns = columns_of(self.system)
        return (
            *(topic_field(self.system, name) for name in self.system.keys),
            *(DocumentField("prediction_id", "text"), DocumentField("as_of", "time")),
            topic_field(self.system, self.system.target),
            *(DocumentField(name, _TOPIC[kind], optional=not is_there) for name, (kind, is_there) in columns.items()),
            *topic_version(),
            *(DocumentField("event_id", "text"), DocumentField("repeated", "boolean", optional=True)),
        )

    def sink_columns(self) -> tuple[SinkColumn, ...]:
        """A row."""
        keys = (sink_column(self.system, name) for name in self.system.keys)
        column = sink_column(self.system, self.system.target)
        columns = (SinkColumn(name, _SINK[kind]) for name, (kind, _) in columns_of(self.system).items())
        return (SinkColumn("id", "text"), *keys, column, *columns, *sink_run(), SinkColumn("door", "text"))

    @property
    def order(self) -> list[str]:
        """None: each stands for itself."""
        return []

    def documents(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """One for each."""
        named = (*self.system.keys, self.system.target)
        kinds = {name: kind for name, (kind, _) in columns_of(self.system).items()}
        for row in rows:
            numbers = told_beside(row, kinds)
            yield {
                **{name: plain(row[name]) for name in named},
                **{name: plain(value) for name, value in numbers.items() if name in row},
                **of_run(row),
                "prediction_id": row["id"],
                "door": row["door"],
            }

    def passed(self, document: Mapping[str, Any]) -> Passed:
        """One row."""
        row = {**document, "id": document["prediction_id"]}
        row["run_id"] = document.get("event_id", document.get("run_id"))
        row.setdefault("door", "stream")
        objects = [name for name, (kind, _) in columns_of(self.system).items() if kind != "float" and name in row]
        row |= {name: encoded(row[name]) for name in objects}
        return Passed(document, [row])
