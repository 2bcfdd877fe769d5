"""Each kind of output through every door, beside another version, and from its truth back to a training."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.ports import free_port
from tests.system.test_own_output import Middle

from headrace import Classifier, Column, Contract, Linear, Regressor, Schedule, Source, System
from headrace.console import evaluation_report, run_report
from headrace.errors import NotFoundError
from headrace.features import col
from headrace.flow.evaluate import EvaluateRequest, evaluate
from headrace.flow.run import RunRequest, run
from headrace.home import Home
from headrace.pipelines.comparison import compare
from headrace.pipelines.messages import opener
from headrace.pipelines.predictions import replay, trace
from headrace.reporting import write_report
from headrace.serving.engine.batch import Message
from headrace.serving.http.app import Application
from headrace.serving.http.grpc.address import At
from headrace.serving.http.grpc.messages import SERVICE, classes
from headrace.serving.http.options import Options
from headrace.serving.http.shadowing import Shadowing
from headrace.serving.stream.champions import answering
from headrace.serving.stream.rows import RowEngine
from headrace.settings import Settings
from headrace.tasks import task_of
from headrace.tasks.paired import PairRequest
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.rows.skew import skew

grpc = pytest.importorskip("grpc", reason="needs headrace[grpc]")
DAY = timedelta(days=1)
NOW = datetime.now(UTC)
"""Rows are posted now, so what came before and what comes after is told from here."""
KNOWN, POSTED = 240, 60
ARROW, CSV = "application/vnd.apache.arrow.stream", "text/csv"
OF = classes()
TARGETS = {
    "binary": Column("won", "boolean", nullable=True),
    "multiclass": Column("kind", "category", values=("a", "b", "c"), nullable=True),
    "regression": Column("cost", "float", minimum=0, nullable=True),
    "median": Column("wait", "float", nullable=True),
    "noted": Column("cost", "float", minimum=0, nullable=True),
}
NOTES = {"day": "told by its size", "size": "taken as it is"}
MODELS: dict[str, Any] = {
    "binary": Classifier,
    "multiclass": Classifier,
    "regression": Regressor,
    "median": Middle,
    "noted": partial(Regressor, notes=NOTES, tell_members=True, intervals_by="day"),
}
TYPES = {"row": "INT64", "size": "FP64", "day": "BYTES"}
FEATURES = {"size": col("size"), "day": col("day")}


def declared(kind: str, **settings: Any) -> System:
    """The system of an output; its second version is one that hardly learns."""
    target = TARGETS[kind]
    member = Linear(C=settings.pop("C", 1.0))
    return System(
        name="shop",
        source=Source(uri="file:rows.parquet"),
        contract=Contract(
            columns=(Column("row", "integer"), Column("size", "float"), Column("day", "category"), target)
        ),
        keys=("row",),
        target=target.name,
        features=FEATURES,
        model=MODELS[kind](members=(member,), folds=2, repeats=1),
        schedule=Schedule(predict="never", train="never"),
        log_features=True,
        **settings,
    )


def rows(kind: str, count: int = KNOWN + POSTED) -> pl.DataFrame:
    random = np.random.default_rng(5)
    size, day = random.normal(5, 2, count).round(3), random.choice(["mon", "tue", "sun"], count)
    level = size + 2 * (day == "sun") + random.normal(0, 0.5, count)
    values: dict[str, Any] = {
        "binary": level > 6,
        "multiclass": [("a", "b", "c")[int(n)] for n in np.digitize(level, [4, 7])],
        "regression": np.maximum(level, 0) * 3,
        "median": level,
        "noted": np.maximum(level, 0) * 3,
    }
    return pl.DataFrame({"row": range(count), "size": size, "day": day, TARGETS[kind].name: values[kind]})


@dataclass
class World:
    """A system with two versions, the first of which is the champion, and what was posted to it."""

    kind: str
    system: System
    home: Home
    folder: Path
    client: TestClient
    channel: Any

    @property
    def posted(self) -> list[dict[str, Any]]:
        return rows(self.kind).drop(self.system.target).tail(POSTED).to_dicts()

    def ask(self, posted: Any, **headers: str) -> Any:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(posted, bytes):
            return self.client.post("/v1/systems/shop/predict", content=posted, headers=given)
        return self.client.post("/v1/systems/shop/predict", json=posted, headers=given)

    def file(self, frame: pl.DataFrame, name: str) -> str:
        frame.write_parquet(self.folder / name)
        return f"file:{self.folder / name}"


@pytest.fixture(scope="module", params=list(TARGETS))
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    kind, folder = request.param, tmp_path_factory.mktemp(request.param)
    system, home = declared(kind), Home(Settings(home=folder / "home"))
    rows(kind).head(KNOWN).write_parquet(folder / "known.parquet")
    known = f"file:{folder / 'known.parquet'}"
    first = run(system, home, RunRequest(NOW - 3 * DAY, NOW, known))
    assert first.as_dict()["model"]["verdict"]["better"]
    at = NOW - 2 * DAY
    run(declared(kind, C=1e-4), home, RunRequest(at, at, steps=("train",), retrain=True))
    assert [version.version for version in home.registry.versions("shop")] == [1, 2]
    assert home.registry.champion("shop").version == 1
    port, options = free_port(), Options(access_log="off", canary=("2=0.5",))
    application = Application([system], home, options, grpc=At("127.0.0.1", port), registry=CollectorRegistry())
    with (
        TestClient(application) as client,
        grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield World(kind, system, home, folder, client, channel)


def tensors(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": [len(rows)], "datatype": kind, "data": [row[name] for row in rows]}
            for name, kind in TYPES.items()
        ]
    }


def spoken(world: World, rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The answers of the gRPC door, by column."""
    request = OF["ModelInferRequest"](model_name="shop")
    for name, kind in TYPES.items():
        contents = request.inputs.add(name=name, datatype=kind, shape=[len(rows)]).contents
        values = [row[name] for row in rows]
        if kind == "BYTES":
            contents.bytes_contents.extend([value.encode() for value in values])
        else:
            getattr(contents, f"{kind.lower()}_contents").extend(values)
    method = world.channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=OF["ModelInferRequest"].SerializeToString,
        response_deserializer=OF["ModelInferResponse"].FromString,
    )
    response = method(request, timeout=60)
    numbers = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_}
    columns: dict[str, list[Any]] = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            columns[output.name] = texts(raw)
        else:
            columns[output.name] = np.frombuffer(raw, numbers[output.datatype]).tolist()
    return columns


