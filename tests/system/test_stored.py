"""Stored features of rows: the table's answer in training and batch, the online one on request, the same number."""

import json
import random
import sqlite3
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests.commands import headrace

from headrace import Classifier, Column, Contract, Linear, Schedule, System
from headrace.doctor import examine
from headrace.errors import (
    BrokerUnavailableError,
    DeclarationError,
    ModelError,
    NotFoundError,
    OnlineUnavailableError,
)
from headrace.features import col, native, stored
from headrace.features.compiled import dtype_of
from headrace.features.view import Features
from headrace.flow.run import RunRequest, run
from headrace.home import PREDICTIONS, Home
from headrace.pipelines.messages import opener
from headrace.pipelines.predictions import replay
from headrace.serving.engine.batch import Message
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.serving.stream.champions import answering
from headrace.serving.stream.rows import RowEngine
from headrace.settings import Settings
from headrace.sources import Source
from headrace.store import FeatureGroup, FeatureView
from headrace.tasks.rows.inference import export
from headrace.tasks.rows.lookups import VERSIONS, Lookups

TIME = pl.Datetime("us", "UTC")
NOW = datetime(2020, 1, 1, tzinfo=UTC)  # set anew for each test
SPEND = stored("customers", "spend", key="customer")


def shop(*, timed: bool = False, **features: object) -> System:
    columns = [
        Column("order", "integer"),
        Column("customer", "category", nullable=True),
        Column("amount", "float"),
        Column("brought", "float", nullable=True),
        Column("returned", "integer", values=(0, 1), nullable=True),
    ]
    if timed:
        columns.append(Column("at", "time"))
    own = {
        "amount": col("amount"),
        "share": col("amount") / SPEND,
        "spend": col("brought").fill(SPEND),
        "recent": stored("customers", "visits", key="customer", ttl="30d") > 2,
        "own": native(pl.col("amount") * 2) + SPEND,
    }
    return System(
        name="shop",
        source=Source(uri="file:orders.jsonl"),
        contract=Contract(columns=tuple(columns)),
        keys=("order",),
        target="returned",
        time="at" if timed else None,
        features=features or own,
        model=Classifier(members=(Linear(),), repeats=1),
        schedule=Schedule(predict="never", train="never"),
    )


def customers(home: Home, online: int = 1) -> FeatureGroup:
    columns = {"spend": pl.Float32(), "visits": pl.Int64()}
    return FeatureGroup(
        home.store, "shop", "customers", keys=["id"], time="day", columns=columns, definition="v1", online=online
    )


def known(rows: list[tuple[str, int, float | None, int]]) -> pl.DataFrame:
    """Facts from (customer, days ago, spend, visits), known an hour after."""
    data = [(c, NOW - timedelta(days=d), NOW - timedelta(days=d, hours=-1), s, v) for c, d, s, v in rows]
    schema = {"id": pl.String, "day": TIME, "known_at": TIME, "spend": pl.Float32, "visits": pl.Int64}
    return pl.DataFrame(data, schema=schema, orient="row")


def orders(folder, system, count=80):
    chance, rows = random.Random(0), []
    for n in range(count):
        row = {"order": n, "customer": f"c{chance.randrange(12)}", "amount": chance.uniform(1, 50)}
        row["brought"] = 7.5 if n % 9 == 0 else None
        row["returned"] = int(chance.random() < row["amount"] / 60) if n < 70 else None
        if system.time:
            row["at"] = (NOW - timedelta(days=chance.randrange(40), hours=1)).isoformat()
        rows.append(row)
    path = folder / "orders.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"file:{path}"


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time of each test: the online side answers for the present, and a suite takes minutes."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", datetime.now(UTC).replace(microsecond=0))


@pytest.fixture
def home(clock, tmp_path):
    home = Home(Settings(home=tmp_path / "home"))
    chance = random.Random(1)
    facts = [(f"c{c}", d, chance.uniform(5, 90), chance.randrange(6)) for c in range(10) for d in (60, 45, 20, 2)]
    customers(home).write(known(facts))
    yield home
    home.online.close()


@pytest.fixture
def door(home):
    """Opens the HTTP door; its metrics stand apart."""
    return lambda system: TestClient(
        Application([system], home, Options(access_log="off"), registry=CollectorRegistry())
    )


def ran(system, home, folder):
    return run(system, home, RunRequest(NOW, NOW, orders(folder, system)))


