"""Brings what went over the topics into the tables: events as facts, answers as predictions.

Then training, monitoring, `trace` and `replay` work for streamed predictions as for those of the batch door. Everything
may be repeated: facts and predictions that are there already are not added again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.home import PREDICTIONS, RAW, Home
from headrace.lineage import PINNED, Pins, digest_of
from headrace.pipelines import feature
from headrace.pipelines.inference import ids_of
from headrace.predictor import Predictor
from headrace.registry import ModelVersion
from headrace.sources.broker import Broker, Topics
from headrace.sources.kafka import Place
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

Cause = tuple[int, str, str]
"""Model version, digest of the configuration, and code revision."""
_CHUNK = 20_000
"""Answers that are stored at once."""


def archive(system: System, home: Home, broker: Broker, now: datetime) -> dict[str, Any]:
    """Archive what came since the last time; returns ``events predictions differing``.

    Every answer is computed again from the archived facts on the way: `differing` counts those that are not equal.

    Args:
        system: The declaration.
        home: Where the tables are.
        broker: The cluster.
        now: Events that become known later wait for the next time.

    Raises:
        StreamError: The cluster failed.
        StoreError: A table could not be written.
    """
    topics, added = Topics(system.name), 0
    source = f"kafka://{broker.bootstrap}/{topics.events}"
    while True:
        records = feature.read(system, home, source=source, as_of=now, now=now)
        if not records.frame.height:
            records.stored()
            break
        added += feature.validate(system, home, records, as_of=now, now=now).added
    stored = _Answers(system, home, broker, topics.predictions).store()
    return {"events": added, **stored}


class _Answers:
    """The answers on the output topic that are not in the tables yet."""

    def __init__(self, system: System, home: Home, broker: Broker, topic: str) -> None:
        self._system, self._home, self._broker, self._topic = system, home, broker, topic
        name = f"answers-{topic}-{digest_of(broker.bootstrap, 8)}.json"
        self._path: Path = home.path / "cache" / system.name / name
        self._predictors: dict[int, tuple[ModelVersion, Predictor]] = {}
        self._counts = {"predictions": 0, "differing": 0}

    def store(self) -> dict[str, int]:
        place, count = Place.load(self._path), self._broker.partitions().get(self._topic, 0)
        begin = {p: place.offsets.get(p, 0) for p in range(count)}
        ends = self._broker.ends(self._topic, list(begin)) if count else {}
        begin = {p: offset if offset <= ends[p] else 0 for p, offset in begin.items()}
        batch: list[Any] = []
        for message in self._broker.read(self._topic, begin) if count else ():
            batch.append(message)
            if len(batch) == _CHUNK:
                self._add(batch, place)
                batch = []
        self._add(batch, place)
        return self._counts

    def _add(self, messages: Sequence[Any], place: Place) -> None:
        if not messages:
            return
        by_pins: dict[Cause, list[tuple[dict[str, Any], int]]] = {}
        for message in messages:
            answer = json.loads(message.value())
            if answer["predictions"]:
                cause = answer["model_version"], answer["pins"]["config"], answer["pins"]["code"]
                by_pins.setdefault(cause, []).append((answer, message.timestamp()[1]))
            place.offsets[message.partition()] = message.offset() + 1
        for cause, answers in by_pins.items():
            self._append(cause, answers)
        place.save(self._path)

    def _append(self, cause: Cause, answers: list[tuple[dict[str, Any], int]]) -> None:
        import polars as pl

        system, (version, config, code) = self._system, cause
        model, predictor = self._model(version)
        said, again = self._said(answers), self._again(predictor, [answer for answer, _ in answers])
        target = [*system.keys, system.event_time, "as_of"]
        beside = said.join(again, on=target, how="left", nulls_equal=True, suffix="_again", maintain_order="left")
        same = [pl.col(n).eq_missing(pl.col(f"{n}_again")) for n in ("value", "lower", "upper")]
        differs = pl.col("ahead_again").is_null() | ~pl.all_horizontal(same)
        self._counts["differing"] += beside.filter(differs).select("as_of", *system.keys).n_unique()
        frame = beside.drop([f"{n}_again" for n in ("value", "lower", "upper", "ahead")])
        pins = Pins(
            as_of=frame["as_of"][0],
            data_version=self._home.table(system.name, RAW).version(),
            feature_version=str(model.pins["feature_version"]),
            model_version=version,
            model_digest=model.digest,
            config_digest=config,
            code_revision=code,
        )
        frame = self._with_pins(frame, pins)
        written = self._home.table(system.name, PREDICTIONS).append(
            frame,
            identity=[*target, "model_digest", "feature_version", "config_digest", "revision"],
            compare=["value", "lower", "upper"],
            window="as_of",
        )
        self._counts["predictions"] += written.added

    def _model(self, version: int) -> tuple[ModelVersion, Predictor]:
        if version not in self._predictors:
            model = self._home.registry.get(self._system.name, version)
            self._predictors[version] = model, Predictor.load(self._home.registry.fetch(model))
        return self._predictors[version]

    def _said(self, answers: list[tuple[dict[str, Any], int]]) -> pl.DataFrame:
        """What was answered: one row per answer and step ahead."""
        import polars as pl

        time, rows = self._system.event_time, []
        for answer, sent in answers:
            head = {name: answer[name] for name in (*self._system.keys, "as_of", "origin")}
            head |= {"run_id": answer["event_id"], "sent": sent}
            rows += [
                {**head, "ahead": ahead, time: step["time"], **{n: step[n] for n in ("value", "lower", "upper")}}
                for ahead, step in enumerate(answer["predictions"], 1)
            ]
        kinds = dict.fromkeys(("value", "lower", "upper"), pl.Float64) | {"ahead": pl.Int64}
        frame = pl.DataFrame(rows, schema_overrides=kinds, infer_schema_length=None)
        utc = [pl.col(n).str.to_datetime(time_unit="us", time_zone="UTC") for n in ("as_of", "origin", time)]
        made = pl.from_epoch("sent", time_unit="ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return frame.with_columns(*utc, made.alias("created_at")).drop("sent")

    def _again(self, predictor: Predictor, answers: list[dict[str, Any]]) -> pl.DataFrame:
        """The same predictions from the archived facts, with what only the batch door says: scale and baselines."""
        import polars as pl

        raw = self._home.table(self._system.name, RAW)
        times = sorted({datetime.fromisoformat(answer["as_of"]).astimezone(UTC) for answer in answers})
        views = predictor.views(raw, times, raw.version())
        readers = {time: i for i, time in enumerate(times)}
        series = {row: i for i, row in enumerate(views.keys.iter_rows())}
        pairs = {
            (
                readers[datetime.fromisoformat(a["as_of"]).astimezone(UTC)],
                series[tuple(a[k] for k in self._system.keys)],
            )
            for a in answers
        }
        reader, of = (np.array(column, dtype=np.intp) for column in zip(*sorted(pairs), strict=True))
        frame = predictor.predict_some(views, reader, of)
        as_of = pl.Series("as_of", times, dtype=pl.Datetime("us", "UTC")).gather(frame["reader"])
        return frame.drop("reader").with_columns(as_of)

    def _with_pins(self, frame: pl.DataFrame, pins: Pins) -> pl.DataFrame:
        import polars as pl

        frame = frame.with_columns(
            *(pl.lit(getattr(pins, name)).alias(name) for name in PINNED),
            pl.col("as_of").alias("known_at"),
            pl.lit(0, pl.Int64).alias("revision"),
        )
        return frame.with_columns(ids_of(self._system, frame, pins))
