"""Features of a topic over a real broker: looked up a second later, trained on as told, each event once over kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import polars as pl
import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient
from tests import kafka
from tests.ports import free_port
from tests.postgres import Postgres, new_database
from tests.worlds.features import cards, folded, payments

from headrace import Classifier, Column, Contract, Linear, Schedule, System
from headrace.features import col, stored
from headrace.flow.run import RunRequest, run
from headrace.home import PREDICTIONS, Home
from headrace.serving.http.app import Application
from headrace.serving.http.options import Options
from headrace.serving.stream.features.materialize import materialize
from headrace.settings import Settings
from headrace.store import FeatureGroup, FeatureView
from headrace.store.fed import settle, waiting
from headrace.tasks.rows.inference import export
from headrace.tasks.rows.lookups import VERSIONS, Lookups

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
KEYS = [f"c{i}" for i in range(5)]


@pytest.fixture(scope="module")
def broker(kafka_broker):
    return kafka_broker


@pytest.fixture(scope="module")
def database():
    """A PostgreSQL server that syncs, and may be killed."""
    made = Postgres()
    yield made
    made.close()


class Feeder:
    """`headrace materialize` of a home and a topic of its own."""

    def __init__(self, folder, bootstrap, name, online=None):
        self.bootstrap, self.name, self.port = bootstrap, name, free_port(3)
        self.folder, self.online_uri = folder / name, online
        self.folder.mkdir()
        text = f"from tests.worlds.features import cards\n\nsystem = cards({name!r})\n"
        (self.folder / "system.py").write_text(text)
        self.system, self.home_dir = cards(name), folder / f"home-{name}"
        self.home = Home(Settings(home=self.home_dir, online_uri=online))
        kafka.delete(bootstrap, name)
        self.sent: list[dict] = []
        self.process: subprocess.Popen | None = None

    def start(self, *more):
        given = ("materialize", self.folder, "--bootstrap", self.bootstrap, "--home", self.home_dir, "--json")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        if self.online_uri:
            environment["HEADRACE_ONLINE_URI"] = self.online_uri
        command = [os.sys.executable, "-m", "headrace", *map(str, given), "--port", str(self.port), *map(str, more)]
        log = (self.home_dir.parent / f"{self.name}.log").open("a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        return self

    def send(self, events):
        producer = Producer({"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "linger.ms": 0})
        for each in events:
            producer.produce(f"{self.name}.events", json.dumps(each), each["card"])
            producer.poll(0)
        assert producer.flush(60) == 0
        self.sent += events

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, (self.home_dir.parent / f"{self.name}.log").read_text()
        return json.loads(out)

    def kill(self, *, whole):
        """kill -9 of all processes, or of one of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children if whole else random.sample(children, min(1, len(children))):
            try:
                os.kill(int(child), signal.SIGKILL)
            except ProcessLookupError:
                continue
        if whole:
            self.process.kill()
            self.process.communicate()

    @property
    def group(self):
        return FeatureGroup.open(self.home.store, self.name, "features")

    def fresh(self, count, within=120.0):
        """Wait until so many rows are in the table or on the way there."""

        def there():
            try:
                group = self.group
                settle(group)
                return group.table.collect(group.table.scan().select(pl.len())).item() >= count
            except Exception:  # noqa: BLE001 - it has not begun, or the database is away
                return False

        kafka.eventually(there, within=within)

    def ready(self):
        """What the workers say of themselves."""
        said = []
        for port in range(self.port, self.port + 3):
            try:
                said.append(httpx.get(f"http://localhost:{port}/ready", timeout=5).text)
            except httpx.HTTPError:
                continue
        return " ".join(said)

    def told(self):
        """Every row of the table, by the events' names."""
        frame = self.group.table.collect(self.group.table.scan())
        return {row["event"]: row for row in frame.iter_rows(named=True)}, frame.height

    def log(self):
        """The events by partition, in their order: name and body."""
        parts: dict[int, list[tuple[str, dict]]] = {}
        for message in kafka.committed(self.bootstrap, f"{self.name}.events"):
            name = f"{self.name}.events-{message.partition()}-{message.offset()}"
            parts.setdefault(message.partition(), []).append((name, json.loads(message.value())))
        return parts