def texts(raw: bytes) -> list[str]:
    values = []
    while raw:
        size = int.from_bytes(raw[:4], "little")
        values.append(raw[4 : 4 + size].decode())
        raw = raw[4 + size :]
    return values


def test_every_door_says_the_same_of_a_champion_and_its_canary(world: World) -> None:
    output, posted = output_of(world.system, world.home), world.posted
    answers = [world.ask(row).json() for row in posted]
    assert {each["model_version"] for each in answers} == {1, 2}, "the canary answers its share"
    names = ("id", "key", world.system.target, *output.columns_beside, "model_version")
    assert {tuple(answer) for answer in answers} == {names}
    assert world.ask(posted).json()["predictions"] == answers
    frame = pl.DataFrame(posted)
    for written, kind in ((frame.write_csv().encode(), CSV), (ipc(frame), ARROW)):
        said = world.ask(written, content_type=kind, accept=kind)
        assert said.status_code == 200, said.text
        read = pl.read_csv(io.BytesIO(said.content)) if kind == CSV else pl.read_ipc_stream(io.BytesIO(said.content))
        assert tuple(read.columns) == names
        told = [{**row, **output.told(row)} for row in read.to_dicts()]
        assert told == answers
    invoked = world.client.post("/invocations", json={"dataframe_split": frame.to_dict(as_series=False) | split(frame)})
    assert invoked.json()["predictions"] == answers
    columns = {name: [answer[name] for answer in answers] for name in names}
    inferred = world.client.post("/v2/models/shop/infer", json=tensors(posted)).json()["outputs"]
    for said in ({each["name"]: each["data"] for each in inferred}, spoken(world, posted)):
        objects = [name for name, kind in output.columns_beside.items() if kind != "float"]
        assert {**said, **{name: list(map(json.loads, said[name])) for name in objects}} == columns
    metadata = world.client.get("/v2/models/shop").json()
    assert [each["name"] for each in metadata["outputs"]] == list(names)
    document = world.client.get("/openapi.json").json()["components"]["schemas"]
    schema = next(each for name, each in document.items() if name.endswith("Prediction"))
    assert list(schema["properties"]) == [*names, "explanation"]
    assert sorted(schema["required"]) == sorted(names)
    classes = {"binary": [False, True], "multiclass": ["a", "b", "c"]}
    assert schema["properties"][world.system.target].get("enum") == classes.get(world.kind)
    described = {name for name, value in schema["properties"].items() if "description" in value}
    assert described == (set(output.columns_beside) if world.kind != "median" else set())


