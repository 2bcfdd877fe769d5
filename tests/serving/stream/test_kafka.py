"""The whole way over a real broker: produce, stream, set apart, send again, archive, trace, replay, a new champion."""

import json
import urllib.request
from datetime import timedelta

import pytest
from tests import kafka
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    made = kafka.cluster(tmp_path_factory.mktemp("kafka"))
    kafka.delete(made.bootstrap, "live_metrics")
    yield made.bootstrap
    made.stop()


@pytest.fixture(scope="module")
def place(world, tmp_path_factory):
    return world.train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def command(world, broker, place):
    """Runs a command of the stream on the small system."""
    sets = [each for setting in world.SETTINGS for each in ("--set", setting)]
    common = [str(world.ROOT / "systems" / "live_metrics"), "--home", place.path, "--json", *sets]

    def run(name, *more, start=False):
        bootstrap = () if name in ("train", "monitor", "predict") else ("--bootstrap", broker)
        process = kafka.headrace(name, *common, *bootstrap, *more)
        return process if start else kafka.finish(process)

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
    assert (done["events"], done["answers"], done["dead_letters"]) == (384, 384, 0)
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
    traced = kafka.finish(kafka.headrace("trace", answer["prediction_id"], "--home", place.path, "--json"))
    assert traced["prediction"]["run_id"] == answer["event_id"]
    again = kafka.finish(kafka.headrace("replay", answer["prediction_id"], "--home", place.path, "--json"))
    assert again["identical"] is True
    assert again["stored"] == answer["value"]


def check_the_topic_is_a_source(world, broker, tmp_path, produced):
    """A run reads what came since the last one, and nothing that is not yet known."""
    sets = [each for setting in world.SETTINGS for each in ("--set", setting)]
    system, source = str(world.ROOT / "systems" / "live_metrics"), f"kafka://{broker}/live_metrics.events"

    def ingest(hours, source=source):
        as_of = (world.TRAINED + timedelta(hours=hours)).isoformat()
        options = ("--home", tmp_path, "--json", *sets, "--source", source, "--as-of", as_of)
        return kafka.finish(kafka.headrace("ingest", system, *options))["ingested"]

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
    assert (done["answers"], done["dead_letters"], done["late"]) == (1, 5, 1)
    dead = kafka.committed(broker, "live_metrics.dead_letters")
    assert {m.value() for m in dead} == {b"{", large, None, b"\xff\xfe", good}
    listed = command("dead-letters")["letters"]
    assert len(listed) == 5
    assert all(letter["reason"] and letter["source"].startswith("live_metrics.events-") for letter in listed)
    assert "before the newest" in command("dead-letters", "--late")["letters"][0]["reason"]
    assert command("dead-letters", "--resend") == {"resent": 5, "expired": 0, "kept": 0}
    assert command("dead-letters", "--resend") == {"resent": 0, "expired": 0, "kept": 0}
    assert len(command("dead-letters", "--all")["letters"]) == 5
    assert command("stream", "--stop-when-idle", "2s")["dead_letters"] == 5


def check_a_new_champion_answers_without_a_restart(world, broker, command, place, produced):
    from confluent_kafka import Producer

    port = free_port()
    process, health = command("stream", "--port", port, start=True), f"http://localhost:{port}"
    try:
        kafka.eventually(lambda: get(f"{health}/ready")[0] == 200)
        assert get(f"{health}/health")[0] == 200
        command("train", "--as-of", (world.TRAINED + timedelta(hours=48)).isoformat(), "--set", "model.seed=3")
        kafka.finish(
            kafka.headrace("promote", str(world.ROOT / "systems" / "live_metrics"), 2, "--home", place.path, "--json")
        )
        kafka.eventually(lambda: 'model_version{system="live_metrics"} 2.0' in get(f"{health}/metrics")[1])
        producer = Producer({"bootstrap.servers": broker})
        event = world.message(0, "orders", world.TRAINED + timedelta(hours=50), 5.0)
        producer.produce("live_metrics.events", key="orders", value=event.value)
        assert producer.flush(30) == 0
        kafka.eventually(lambda: 'answers_total{system="live_metrics"} 1.0' in get(f"{health}/metrics")[1])
    finally:
        process.terminate()
        done = kafka.finish(process)
    assert done["answers"] == 1
    assert sorted({a["model_version"] for a in answers(broker)}) == [1, 2]
    assert command("archive")["differing"] == 0


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except OSError as error:
        return getattr(error, "code", None), ""


def check_workers_that_are_supervised_stop_when_idle(command, produced):
    done = command("stream", "--workers", 2, "--stop-when-idle", "2s")
    assert (done["workers"], done["restarts"]) == (2, 0)


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
    check_workers_that_are_supervised_stop_when_idle(command, produced)
    check_the_archive_passes_over_what_no_worker_wrote(broker, command)
