"""Answers of the stream's engine as rows of the predictions table, each computed again on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.home import PREDICTIONS, Home
from headrace.lineage import PINNED, Pins
from headrace.registry import ModelVersion
from headrace.system import System
from headrace.tasks.forecast.anomalies import keep_said
from headrace.tasks.forecast.inference import ids_of
from headrace.tasks.forecast.predictor import Predictor

if TYPE_CHECKING:
    import polars as pl

Answer = tuple[dict[str, Any], datetime]
"""What was said, and when."""
Cause = tuple[int, str, str]
"""Model version, digest of the configuration, and code revision."""


def answer_of(message: Any, document: dict[str, Any]) -> Answer:
    """What a worker said, and when."""
    return document, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


class StoredAnswers:
    """Stores answers to events that are in the raw table already.

    Args:
        system: The declaration.
        home: Where the tables are.
        name: Of the table.
        more: What answers say besides that goes into columns, each with its type.

    Attributes:
        counts: How many `predictions` were added, and how many answers are `differing` from what is computed again.
    """

    of: str | None = None
    """Whose ids they have; None: the system's."""

    def __init__(
        self, system: System, home: Home, name: str = PREDICTIONS, more: Mapping[str, Any] | None = None
    ) -> None:
        self._system, self._home, self._name, self._more = system, home, name, dict(more or {})
        self._predictors: dict[int, tuple[ModelVersion, Predictor]] = {}
        self.counts = {"predictions": 0, "differing": 0}

    def add(self, answers: Iterable[Answer]) -> None:
        """Store the predictions of answers that are not there yet, and how the values that came were judged.

        Raises:
            StoreError: A table cannot be read or written.
            ArtefactError: A model's files are damaged.
        """
        by_pins: dict[Cause, list[Answer]] = {}
        answers = list(answers)
        if self._name == PREDICTIONS:
            keep_said(self._system, self._home, (answer for answer, _ in answers))
        for answer, time in answers:
            if answer["predictions"]:
                cause = answer["model_version"], answer["pins"]["config"], answer["pins"]["code"]
                by_pins.setdefault(cause, []).append((answer, time))
        for cause, group in by_pins.items():
            self._append(cause, group)

    def _append(self, cause: Cause, answers: list[Answer]) -> None:
        import polars as pl

        system, (version, config, code) = self._system, cause
        model, predictor = self._model(version)
        stored, replayed = self._said(answers), self._again(predictor, [answer for answer, _ in answers])
        target = [*system.keys, system.event_time, "as_of"]
        both_sides = stored.join(
            replayed, on=target, how="left", nulls_equal=True, suffix="_again", maintain_order="left"
        )
        finite = {n: pl.when(pl.col(f"{n}_again").is_finite()).then(f"{n}_again") for n in ("value", "lower", "upper")}
        matches = [pl.col(n).eq_missing(replayed) for n, replayed in finite.items()]  # JSON has no infinity
        differs = pl.col("ahead_again").is_null() | ~pl.all_horizontal(matches)
        self.counts["differing"] += both_sides.filter(differs).select("as_of", *system.keys).n_unique()
        frame = both_sides.drop([f"{n}_again" for n in ("value", "lower", "upper", "ahead")])
        made = Pins.of(model, frame["as_of"][0], system.folder, self._home.raw(system).version())
        pins = replace(made, config_digest=config, code_revision=code)
        frame = self._with_pins(frame, pins)
        written = self._home.table(system.name, self._name).append(
            frame,
            identity=[*target, "model_digest", "feature_version", "config_digest", "revision"],
            compare=["value", "lower", "upper"],
            window="as_of",
        )
        self.counts["predictions"] += written.added

    def _model(self, version: int) -> tuple[ModelVersion, Predictor]:
        if version not in self._predictors:
            model = self._home.registry.get(self._system.name, version)
            self._predictors[version] = model, Predictor.load(self._home.registry.fetch(model))
        return self._predictors[version]

    def _said(self, answers: list[Answer]) -> pl.DataFrame:
        """What was answered: one row per answer and step ahead."""
        import polars as pl

        time, rows = self._system.event_time, []
        for answer, sent in answers:
            head = {name: answer[name] for name in (*self._system.keys, "as_of", "origin")}
            head |= {"run_id": answer["event_id"], "created_at": sent, **{name: answer[name] for name in self._more}}
            rows += [
                {**head, "ahead": ahead, time: step["time"], **{n: step[n] for n in ("value", "lower", "upper")}}
                for ahead, step in enumerate(answer["predictions"], 1)
            ]
        kinds: dict[str, Any] = dict.fromkeys(("value", "lower", "upper"), pl.Float64)
        kinds |= {"ahead": pl.Int64, "created_at": pl.Datetime("us", "UTC"), **self._more}
        frame = pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)
        utc = [pl.col(n).str.to_datetime(time_unit="us", time_zone="UTC") for n in ("as_of", "origin", time)]
        return frame.with_columns(*utc)

    def _again(self, predictor: Predictor, answers: list[dict[str, Any]]) -> pl.DataFrame:
        """The same predictions from the archived facts, with what only the batch door says: scale and baselines."""
        import polars as pl

        raw = self._home.raw(self._system)
        times = sorted({datetime.fromisoformat(answer["as_of"]).astimezone(UTC) for answer in answers})
        snapshots = predictor.snapshots(raw, times, raw.version())
        readers = {time: i for i, time in enumerate(times)}
        series = {row: i for i, row in enumerate(snapshots.keys.iter_rows())}
        pairs = {
            (
                readers[datetime.fromisoformat(a["as_of"]).astimezone(UTC)],
                series[tuple(a[k] for k in self._system.keys)],
            )
            for a in answers
        }
        reader, index = (np.array(column, dtype=np.intp) for column in zip(*sorted(pairs), strict=True))
        frame = predictor.predict_some(snapshots, reader, index)
        as_of = pl.Series("as_of", times, dtype=pl.Datetime("us", "UTC")).gather(frame["reader"])
        return frame.drop("reader").with_columns(as_of)

    def _with_pins(self, frame: pl.DataFrame, pins: Pins) -> pl.DataFrame:
        import polars as pl

        frame = frame.with_columns(
            *(pl.lit(getattr(pins, name)).alias(name) for name in PINNED),
            pl.col("as_of").alias("known_at"),
            pl.lit(0, pl.Int64).alias("revision"),
        )
        return frame.with_columns(ids_of(self._system, frame, pins, self.of))
