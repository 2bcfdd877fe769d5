"""The form that predictions have outside of the tables: in answers of doors, on topics, and in targets of sinks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

from headrace.contract.table import KINDS
from headrace.lineage import iso
from headrace.sinks.base import Kind as SinkKind
from headrace.sinks.base import SinkColumn
from headrace.sources.messages.fields import DocumentField
from headrace.sources.messages.fields import Kind as TopicKind
from headrace.system import System

JsonKind = Literal["string", "integer", "number", "boolean"]
"""What JSON Schema calls the values of a column."""
COMMON_NAMES = frozenset({"prediction_id", "event_id", "as_of", "pins", "model_version"})
"""What every answer on a topic has."""
_PINS = ("model", "features", "config", "code")
SHORT = {"model": "model_digest", "features": "feature_version", "config": "config_digest"}
"""Pins as documents name them, and the columns that they come from."""
_TOPIC_KINDS: Mapping[str, TopicKind] = {"integer": "integer", "float": "float", "boolean": "boolean"}
"""Of contract types; others are texts, as in JSON."""
_SINK_KINDS: Mapping[str, SinkKind] = {
    "time": "time",
    "category": "text",
    "text": "text",
    "float": "float",
    "integer": "integer",
    "boolean": "boolean",
}


class Passed(NamedTuple):
    """What is passed on of a document.

    Attributes:
        document: With all that it says by default.
        rows: Values by the names of the fields, a row of a target each.
        replaces: Ids of rows that these take the place of.
    """

    document: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    replaces: Sequence[str] = ()


class PredictionForm(Protocol):
    """The form of one system's predictions; `headrace.tasks.base.Task.form` gives it."""

    @property
    def columns(self) -> Mapping[str, JsonKind]:
        """The columns of an answer, for protocols that have columns. A key of several columns, or none, is JSON."""

    @property
    def steps(self) -> tuple[str, ...]:
        """Columns of an answer that have a value for each step ahead, in its list of ``predictions``."""

    @property
    def names(self) -> frozenset[str]:
        """What every answer on a topic has: what lacks one of these was put there by somebody else."""

    def topic_fields(self) -> tuple[DocumentField, ...]:
        """The fields of an answer on a topic, in their order."""

    def sink_columns(self) -> tuple[SinkColumn, ...]:
        """The columns of a target that is a table; the first one is the id."""

    @property
    def order(self) -> list[str]:
        """Columns of stored predictions by which those of one time are ordered, before their ids."""

    def documents(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Documents of stored predictions in that order, as answers on a topic are."""

    def passed(self, document: Mapping[str, Any]) -> Passed:
        """What a document becomes in a target."""


def json_kind(system: System, name: str) -> JsonKind:
    """What the values of a column of the contract are in JSON."""
    return KINDS[system.contract.column(name).type].json  # type: ignore[return-value]


def key_kind(system: System) -> JsonKind:
    """What the key of an answer is: the value of the one key column, or the JSON of an array."""
    return json_kind(system, system.keys[0]) if len(system.keys) == 1 else "string"


def topic_field(system: System, name: str) -> DocumentField:
    """A column of the contract in an answer."""
    column = system.contract.column(name)
    return DocumentField(name, _TOPIC_KINDS.get(column.type, "text"), nullable=name in system.keys and column.nullable)


def topic_version() -> tuple[DocumentField, DocumentField]:
    """The model's version and the pins in an answer."""
    pins = DocumentField("pins", "record", inner=tuple(DocumentField(name, "text") for name in _PINS))
    return DocumentField("model_version", "integer"), pins


def sink_column(system: System, name: str) -> SinkColumn:
    """A column of the contract in a target."""
    return SinkColumn(name, _SINK_KINDS[system.contract.column(name).type])


def sink_run() -> tuple[SinkColumn, ...]:
    """What a target is told of how a prediction was made."""
    return SinkColumn("as_of", "time"), SinkColumn("model_version", "integer"), SinkColumn("run_id", "text")


def of_run(row: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a stored prediction, for its document."""
    pins = {name: row[column].removeprefix("sha256:")[:12] for name, column in SHORT.items()}
    return {
        "as_of": iso(row["as_of"]),
        "model_version": row["model_version"],
        "run_id": row["run_id"],
        "pins": pins | {"code": row["code_revision"]},
    }


def plain(value: Any) -> Any:
    """As JSON holds it."""
    if isinstance(value, datetime):
        return iso(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
