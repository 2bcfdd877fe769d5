"""Answers of a stream of rows as rows of the predictions table, each computed again on the way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from headrace.home import PREDICTIONS, Home
from headrace.lineage import PINNED
from headrace.pipelines import logged_features
from headrace.pipelines.row_inference import ROW_DIGEST, SEQUENCE, schema
from headrace.registry import ModelVersion
from headrace.row_predictor import PROBABILITY, RowPredictor, decoded
from headrace.serving.stream.rows import DIGEST, INPUTS
from headrace.system import System

_SAID = frozenset({"prediction_id", "event_id", "as_of", PROBABILITY, "pins", "model_version"})


class RowAnswer(NamedTuple):
    """An answer on the topic: what it `said`, and `inputs` and `digest` of its row, None where it repeats another."""

    said: dict[str, Any]
    sent: datetime
    inputs: str | None
    digest: str | None

    @classmethod
    def of(cls, message: Any) -> RowAnswer | None:
        """What a worker said; None for what somebody else put on the topic."""
        try:
            said = msgspec.json.decode(message.value() or b"")
            headers = {name: (value or b"").decode() for name, value in message.headers() or []}
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        repeats = isinstance(said, dict) and said.get("repeated") is True
        if (
            not isinstance(said, dict)
            or not said.keys() >= _SAID
            or not (repeats or headers.keys() >= {INPUTS, DIGEST})
        ):
            return None
        sent = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return cls(said, sent, headers.get(INPUTS), headers.get(DIGEST))


class StoredRows:
    """Stores answers to rows.

    Attributes:
        counts: How many `predictions` were added, how many answers are `differing` from what is computed again, and how
            many `repeated` another.
    """

    def __init__(self, system: System, home: Home) -> None:
        self._system, self._home = system, home
        self._types = {c.name: c.type for c in system.contract.columns}
        self._models: dict[int, tuple[ModelVersion, RowPredictor]] = {}
        self.counts = {"predictions": 0, "differing": 0, "repeated": 0}

    def add(self, answers: Iterable[RowAnswer]) -> None:
        """Store the predictions of answers that are not there yet.

        Raises:
            StoreError: A table cannot be read or written.
            ArtefactError: A model's files are damaged.
        """
        import polars as pl

        rows = []
        for answer in answers:
            if answer.inputs is None:
                self.counts["repeated"] += 1
            else:
                rows.append(self._row(answer, answer.inputs))
        if not rows:
            return
        frame = pl.DataFrame(rows, schema=schema(self._system), orient="row")
        logged_features.store(self._system, self._home, frame)
        written = self._home.table(self._system.name, PREDICTIONS).append(
            frame, identity=["id"], compare=[self._system.target, PROBABILITY], window="as_of"
        )
        self.counts["predictions"] += written.added

    def _row(self, answer: RowAnswer, inputs: str) -> dict[str, Any]:
        system, said = self._system, answer.said
        model, predictor = self._model(said["model_version"])
        again = predictor.answer(decoded(inputs, predictor.model.types))
        self.counts["differing"] += any(said[name] != value for name, value in again.items())
        row, pins = decoded(inputs, self._types), dict(model.pins)
        pins |= {"model_version": model.version, "model_digest": model.digest, "code_revision": said["pins"]["code"]}
        as_of = datetime.fromisoformat(said["as_of"]).astimezone(UTC)
        return {
            "id": said["prediction_id"],
            **{name: row[name] for name in system.keys},
            system.target: said[system.target],
            PROBABILITY: said[PROBABILITY],
            "inputs": inputs,
            ROW_DIGEST: answer.digest,
            **dict.fromkeys(("as_of", "known_at"), as_of),
            "created_at": answer.sent,
            "run_id": said["event_id"],
            "door": "stream",
            SEQUENCE: None,
            **{name: pins[name] for name in PINNED},
        }

    def _model(self, version: int) -> tuple[ModelVersion, RowPredictor]:
        if version not in self._models:
            model = self._home.registry.get(self._system.name, version)
            self._models[version] = model, RowPredictor.load(self._home.registry.fetch(model))
        return self._models[version]
