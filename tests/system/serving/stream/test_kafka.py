"""The whole way over a real broker: produce, stream, set apart, send again, archive, trace, replay, a new champion."""

import json
import urllib.request
from datetime import timedelta

import pytest
from tests import kafka
from tests.otlp import collecting
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker(kafka_broker):
    kafka.clear(kafka_broker.bootstrap, "live_metrics")
    return kafka_broker.bootstrap


@pytest.fixture(scope="module")
def place(world, tmp_path_factory):
    return world.trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("whole") / "home")


@pytest.fixture(scope="module")
def command(world, broker, place):
    """Runs a command of the stream on the small system."""
    sets = [each for setting in world.SETTINGS for each in ("--set", setting)]
    common = [str(world.ROOT / "systems" / "live_metrics"), "--home", place.path, "--json", *sets]

    def run(name, *more, start=False, **environment):
        bootstrap = () if name in ("train", "monitor", "predict") else ("--bootstrap", broker)
        call = kafka.headrace if start else kafka.ran
        return call(name, *common, *bootstrap, *more, **environment)

    return run


@pytest.fixture(scope="module")
def produced(world, command):
    """Two days of eight simulated series."""
    ends = [(world.TRAINED + timedelta(hours=h)).isoformat() for h in (1, 48)]
    source = world.SOURCE.replace("days=20", "days=30")
    return command("produce", "--source", source, "--speed", 0, "--start", ends[0], "--end", ends[1])


def answers(broker):
    return [json.loads(m.value()) for m in kafka.committed(broker, "live_metrics.predictions")]


def check_every_event_has_one_answer(broker, command, produced):
    assert produced["sent"] == 8 * 48
    done = command("stream", "--stop-when-idle", "2s", "--workers", 1)
    assert (done["events"], done["predictions"], done["dead_letters"]) == (384, 384, 0)
    found = answers(broker)
    events = {
        f"live_metrics.events-{m.partition()}-{m.offset()}" for m in kafka.committed(broker, "live_metrics.events")
    }
    assert sorted(a["event_id"] for a in found) == sorted(events)
    assert all(len(a["predictions"]) == 3 and a["model_version"] == 1 for a in found)
    for name in ("metric", "prediction_id", "as_of", "value", "anomaly", "pins"):
        assert name in found[0]


def check_the_archive_computes_each_answer_again_and_traces_it(broker, command, place, produced):

    answer = answers(broker)[-1]
    done = command("archive")
    assert (done["events"], done["predictions"], done["differing"]) == (384, 384 * 3, 0)
    assert command("archive") == {"events": 0, "predictions": 0, "differing": 0, "foreign": 0}
    traced = kafka.ran("trace", answer["prediction_id"], "--home", place.path, "--json")
    assert traced["prediction"]["run_id"] == answer["event_id"]
    again = kafka.ran("replay", answer["prediction_id"], "--home", place.path, "--json")
    assert again["identical"] is True
    assert again["stored"] == answer["value"]


def check_the_topic_is_a_source(world, broker, tmp_path, produced):
    """A run reads what came since the last one, and nothing that is not yet known."""
    sets = [each for setting in world.SETTINGS for each in ("--set", setting)]
    system, source = str(world.ROOT / "systems" / "live_metrics"), f"kafka://{broker}/live_metrics.events"

    def ingest(hours, source=source):
        as_of = (world.TRAINED + timedelta(hours=hours)).isoformat()
        options = ("--home", tmp_path, "--json", *sets, "--source", source, "--as-of", as_of)
        return kafka.ran("ingest", system, *options)["ingested"]

    assert [ingest(hours) for hours in (24, 24, 48)] == [8 * 24, 0, 8 * 24]
    for cache in (tmp_path / "cache").rglob("kafka-*.json"):
        cache.unlink()
    assert ingest(48) == 0, "read once more from the beginning, and nothing was added twice"


def check_bad_events_are_letters_that_can_be_sent_again(world, broker, command, produced):
    from confluent_kafka import Producer

    good = world.message(0, "orders", world.TRAINED + timedelta(hours=49), 5.0).value
    large = b'{"pad": "' + b"x" * 1_000_000 + b'"}'
    late = world.message(0, "orders", world.TRAINED + timedelta(hours=2), 5.0).value
    producer = Producer({"bootstrap.servers": broker, "message.max.bytes": 2_000_000})
    for value in (b"{", good, large, None, late, b"\xff\xfe"):
        producer.produce("live_metrics.events", key="orders", value=value)
    producer.produce("live_metrics.events", value=good)
    assert producer.flush(30) == 0
    done = command("stream", "--stop-when-idle", "2s")
    assert (done["predictions"], done["dead_letters"], done["late"]) == (1, 5, 1)
    dead = kafka.committed(broker, "live_metrics.dead_letters")
    assert {m.value() for m in dead} == {b"{", large, None, b"\xff\xfe", good}
    listed = command("dead-letters")["dead_letters"]
    assert len(listed) == 5
    assert all(letter["reason"] and letter["source"].startswith("live_metrics.events-") for letter in listed)
    assert "before the newest" in command("dead-letters", "--late")["dead_letters"][0]["reason"]
    assert command("dead-letters", "--resend") == {"resent": 5, "expired": 0, "kept": 0}
    assert command("dead-letters", "--resend") == {"resent": 0, "expired": 0, "kept": 0}
    assert len(command("dead-letters", "--all")["dead_letters"]) == 5
    assert command("stream", "--stop-when-idle", "2s")["dead_letters"] == 5


