"""Rows over a real broker: each answered once over crashes and rebalances, archived, traced, and made anew."""

import json
import shutil
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Producer
from tests import kafka
from tests.commands import headrace
from tests.registries import StandIn
from tests.servers import SMALL, TITANIC, passengers, ran, titanic_template
from tests.streams import live

from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.engine.positions import POSITION, PartitionPosition
from headrace.settings import Settings
from headrace.sources.broker import BEGINNING, Broker
from headrace.tasks.rows import shadows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bootstrap(kafka_broker):
    return kafka_broker.bootstrap


class Titanic:
    """Titanic with topics and a home of its own."""

    def __init__(self, bootstrap, home, prefix):
        self.bootstrap, self.home, self.prefix = bootstrap, home, prefix
        self.sets = [*SMALL[TITANIC], "--set", f"stream.topics.prefix={prefix}", "--set", "log_features=true"]
        self.system = load_system(TITANIC, [each for each in self.sets if each != "--set"])
        self.broker = Broker(bootstrap)

    def run(self, name, *more, start=False):
        given = (TITANIC, "--home", self.home, "--json", *self.sets, "--bootstrap", self.bootstrap, *more)
        return (kafka.headrace if start else kafka.ran)(*name.split(), *given)

    def drain(self, *more):
        return self.run("stream", "--stop-when-idle", "2s", *more)

    def send(self, rows, key=lambda row: str(row["PassengerId"])):
        producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})
        for row in rows:
            value = row if isinstance(row, bytes) else json.dumps(row)
            producer.produce(f"{self.prefix}titanic.events", value, key(row))
        assert producer.flush(30) == 0

    def messages(self, kind):
        return kafka.committed(self.bootstrap, f"{self.prefix}titanic.{kind}")

    def answers(self):
        return [json.loads(m.value()) for m in self.messages("predictions")]

    def rest(self):
        """Wait until no worker counts as live."""
        kafka.eventually(lambda: not live(self.broker, self.system.topics.group))

    def state(self):
        topic = f"{self.prefix}titanic.state"
        read = self.broker.read(topic, dict.fromkeys(range(self.broker.partitions()[topic]), BEGINNING))
        live = {(m.partition(), m.key()): m.value() for m in read}
        return {key: value for key, value in live.items() if value is not None and key[1] != b'"position"'}


@pytest.fixture
def titanic(bootstrap, tmp_path_factory, tmp_path, request):
    template = titanic_template(tmp_path_factory.getbasetemp())
    home = Path(shutil.copytree(template, tmp_path / "home"))
    of = Titanic(bootstrap, home, f"{request.node.name.removeprefix('test_')[:20]}.")
    of.broker.ensure(of.system.topics, 4)
    return of


def test_rows_are_answered_archived_traced_and_monitored(titanic):
    rows = passengers(40)
    titanic.send([*rows, rows[0], rows[1] | {"Age": 99.0}])
    titanic.send([b"{"], key=lambda row: "x")
    done = titanic.drain()
    told = {n: done[n] for n in ("events", "predictions", "repeated", "dead_letters", "late")}
    assert told == {"events": 43, "predictions": 41, "repeated": 1, "dead_letters": 2, "late": 0}
    assert not [t for t in titanic.broker.partitions() if t.endswith((".late", ".series")) and titanic.prefix in t]
    letters = titanic.run("dead-letters")["dead_letters"]
    assert sorted(each["reason"][:8] for each in letters) == ["conflict", "is not J"]
    said = titanic.answers()
    archived = titanic.run("archive")
    assert archived == {"predictions": 40, "differing": 0, "repeated": 1, "foreign": 0}
    assert titanic.run("archive") == dict.fromkeys(archived, 0)
    traced = headrace("trace", said[0]["prediction_id"], "--home", titanic.home, "--json").json
    assert traced["prediction"]["run_id"] == said[0]["event_id"]
    assert traced["prediction"]["door"] == "stream"
    again = headrace("replay", said[7]["prediction_id"], "--home", titanic.home, "--json").json
    assert again["identical"] is True
    assert again["features"]["stored"] == again["features"]["replayed"]
    listed = headrace("predictions", TITANIC, "--home", titanic.home, "--json", *titanic.sets).json
    assert {each["id"] for each in listed if each["door"] == "stream"} == {each["prediction_id"] for each in said}
    truth = titanic.home.parent / "truth.jsonl"
    truth.write_text("".join(json.dumps(row | {"Survived": n % 2}) + "\n" for n, row in enumerate(rows)))
    common = ("--home", titanic.home, "--json", *titanic.sets)
    assert headrace("ingest", TITANIC, *common, "--source", f"file:{truth}").code == 0
    monitored = headrace("monitor", TITANIC, *common)
    assert monitored.code == 0, monitored.err
    assert monitored.json["completeness"]["matured"] >= 40


