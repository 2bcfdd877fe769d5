"""Avro and Protobuf in Confluent's wire format, by Confluent's own serialisers and its client's registry in memory."""

import io
import json
import math
import random
import threading
import uuid
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from headrace.contract import Column, Contract
from headrace.errors import BrokerUnavailableError, ConfigError, DeclarationError, StreamError
from headrace.grid import Grid
from headrace.sources.events import EventDecoder, EventShape
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.formats import SchemaPlace, decoder
from headrace.sources.messages.opening import Opener
from headrace.sources.patience import Patience

pytest.importorskip("fastavro", reason="needs headrace[registry]")
pytest.importorskip("authlib", reason="needs headrace[registry]")

from confluent_kafka.schema_registry import Schema
from fastavro import parse_schema, schemaless_writer
from google.protobuf import descriptor_pb2

from headrace.sources.messages import avro, protobuf
from headrace.sources.messages.registry import SchemaRegistry

NOW = round(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
TIME = datetime(2026, 3, 2, 1, tzinfo=UTC)
AT = round(TIME.timestamp() * 1_000_000)
GOOD = ("orders", AT, 1.5)
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


def record(*fields, name="Event", **more):
    named = [{"name": n, "type": kind, **(rest[0] if rest else {})} for n, kind, *rest in fields]
    return {"type": "record", "name": name, "fields": named, **more}


EVENT = record(("metric", "string"), ("time", MILLIS), ("value", ["null", "double"]))


@pytest.fixture(scope="module")
def registry():
    return SchemaRegistry({"url": f"mock://{uuid.uuid4()}"}, Patience(1.0))


def register(registry, schema, kind="AVRO", **more):
    return registry.client.register_schema(f"s{uuid.uuid4()}", Schema(schema, kind, **more))


def avro_bytes(registry, schema, row):
    number = register(registry, json.dumps(schema))
    body = io.BytesIO()
    schemaless_writer(body, parse_schema(schema), row)
    return b"\x00" + number.to_bytes(4, "big") + body.getvalue()


def event(decode, value, headers=(), messages=None, time=None, kind="float", key="category"):
    """Key, time and value of the one event of a message; or the reason."""
    time = time or Column("time", "time", zone="UTC")
    contract = Contract(columns=(Column("metric", key), time, Column("value", kind, nullable=kind == "text")))
    hour = timedelta(hours=1)
    shape = EventShape(contract, ("metric",), "time", ("value",), Grid(hour), timedelta(), hour, timedelta(minutes=5))
    made = EventDecoder(shape, Opener(messages or Messages(format="avro"), contract, decode))
    events = made([value], [NOW], [headers])
    if events.bad:
        return str(events.bad[0][1])
    return events.keys[0][0], int(events.time[0]), getattr(events.rows[0], made.fields["value"])


ROW = {"metric": "orders", "time": TIME, "value": 1.5}


def test_a_row_of_avro_is_that_of_json(registry):
    assert event(avro.decoder(registry, None), avro_bytes(registry, EVENT, ROW)) == GOOD


def decimal(kind="bytes", **more):
    return {"type": kind, "logicalType": "decimal", "precision": 9, "scale": 2, **more}


ENUM = {"type": "enum", "name": "Metric", "symbols": ["orders", "revenue"]}


@pytest.mark.parametrize(
    ("kind", "written", "column", "read"),
    [
        (decimal(), Decimal("1.50"), "float", 1.5),
        (decimal("fixed", size=6, name="D"), Decimal("-1.50"), "float", -1.5),
        (decimal(), Decimal("150.00"), "integer", 150),
        (decimal(), Decimal("1.50"), "text", "1.50"),
        (["null", decimal()], Decimal("1.50"), "float", 1.5),
        ("long", 3, "float", 3.0),
        ("int", 3, "integer", 3),
        ("float", 0.5, "float", 0.5),
        ("boolean", True, "boolean", True),
        (ENUM, "orders", "text", "orders"),
        ("bytes", "år".encode(), "text", "år"),
        ({"type": "string", "logicalType": "uuid"}, uuid.UUID(int=7), "text", str(uuid.UUID(int=7))),
        ({"type": "int", "logicalType": "date"}, date(2026, 3, 2), "text", "2026-03-02"),
        (MILLIS, TIME, "text", "2026-03-02T01:00:00+00:00"),
    ],
)
def test_types_of_avro_come_onto_those_of_the_contract(registry, kind, written, column, read):
    value = avro_bytes(
        registry, record(("metric", "string"), ("time", MILLIS), ("value", kind)), ROW | {"value": written}
    )
    assert event(avro.decoder(registry, None), value, kind=column) == ("orders", AT, read)


@pytest.mark.parametrize(
    ("kind", "written", "reason"),
    [
        ("double", math.nan, "value: is not a finite number"),
        ("double", -math.inf, "value: is not a finite number"),
        (["null", "double"], None, "value: is missing"),
        ("string", "1.5", "value: is not a number, but a text"),
        ("bytes", b"\xff", "value: is not a number, but a text"),
        (record(("x", "int"), name="Inner"), {"x": 1}, "value: is not a number, but an object"),
    ],
)
def test_a_value_that_does_not_fit_says_why(registry, kind, written, reason):
    value = avro_bytes(
        registry, record(("metric", "string"), ("time", MILLIS), ("value", kind)), ROW | {"value": written}
    )
    assert event(avro.decoder(registry, None), value) == reason


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (MILLIS, TIME),
        ({"type": "long", "logicalType": "timestamp-micros"}, TIME),
        ({"type": "long", "logicalType": "local-timestamp-millis"}, TIME.replace(tzinfo=None)),
        ({"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}, AT),
        (["null", {"type": "long", "connect.name": "io.debezium.time.Timestamp"}], AT // 1000),
        ("string", "2026-03-02T02:00:00+01:00"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", None])
def test_times_of_avro(registry, kind, written, zone):
    value = avro_bytes(
        registry, record(("metric", "string"), ("time", kind), ("value", "double")), ROW | {"time": written}
    )
    found = event(avro.decoder(registry, None), value, time=Column("time", "time", zone=zone))
    if zone is None and kind != "string" and ("local" in str(kind) or "debezium" in str(kind)):
        assert "time has no zone" in found
    else:
        assert found == GOOD
    if kind != "string":
        assert event(avro.decoder(registry, None), value, time=Column("time", "time", format="epoch_ms")) == GOOD


def test_a_date_of_avro_is_a_time_of_daily_steps(registry):
    day = {"type": "int", "logicalType": "date"}
    value = avro_bytes(
        registry, record(("metric", "string"), ("time", day), ("value", "double")), ROW | {"time": date(2026, 3, 2)}
    )
    assert event(avro.decoder(registry, None), value) == ("orders", AT - 3_600_000_000, 1.5)


def test_the_writers_schema_is_resolved_to_the_readers(registry):
    reader = record(
        ("metric", "string"),
        ("time", MILLIS),
        ("value", "double", {"aliases": ["amount"]}),
        ("more", "int", {"default": 7}),
    )
    decode = avro.decoder(registry, json.dumps(reader).encode())
    older = record(("metric", "string"), ("amount", "float"), ("time", MILLIS), ("gone", "string"))
    assert (
        event(decode, avro_bytes(registry, older, {"metric": "orders", "amount": 1.5, "time": TIME, "gone": "x"}))
        == GOOD
    )
    other = record(("metric", "string"), ("time", MILLIS), ("value", "string"))
    assert "is not Avro of schema" in event(decode, avro_bytes(registry, other, ROW | {"value": "x"}))


def test_nested_avro_of_debezium(registry):
    row = record(
        ("metric", "string"),
        ("at", {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}),
        ("value", "double"),
        name="Row",
    )
    change = record(("before", ["null", row]), ("after", ["null", "Row"]), ("op", "string"), name="Envelope")
    messages = Messages(format="avro", envelope="debezium", paths={"time": "at"})
    after = {"metric": "orders", "at": AT, "value": 1.5}
    value = avro_bytes(registry, change, {"before": None, "after": after, "op": "u"})
    assert event(avro.decoder(registry, None), value, messages=messages) == GOOD


def test_a_schema_that_names_another_and_an_id_in_a_header(registry):
    registry.client.register_schema("inner", Schema(json.dumps(record(("x", "double"), name="Inner")), "AVRO"))
    outer = record(("metric", "string"), ("time", MILLIS), ("value", "Inner"))
    from confluent_kafka.schema_registry import SchemaReference

    number = register(registry, json.dumps(outer), references=[SchemaReference("Inner", "inner", 1)])
    inline = record(("metric", "string"), ("time", MILLIS), ("value", record(("x", "double"), name="Inner")))
    body = io.BytesIO()
    schemaless_writer(body, parse_schema(inline), ROW | {"value": {"x": 1.5}})
    messages = Messages(format="avro", paths={"value": "value.x"})
    decode = avro.decoder(registry, None)
    assert event(decode, b"\x00" + number.to_bytes(4, "big") + body.getvalue(), messages=messages) == GOOD


def test_bytes_that_are_none_say_why_and_a_strange_schema_is_asked_for_once(registry, monkeypatch):
    decode, good = avro.decoder(registry, None), avro_bytes(registry, EVENT, ROW)
    assert "wire format" in event(decode, b"")
    assert "wire format" in event(decode, b'{"metric":"orders"}')
    assert "is not Avro of schema" in event(decode, good[:12])
    asked = []
    get = registry.client.get_schema
    monkeypatch.setattr(registry.client, "get_schema", lambda *a, **k: asked.append(a) or get(*a, **k))
    for _ in range(3):
        assert event(decode, b"\x00\x00\x00\x03\xe7" + good[5:]) == "the schema registry does not know schema 999"
    assert len(asked) == 1
    assert event(decode, good) == GOOD


def test_no_bytes_whatever_break_the_decoder(registry):
    nested = record(
        ("metric", "string"), ("time", MILLIS), ("value", decimal()), ("list", {"type": "array", "items": ENUM})
    )
    avro_of, chance = avro.decoder(registry, None), random.Random(7)
    good = avro_bytes(registry, nested, ROW | {"value": Decimal("1.50"), "list": ["orders"]})
    proto_of, proto = protobuf.decoder(registry, None), proto_bytes(registry)
    for decode, whole in ((avro_of, good), (proto_of, proto)):
        for _ in range(300):
            broken = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                broken[chance.randrange(5, len(broken))] = chance.randrange(256)
            value = bytes(broken[: chance.choice([len(broken), chance.randrange(len(broken))])])
            assert isinstance(event(decode, value), (str, tuple))


def proto_file():
    """``message Outer { message Event {...} enum Kind {...} }`` as a descriptor."""
    file = descriptor_pb2.FileDescriptorProto(name="x.proto", package="shop", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.dependency.append("google/protobuf/wrappers.proto")
    file.message_type.add(name="First")
    outer = file.message_type.add(name="Outer")
    outer.nested_type.add(name="Other")
    inner = outer.nested_type.add(name="Event")
    kind = outer.enum_type.add(name="Kind")
    kind.value.add(name="orders", number=0)
    kind.value.add(name="revenue", number=1)
    f = descriptor_pb2.FieldDescriptorProto
    inner.field.add(name="metric", number=1, type=f.TYPE_ENUM, type_name=".shop.Outer.Kind", label=f.LABEL_OPTIONAL)
    inner.field.add(
        name="time", number=2, type=f.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=f.LABEL_OPTIONAL
    )
    inner.field.add(
        name="value", number=3, type=f.TYPE_MESSAGE, type_name=".google.protobuf.DoubleValue", label=f.LABEL_OPTIONAL
    )
    inner.field.add(name="count", number=4, type=f.TYPE_INT64, label=f.LABEL_OPTIONAL)
    inner.field.add(name="many", number=5, type=f.TYPE_DOUBLE, label=f.LABEL_REPEATED)
    inner.field.add(
        name="maybe", number=6, type=f.TYPE_DOUBLE, label=f.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0
    )
    inner.oneof_decl.add(name="_maybe")
    return file


def proto_bytes(registry, row=None, file=None):
    """A framed message of the second type inside of the second type, as Confluent's serialiser writes it."""
    import base64

    file = file or proto_file()
    made = protobuf._pooled(file, [])
    from google.protobuf.message_factory import GetMessageClass

    kind = GetMessageClass(made.message_types_by_name["Outer"].nested_types_by_name["Event"])
    message = kind(**(row if row is not None else {"metric": 0, "time": TIME, "value": {"value": 1.5}}))
    number = register(registry, base64.b64encode(file.SerializeToString()).decode(), "PROTOBUF")
    return b"\x00" + number.to_bytes(4, "big") + bytes([4, 2, 2]) + message.SerializeToString()


def test_a_row_of_protobuf_is_that_of_json_without_generated_classes(registry, tmp_path):
    messages, value = Messages(format="protobuf"), proto_bytes(registry)
    assert event(protobuf.decoder(registry, None), value, messages=messages) == GOOD
    assert (
        event(protobuf.decoder(registry, None), value, messages=messages, time=Column("time", "time", format="epoch_s"))
        == GOOD
    )
    files = descriptor_pb2.FileDescriptorSet(file=[proto_file()])
    (tmp_path / "events.desc").write_bytes(files.SerializeToString())
    named = Messages(format="protobuf", schema_file="events.desc")
    assert event(decoder(named, SchemaPlace({}, tmp_path)), value, messages=named) == GOOD


def test_fields_of_protobuf_that_are_not_there(registry):

    def of(path, **row):
        messages = Messages(format="protobuf", paths={"value": path})
        return event(protobuf.decoder(registry, None), proto_bytes(registry, {"time": TIME, **row}), messages=messages)

    assert of("count") == ("orders", AT, 0.0)  # proto3 sends no zero
    assert of("count", count=2**40) == ("orders", AT, 2.0**40)
    assert of("maybe") == "value: is missing"
    assert of("maybe", maybe=0.0) == ("orders", AT, 0.0)
    assert of("value") == "value: is missing"
    assert of("many[1]", many=[1.0, 1.5]) == GOOD
    assert of("many[1]") == "value: is missing"


def test_bytes_that_are_no_protobuf_say_why(registry):
    decode, good = protobuf.decoder(registry, None), proto_bytes(registry)
    messages = Messages(format="protobuf")
    assert "is not Protobuf of schema" in event(decode, good[:10], messages=messages)
    assert "does not have" in event(decode, good[:5] + bytes([4, 2, 10]) + good[8:], messages=messages)
    assert "does not know schema 99" in event(decode, b"\x00\x00\x00\x00\x63" + good[5:], messages=messages)
    assert event(decode, good[:5] + b"\x00" + good[8:], messages=messages).startswith("metric: is missing")


def test_a_schema_as_text_asks_for_a_file_of_descriptors(registry):
    number = register(registry, 'syntax = "proto3"; message E { string metric = 1; }', "PROTOBUF")
    decode = protobuf.decoder(registry, None)
    with pytest.raises(StreamError, match="schema_file"):
        event(decode, b"\x00" + number.to_bytes(4, "big") + b"\x00\x0a\x01x", messages=Messages(format="protobuf"))


class _Away(BaseHTTPRequestHandler):
    left, status, asked = 2, 503, 0

    def do_GET(self):
        type(self).asked += 1
        type(self).left -= 1
        status = self.status if self.left >= 0 else 200
        body = json.dumps({"schema": json.dumps(EVENT), "message": "no", "error_code": status}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def service():
    def serve(left, status=503):
        handler = type("Handler", (_Away,), {"left": left, "status": status})
        server = HTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.append(server)
        return handler, f"http://127.0.0.1:{server.server_port}"

    made: list[HTTPServer] = []
    yield serve
    for each in made:
        each.shutdown()
        each.server_close()


def framed(registry):
    return b"\x00\x00\x00\x00\x01" + avro_bytes(registry, EVENT, ROW)[5:]


def test_a_registry_that_comes_back_is_waited_for_and_then_asked_no_more(registry, service):
    handler, url = service(2)
    waited = []
    decode = avro.decoder(SchemaRegistry({"url": url}, Patience(30.0, waiting=waited.append)), None)
    for _ in range(3):
        assert event(decode, framed(registry)) == GOOD
    assert len(waited) == 2
    assert "the schema registry does not answer" in waited[0]
    assert handler.asked == 3  # and the schema once


def test_a_registry_that_stays_away_sets_nothing_apart(registry):
    decode = avro.decoder(SchemaRegistry({"url": "http://127.0.0.1:9"}, Patience(0.3)), None)
    with pytest.raises(BrokerUnavailableError, match="schema registry does not answer"):
        event(decode, framed(registry))


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_stops(registry, service, status):
    _, url = service(9, status)
    decode = avro.decoder(SchemaRegistry({"url": url, "basic.auth.user.info": "me:secret"}, Patience(5.0)), None)
    with pytest.raises(StreamError, match="refuses") as told:
        event(decode, framed(registry))
    assert "HEADRACE_SCHEMA_REGISTRY" in str(told.value)
    assert "secret" not in str(told.value)


def test_what_is_set_wrong_is_told(tmp_path):
    with pytest.raises(ConfigError, match="none is set"):
        decoder(Messages(format="avro"), SchemaPlace())
    with pytest.raises(ConfigError, match="Unrecognized"):
        decoder(Messages(format="avro"), SchemaPlace({"url": "http://x", "nonsense": "1"}))
    (tmp_path / "bad").write_bytes(b"{\xff")
    for kind in ("avro", "protobuf"):
        with pytest.raises(DeclarationError, match="schema_file"):
            decoder(Messages(format=kind, schema_file="bad"), SchemaPlace({"url": "http://x"}, tmp_path))
        with pytest.raises(DeclarationError, match="cannot be read"):
            decoder(Messages(format=kind, schema_file="gone"), SchemaPlace({"url": "http://x"}, tmp_path))