def ipc(frame: pl.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.write_ipc_stream(stream)
    return stream.getvalue()


def split(frame: pl.DataFrame) -> dict[str, Any]:
    return {"columns": frame.columns, "data": frame.rows()}


WRONG: dict[str, list[Any]] = {
    "binary": ["yes", 2, 0.5],
    "multiclass": ["d", 1, True],
    "regression": [-1, "12", True],
    "median": ["12", [1.0], True],
    "noted": [-1, "12", True],
}
"""Targets that are none of the declared ones: they are no input, and still a mistake."""


def test_bad_rows_are_refused_by_every_door_and_none_is_half_answered(world: World) -> None:
    good, target = world.posted[0] | {"row": 10_000}, world.system.target
    ledger = world.home.ledger.last("shop")

    def refused(status: int, where: list[Any], *bodies: Any) -> None:
        for body in bodies:
            said = world.ask(body, content_type="application/json") if isinstance(body, bytes) else world.ask(body)
            assert said.status_code == status, said.text
            assert said.headers["content-type"] == "application/problem+json"
            assert where == [] or where in [each["loc"] for each in said.json()["errors"]]

    for value in WRONG[world.kind]:
        refused(422, ["body", target], good | {target: value})
        refused(422, ["body", 1, target], [good, good | {target: value}])
    text = json.dumps(good | {"size": 77})
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        refused(422, ["body", "size"], text.replace("77", number).encode())
        refused(422, ["body", target], json.dumps(good)[:-1].encode() + f', "{target}": {number}}}'.encode())
    refused(422, ["body", "size"], good | {"size": "a lot"}, {"row": 10_000})
    refused(422, ["body", "row"], {})
    refused(413, [], [{"row": 0}] * 10_001)
    frame = pl.DataFrame([good])
    for size in (pl.lit(float("nan")), pl.lit("a lot"), pl.lit(math.inf)):
        bad = frame.with_columns(size=size)
        for body, kind in ((ipc(bad), ARROW), (bad.write_csv().encode(), CSV)):
            said = world.ask(body, content_type=kind)
            assert said.status_code == 422, said.text
            assert said.json()["errors"][0]["loc"] == ["body", 0, "size"]
    lacking = {"inputs": [tensor for tensor in tensors([good])["inputs"] if tensor["name"] == "row"]}
    said = world.client.post("/v2/models/shop/infer", json=lacking)
    assert (said.status_code, said.json()["detail"]) == (422, "the tensor 'size' is missing")
    with pytest.raises(grpc.RpcError, match="size"):
        spoken(world, [good | {"size": math.nan}])
    said = world.client.post("/invocations", json={"dataframe_records": [{"row": 1, "size": "a lot", "day": "mon"}]})
    assert said.status_code == 422
    assert world.home.ledger.last("shop") == ledger, "nothing was logged of them"


def test_bad_events_are_set_apart_and_good_ones_between_them_answered(world: World) -> None:
    system, home, target = world.system, world.home, world.system.target
    engine = RowEngine(system, "shop", "shop.events", answering(system, home, NOW), opener(system, home))
    good = [row | {"row": 30_000 + place} for place, row in enumerate(world.posted[:4])]
    bad = [{target: value} for value in WRONG[world.kind]] + [{"size": "a lot"}, {"size": None}, {"row": "x"}]
    posted = [*good, *(good[0] | {"row": 40_000 + place} | change for place, change in enumerate(bad))]
    bodies = [(row["row"], json.dumps(row)) for row in posted]
    bodies += [(50_000, '{"row": 50000, "size": NaN, "day": "mon"}'), (50_001, "{}"), (50_002, "[]")]
    at = int(NOW.timestamp() * 1000)
    messages = [Message(0, place, str(key).encode(), body.encode(), at) for place, (key, body) in enumerate(bodies)]
    done = engine.answer(messages)
    answers = [json.loads(each) for each in done.answers]
    assert [each["row"] for each in answers] == [row["row"] for row in good]
    assert {each["model_version"] for each in answers} == {home.registry.champion("shop").version}
    assert len(done.dead) == len(bodies) - len(good)


def test_no_row_one_and_what_was_never_seen_are_answered(world: World) -> None:
    assert world.ask([]).json() == {"predictions": [], "model_version": 1}
    for body, kind in ((ipc(pl.DataFrame(world.posted).clear()), ARROW), (b"row,size,day\n", CSV)):
        assert world.ask(body, content_type=kind).json()["predictions"] == []
    assert world.client.post("/invocations", json={"dataframe_records": []}).json()["predictions"] == []
    strange = [
        {"row": 20_000, "size": 1e300, "day": "mon"},
        {"row": 20_001, "size": -1e300, "day": "never"},
        {"row": 20_002, "size": 5.0, "day": ""},
    ]
    answers = [world.ask(row) for row in strange[:2]]
    assert [answer.status_code for answer in answers] == [200, 200]
    alone = world.ask(strange[:1]).json()["predictions"]
    assert alone == [answers[0].json()]
    if world.kind == "noted":
        beyond = [answer.json()["notes"][0].partition(" beyond ")[0] for answer in answers]
        assert beyond == ["size of 1e+300 lies", "size of -1e+300 lies"]
        assert answers[1].json()["notes"][1:] == ["unseen day: told by its size"]
    numbers = [value for answer in answers for value in answer.json().values() if isinstance(value, float)]
    assert all(map(math.isfinite, numbers))
    assert world.ask(strange[2]).status_code == 422, "a blank text is a missing one"


def test_from_answers_to_their_truth_and_to_a_training_again(world: World) -> None:
    system, home, kind = world.system, world.home, world.kind
    ids = {each["id"]: each for each in world.ask(world.posted).json()["predictions"]}
    shadow = Shadowing(system, home, 2)
    while shadow.step():
        pass
    exported = task_of(system).export(home)
    assert exported["exported"] >= POSTED
    told = skew(system, home)
    assert (told.rows >= POSTED, told.differing) == (True, 0)
    assert {each.feature for each in told.features} == set(FEATURES)
    assert all(replay(home, name)["identical"] for name in list(ids)[:4])
    name, answer = next(iter(ids.items()))
    assert trace(home, name)["prediction"][system.target] == answer[system.target]
    truth = world.file(rows(kind), "truth.parquet")
    later = run(system, home, RunRequest(NOW + DAY, NOW + DAY, truth, steps=("ingest", "validate", "monitor")))
    assert later.monitored.matured == POSTED
    figures = later.monitored.overall
    assert figures.keys() == set(output_of(system, home).metrics_of_sums)
    known = {row["row"]: row[system.target] for row in rows(kind).to_dicts()}
    if kind in ("binary", "multiclass"):
        right = [known[each["key"]] == each[system.target] for each in ids.values()]
        assert figures["accuracy"] == pytest.approx(np.mean(right))
    else:
        errors = [abs(known[each["key"]] - each[system.target]) for each in ids.values()]
        assert figures["mae"] == pytest.approx(np.mean(errors))
    report = write_report(system, home, as_of=None, now=NOW + DAY, out=world.folder / "report.html")
    assert {name: report.summary[name] for name in figures} == figures
    assert (world.folder / "report.html").read_text().count("nan") == 0
    done = compare(system, home, PairRequest(1, 2, replay=True))
    assert (done.winner, done.pairs >= POSTED) == (1, True)
    actuals = task_of(system).actuals(home, task_of(system).read(home), None)
    assert {row["row"]: row["actual"] for row in actuals.to_dicts()} == {row: known[row] for row in range(KNOWN, 300)}
    served = declared(kind, train_on="served")
    again = run(served, home, RunRequest(NOW + 2 * DAY, NOW + 2 * DAY, steps=("train",), retrain=True))
    assert again.as_dict()["model"]["learnt_from"] == {"served": POSTED, "recomputed": KNOWN}


def test_the_terminal_says_what_was_predicted_and_what_does_not_count(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    system, home, kind = world.system, world.home, world.kind
    waiting = rows(kind).with_columns(pl.lit(None, rows(kind).schema[system.target]).alias(system.target))
    uri = world.file(waiting.tail(40).with_columns(row=pl.col("row") + 1000), "waiting.parquet")
    at = NOW + 3 * DAY
    run_report(system, home, run(system, home, RunRequest(at, at, uri, steps=("ingest", "validate", "predict"))))
    said = capsys.readouterr().out
    line = next(line for line in said.split("\n") if "rows without" in line)
    assert line.startswith(f"shop: 40 rows without {system.target}, 40 new: ")
    assert (" x " in line) == (kind in ("binary", "multiclass"))
    assert (" on average" in line) == (kind in ("regression", "median", "noted"))
    assert len(line) < 150
    old = world.file(rows(kind).head(50), "old.parquet")
    evaluation_report(evaluate(system, home, EvaluateRequest(None, NOW, data=old)), as_json=False)
    said = capsys.readouterr().out
    assert "warning  it was trained on all of these rows" in said
    assert "50 rows, model version " in said
    assert ("by class" in said) == (kind == "multiclass")
    new = rows(kind).tail(20).with_columns(pl.col("row") + 7000)
    both = world.file(pl.concat([rows(kind).head(10), new]), "both.parquet")
    evaluation_report(evaluate(system, home, EvaluateRequest(None, NOW, data=both)), as_json=False)
    assert "10 further rows were trained on: they are left out" in capsys.readouterr().out


def test_a_truth_that_is_known_at_its_time_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Posted as it happens, and its truth comes later in a file that says nothing of when it was known."""
    plain = declared("regression")
    contract = Contract(columns=(*plain.contract.columns, Column("at", "time")))
    system = System(**{**vars(plain), "contract": contract, "time": "at"})
    home = Home(Settings(home=tmp_path / "home"))
    at = [NOW - 2 * DAY + timedelta(minutes=place) for place in range(KNOWN + POSTED)]
    frame = rows("regression").with_columns(pl.Series("at", at).dt.replace_time_zone("UTC"))
    frame.head(KNOWN).write_parquet(tmp_path / "a.parquet")
    run(system, home, RunRequest(NOW - DAY, NOW, f"file:{tmp_path / 'a.parquet'}"))
    application = Application([system], home, Options(access_log="off"), registry=CollectorRegistry())
    with TestClient(application) as client:
        posted = json.loads(frame.tail(POSTED).drop("cost").with_columns(pl.col("at").dt.to_string("iso")).write_json())
        client.post("/v1/systems/shop/predict", json=posted).raise_for_status()
    frame.write_parquet(tmp_path / "b.parquet")
    done = run(system, home, RunRequest(datetime.now(UTC), NOW, f"file:{tmp_path / 'b.parquet'}"))
    assert (done.monitored.matured, done.monitored.completeness["known_before"]) == (0, POSTED)
    run_report(system, home, done)
    assert "declare source.lag or source.known_at" in capsys.readouterr().out


@pytest.mark.parametrize("count", [2, 3])
def test_a_class_that_the_model_does_not_know_is_told_of(
    count: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, home = declared("multiclass"), Home(Settings(home=tmp_path / "home"))
    columns = (*plain.contract.columns[:3], Column("kind", "category", nullable=True))
    system = System(**{**vars(plain), "contract": Contract(columns=columns)})
    frame = rows("multiclass").filter(pl.col("kind").is_in(["a", "b", "c"][:count]))
    frame.head(150).write_parquet(tmp_path / "a.parquet")
    run(
        system,
        home,
        RunRequest(NOW - DAY, NOW, f"file:{tmp_path / 'a.parquet'}", steps=("ingest", "validate", "train")),
    )
    later = frame.tail(40)
    strange = later.head(3).with_columns(kind=pl.lit("never"), row=pl.col("row") + 5000)
    later.write_parquet(tmp_path / "known.parquet")
    pl.concat([later, strange]).write_parquet(tmp_path / "b.parquet")
    known, scores = (
        evaluate(system, home, EvaluateRequest(None, NOW, data=str(tmp_path / f"{name}.parquet")))
        for name in ("known", "b")
    )
    known, done = known.as_dict(), scores.as_dict()
    assert (known.get("unknown"), done["unknown"]) == (None, {"rows": 3, "values": ["never"]})
    assert (done["rows"], done["metrics"]) == (40, known["metrics"])
    evaluation_report(scores, as_json=False)
    assert "warning  3 rows have a target that it does not know (never)" in capsys.readouterr().out


def test_a_huge_truth_leaves_figures_finite_or_unsaid(tmp_path: Path) -> None:
    system, home = declared("regression"), Home(Settings(home=tmp_path / "home"))
    some = rows("regression")
    waiting = some.with_columns(pl.when(pl.col("row") < KNOWN).then(pl.col("cost")).alias("cost"))
    waiting.write_parquet(tmp_path / "a.parquet")
    run(system, home, RunRequest(NOW - DAY, NOW - DAY, f"file:{tmp_path / 'a.parquet'}"))
    some.with_columns(cost=pl.lit(1e300)).write_parquet(tmp_path / "b.parquet")
    later = run(
        system, home, RunRequest(NOW, NOW, f"file:{tmp_path / 'b.parquet'}", steps=("ingest", "validate", "monitor"))
    )
    figures = later.as_dict()["metrics"]
    assert later.monitored.matured == POSTED
    assert all(value is None or math.isfinite(value) for value in figures.values()), figures
    json.dumps(later.as_dict(), allow_nan=False, default=str)


def test_no_truth_is_no_figure(tmp_path: Path) -> None:
    system, home = declared("multiclass"), Home(Settings(home=tmp_path / "home"))
    with pytest.raises(NotFoundError):
        write_report(system, home, as_of=None, now=NOW, out=tmp_path / "report.html")
