"""A lone worker while its broker crashes, comes back soon, late, or at the worst moment: nothing lost or doubled."""

import json
import os
import signal
import time
from collections import Counter

import pytest
from tests import kafka
from tests.ports import free_port
from tests.worlds import stream as worlds

pytestmark = [pytest.mark.fault, pytest.mark.slow]

SERIES = ("orders", "revenue", "requests", "taxi_trips")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    if os.environ.get("KAFKA_BOOTSTRAP"):
        pytest.skip("needs a Kafka broker of its own, not the one at KAFKA_BOOTSTRAP")
    made = kafka.cluster(tmp_path_factory.mktemp("kafka"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return worlds.trained(tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("outages") / "home")


def command(place, bootstrap, name, *more):
    sets = [each for setting in worlds.SETTINGS for each in ("--set", setting)]
    system = str(worlds.ROOT / "systems" / "live_metrics")
    return kafka.headrace(name, system, "--home", place.path, "--json", *sets, "--bootstrap", bootstrap, *more)


def send(bootstrap, begin, steps):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for step in range(begin, begin + steps):
        for metric in SERIES:
            body = worlds.message(0, metric, worlds.TRAINED + (step + 1) * worlds.STEP, 100.0 + step % 7).value
            producer.produce("live_metrics.events", key=metric, value=body)
    assert producer.flush(60) == 0


def answered(bootstrap):
    return [json.loads(m.value())["event_id"] for m in kafka.committed(bootstrap, "live_metrics.predictions")]


def test_a_lone_worker_outlives_its_broker(broker, place):
    """Without an option for it, and with a broker that is not there when it starts."""
    broker.kill()
    process = command(place, broker.bootstrap, "stream", "--port", free_port())
    time.sleep(4)
    broker.start()
    kafka.eventually(lambda: "live_metrics.events" in topics(broker))
    sent = 0
    for down in (0.0, 13.0):  # at once; after the session and the transaction have run out
        send(broker.bootstrap, sent, 50)
        sent += 50
        kafka.eventually(lambda: len(answered(broker.bootstrap)) > 0)
        broker.kill()
        time.sleep(down)
        broker.start()
    send(broker.bootstrap, sent, 50)
    sent += 50
    kafka.eventually(lambda: len(answered(broker.bootstrap)) >= sent * len(SERIES), within=120)
    process.send_signal(signal.SIGTERM)
    kafka.finish(process, within=60)
    counts = Counter(answered(broker.bootstrap))
    assert len(counts) == sent * len(SERIES)
    assert set(counts.values()) == {1}


def topics(broker):
    from headrace.sources.broker import Broker

    return Broker(broker.bootstrap).partitions()


def test_patience_has_an_end_that_is_told(place):
    process = command(place, "localhost:1", "stream", "--port", free_port(), "--patience", "3s")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    told = json.loads(out)
    assert told["error"] == "BrokerUnavailableError"
    assert "refused" in told["message"]
    assert "waits for the cluster" in err


def test_it_stops_at_once_while_it_waits(place):
    process = command(place, "localhost:1", "stream", "--port", free_port())
    kafka.eventually(lambda: process.poll() is None and time.sleep(6) is None)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert kafka.finish(process, within=30)["predictions"] == 0
    assert time.monotonic() - began < 20