@pytest.mark.parametrize("timed", [False, True])
def test_every_door_gives_the_same_number_and_replays_it(home, door, tmp_path, timed):
    system = shop(timed=timed)
    done = ran(system, home, tmp_path)
    assert done.trained.version.pins["stored"] == {"shop/customers": 1}
    batch = {row["order"]: row for row in done.predicted.frame.to_dicts()}
    assert len(batch) == 10
    names = list(Lookups.of(system.features, system, home).types)
    assert names == ["customers[customer].spend", "customers[customer 30d].visits"]
    posted = []
    for row in batch.values():
        inputs = json.loads(row["inputs"])
        assert inputs.pop(VERSIONS) == {"shop/customers": 1}
        posted.append({name: value for name, value in inputs.items() if name not in names})
    with door(system) as client:
        answers = client.post("/v1/systems/shop/predict", json=posted).json()["predictions"]
        assert [a["probability"] for a in answers] == [row["probability"] for row in batch.values()]
        one = client.post("/v1/systems/shop/predict", json=posted[0] | {"order": 1000}).json()
        assert one["probability"] == answers[0]["probability"]
        customers(home).write(known([(posted[0]["customer"], 1, 1.0, 0)]))
        again = client.post("/v1/systems/shop/predict", json=posted[0] | {"order": 1000}).json()
        assert again == one  # the same row again is the same prediction, whatever is known by now
        if not timed:
            now = client.post("/v1/systems/shop/predict", json=posted[0] | {"order": 1001}).json()
            assert now["probability"] != one["probability"]
    for answer in (*answers, one):
        assert replay(home, answer["id"])["identical"]
    assert replay(home, done.predicted.frame["id"][0])["identical"]
    assert export(system, home) > 0
    logged = home.table("shop", PREDICTIONS).read(identity=["id"], where=pl.col("id") == one["id"])
    assert json.loads(logged["inputs"][0])[VERSIONS] == {"shop/customers": 1}


def test_batch_predicts_again_only_where_a_value_is_another(home, tmp_path):
    system = shop()
    first = ran(system, home, tmp_path)
    assert first.stored == 10
    again = {"as_of": NOW, "now": NOW, "steps": ("predict",)}
    customers(home).write(known([("nobody", 1, 1.0, 0)]))
    assert run(system, home, RunRequest(**again)).stored == 0
    someone = first.predicted.frame["inputs"].str.json_path_match("$.customer")[0]
    customers(home).write(known([(someone, 1, 1.0, 0)]))
    assert run(system, home, RunRequest(**again)).stored >= 1


def test_a_view_is_looked_up_by_name_at_every_door(home, door, tmp_path):
    tiers = FeatureGroup(home.store, "shop", "tiers", keys=[], time="day", columns={"rate": pl.Float64()}, online=1)
    day = NOW - timedelta(days=3)
    tiers.write(pl.DataFrame({"day": [day], "known_at": [day], "rate": [0.25]}, schema_overrides={"day": TIME}))
    group = customers(home)
    FeatureView("loyalty", [(group, ["spend", "visits"]), (tiers, ["rate"])], ttl=timedelta(days=30)).declare("shop")
    viewed = {name: stored("shop/loyalty", name, key="customer") for name in ("spend", "visits", "rate")}
    system = shop(amount=col("amount"), due=viewed["spend"] * viewed["rate"], visits=viewed["visits"])
    done = ran(system, home, tmp_path)
    assert done.trained.version.pins["stored"] == {"shop/customers": 1, "shop/tiers": 1}
    batch = done.predicted.frame.to_dicts()
    names = list(Lookups.of(system.features, system, home).types)
    assert sorted(names) == [f"shop/loyalty[customer].{name}" for name in ("rate", "spend", "visits")]
    inputs = [json.loads(row["inputs"]) for row in batch]
    assert {each["shop/loyalty[customer].rate"] for each in inputs} == {0.25}
    posted = [{k: v for k, v in each.items() if k not in (*names, VERSIONS)} for each in inputs]
    with door(system) as client:
        answers = client.post("/v1/systems/shop/predict", json=posted).json()["predictions"]
    assert [a["probability"] for a in answers] == [row["probability"] for row in batch]
    assert all(replay(home, answer["id"])["identical"] for answer in answers)
    group.write(known([("aged", 40, 3.0, 5)]))
    row = {"customer": "aged"}
    Lookups.of(system.features, system, home).fill([row], NOW)
    assert [row[f"shop/loyalty[customer].{name}"] for name in ("spend", "rate")] == [None, 0.25]


