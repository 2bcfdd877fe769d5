"""Several classes and numbers with intervals on real data through every door."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.conftest import SHARED

from headrace import Boosting, Classifier, Column, Contract, Linear, Regressor, Schedule, Source, System
from headrace.features import col
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.pipelines.comparison import compare
from headrace.pipelines.messages import opener
from headrace.pipelines.predictions import replay
from headrace.reporting import write_report
from headrace.serving.engine.batch import Message
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.serving.passing.documents import Documents, layout_of
from headrace.serving.passing.stored import StoredPredictions
from headrace.serving.stream.champions import answering
from headrace.serving.stream.rows import RowEngine
from headrace.settings import Settings
from headrace.sources.messages.fields import avro_reader, avro_schema, avro_writer
from headrace.tasks import task_of
from headrace.tasks.paired import PairRequest
from headrace.tasks.rows import inference
from headrace.tasks.rows.answers import RowAnswer, StoredRows
from headrace.tasks.rows.outputs.declared import output_of

DAY = timedelta(days=1)
NOW = datetime.now(UTC)
"""Rows are posted now, so what came before and what comes after is told from here."""
LOADS = ("Light_Load", "Medium_Load", "Maximum_Load")
TRAINED, UNKNOWN, LATER = 1000, 60, 200
MEMBERS = (Linear(), Boosting(n_estimators=25))
FEATURES = {"day": col("day"), "seconds": col("seconds"), "factor": col("factor")}


def steel(kind: str, **settings: Any) -> System:
    """The kind of load, or the energy, of a quarter of an hour."""
    model: Any = {"load": Classifier, "kwh": Regressor}[kind]
    return System(
        name="steel",
        source=Source(uri="file:steel.parquet"),
        contract=Contract(
            columns=(
                Column("row", "integer"),
                Column("kwh", "float", minimum=0, nullable=True),
                Column("load", "category", values=LOADS, nullable=True),
                Column("day", "category"),
                Column("seconds", "integer"),
                Column("factor", "float"),
            )
        ),
        keys=("row",),
        target=kind,
        features=FEATURES | ({"kwh": col("kwh")} if kind == "load" else {}),
        model=model(members=MEMBERS, folds=3, repeats=1, **settings),
        schedule=Schedule(predict="never", train="never"),
    )


@cache
def rows() -> pl.DataFrame:
    path = SHARED / "steel_industry/Steel_industry_data.csv.gz"
    if not path.exists():
        pytest.skip(f"needs the real data: {path} is absent")
    names = {"Usage_kWh": "kwh", "Load_Type": "load", "Day_of_week": "day", "NSM": "seconds"}
    names["Lagging_Current_Power_Factor"] = "factor"
    frame = pl.read_csv(path, infer_schema_length=None).rename(names).gather_every(20)
    frame = frame.with_row_index("row").select("row", *names.values()).with_columns(pl.col("row").cast(pl.Int64))
    return frame.with_columns(pl.col("kwh", "factor").cast(pl.Float64))


def written(path: Path, frame: pl.DataFrame) -> str:
    frame.write_parquet(path)
    return f"file:{path}"


@dataclass
class World:
    """A system that was trained two days ago and predicted the last rows that it read."""

    kind: str
    system: System
    home: Home
    folder: Path
    first: Any

    def posted(self, count: int, start: int = TRAINED + UNKNOWN) -> list[dict[str, Any]]:
        frame = rows().slice(start, count)
        return frame.drop(self.kind).to_dicts()


@pytest.fixture(scope="module", params=["load", "kwh"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    some = rows().head(TRAINED + UNKNOWN)
    hidden = some.with_columns(pl.when(pl.col("row") < TRAINED).then(pl.col(kind)).alias(kind))
    system, home = steel(kind), Home(Settings(home=folder / "home"))
    first = run(system, home, RunRequest(NOW - 2 * DAY, NOW, written(folder / "first.parquet", hidden)))
    return World(kind, system, home, folder, first)


def test_a_run_trains_beats_the_baselines_and_predicts(world: World) -> None:
    trained, frame = world.first.as_dict()["model"], world.first.predicted.frame
    assert trained["verdict"]["better"]
    assert trained["verdict"]["measure"] == {"load": "log loss", "kwh": "RMSE"}[world.kind]
    assert frame["row"].to_list() == list(range(TRAINED, TRAINED + UNKNOWN))
    if world.kind == "load":
        every = [json.loads(text) for text in frame["probabilities"]]
        assert all(tuple(each) == LOADS for each in every)
        assert [max(each, key=lambda name: each[name]) for each in every] == frame["load"].to_list()
        assert [each[load] for each, load in zip(every, frame["load"], strict=True)] == frame["probability"].to_list()
        assert [sum(each.values()) for each in every] == pytest.approx([1] * UNKNOWN)
    else:
        inside = (frame["lower"] <= frame["kwh"]) & (frame["kwh"] <= frame["upper"]) & (frame["lower"] >= 0)
        assert inside.all()
        assert trained["metrics"]["coverage"] == pytest.approx(0.9, abs=0.03)
    assert all(replay(world.home, name)["identical"] for name in frame["id"][:20])


def test_every_http_door_gives_the_numbers_of_the_batch(world: World) -> None:
    home, system, batch = world.home, world.system, world.first.predicted.frame
    answers = {row["row"]: output_of(system, home).told(row) for row in batch.to_dicts()}
    posted = world.posted(UNKNOWN, TRAINED)
    with TestClient(Application([system], home, Options(access_log="off"), registry=CollectorRegistry())) as client:
        url = "/v1/systems/steel/predict"
        one = client.post(url, json=posted[0]).json()
        assert {name: one[name] for name in answers[TRAINED]} == answers[TRAINED]
        many = client.post(url, json=posted).json()["predictions"]
        assert [{name: each[name] for name in answers[each["key"]]} for each in many] == list(answers.values())
        assert client.post(url, json=posted[0]).json() == one  # the same again
        told = client.post(url, json=posted, headers={"accept": "text/csv"})
        table = pl.read_csv(io.BytesIO(told.content))
        assert [output_of(system, home).told(row) for row in table.to_dicts()] == list(answers.values())
        arrow = client.post(url, json=posted, headers={"accept": "application/vnd.apache.arrow.stream"})
        assert (
            pl.read_ipc_stream(io.BytesIO(arrow.content))
            .select(*table.columns[2:-1])
            .equals(table.select(*table.columns[2:-1]))
        )
        invoked = client.post("/invocations", json={"dataframe_records": posted}).json()["predictions"]
        assert invoked == many
        inputs = [
            {"name": name, "shape": [len(posted)], "datatype": kind, "data": [row[name] for row in posted]}
            for name, kind in (
                ("row", "INT64"),
                ("seconds", "INT64"),
                ("factor", "FP64"),
                ("day", "BYTES"),
                ("kwh", "FP64"),
                ("load", "BYTES"),
            )
            if name != world.kind
        ]
        outputs = client.post("/v2/models/steel/infer", json={"inputs": inputs}).json()["outputs"]
        tensors = {each["name"]: each["data"] for each in outputs}
        assert tensors[world.kind] == [each[world.kind] for each in answers.values()]
        schemas = client.get("/openapi.json").json()["components"]["schemas"]
        schema = next(each for name, each in schemas.items() if name.endswith("Prediction"))
        assert set(schema["properties"]) == {*one, "explanation"}
        assert client.get("/v1/systems/steel/metrics").status_code == 200


def test_a_stream_gives_the_numbers_of_the_batch_and_its_answers_are_stored(world: World) -> None:
    system, home = world.system, world.home
    engine = RowEngine(system, "steel", "steel.events", answering(system, home, NOW), opener(system, home))
    at = int((NOW - DAY).timestamp() * 1000)
    rows_of = world.posted(20, TRAINED + UNKNOWN)
    batch = [Message(0, n, str(row["row"]).encode(), json.dumps(row).encode(), at) for n, row in enumerate(rows_of)]
    done = engine.answer(batch)
    answers = [json.loads(each) for each in done.answers]
    assert (len(answers), done.dead) == (20, [])
    fields = task_of(system).form.topic_fields()
    for each in answers:
        assert avro_reader(json.dumps(avro_schema("A", fields)))(avro_writer("A", fields)(each)) | {} == (
            {**each, "repeated": None}
        )
    stored = StoredRows(system, home)
    beside = [dict(done.beside[place]) for place in range(20)]
    stored.add(
        RowAnswer(said, NOW, headers["inputs"].decode(), headers["row_digest"].decode())
        for said, headers in zip(answers, beside, strict=True)
    )
    assert stored.counts == {"predictions": 20, "differing": 0, "repeated": 0}
    assert all(replay(home, each["prediction_id"])["identical"] for each in answers[:5])


def test_what_was_answered_is_exported_watched_reported_and_passed_on(world: World) -> None:
    system, home, folder = world.system, world.home, world.folder
    with TestClient(Application([system], home, Options(access_log="off"), registry=CollectorRegistry())) as client:
        client.post("/v1/systems/steel/predict", json=world.posted(50, TRAINED + UNKNOWN + 20)).raise_for_status()
    task_of(system).export(home)
    later = run(
        system, home, RunRequest(NOW + DAY, NOW + DAY, written(folder / "later.parquet", rows().head(TRAINED + LATER)))
    )
    told = later.monitored.overall
    frame = inference.read(system, home).join(rows().select("row", truth=world.kind), on="row")
    assert later.monitored.matured >= 110
    known = frame.filter(pl.col("row") >= TRAINED)
    if world.kind == "load":
        right = known.filter(pl.col("door") != "-")["load"] == known["truth"]
        assert told["accuracy"] == pytest.approx(right.mean())
        assert 0 < told["macro_f1"] <= 1
    else:
        error = known["kwh"] - known["truth"]
        assert told["mae"] == pytest.approx(error.abs().mean())
        assert told["rmse"] == pytest.approx((error**2).mean() ** 0.5)
        assert told["coverage"] == pytest.approx(known["truth"].is_between(known["lower"], known["upper"]).mean())
    assert run(system, home, RunRequest(NOW + DAY, NOW + DAY, steps=("monitor",))).monitored.rows == 0
    report = write_report(system, home, as_of=None, now=NOW + DAY, out=folder / "report.html")
    assert {name: report.summary[name] for name in told} == told
    layout = layout_of(system, "tables")
    passed = next(iter(StoredPredictions(system, home, Documents(system, layout), None).read(None))).predictions
    assert {name.name for name in layout.fields} >= {world.kind, *output_of(system, home).beside}
    assert all(len(each.rows[0]) == len(layout.fields) for each in passed)


def test_rows_that_were_trained_on_are_counted_apart(world: World) -> None:
    new = written(world.folder / "new.parquet", rows().slice(TRAINED + LATER, 100))
    done = evaluate(world.system, world.home, EvaluateRequest(None, NOW + DAY, data=new)).as_dict()
    assert (done["rows"], done["trained_on"]["rows"]) == (100, 0)
    both = written(world.folder / "both.parquet", rows().slice(TRAINED - 30, 40))
    done = evaluate(world.system, world.home, EvaluateRequest(None, NOW + DAY, data=both)).as_dict()
    assert (done["rows"], done["trained_on"]["rows"]) == (10, 30)
    seen = evaluate(
        world.system,
        world.home,
        EvaluateRequest(None, NOW + DAY, data=written(world.folder / "old.parquet", rows().head(30))),
    ).as_dict()
    assert (seen["rows"], seen["trained_on"]["rows"]) == (30, 30)
    assert seen["metrics"] == seen["trained_on"]["metrics"]
    measure = {"load": "log_loss", "kwh": "rmse"}[world.kind]
    assert all(math_is_better(done, each, measure) for each in done["baselines"].values())


def math_is_better(done: dict[str, Any], baseline: dict[str, float], measure: str) -> bool:
    return bool(done["metrics"][measure] < baseline[measure])


def test_two_versions_are_compared(world: World) -> None:
    poor = steel(world.kind).model_copy(
        update={"model": steel(world.kind).model.model_copy(update={"members": (Linear(C=1e-6),)})}
    )
    at = NOW + 2 * DAY
    second = run(poor, world.home, RunRequest(at, at, steps=("train",), retrain=True))
    assert "does not beat" in second.as_dict()["model"]["reason"]
    done = compare(poor, world.home, PairRequest(1, 2, replay=True))
    assert done.winner in (1, None)
    assert done.answers["difference"]["max"] > 0
    assert done.pairs >= 80
    assert ("flips" in done.answers) is (world.kind == "load")


@pytest.mark.parametrize("scale", ["identity", "log"])
def test_an_integer_is_answered_as_one_within_its_bounds(scale: Any, tmp_path: Path) -> None:
    frame = rows().head(600).with_columns(pl.col("kwh").round().cast(pl.Int64))
    system = System(
        name="whole",
        contract=Contract(
            columns=(
                Column("row", "integer"),
                Column("kwh", "integer", minimum=3, maximum=100, nullable=True),
                Column("seconds", "integer"),
            )
        ),
        keys=("row",),
        target="kwh",
        features={"seconds": col("seconds")},
        model=Regressor(members=(Boosting(n_estimators=10),), folds=2, repeats=1, scale=scale, coverage=0.8),
    )
    frame = frame.with_columns(pl.when(pl.col("kwh").is_between(3, 100) & (pl.col("row") < 500)).then(pl.col("kwh")))
    first = run(system, Home(Settings(home=tmp_path)), RunRequest(NOW, NOW, written(tmp_path / "a.parquet", frame)))
    scored = first.predicted.frame
    assert scored.schema["kwh"] == pl.Int64
    assert scored.select(pl.col("kwh").is_between(3, 100).all(), (pl.col("lower") % 1 == 0).all()).row(0) == (
        True,
        True,
    )
    assert scored.filter((pl.col("lower") > pl.col("kwh")) | (pl.col("upper") < pl.col("kwh"))).is_empty()
    assert all(replay(Home(Settings(home=tmp_path)), name)["identical"] for name in scored["id"][:5])