def check(feeder):
    """Each event once, as by folding the topic at once; and the online side is the newest row of each key."""
    settle(feeder.group)
    rows, height = feeder.told()
    assert height == len(rows)
    names, expected, late = feeder.system.features.names, [], 0
    for part in feeder.log().values():
        expected += folded(feeder.system, [body for _, body in part], [len(part)])
        late += len(part)
    late -= len(expected)
    found = [[row["card"], *(None if row[n] is None else row[n] for n in names)] for row in rows.values()]
    wanted = [[json.loads(key)[0], *(None if v != v else v for v in values)] for key, _, values in expected]
    assert Counter(map(str, found)) == Counter(map(str, wanted))
    apart = feeder.home.table(feeder.name, "quarantine")
    assert (apart.collect(apart.scan())["id"].n_unique() if late else 0) == late
    newest: dict[str, dict] = {}
    for row in sorted(rows.values(), key=lambda row: (row["at"], row["known_at"])):
        newest[row["card"]] = row
    answers = feeder.home.online.get_many(feeder.group, KEYS, as_of=datetime.now(UTC) + timedelta(minutes=1))
    assert {key: each["event"] for key, each in zip(KEYS, answers, strict=True)} == {
        key: row["event"] for key, row in newest.items()
    }
    assert waiting(feeder.group) == 0
    return rows


def checks(feed):
    """A system that scores rows by what their card did lately."""
    return System(
        name="checks",
        contract=Contract(
            columns=(
                Column("check", "integer"),
                Column("card", "category"),
                Column("asked", "time"),
                Column("price", "float"),
                Column("fraud", "integer", values=(0, 1), nullable=True),
            )
        ),
        keys=("check",),
        target="fraud",
        time="asked",
        features={
            "price": col("price"),
            "share": col("price") / stored(f"{feed}/features", "mean_10m", key="card"),
            "spent": stored(f"{feed}/features", "spent_10m", key="card"),
            "last": stored(f"{feed}/features", "last", key="card"),
        },
        model=Classifier(members=(Linear(),), repeats=1),
        schedule=Schedule(predict="never", train="never"),
        log_features=True,
    )


