"""Debezium's changes in Avro over a real broker: the registry comes late, and nothing is lost or set apart for it.

The registry is the one at SCHEMA_REGISTRY, which answers Confluent's protocol, or a stand-in that comes late.
"""

import io
import json
import os
import shutil
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests import kafka
from tests.ports import free_port

pytestmark = pytest.mark.slow
pytest.importorskip("fastavro", reason="needs headrace[registry]")
pytest.importorskip("authlib", reason="needs headrace[registry]")

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MICROS = {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}
FIELDS = [
    {"name": "name", "type": "string"},
    {"name": "at", "type": MICROS},
    {"name": "value", "type": ["null", "double"]},
]
ROW = {"type": "record", "name": "Row", "fields": FIELDS}
CHANGE = {
    "type": "record",
    "name": "Envelope",
    "fields": [
        {"name": "before", "type": ["null", ROW]},
        {"name": "after", "type": ["null", "Row"]},
        {"name": "op", "type": "string"},
    ],
}
KEY = {"type": "record", "name": "Key", "fields": [{"name": "metric", "type": "string"}]}
SCHEMAS = {11: CHANGE, 12: KEY}


class StandIn(BaseHTTPRequestHandler):
    """What a registry answers of a schema's id."""

    def do_GET(self):
        found = SCHEMAS.get(int(self.path.partition("?")[0].rsplit("/", 1)[1]))
        said = {"schema": json.dumps(found)} if found else {"error_code": 40403, "message": "Schema not found"}
        body = json.dumps(said).encode()
        self.send_response(200 if found else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def broker(kafka_broker):
    kafka.clear(kafka_broker.bootstrap, "live_metrics")
    return kafka_broker.bootstrap


@pytest.fixture
def registry():
    """Its address, the ids of the schemas, and what makes it come."""
    url = os.environ.get("SCHEMA_REGISTRY")
    if url:
        from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

        client = SchemaRegistryClient({"url": url})
        ids = [client.register_schema(f"headrace-{i}", Schema(json.dumps(s), "AVRO")) for i, s in SCHEMAS.items()]
        yield url, ids, lambda: None
        return
    port, made = free_port(), list[HTTPServer]()

    def come():
        made.append(HTTPServer(("127.0.0.1", port), StandIn))
        threading.Thread(target=made[0].serve_forever, daemon=True).start()

    yield f"http://127.0.0.1:{port}", list(SCHEMAS), come
    for each in made:
        each.shutdown()
        each.server_close()


def framed(number, schema, row):
    from fastavro import parse_schema, schemaless_writer

    body = io.BytesIO()
    schemaless_writer(body, parse_schema(schema), row)
    return b"\x00" + number.to_bytes(4, "big") + body.getvalue()


def send(broker, topic, messages):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": broker})
    for key, value in messages:
        producer.produce(topic, value, key, headers=[("traceparent", TRACE)])
    assert producer.flush(60) == 0


def test_changes_in_avro_are_answered_once_their_registry_is_there(world, home, broker, registry, tmp_path):
    place, (url, (change, key), come) = shutil.copytree(home.path, tmp_path / "home"), registry
    settings = [*world.SETTINGS, "stream.format=avro", "stream.envelope=debezium"]
    settings += ['stream.paths={"metric": "name", "time": "at"}', "stream.topics.partitions=2"]
    sets = [each for setting in settings for each in ("--set", setting)]
    common = [
        str(world.ROOT / "systems" / "live_metrics"),
        "--home",
        place,
        "--json",
        *sets,
        "--bootstrap",
        broker,
    ]

    def command(name, *more):
        return kafka.headrace(name, *common, *more, HEADRACE_SCHEMA_REGISTRY=url)

    def changed(metric, hour, op="c"):
        at = round((world.TRAINED + timedelta(hours=hour)).timestamp() * 1_000_000)
        row = {"name": metric, "at": at, "value": 5.0 + hour % 7}
        said = {"before": row, "after": None, "op": op} if op == "d" else {"before": None, "after": row, "op": op}
        return framed(key, KEY, {"metric": metric}), framed(change, CHANGE, said)

    assert kafka.finish(command("stream", "--stop-when-idle", "1s"))["events"] == 0  # makes the topics
    good = [changed(metric, hour) for hour in range(1, 31) for metric in ("orders", "revenue")]
    gone = [changed("orders", 3, "d"), (good[0][0], None)]
    bad = [(good[0][0], b"\x00\x00\x0f\x42\x40" + good[0][1][5:]), (good[0][0], good[0][1][:-4]), (good[0][0], b"{}")]
    send(broker, "live_metrics.events", [*good, *gone, *bad])

    streaming = command("stream", "--stop-when-idle", "4s", "--port", str(free_port()))
    time.sleep(8.0)  # events are there, their schema is not
    letters = kafka.committed(broker, "live_metrics.dead_letters")
    assert letters == [] or os.environ.get("SCHEMA_REGISTRY")
    come()
    out, logged = streaming.communicate(timeout=300)
    assert streaming.returncode == 0, logged
    done = json.loads(out)
    apart = [line for line in map(json.loads, filter(None, logged.splitlines())) if "set apart" in line["message"]]
    assert {line["trace"]["id"] for line in apart} == {TRACE.decode().split("-")[1]}, logged
    assert (done["events"], done["predictions"], done["ignored"], done["dead_letters"]) == (65, 60, 2, 3)
    answers = kafka.committed(broker, "live_metrics.predictions")
    assert len({json.loads(each.value())["event_id"] for each in answers}) == 60
    assert all(dict(each.headers() or [])["traceparent"] == TRACE for each in answers)
    letters = [dict(each.headers()) for each in kafka.committed(broker, "live_metrics.dead_letters")]
    assert all(each["traceparent"] == TRACE for each in letters)
    said = sorted(each["reason"].decode() for each in letters)
    starts = ("is not Avro of schema", "is not in Confluent", "the schema registry does not know schema 1000000")
    assert [s.startswith(p) for s, p in zip(said, starts, strict=True)] == [True] * 3, said
    archived = kafka.finish(command("archive"))
    assert (archived["events"], archived["differing"], archived["foreign"]) == (60, 0, 0)
