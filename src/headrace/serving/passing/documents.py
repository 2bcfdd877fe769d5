"""Predictions as they are passed on: one document for each, the same whichever door made it, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace.contract.apart import called
from headrace.sinks.base import Prediction, PredictionLayout
from headrace.sources.keys import written_key
from headrace.system import System
from headrace.tasks import task_of

Read = Callable[[Any], Any]


def layout_of(system: System, source: str) -> PredictionLayout:
    """What the predictions of a system look like.

    Args:
        system: The declaration.
        source: Where they come from.
    """
    return PredictionLayout(system.name, source, task_of(system).form.sink_columns())


class Documents:
    """Makes predictions of what answers and tables say.

    Args:
        system: The declaration.
        layout: What they look like.
    """

    def __init__(self, system: System, layout: PredictionLayout) -> None:
        self._fields, self._form = layout.fields, task_of(system).form
        self._keys, self._names = system.keys, tuple(map(called, system.keys))
        self._read: tuple[Read, ...] = tuple(_time if field.kind == "time" else _same for field in layout.fields)

    def of(self, document: Mapping[str, Any], headers: Sequence[tuple[str, bytes | None]] = ()) -> Prediction:
        """A prediction of its document, which has all that an answer on a topic has.

        Of a forecast every step has its `id` and how far `ahead` it is; where they are not there, they follow from the
        first one's.
        """
        name = document["prediction_id"]
        key = written_key(self._names, [document[key] for key in self._keys])
        document_rows, rows, replaces = self._form.passed(document)
        return Prediction(name, key, document_rows, list(map(self._row, rows)), replaces, headers)

    def _row(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        named = ((field.name, read) for field, read in zip(self._fields, self._read, strict=True))
        return tuple(read(values.get(name)) for name, read in named)


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _same(value: Any) -> Any:
    return value
