"""A task that the framework does not know: how odd a row is. All that a stranger writes stands here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.waiting import until

from headrace import Column, Contract, System
from headrace.console import run_report
from headrace.errors import DeclarationError, ExplainError, UsageError
from headrace.features import col
from headrace.flow.backfill import BackfillRequest, backfill
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.grid.date_range import DateRange
from headrace.home import METRICS, PREDICTIONS, Home
from headrace.identity import digest_of_row, inputs_of, key_text
from headrace.lineage import PINNED, Pins, row_cause, row_prediction_ids
from headrace.models.base import Model
from headrace.pipelines.explained import explain_prediction, explain_rows
from headrace.pipelines.predictions import newest, read, replay, trace, with_truth
from headrace.registry import ModelVersion, Trained
from headrace.reporting import write_report
from headrace.serving.http import app
from headrace.serving.http.openapi_posting import posted
from headrace.serving.http.options import Options
from headrace.serving.http.served import ServedSystem
from headrace.settings import Settings
from headrace.tasks import Task, kinds, task_of
from headrace.tasks.base import Monitored, PinnedRun, Predicted, ReportRequest
from headrace.tasks.conditions import conditions
from headrace.tasks.evaluation import EvaluateRequest as Request
from headrace.tasks.evaluation import EvaluationData, ScoredRows
from headrace.tasks.gate import Match, Start, admit
from headrace.tasks.paired import PairRequest
from headrace.tasks.schemas import UUID, WHOLE, DoorSchemas, record
from headrace.tasks.sections import ReportHeading, ReportSentence, ReportTable, Section, TaskReport

NOW, DAY = datetime(2026, 5, 1, tzinfo=UTC), timedelta(days=1)


class Deviations(Model):
    """How many standard deviations a number lies from the mean."""

    kind: Literal["deviations"] = "deviations"

    def fit(self, values: pl.Series) -> dict[str, float]:
        return {"mean": float(values.mean()), "deviation": float(values.std())}


@dataclass(frozen=True)
class OddChallenger:
    """What was fitted, before the gate."""

    fitted: dict[str, float]
    known: pl.DataFrame

    params: ClassVar[Mapping[str, Any]] = {"kind": "deviations"}
    pins: ClassVar[Mapping[str, Any]] = {}
    untaught: ClassVar[str | None] = None

    def error(self, fitted: Mapping[str, float]) -> float:
        scores = (self.known["amount"] - fitted["mean"]).abs() / fitted["deviation"]
        return float((scores - self.known["odd"]).abs().mean()) if self.known.height else float("nan")

    def scores(self) -> Mapping[str, float]:
        return {"mae": self.error(self.fitted)}

    def save(self, folder: Path) -> None:
        (folder / "fitted.json").write_text(json.dumps(self.fitted))

    def sections(self) -> list[Section]:
        return [ReportSentence("It is judged by what somebody says of rows later.")]

    def cost(self) -> Mapping[str, float]:
        return {}

    def verdict(self) -> None:
        return None

    def against(self, champion: ModelVersion) -> Match | None:
        return Match(self.scores(), {"mae": champion.metrics["mae"] or float("nan")})


@dataclass(frozen=True)
class OddRows:
    """What a door asks, row by row."""

    fitted: dict[str, float]

    def answer(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"odd": _odd(pl.Series([row["amount"]]), self.fitted)[0]}

    def answer_columns(self, columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        return {"odd": _odd(pl.Series(columns["amount"], dtype=pl.Float64), self.fitted).to_list()}

    def features(self, columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
        return [{"amount": amount} for amount in columns["amount"]]


@dataclass(frozen=True)
class OddTask(Task):
    """Scores how odd rows are; somebody says later how odd they were."""

    kind: ClassVar[str] = "oddness"
    action: ClassVar[str] = "tells how odd rows are"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.system.target,)

    def train(
        self, home: Home, *, as_of: datetime, data_version: int, now: datetime, because: str | None = None
    ) -> Trained:
        began, rows = Start.of(self.system, home, now), self._rows(home, as_of, data_version)
        challenger = OddChallenger(self.system.model.fit(rows["amount"]), rows.filter(pl.col("odd").is_not_null()))
        return admit(
            self.system, home, challenger, as_of=as_of, data_version=data_version, began=began, because=because
        )

    def predict(self, home: Home, runs: Sequence[PinnedRun], *, now, threads=None, snapshots=None) -> list[Predicted]:
        return [self._predicted(home, run.pins, run.run_id, now) for run in runs]

    def monitor(self, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
        predictions = self.read(home, as_of=as_of)
        pairs = predictions.join(self.actuals(home, predictions, as_of), on="row")
        if pairs.is_empty():
            return Monitored({}, {"predictions": predictions.height, "matured": 0}, 0)
        facts = pairs.select("id", error=(pl.col("odd") - pl.col("actual")).abs(), known_at=pl.lit(as_of))
        rows = home.table(self.system.name, METRICS).append(facts, identity=["id"], compare=["error"], window="id")
        spans = {"since": pairs["as_of"].min(), "until": pairs["as_of"].max()}
        rest = {"predictions": predictions.height, "matured": pairs.height, **spans}
        return Monitored({"mae": facts["error"].mean()}, rest, rows.added)

    def read(self, home: Home, *, as_of=None, where=None, role=None) -> pl.DataFrame:
        frame = home.table(self.system.name, PREDICTIONS).read(identity=["id"], as_of=as_of).drop("_version")
        return frame.filter(*conditions(frame.schema, where)) if where else frame

    def actuals(self, home: Home, predictions: pl.DataFrame, as_of: datetime | None) -> pl.DataFrame:
        return self._rows(home, as_of, None).filter(pl.col("odd").is_not_null()).select("row", actual="odd")

    def scores(self, home: Home, as_of: datetime | None = None) -> pl.DataFrame | None:
        table = home.table(self.system.name, METRICS)
        return table.read(identity=["id"], as_of=as_of) if table.exists() else None

    def measured(self, home: Home, scores: pl.DataFrame | None) -> dict[str, Any]:
        return {"metrics": {} if scores is None else {"mae": scores["error"].mean()}, "over_time": []}

    def report(self, home: Home, request: ReportRequest) -> TaskReport:
        figures = self.measured(home, self.scores(home, request.as_of))["metrics"]
        assert request.last_run is not None
        rows = [["mae", figures.get("mae")], ["run", request.last_run["status"]]]
        sections = [ReportSentence("How odd rows were."), ReportHeading("Errors"), ReportTable("", ["what", ""], rows)]
        return TaskReport(sections, figures)

    def evaluate(self, home: Home, request: Request, data: EvaluationData) -> ScoredRows:
        if request.data is None:
            raise UsageError(f"{self.system.name} {self.action}", where="evaluate", hint="give it rows: data, a FILE")
        held_out, champion = data.held_out(self.system, request.data, request.now), home.registry.champion("odd_rows")
        mae = OddChallenger({}, held_out.rows).error(_fitted(home, champion))
        figures = {"origins": 1, "rows": held_out.rows.height, "metrics": {"mae": mae}, "baselines": {}}
        return ScoredRows({"system": self.system.name, **figures})

    def door_schemas(self, home: Home, *, version: ModelVersion | None, predictor: Any) -> DoorSchemas:
        answer = record(id=UUID, key={"type": "string"}, odd={"type": "number"}, model_version=WHOLE)
        return DoorSchemas("Row", "Oddness", "Tell how odd a row is", self.request_schema, answer)

    def answering(self, home: Home, version: ModelVersion, now: datetime) -> tuple[OddRows, None]:
        return OddRows(_fitted(home, version)), None

    @property
    def optional(self) -> tuple[str, ...]:
        return (self.system.target,)

    @staticmethod
    def owns(row: Mapping[str, Any]) -> bool:
        return row.get("scored_by") == "oddness"

    @staticmethod
    def replay(home: Home, system: str, prediction_id: str, row: Mapping[str, Any], *, threads: int) -> dict[str, Any]:
        fitted = _fitted(home, home.registry.get(system, row["model_version"]))
        value = _odd(pl.Series([row["amount"]]), fitted)[0]
        return {"id": prediction_id, "stored": row["odd"], "replayed": value, "identical": value == row["odd"]}

    def _rows(self, home: Home, as_of: datetime | None, version: int | None) -> pl.DataFrame:
        return home.raw(self.system).read(identity=self.system.identity, as_of=as_of, version=version)

    def _predicted(self, home: Home, pins: Pins, run_id: str, now: datetime) -> Predicted:
        fitted = _fitted(home, home.registry.get(self.system.name, pins.model_version))
        rows = self._rows(home, pins.as_of, pins.data_version).filter(pl.col("odd").is_null())
        digests = [digest_of_row(inputs_of(row, "odd")) for row in rows.select("row", "amount").iter_rows(named=True)]
        keys = [key_text(self.system.keys, row) for row in rows.iter_rows(named=True)]
        ids = row_prediction_ids(row_cause(self.system.name, pins), digests, keys, pins.as_of)
        frame = rows.select("row", "amount").with_columns(
            pl.Series("id", ids, dtype=pl.String),
            _odd(rows["amount"], fitted).alias("odd"),
            *(pl.lit(getattr(pins, name)).alias(name) for name in PINNED),
            *(pl.lit(pins.as_of).alias(name) for name in ("as_of", "known_at")),
            created_at=pl.lit(now),
            run_id=pl.lit(run_id),
            scored_by=pl.lit("oddness"),
        )
        table = home.table(self.system.name, PREDICTIONS)
        return Predicted(frame, table.append(frame, identity=["id"], compare=["odd"], window="as_of").added)


def _odd(amounts: pl.Series, fitted: Mapping[str, float]) -> pl.Series:
    return (amounts - fitted["mean"]).abs() / fitted["deviation"]


def _fitted(home: Home, version: ModelVersion) -> dict[str, float]:
    return json.loads((home.registry.fetch(version) / "fitted.json").read_text())


SYSTEM = System(
    name="odd_rows",
    task="oddness",
    contract=Contract(
        columns=(Column("row", "category"), Column("amount", "float"), Column("odd", "float", nullable=True))
    ),
    keys=("row",),
    target="odd",
    features={"amount": col("amount")},
    model=Deviations(),
)
AMOUNTS = [1.0, 2.0, 3.0, 10.0]
"""Of the rows a, b, c, d: their mean is 4, their deviation the root of 50 / 3."""
ROOT = (50 / 3) ** 0.5


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two runs: rows that nobody has judged; a day later two of them are."""
    folder = tmp_path_factory.mktemp("odd")
    home = Home(Settings(home=folder / "home"))
    rows = pl.DataFrame(
        {"row": ["a", "b", "c", "d"], "amount": AMOUNTS, "odd": [None] * 4}, schema_overrides={"odd": pl.Float64}
    )
    rows.write_parquet(folder / "one.parquet")
    rows.head(2).with_columns(odd=pl.Series([1.0, 0.5])).write_parquet(folder / "two.parquet")
    first = run(SYSTEM, home, RunRequest(NOW, NOW, f"file:{folder}/one.parquet"))
    second = run(SYSTEM, home, RunRequest(NOW + DAY, NOW + DAY, f"file:{folder}/two.parquet"))
    return folder, home, first, second


