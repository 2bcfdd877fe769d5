"""Answers of a stream of rows as rows of the predictions table, each computed again on the way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from headrace.home import PREDICTIONS, Home
from headrace.identity import decoded
from headrace.lineage import DIGEST, INPUTS, PINNED
from headrace.registry import ModelVersion
from headrace.system import System
from headrace.tasks.rows import logged_features
from headrace.tasks.rows.inference import ROW_DIGEST, SEQUENCE, answer_columns, schema
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    import polars as pl


class RowAnswer(NamedTuple):
    """An answer on the topic: what it `said`, and `inputs` and `digest` of its row, None where it repeats another."""

    said: dict[str, Any]
    sent: datetime
    inputs: str | None
    digest: str | None

    @classmethod
    def of(cls, message: Any, document: dict[str, Any]) -> RowAnswer | None:
        """What a worker said in a message; None for what somebody else put on the topic."""
        try:
            headers = {name: (value or b"").decode() for name, value in message.headers() or []}
        except UnicodeDecodeError:
            return None
        if document.get("repeated") is not True and not headers.keys() >= {INPUTS, DIGEST}:
            return None
        sent = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        return cls(document, sent, headers.get(INPUTS), headers.get(DIGEST))


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
        self._store(pl.DataFrame(rows, schema=schema(self._system, self._home), orient="row"))

    def _store(self, frame: pl.DataFrame) -> None:
        logged_features.store(self._system, self._home, frame)
        self._append(PREDICTIONS, frame)

    def _append(self, table: str, frame: pl.DataFrame) -> None:
        written = self._home.table(self._system.name, table).append(
            frame, identity=["id"], compare=answer_columns(self._system, self._home), window="as_of"
        )
        self.counts["predictions"] += written.added

    def _row(self, answer: RowAnswer, inputs: str) -> dict[str, Any]:
        system, names = self._system, answer.said
        model, predictor = self._model(names["model_version"])
        replayed = predictor.answer(decoded(inputs, predictor.model.types))
        self.counts["differing"] += any(names.get(name) != value for name, value in replayed.items())
        row, pins = decoded(inputs, self._types), dict(model.pins)
        pins |= {"model_version": model.version, "model_digest": model.digest, "code_revision": names["pins"]["code"]}
        as_of = datetime.fromisoformat(names["as_of"]).astimezone(UTC)
        return {
            "id": names["prediction_id"],
            **{name: row[name] for name in system.keys},
            **predictor.model.output.stored(names),
            "inputs": inputs,
            ROW_DIGEST: answer.digest,
            **dict.fromkeys(("as_of", "known_at"), as_of),
            "created_at": answer.sent,
            "run_id": names["event_id"],
            "door": "stream",
            SEQUENCE: None,
            **{name: pins[name] for name in PINNED},
        }

    def _model(self, version: int) -> tuple[ModelVersion, RowPredictor]:
        if version not in self._models:
            model = self._home.registry.get(self._system.name, version)
            self._models[version] = model, RowPredictor.load(self._home.registry.fetch(model))
        return self._models[version]