def test_the_command_line_looks_up(home):
    FeatureView("loyalty", [(customers(home), ["spend"])]).declare("shop")
    found = home.online.get(customers(home), "c1", as_of=NOW)
    for view, values in (("loyalty", {"spend": found["spend"]}), ("customers", dict(found))):
        said = headrace("lookup", "shop", view, "c1", "--home", home.path, "--json")
        assert said.code == 0
        assert [each["values"] for each in said.json["found"]] == [values]
    assert headrace("lookup", "shop", "loyalty", "absent", "--home", home.path, "--json").json["found"] == []
    one = headrace("lookup", "shop", "loyalty", "c1", "--last", "1", "--home", home.path, "--json").json["found"]
    assert one[0]["time"] == found.time.isoformat().replace("+00:00", "Z")
    for arguments, code in ((("loyalty",), 2), (("nope", "c1"), 2), (("loyalty", "c1", "--last", "9"), 2)):
        assert headrace("lookup", "shop", *arguments, "--home", home.path, "--json").code == code


def test_what_is_not_there_too_old_or_no_number_is_missing(home):
    group, system = customers(home), shop()
    group.write(known([("old", 50, 3.0, 5), ("odd", 1, float("nan"), 5), ("inf", 1, float("inf"), 5)]))
    lookups = Lookups.of(system.features, system, home)
    names, customer = list(lookups.types), ["old", "odd", "inf", "absent", None, "c1"]
    rows = [{"customer": each} for each in customer]
    lookups.fill(rows, NOW)
    table, versions = lookups.join(pl.DataFrame({"customer": customer}), NOW)
    assert [tuple(row[name] for name in names) for row in rows] == table.select(names).rows()
    assert [row[names[0]] for row in rows[:5]] == [3.0, None, None, None, None]
    assert [row[names[1]] for row in rows[:5]] == [None, 5, 5, None, None]
    assert {str(row[VERSIONS]) for row in rows} == {str(versions)}


def test_a_row_from_the_past_is_answered_from_the_table(home):
    system = shop(timed=True)
    lookups, at = Lookups.of(system.features, system, home), NOW - timedelta(days=30)
    rows = [{"customer": "c1", "at": when} for when in (at, NOW, NOW + timedelta(days=9), None)]
    lookups.fill(rows, NOW)
    table, _ = lookups.join(pl.DataFrame(rows).select("customer", pl.col("at").cast(TIME)), NOW)
    name = "customers[customer].spend"
    assert [row[name] for row in rows] == table[name].to_list()
    assert rows[0][name] != rows[1][name] == rows[2][name] == rows[3][name]


def test_a_model_is_not_registered_where_the_online_side_disagrees(home, tmp_path):
    group = customers(home)
    database = sqlite3.connect(home.path / "online.db")
    wrong = msgspec.msgpack.encode((0, 0, 1, {"spend": 99.0, "visits": 0}))
    database.execute("UPDATE facts SET payload = ? WHERE key = ?", (wrong, '["c1"]'))
    database.commit()
    database.close()
    assert home.online.get(group, "c1")["spend"] == 99.0
    with pytest.raises(ModelError, match=r"headrace materialize online shop"):
        ran(shop(), home, tmp_path)
    home.online.rebuild(group, now=NOW)
    assert ran(shop(), home, tmp_path).trained is not None


def test_without_an_online_side_batch_works_and_the_door_says_why_it_does_not(home, door, tmp_path):
    customers(home, online=0).write(known([("c1", 1, 2.0, 0)]))
    system = shop()
    assert ran(system, home, tmp_path).stored == 10
    with door(system) as client:
        said = client.post("/v1/systems/shop/predict", json={"order": 1, "amount": 1.0})
        assert (said.status_code, "online=1" in said.text or "cannot be looked up" in said.text) == (503, True)


def test_the_online_side_away_is_503_and_not_for_ever(home, door, tmp_path, monkeypatch):
    system, row = shop(), {"order": 1, "customer": "c1", "amount": 1.0}
    ran(system, home, tmp_path)
    with door(system) as client:

        def away(*_):
            raise OnlineUnavailableError("cannot be used now", where="here")

        with monkeypatch.context() as patch:
            patch.setattr(home.online._backend, "newest", away)
            said = client.post("/v1/systems/shop/predict", json=row)
            assert (said.status_code, "retry-after" in said.headers) == (503, True)
            assert client.get("/health").status_code == 200
        assert client.post("/v1/systems/shop/predict", json=row).status_code == 200