def trained(system, feeder, folder):
    """A model of rows that were asked for while the events came."""
    chance, now = random.Random(1), datetime.now(UTC)
    rows = [
        {"check": n, "card": chance.choice(KEYS), "asked": now.isoformat(), "price": chance.uniform(1, 90)}
        for n in range(60)
    ]
    rows = [row | {"fraud": int(row["price"] > 45)} for row in rows]
    path = folder / "checks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    now = datetime.now(UTC)
    assert run(system, feeder.home, RunRequest(now, now, f"file:{path}")).trained is not None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_post_sees_the_event_before_it_and_training_sees_what_was_served(kind, broker, database, tmp_path):
    online = new_database(database.uri) if kind == "postgresql" else None
    feeder = Feeder(tmp_path, broker.bootstrap, f"feed_{kind}", online).start("--workers", 1)
    system = checks(feeder.name)
    begin = datetime.now(UTC) - timedelta(minutes=8)
    feeder.send([each for each in payments(150, seed=3, begin=begin, pace=2.0) if each["at"] > begin.isoformat()])
    feeder.fresh(len(feeder.sent))
    trained(system, feeder, tmp_path)
    names = system.features.stored()
    last = next(node.column for node in names if node.feature == "last")
    waited, posted = [], 0
    with TestClient(
        Application([system], feeder.home, Options(access_log="off"), registry=CollectorRegistry())
    ) as client:
        for n in range(6):
            card, amount, now = KEYS[n % 5], 100.0 + n, datetime.now(UTC)
            feeder.send([{"card": card, "at": now.isoformat(), "amount": amount, "abroad": None}])
            while True:
                posted += 1
                row = {"check": 1000 + posted, "card": card, "asked": datetime.now(UTC).isoformat(), "price": 5.0}
                said = client.post("/v1/systems/checks/predict", json=row)
                assert said.status_code == 200, said.text
                told = feeder.home.online.get(feeder.group, card, as_of=datetime.now(UTC))
                if told is not None and told["last"] == amount:
                    break
                assert datetime.now(UTC) - now < timedelta(seconds=30)
                time.sleep(0.01)
            waited.append(datetime.now(UTC) - now)
            posted += 1
            row = {"check": 1000 + posted, "card": card, "asked": datetime.now(UTC).isoformat(), "price": 5.0}
            assert client.post("/v1/systems/checks/predict", json=row).status_code == 200
    assert sorted(waited)[len(waited) // 2] < timedelta(seconds=1), waited
    done = feeder.stop()
    assert done["rows"] == len(feeder.sent)
    rows = check(feeder)

    export(system, feeder.home)
    logged = feeder.home.table("checks", PREDICTIONS).read(identity=["id"])
    inputs = [json.loads(text) for text in logged.filter(pl.col("check") > 1000)["inputs"]]
    asked = pl.DataFrame(
        {"card": [each["card"] for each in inputs], "asked": [each["asked"] for each in inputs]}
    ).with_columns(pl.col("asked").str.to_datetime("%+", time_zone="UTC", time_unit="us"))
    joined, _ = Lookups.of(system.features, system, feeder.home).join(asked, datetime.now(UTC))
    columns = [node.column for node in names]
    assert len(inputs) == posted
    if not done["exposed"]:  # where the machine stood still for a moment, what was told then may differ
        told = [[each[name] for name in columns] for each in inputs]
        assert told == [list(row) for row in joined.select(columns).rows()]
    assert {each[last] for each in inputs} >= {100.0 + n for n in range(6)}
    assert all(VERSIONS in each for each in inputs)
    as_in_a_batch(feeder, rows, tmp_path)


def as_in_a_batch(feeder, rows, folder):
    """The same events as a file, with the times since which they were known, give the same features."""
    path, home = folder / "facts.jsonl", Home(Settings(home=folder / "batch"))
    facts = [
        body | {"known_at": rows[name]["known_at"].isoformat()} for part in feeder.log().values() for name, body in part
    ]
    random.Random(0).shuffle(facts)
    path.write_text("".join(json.dumps(each) + "\n" for each in facts))
    now = datetime.now(UTC) + timedelta(minutes=1)
    done = materialize(cards(feeder.name), home, source=f"file:{path}", as_of=now, now=now)
    assert done["rows"] == len(rows)
    group = FeatureGroup.open(home.store, feeder.name, "features")
    by = ["card", "known_at"]
    batch = group.table.collect(group.table.scan()).sort(by).drop("_version", "event")
    stream = feeder.group.table.collect(feeder.group.table.scan()).sort(by).drop("_version", "event")
    assert batch.equals(stream.select(batch.columns))
    view = FeatureView("one", [(group, list(feeder.system.features.names))])
    other = FeatureView("one", [(feeder.group, list(feeder.system.features.names))])
    spine = stream.select("card", pl.col("known_at").alias("time"))
    assert view.training_set(spine).frame.equals(other.training_set(spine).frame)
    home.online.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kills_lose_and_double_nothing(kind, broker, database, tmp_path):
    online = new_database(database.uri) if kind == "postgresql" else None
    feeder, stopping = Feeder(tmp_path, broker.bootstrap, f"kills_{kind}", online), threading.Event()
    source = iter(payments(100_000, seed=5, pace=1.0))
    chance = random.Random(6)

    def produce():
        while not stopping.is_set():
            feeder.send([next(source) for _ in range(chance.randrange(1, 60))])
            time.sleep(0.02)

    feeder.start("--workers", 2)
    sending = threading.Thread(target=produce)
    sending.start()
    try:
        feeder.fresh(50)
        for turn in range(3):
            time.sleep(chance.uniform(0.2, 1.2))
            if online and turn == 1:
                database.kill()
                kafka.eventually(lambda: "waits for the online side" in feeder.ready())
                database.start()
            whole = turn == 1
            feeder.kill(whole=whole)
            if whole:
                feeder.start("--workers", 2)
        time.sleep(1.0)
    finally:
        stopping.set()
        sending.join()
    expected = sum(len(folded(feeder.system, [b for _, b in p], [len(p)])) for p in feeder.log().values())
    feeder.fresh(expected)
    kafka.eventually(lambda: feeder.ready().count("answers events") == 2)
    feeder.stop()
    check(feeder)