def test_each_row_has_one_outcome_over_crashes_and_rebalances(titanic):
    rows = passengers(400, first=500_000)
    stream = titanic.run("stream", "--workers", "2", "--set", "stream.batch=20", start=True)
    try:
        for begin in range(0, 400, 40):
            titanic.send(rows[begin : begin + 40])
            titanic.send([row | {"Fare": 1.25} for row in rows[begin : begin + 40 : 10]])  # conflicts
            titanic.send(rows[begin // 2 : begin // 2 + 20])
            if begin in (80, 240):
                stream.kill()
                stream.communicate()
                stream = titanic.run("stream", "--workers", "1" if begin == 80 else "3", start=True)
            time.sleep(0.3)
        events = titanic.messages("events")
        kafka.eventually(lambda: len(titanic.answers()) + len(titanic.messages("dead_letters")) >= len(events))
    finally:
        stream.terminate()
        stream.communicate()
    said, letters = titanic.answers(), titanic.messages("dead_letters")
    topic = f"{titanic.prefix}titanic.events"
    causes = Counter(each["event_id"] for each in said)
    for letter in letters:
        head = {name: (value or b"").decode() for name, value in letter.headers()}
        assert head["reason"].startswith("conflict")
        causes[f"{topic}-{head['source_partition']}-{head['source_offset']}"] += 1
    assert causes == Counter(f"{topic}-{m.partition()}-{m.offset()}" for m in events)
    first = [each for each in said if "repeated" not in each]
    assert len({each["PassengerId"] for each in first}) == len(first) == 400
    by_key = {each["PassengerId"]: each["prediction_id"] for each in first}
    assert all(by_key[each["PassengerId"]] == each["prediction_id"] for each in said)
    assert titanic.run("archive") == {"predictions": 400, "differing": 0, "repeated": len(said) - 400, "foreign": 0}


def test_a_lost_or_damaged_state_is_made_anew_from_the_answers(titanic, tmp_path):
    rows = passengers(30, first=700_000)
    titanic.send(rows)
    titanic.drain()
    before, saved = titanic.state(), tmp_path / "saved"
    assert titanic.run("stream savepoint", "--out", saved)["records"] == len(before) == 30
    titanic.rest()
    rebuilt = titanic.run("stream rebuild")["partitions"]
    assert {each["was"] for each in rebuilt} == {"whole"}
    assert sum(each["series"] for each in rebuilt) == 30
    assert titanic.state() == before
    producer = Producer({"bootstrap.servers": titanic.bootstrap})
    for (partition, key), value in list(before.items())[:5]:
        producer.produce(f"{titanic.prefix}titanic.state", value[:-2], key, partition)
    assert producer.flush(30) == 0
    titanic.send(rows[:10])
    assert titanic.drain()["repeated"] == 10
    assert titanic.state() == before
    titanic.rest()
    restored = titanic.run("stream savepoint", "--from", saved)["partitions"]
    assert sum(each["records"] for each in restored) == 30
    assert titanic.state() == before


def test_events_are_answered_once_more_beside_the_first_answers(titanic):
    rows = passengers(20, first=800_000)
    titanic.send(rows)
    titanic.drain()
    titanic.run("stream reprocess", "--from", "0", "--into", "second", "--stop-when-idle", "2s")
    again = kafka.committed(titanic.bootstrap, f"{titanic.prefix}titanic.second.predictions")
    first = {each["PassengerId"]: each for each in titanic.answers()}
    assert len(again) == len(first) == 20
    for message in again:
        said = json.loads(message.value())
        same = first[said["PassengerId"]]
        assert (said["probability"], said["event_id"]) == (same["probability"], same["event_id"])
        assert said["prediction_id"] != same["prediction_id"]


# A client of the registry lives as long as the process of its command, which is this one here.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_answers_in_avro_are_read_by_all_who_read_answers(titanic, tmp_path, monkeypatch):
    pytest.importorskip("fastavro", reason="needs headrace[registry]")
    registry = StandIn()
    monkeypatch.setenv("HEADRACE_SCHEMA_REGISTRY", registry.url)
    to, topic = f"sqlite:///{tmp_path}/out.db?table=survival", f"kafka://{titanic.bootstrap}/{titanic.prefix}onward"
    rows = passengers(30, first=900_000)
    titanic.send(rows[:10])
    titanic.drain()
    titanic.sets += ["--set", "stream.predictions.format=avro"]
    titanic.send([*rows, rows[3]])
    assert titanic.drain()["predictions"] == 31
    assert {m.value()[:1] for m in titanic.messages("predictions")} == {b"{", b"\x00"}
    before = titanic.state()
    assert titanic.run("archive") == {"predictions": 30, "differing": 0, "repeated": 11, "foreign": 0}
    for target in (to, topic):
        done = titanic.run("sink", "--to", target)
        assert (done["read"], done["passed"], done["repeated"], done["refused"]) == (41, 30, 11, 0)
        assert titanic.run("sink", "--to", target)["passed"] == 0
    with sqlite3.connect(tmp_path / "out.db") as connection:
        there = connection.execute("SELECT PassengerId, probability, id FROM survival ORDER BY 1").fetchall()
    assert [number for number, _, _ in there] == [row["PassengerId"] for row in rows]
    onward = [json.loads(m.value()) for m in kafka.committed(titanic.bootstrap, topic.rpartition("/")[2])]
    told = sorted((said["PassengerId"], said["probability"], said["prediction_id"]) for said in onward)
    assert told == there
    titanic.rest()
    titanic.run("stream rebuild")
    assert titanic.state() == before
    registry.close()


def test_a_source_of_rows_is_produced(titanic):
    done = titanic.run("produce", "--source", "simulated:?rows=50&seed=4")
    assert (done["sent"], done["unreadable"]) == (50, 0)
    assert titanic.drain()["predictions"] == 50


def test_a_version_scores_rows_beside(titanic, bootstrap):
    """Of another model, that cannot score some of them; the rows were answered, or are answered later."""
    ran("train", TITANIC, titanic.home, "--set", "model.calibrate=false")
    ran("promote", TITANIC, titanic.home, "1")
    rows = passengers(60, first=900_000)
    titanic.send(rows[:20])
    titanic.drain()
    stream = titanic.run("stream", "--shadow", "2", start=True)
    try:
        kafka.eventually(lambda: f"{titanic.prefix}titanic.state.shadow-2" in titanic.broker.partitions())
        kafka.eventually(lambda: _position(titanic, 2) == _position(titanic, None) != {})
        titanic.send([*rows[20:], rows[0], rows[20], rows[21] | {"Age": 99.0}])
        titanic.send([b"{"], key=lambda row: "x")
        kafka.eventually(lambda: len(titanic.messages("shadows")) > 10)
        stream.kill()
        stream.communicate()
        stream = titanic.run("stream", "--shadow", "2", start=True)
        kafka.eventually(lambda: len(titanic.messages("shadows")) == 44)
        stream.terminate()
    finally:
        stream.communicate()
    waiting = titanic.run("archive")["shadows"]
    assert (waiting["added"], waiting["waiting"] > 0) == (0, True)
    titanic.drain()
    events = Counter(json.loads(m.value())["event_id"] for m in titanic.messages("shadows"))
    assert set(events.values()) == {1}
    archived = titanic.run("archive")
    assert (archived["predictions"], archived["differing"], archived["repeated"]) == (40, 0, 2)
    told = {"added": 41, "differing": 0, "repeated": 1, "refused": 2, "gone": 0, "foreign": 0, "waiting": 0}
    assert archived["shadows"] == told
    assert titanic.run("archive")["shadows"] == dict.fromkeys(told, 0)
    frame = shadows.read(titanic.system, Home(Settings(home=titanic.home)))
    answers = {a["PassengerId"]: a for a in titanic.answers() if "repeated" not in a}
    assert frame.height == 41
    for row in frame.iter_rows(named=True):
        answered = answers[row["PassengerId"]]
        assert (row["shadow_of"], row["role"], row["model_version"]) == (answered["prediction_id"], "shadow", 2)
        assert row["id"] != answered["prediction_id"]
    traced = headrace("trace", frame["id"][5], "--home", titanic.home, "--json").json
    assert (traced["role"], traced["prediction"]["door"]) == ("shadow", "stream")
    assert headrace("replay", frame["id"][5], "--home", titanic.home, "--json").json["identical"] is True


def _position(titanic, version):
    """How far the stream that answers, or a version beside it, has come."""
    topic = titanic.system.topics.of_shadow(version).state
    read = titanic.broker.read(topic, dict.fromkeys(range(4), BEGINNING))
    return {
        m.partition(): PartitionPosition.decode(m.value(), m.partition()).offset for m in read if m.key() == POSITION
    }