def test_it_runs_from_records_to_watched_predictions(world):
    _, home, first, second = world
    assert task_of(SYSTEM).kind == "oddness"
    assert first.trained.promoted
    assert (first.stored, second.stored) == (4, 2)
    stored = read(SYSTEM, home, as_of=NOW).sort("row")
    assert stored["odd"].to_list() == pytest.approx([3 / ROOT, 2 / ROOT, 1 / ROOT, 6 / ROOT])
    assert newest(SYSTEM, stored, 1).height == 1
    assert read(SYSTEM, home, where={"row": "d"})["amount"].to_list() == [10.0, 10.0]
    assert (second.monitored.matured, second.monitored.rows) == (2, 2)
    assert second.monitored.overall["mae"] == pytest.approx((abs(3 / ROOT - 1) + abs(2 / ROOT - 0.5)) / 2)
    truth = with_truth(SYSTEM, home, stored, None)
    assert truth["actual"].to_list() == [1.0, 0.5, None, None]


def test_a_repeated_run_stores_nothing_and_a_prediction_is_replayed(world):
    _, home, first, _ = world
    again = run(SYSTEM, home, RunRequest(NOW, NOW, steps=("predict",)))
    assert (again.frame.height, again.stored) == (4, 0)
    name = first.frame["id"][3]
    assert trace(home, name)["pins"]["model_version"] == 1
    done = replay(home, name)
    assert done == {"id": name, "stored": first.frame["odd"][3], "replayed": first.frame["odd"][3], "identical": True}