def check_a_new_champion_answers_without_a_restart(world, broker, command, place, produced):
    from confluent_kafka import Producer

    port = free_port()
    process, health = command("stream", "--port", port, start=True), f"http://localhost:{port}"
    try:
        kafka.eventually(lambda: get(f"{health}/ready")[0] == 200)
        assert get(f"{health}/health")[0] == 200
        command("train", "--as-of", (world.TRAINED + timedelta(hours=48)).isoformat(), "--set", "model.seed=3")
        kafka.ran("promote", str(world.ROOT / "systems" / "live_metrics"), 2, "--home", place.path, "--json")
        kafka.eventually(lambda: 'model_version{system="live_metrics"} 2.0' in get(f"{health}/metrics")[1])
        producer = Producer({"bootstrap.servers": broker})
        event = world.message(0, "orders", world.TRAINED + timedelta(hours=50), 5.0)
        producer.produce("live_metrics.events", key="orders", value=event.value)
        assert producer.flush(30) == 0
        kafka.eventually(lambda: 'predictions_total{system="live_metrics"} 1.0' in get(f"{health}/metrics")[1])
    finally:
        process.terminate()
        done = kafka.finish(process)
    assert done["predictions"] == 1
    assert sorted({a["model_version"] for a in answers(broker)}) == [1, 2]
    assert command("archive")["differing"] == 0


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except OSError as error:
        return getattr(error, "code", None), ""


def check_workers_that_are_supervised_stop_when_idle(world, broker, command):
    """With spans on: each micro-batch has one, linked to where its events come from, and answers go on from there."""
    from confluent_kafka import Producer

    parents = [f"00-{n:032x}-{n:016x}-0{n % 2}" for n in range(1, 5)]
    producer = Producer({"bootstrap.servers": broker})
    for n, parent in enumerate([*parents, None, "nonsense"]):
        event = world.message(0, "orders", world.TRAINED + timedelta(hours=51 + n), 5.0)
        headers = [("traceparent", parent), ("tracestate", "shop=1")] if parent else []
        producer.produce("live_metrics.events", key="orders", value=event.value, headers=headers)
    assert producer.flush(30) == 0
    with collecting() as collector:
        done = command("stream", "--workers", 2, "--stop-when-idle", "2s", **collector.environment)
        batches = {each.span: each for each in collector.spans if each.name == "process live_metrics.events"}
        sent = {each.span: each for each in collector.spans if each.name == "send live_metrics.predictions"}
    assert (done["workers"], done["restarts"], done["events"]) == (2, 0, 6)
    links = [link for each in batches.values() for link in each.links]
    assert links == [tuple(parent.split("-")[1:3]) for parent in parents]
    assert sum(each.attributes["messaging.batch.message_count"] for each in batches.values()) == 6
    told = [m for m in kafka.committed(broker, "live_metrics.predictions") if m.key() == b"orders"]
    found = [dict(m.headers()) for m in sorted(told, key=lambda m: m.offset())[-6:]]
    for parent, headers in zip(parents, found[:4], strict=True):
        trace, span = headers["traceparent"].decode().split("-")[1:3]
        assert (trace, headers["tracestate"]) == (parent.split("-")[1], b"shop=1")
        if parent.endswith("0"):  # not recorded by who sent it
            assert headers["traceparent"].decode() == parent
        else:
            assert sent[span].parent == parent.split("-")[2]
            assert sent[span].links[0][1] in batches
    for headers in found[4:]:
        assert sent[headers["traceparent"].decode().split("-")[2]].parent in batches
        assert "tracestate" not in headers
    assert {each.kind for each in batches.values()} == {5}
    assert {each.kind for each in sent.values()} == {4}


def check_the_archive_passes_over_what_no_worker_wrote(broker, command):
    from confluent_kafka import Producer

    foreign = Producer({"bootstrap.servers": broker})
    for value in (b"{", b"\xff", None, b"[]", b'{"event_id": "x"}'):
        foreign.produce("live_metrics.predictions", key="orders", value=value)
    assert foreign.flush(30) == 0
    assert [command("archive")["foreign"] for _ in range(2)] == [5, 0]


def test_the_whole_way(world, broker, command, place, produced, tmp_path):
    """One test, because each part goes on from the topics that the one before it left."""
    check_every_event_has_one_answer(broker, command, produced)
    check_the_archive_computes_each_answer_again_and_traces_it(broker, command, place, produced)
    check_the_topic_is_a_source(world, broker, tmp_path, produced)
    check_bad_events_are_letters_that_can_be_sent_again(world, broker, command, produced)
    check_a_new_champion_answers_without_a_restart(world, broker, command, place, produced)
    check_workers_that_are_supervised_stop_when_idle(world, broker, command)
    check_the_archive_passes_over_what_no_worker_wrote(broker, command)
