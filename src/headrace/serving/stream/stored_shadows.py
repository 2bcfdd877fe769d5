"""What versions said beside the one that answered, as rows of the table of shadows, each computed again on the way.

The columns are those of the predictions, with the role and the id of the prediction that was answered. Those of rows
say why there is nothing where a version had nothing to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from headrace.errors import NotFoundError
from headrace.home import PREDICTIONS, SHADOWS, Home
from headrace.identity import key_text
from headrace.lineage import PINNED, ROLE, SHADOW, SHADOW_OF, Pins, row_cause, row_prediction_id
from headrace.serving.messages.said import AnswerReader
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.forecast.answers import Answer, StoredAnswers, answer_of
from headrace.tasks.rows.answers import RowAnswer, StoredRows
from headrace.tasks.rows.inference import ROW_DIGEST, SEQUENCE, answer_columns, schema
from headrace.tasks.rows.shadows import ERROR

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table

Refusal = dict[str, Any]
"""What a worker said of an event that its version had nothing to say to."""
Beside = Answer | RowAnswer | Refusal
_REFUSED = frozenset({"event_id", "error", "model_version"})


class StoredShadows:
    """Stores what versions said, of systems of either kind.

    Attributes:
        counts: How many were `added`, how many are `differing` from what is computed again, and how many were
            `refused` or are of versions that are `gone`; of rows, how many `repeated` another.
    """

    def __init__(self, system: System, home: Home) -> None:
        self._stateful = task_of(system).stateful
        self._its: _SeriesShadows | _RowShadows = (_SeriesShadows if self._stateful else _RowShadows)(system, home)
        self._home, self._system, self._there = home, system, dict[int, bool]()
        self._answer, self._refused, self._gone = AnswerReader(system), 0, 0

    @property
    def counts(self) -> dict[str, int]:
        """See above."""
        counts = dict(self._its.counts)
        return {"added": counts.pop("predictions"), **counts, "refused": self._refused, "gone": self._gone}

    def said(self, message: Any) -> dict[str, Any] | None:
        """What a worker said: an answer, or why there is none; None for what somebody else put on the topic."""
        return self._answer(message) or _refusal(message)

    def read(self, message: Any, said: dict[str, Any]) -> Beside | None:
        """The answer or the refusal of a message, and of what was said in it."""
        if "prediction_id" not in said:
            return said
        return answer_of(message, said) if self._stateful else RowAnswer.of(message, said)

    def add(self, answers: Iterable[Beside]) -> None:
        """Store what is not there yet; of versions that are no more nothing can be computed again.

        Raises:
            StoreError: A table cannot be read or written.
            ArtefactError: A model's files are damaged.
        """
        refused, scored = list[Refusal](), list[Any]()
        for answer in answers:
            version = (answer if isinstance(answer, dict) else answer[0])["model_version"]
            if not self._is_there(version):
                self._gone += 1
            elif isinstance(answer, dict):
                refused.append(answer)
            else:
                scored.append(answer)
        self._refused += len(refused)
        self._its.add(scored)
        self._its.add_refused(refused)

    def _is_there(self, version: int) -> bool:
        if version not in self._there:
            try:
                self._home.registry.get(self._system.name, version)
            except NotFoundError:
                self._there[version] = False
            else:
                self._there[version] = True
        return self._there[version]


def _refusal(message: Any) -> Refusal | None:
    try:
        document = json.loads(message.value() or b"")
    except ValueError:
        return None
    return document if isinstance(document, dict) and document.keys() >= _REFUSED else None


class _SeriesShadows(StoredAnswers):
    """Forecasts."""

    def __init__(self, system: System, home: Home) -> None:
        super().__init__(system, home, SHADOWS)
        self.of = f"{SHADOW}|{system.name}"

    def add_refused(self, refused: Sequence[Refusal]) -> None:
        """A forecast that there is not has no row, here as among the predictions."""

    def _with_pins(self, frame: pl.DataFrame, pins: Pins) -> pl.DataFrame:
        import polars as pl

        frame, table = super()._with_pins(frame, pins), self._home.table(self._system.name, PREDICTIONS)
        role = [pl.lit(SHADOW).alias(ROLE), pl.lit(None, pl.Int64).alias(SEQUENCE)]
        if not table.exists():
            return frame.with_columns(pl.lit(None, pl.String).alias(SHADOW_OF), *role)
        identity = [*self._system.keys, self._system.event_time, "as_of", "run_id"]
        served = _answered(table, [*identity, "id"], _then(frame)).rename({"id": SHADOW_OF})
        frame = frame.join(served, on=identity, how="left", nulls_equal=True, maintain_order="left")
        return frame.with_columns(*role)


class _RowShadows(StoredRows):
    """Rows."""

    def add_refused(self, refused: Sequence[Refusal]) -> None:
        """Store what a version could not say to a row that was answered, with the reason.

        Rows that were not answered are among the dead letters.
        """
        import polars as pl

        system, table = self._system, self._home.table(self._system.name, PREDICTIONS)
        if not refused or not table.exists():
            return
        names = ["id", *system.keys, "inputs", ROW_DIGEST, "as_of", "created_at", "run_id"]
        answered_rows = _answered(table, names, pl.col("run_id").is_in([refusal["event_id"] for refusal in refused]))
        answered = {row["run_id"]: row for row in answered_rows.iter_rows(named=True)}
        pairs = [(refusal, answered[refusal["event_id"]]) for refusal in refused if refusal["event_id"] in answered]
        rows = [self._not_scored(refusal, row) for refusal, row in pairs]
        if rows:
            self._append(SHADOWS, pl.DataFrame(rows, schema=_row_schema(system, self._home), orient="row"))

    def _not_scored(self, refused: Refusal, row: dict[str, Any]) -> dict[str, Any]:
        system, (model, _) = self._system, self._model(refused["model_version"])
        code = str(model.pins.get("code_revision", ""))  # a refusal does not say which code refused
        pins = replace(Pins.of(model, row["as_of"], system.folder), code_revision=code)
        pinned = {name: getattr(pins, name) for name in PINNED}
        cause = f"{SHADOW}|{row_cause(system.name, pins)}"
        return {
            "id": row_prediction_id(f"{cause}|{row[ROW_DIGEST]}", key_text(system.keys, row), row["as_of"]),
            **{name: row[name] for name in system.keys},
            **dict.fromkeys(answer_columns(system, self._home)),
            "inputs": row["inputs"],
            ROW_DIGEST: row[ROW_DIGEST],
            **dict.fromkeys(("as_of", "known_at"), row["as_of"]),
            "created_at": row["created_at"],
            "run_id": row["run_id"],
            "door": "stream",
            **pinned,
            ROLE: SHADOW,
            SHADOW_OF: row["id"],
            ERROR: refused["error"],
        }

    def _store(self, frame: pl.DataFrame) -> None:
        import polars as pl

        served = pl.Series(SHADOW_OF, self._beside(frame), dtype=pl.String)
        frame = frame.with_columns(pl.lit(SHADOW).alias(ROLE), served, pl.lit(None, pl.String).alias(ERROR))
        self._append(SHADOWS, frame)

    def _beside(self, frame: pl.DataFrame) -> list[str | None]:
        """The prediction that was answered to each row: to its event, or where that repeats another, to that one."""
        import polars as pl

        table, names = self._home.table(self._system.name, PREDICTIONS), [*self._system.keys, ROW_DIGEST]
        if not table.exists():
            return [None] * frame.height
        now = {row[0]: row[1] for row in _answered(table, ["run_id", "id"], _then(frame)).iter_rows()}
        ids = [now.get(event) for event in frame["run_id"]]
        left = frame.filter(pl.Series([id_ is None for id_ in ids]))
        if left.height:
            key = self._system.keys[0]
            is_left = pl.col(key).is_in(left[key].unique().to_list())
            before = _answered(table, [*names, "as_of", "id"], is_left).sort("as_of")
            older = {row[:-2]: row[-1] for row in before.iter_rows()}
            rows = frame.select(names).iter_rows()
            ids = [older.get(row) if id_ is None else id_ for row, id_ in zip(rows, ids, strict=True)]
        return ids


def _row_schema(system: System, home: Home) -> dict[str, Any]:
    import polars as pl

    return {**schema(system, home), SHADOW_OF: pl.String, ERROR: pl.String}


def _answered(table: Table, columns: list[str], where: pl.Expr) -> pl.DataFrame:
    """Some predictions of the one that answers."""
    return table.collect(table.scan(where=where).select(columns))


def _then(frame: pl.DataFrame) -> pl.Expr:
    """Those of the times of a frame."""
    import polars as pl

    first, last = (pl.lit(moment, pl.Datetime("us", "UTC")) for moment in (frame["as_of"].min(), frame["as_of"].max()))
    return pl.col("as_of").is_between(first, last)