def test_what_it_does_not_say_is_refused_in_its_own_words(world):
    _, home, first, _ = world
    with pytest.raises(UsageError, match="odd_rows tells how odd rows are, it explains no rows"):
        explain_rows(SYSTEM, home, [{"row": "a", "amount": 1.0}], NOW)
    with pytest.raises(ExplainError, match="predictions of this kind are not explained"):
        explain_prediction(home, first.frame["id"][0])
    with pytest.raises(UsageError, match="its versions are not compared"):
        task_of(SYSTEM).compared(home, PairRequest(1, 2), [])
    with pytest.raises(UsageError, match="has no form outside of the tables"):
        assert task_of(SYSTEM).form


def test_held_out_rows_are_scored_and_origins_refused(world):
    folder, home, *_ = world
    done = evaluate(SYSTEM, home, EvaluateRequest(None, NOW + DAY, data=str(folder / "two.parquet"))).as_dict()
    assert done["rows"] == 2
    assert done["metrics"]["mae"] == pytest.approx((abs(3 / ROOT - 1) + abs(2 / ROOT - 0.5)) / 2)
    dates = DateRange(NOW, NOW + DAY, DAY)
    with pytest.raises(UsageError, match="odd_rows tells how odd rows are"):
        evaluate(SYSTEM, home, EvaluateRequest(dates, NOW + DAY))
    with pytest.raises(UsageError, match="it has no runs of the past to make"):
        backfill(SYSTEM, home, BackfillRequest(dates, NOW + DAY))