def test_mistakes_are_named(home):
    for features, error, said in (
        ({"x": stored("nobody", "spend", key="customer")}, NotFoundError, "shop/nobody"),
        ({"x": stored("customers", "nope", key="customer")}, NotFoundError, "it has spend, visits"),
        ({"x": stored("customers", "spend", key=("customer", "amount"))}, DeclarationError, "shop/customers are id"),
        ({"x": stored("customers", "spend", key="order")}, DeclarationError, "'order' is integer"),
    ):
        with pytest.raises(error, match=said):
            Lookups.of(Features(features), shop(**features), home)
    lost = Features({"x": stored("customers", "spend", key="gone")})  # of a model from before the contract changed
    with pytest.raises(DeclarationError, match="'gone' is not in the contract"):
        Lookups.of(lost, shop(), home)
    with pytest.raises(DeclarationError, match="not in the contract"):
        shop(x=stored("customers", "spend", key="nope"))
    with pytest.raises(DeclarationError, match="reads the target"):
        shop(x=stored("customers", "spend", key="returned"))
    with pytest.raises(DeclarationError, match="needs a key"):
        stored("customers", "spend", key=())
    again = Features.from_list(shop().features.as_list())
    assert again.digest == shop().features.digest
    assert not Lookups.of(Features({"x": col("amount")}), shop(), home)


def test_one_command_makes_the_online_side_anew(home):
    def found():
        findings = {each["what"]: each for each in examine(home)}
        return findings["online features"]["status"], findings["online features"]["said"]

    group = customers(home)
    before = home.online.get(group, "c1")
    assert found() == ("ok", "shop/customers: version 1 of 1")
    home.online.close()
    for path in home.path.glob("online.db*"):
        path.unlink()
    home.online.version(group)
    assert found()[0] == "warning"
    said = headrace("materialize", "online", "shop", "--home", home.path, "--json")
    assert (said.code, said.json) == (0, {"system": "shop", "online": {"customers": 1}})
    assert home.online.get(group, "c1") == before
    for arguments in (("nope",), ("shop", "--group", "nope")):
        refused = headrace("materialize", "online", *arguments, "--home", home.path, "--json")
        assert (refused.code, refused.json["error"]) == (2, "NotFoundError")


def test_the_stream_looks_up_what_was_known_when_each_row_came(home, door, tmp_path):
    system = shop()
    done = ran(system, home, tmp_path)
    inputs = [json.loads(text) for text in done.predicted.frame["inputs"]]
    posted = [{k: v for k, v in each.items() if "[" not in k and k != VERSIONS} for each in inputs]
    champion = answering(system, home, NOW)
    engine = RowEngine(system, "shop", "shop.events", champion, opener(system, home))

    def said(rows, times):
        log = [
            Message(0, n, None, json.dumps(row).encode(), at // timedelta(milliseconds=1))
            for n, (row, at) in enumerate(zip(rows, [t - datetime(1970, 1, 1, tzinfo=UTC) for t in times], strict=True))
        ]
        engine.drop(0)
        found = engine.answer(log, keyless=True)
        assert not found.dead
        return [json.loads(answer)["probability"] for answer in found.answers]

    with door(system) as client:
        answers = client.post("/v1/systems/shop/predict", json=posted).json()["predictions"]
    assert said(posted, [datetime.now(UTC)] * 10) == [a["probability"] for a in answers]
    # A backlog: each as of its own time, most of them from before what is kept online.
    times = [NOW - timedelta(days=70 - 7 * n, seconds=n) for n in range(10)]
    lookups = Lookups.of(system.features, system, home)
    expected = []
    for row, at in zip(posted, times, strict=True):
        typed = {**dict.fromkeys(system.contract.names), **row}
        frame = pl.DataFrame([typed], schema=champion_types(system))
        joined, _ = lookups.join(frame, at)
        expected.append(champion.predictor.answer(joined.row(0, named=True))["probability"])
    assert said(posted, times) == expected
    assert len({*expected}) > 5


def test_a_stream_waits_for_the_online_side(home, tmp_path, monkeypatch):
    system = shop()
    ran(system, home, tmp_path)
    engine = RowEngine(system, "shop", "shop.events", answering(system, home, NOW), opener(system, home))

    def away(*_, **__):
        raise OnlineUnavailableError("is away", where="online")

    monkeypatch.setattr(home.online, "look_up", away)
    row = {"order": 1, "customer": "c1", "amount": 3.0}
    with pytest.raises(BrokerUnavailableError, match="stored features cannot be looked up: is away"):
        engine.answer([Message(0, 0, None, json.dumps(row).encode(), 1_767_225_600_000)], keyless=True)


def champion_types(system):
    return {column.name: dtype_of(column.type) for column in system.contract.columns}