def test_people_see_it_in_the_report_and_on_the_terminal(world, tmp_path, capsys):
    _, home, _, second = world
    report = write_report(SYSTEM, home, as_of=None, now=NOW + DAY, out=tmp_path / "page.html")
    assert report.summary == {"mae": second.monitored.overall["mae"]}
    assert "<p>How odd rows were.</p>" in report.path.read_text()
    run_report(SYSTEM, home, second)
    assert "odd_rows: 2 predictions, 2 new" in capsys.readouterr().out


def test_the_document_of_a_server_tells_what_is_posted_and_answered(world):
    _, home, *_ = world
    operation, parts = posted(ServedSystem(SYSTEM, home, logged=True), "Odd", 10)
    assert list(parts) == ["OddRow", "OddOddness", "OddOddnesss"]
    assert parts["OddRow"]["required"] == ["row", "amount"]
    assert parts["OddOddness"]["properties"]["odd"] == {"type": "number"}
    assert operation["summary"] == "Tell how odd a row is"


def test_a_server_answers_what_is_posted_with_the_numbers_of_the_batch(world):
    _, home, first, _ = world
    served = app.Application([SYSTEM], home, Options(access_log="off", logged=False), registry=CollectorRegistry())
    rows = [{"row": name, "amount": amount} for name, amount in zip("abcd", AMOUNTS, strict=True)]
    with TestClient(served) as client:
        until(lambda: served.served["odd_rows"].reason is None)
        answers = [client.post("/v1/systems/odd_rows/predict", json=rows[0]).json()]
        answers += client.post("/v1/systems/odd_rows/predict", json=rows[1:]).json()["predictions"]
        about = client.get("/v1/systems/odd_rows").json()
        metrics = client.get("/v1/systems/odd_rows/metrics").json()
    assert [answer["odd"] for answer in answers] == first.frame.sort("row")["odd"].to_list()
    assert (about["kind"], about["ready"]) == ("oddness", True)
    assert set(metrics["metrics"]) == {"mae"}


def test_a_kind_that_nobody_brings_is_refused_by_name():
    assert {"forecast", "rows", "oddness"} <= set(kinds())
    with pytest.raises(DeclarationError, match="there is no kind of task 'odds'"):
        task_of(SYSTEM.model_copy(update={"task": "odds"}))


def test_the_task_is_part_of_what_a_model_is_made_from():
    assert "task" in SYSTEM.made_from
    assert "task" not in SYSTEM.model_copy(update={"task": None}).made_from
