"""Envelopes and nested records: what is inside comes to the same rows as plain JSON, and what is none says why."""

import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from headrace.contract import Column, Contract
from headrace.errors import DeclarationError
from headrace.grid import Grid
from headrace.sources.events import EventDecoder, EventShape
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.opening import Opener, framed_json, json_of
from headrace.sources.messages.paths import found, parsed
from headrace.system import Stream

FORMATS = {"json": json_of, "json_schema": framed_json}
NOW = round(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)
ROW = {"metric": "orders", "time": "2026-03-02T01:00:00Z", "value": 1.5}
AT = round(datetime(2026, 3, 2, 1, tzinfo=UTC).timestamp() * 1_000_000)


def decoder(messages, time=None, kind="float"):
    time = time or Column("time", "time", zone="UTC")
    columns = (Column("metric", "category"), time, Column("value", kind), Column("note", "text", nullable=True))
    contract = Contract(columns=columns)
    hour = timedelta(hours=1)
    shape = EventShape(contract, ("metric",), "time", ("value",), Grid(hour), timedelta(), hour, timedelta(minutes=5))
    return EventDecoder(shape, Opener(messages, contract, FORMATS[messages.format]))


def event(messages, value, headers=(), **more):
    """Key, time and value of the one event of a message; or the reason, or what is ignored."""
    value = json.dumps(value).encode() if isinstance(value, (dict, list)) else value
    decode = decoder(messages, **more)
    events = decode([value], [NOW], [headers] if headers else ())
    if events.bad:
        return str(events.bad[0][1])
    if events.ignored:
        return events.ignored[0]
    return events.keys[0][0], int(events.time[0]), getattr(events.rows[0], decode.fields["value"])


GOOD = ("orders", AT, 1.5)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ("a[1][2]", ("a", 1, 2)),
        ('a["x.y"].z', ("a", "x.y", "z")),
        ("@.time", ("@", "time")),
        ("år.mål", ("år", "mål")),
    ],
)
def test_paths(text, path):
    assert parsed(text) == path


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[-1]", "[0]", "a[0", "a]b", 'a["x]', "a[0]b"]
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ValueError, match="no path"):
        parsed(text)
    with pytest.raises(DeclarationError, match="no path"):
        Stream(paths={"value": text})


def test_a_path_that_leads_nowhere_finds_nothing():
    record = {"a": {"b": [{"c": 1}, 5]}, "t": "text"}
    for path in ("a.x", "a.b[2].c", "a.b[1].c", "a.b.c", "a[0]", "t.u", "t[0]", "x.y"):
        assert found(record, parsed(path)) is None, path
    assert found(record, parsed("a.b[0].c")) == 1


def test_columns_lie_where_the_paths_say_and_others_by_their_names():
    messages = Messages(paths={"value": "payload.after.value", "time": "meta[0].at"})
    nested = {"metric": "orders", "payload": {"after": {"value": 1.5}}, "meta": [{"at": ROW["time"]}], "value": 7}
    assert event(messages, nested) == GOOD
    assert event(messages, nested | {"payload": {}}) == "value: is missing"
    assert (
        event(messages, nested | {"payload": {"after": {"value": {"x": 1}}}}) == "value: is not a number, but an object"
    )
    assert event(messages, b"[1]") == "is not an object"
    assert event(messages, b"{").startswith("is not JSON")
    assert event(messages, None) == "the message has no value"
    assert "bytes long" in event(messages, b" " * 70_000)


STRUCTURED = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "t", "data": ROW}
BINARY = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"t")]


def test_cloudevents_structured_and_binary():
    messages = Messages(envelope="cloudevents")
    typed = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert event(messages, STRUCTURED, typed) == GOOD
    assert event(messages, STRUCTURED) == GOOD  # the header was lost on the way
    assert event(messages, ROW, [*BINARY, ("content-type", b"application/json")]) == GOOD
    encoded = base64.b64encode(json.dumps(ROW).encode()).decode()
    assert event(messages, {**STRUCTURED, "data": None, "data_base64": encoded}) == GOOD


def test_attributes_of_a_cloudevent_can_be_columns():
    messages = Messages(envelope="cloudevents", paths={"metric": "@.subject", "time": "@.time", "value": "amount"})
    told = {"subject": "orders", "time": ROW["time"]}
    assert event(messages, {**STRUCTURED, **told, "data": {"amount": 1.5}}) == GOOD
    headers = [*BINARY, ("ce_subject", b"orders"), ("ce_time", ROW["time"].encode())]
    assert event(messages, {"amount": 1.5}, headers) == GOOD


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (ROW, (), "is no CloudEvent"),
        (STRUCTURED | {"specversion": "0.3"}, (), "version 0.3"),
        (STRUCTURED | {"specversion": 1}, (), "version 1"),
        ({k: v for k, v in STRUCTURED.items() if k != "data"}, (), "has no data"),
        (STRUCTURED | {"data": "text"}, (), "is not an object"),
        (STRUCTURED | {"data_base64": "!"}, (), "data_base64 is not JSON"),
        (STRUCTURED | {"data_base64": 5}, (), "data_base64 is not JSON"),
        ([STRUCTURED], [("content-type", b"application/cloudevents-batch+json")], "batch"),
        (STRUCTURED, [("content-type", b"application/cloudevents+avro")], "only JSON"),
        (b"{", [("content-type", b"application/cloudevents+json")], "is not JSON"),
        (ROW, [("ce_specversion", b"2.0")], "version 2.0"),
        (b"\xff", BINARY, "is not JSON"),
        (None, BINARY, "no value"),
    ],
)
def test_what_is_no_cloudevent_says_why(value, headers, reason):
    assert reason in event(Messages(envelope="cloudevents"), value, headers)


def change(op="c", after=ROW, **more):
    return {"before": None, "after": after, "source": {"table": "m"}, "op": op, "ts_ms": 1772413200000, **more}


def test_debezium_gives_the_row_after_a_change():
    messages = Messages(envelope="debezium")
    for op in "cru":
        assert event(messages, change(op)) == GOOD
    assert event(messages, {"schema": None, "payload": change()}) == GOOD
    named = Messages(envelope="debezium", paths={"time": "@.ts_ms"})
    counted = Column("time", "time", format="epoch_ms")
    assert event(named, change(after={"metric": "orders", "value": 1.5}), time=counted) == GOOD


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (change("d", after=None, before=ROW), "deletion"),
        (None, "deletion"),
        ({"schema": None, "payload": None}, "deletion"),
        (change("t", after=None), "truncation"),
        ({"op": "m", "message": {}}, "message of the database"),
    ],
)
def test_debezium_deletions_are_no_events(value, what):
    assert event(Messages(envelope="debezium"), value) == (0, what)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(ROW, "no op"), (change("x"), "not known: 'x'"), (change("u", after=None), "no row after"), ([1], "no op")],
)
def test_what_is_no_change_says_why(value, reason):
    assert reason in event(Messages(envelope="debezium"), value)


def field(name, kind, logical=None, **parameters):
    said = {"field": name, "type": kind, "optional": True}
    return said | ({"name": logical} if logical else {}) | ({"parameters": parameters} if parameters else {})


def struct(*fields, name=None):
    return {"type": "struct", "fields": list(fields), **({"name": name} if name else {})}


MICROS = AT
TIMES = {
    "org.apache.kafka.connect.data.Timestamp": MICROS // 1000,
    "io.debezium.time.Timestamp": MICROS // 1000,
    "io.debezium.time.MicroTimestamp": MICROS,
    "io.debezium.time.NanoTimestamp": MICROS * 1000,
    "io.debezium.time.ZonedTimestamp": "2026-03-02T01:00:00Z",
}
HUNDREDTHS = base64.b64encode((150).to_bytes(2, "big", signed=True)).decode()


@pytest.mark.parametrize("logical", TIMES)
@pytest.mark.parametrize("envelope", ["connect", "debezium"])
def test_a_schema_beside_the_payload_types_times_and_decimals(logical, envelope):
    kind = "string" if isinstance(TIMES[logical], str) else "int64"
    schema = struct(
        field("metric", "string"),
        field("time", kind, logical),
        field("value", "bytes", "org.apache.kafka.connect.data.Decimal", scale="2"),
    )
    row = {"metric": "orders", "time": TIMES[logical], "value": HUNDREDTHS}
    if envelope == "debezium":
        schema, row = struct({**schema, "field": "after"}, field("op", "string")), change(after=row)
    messages = Messages(envelope=envelope)
    assert event(messages, {"schema": schema, "payload": row}) == GOOD
    if kind == "int64":  # declared for messages without schemas as well
        counted = Column("time", "time", format="epoch_us")
        assert event(messages, {"schema": schema, "payload": row}, time=counted) == GOOD


def test_a_local_time_of_a_database_is_meant_in_the_columns_zone():
    schema = struct(
        field("metric", "string"), field("time", "int64", "io.debezium.time.MicroTimestamp"), field("value", "double")
    )
    whole = {"schema": schema, "payload": {"metric": "orders", "time": MICROS, "value": 1.5}}
    copenhagen = Column("time", "time", zone="Europe/Copenhagen")
    assert event(Messages(envelope="connect"), whole, time=copenhagen) == ("orders", AT - 3_600_000_000, 1.5)
    assert event(
        Messages(envelope="connect"), whole, time=Column("time", "time")
    ) == "time: {!r} time has no zone".format("2026-03-02 01:00:00")


def test_a_decimal_of_its_own_scale_and_one_in_an_integer_column():
    own = {"metric": "orders", "time": ROW["time"], "value": {"scale": 2, "value": HUNDREDTHS}}
    schema = struct({**struct(name="io.debezium.data.VariableScaleDecimal"), "field": "value"})
    messages = Messages(envelope="connect")
    assert event(messages, {"schema": schema, "payload": own}) == GOOD
    whole = own | {"value": {"scale": 0, "value": HUNDREDTHS}}
    assert event(messages, {"schema": schema, "payload": whole}, kind="integer") == ("orders", AT, 150)
    assert event(messages, {"schema": schema, "payload": own}, kind="integer") == "value: is not a whole number"
    assert event(messages, {"schema": schema, "payload": own}, kind="text") == (
        "orders",
        AT,
        format(Decimal("1.50"), "f"),
    )


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ROW, "no schema and payload"),
        ({"schema": {}, "payload": None}, "payload is empty"),
        (
            {"schema": struct(field("time", "int64", "io.debezium.time.Timestamp")), "payload": ROW},
            "not what its schema says",
        ),
        (
            {"schema": struct(field("time", "int64", "io.debezium.time.Timestamp")), "payload": ROW | {"time": 10**30}},
            "not what its schema says",
        ),
        ({"schema": {"type": "struct", "fields": 5}, "payload": ROW}, "not what its schema says"),
        ({"schema": {"type": "struct", "fields": [{}]}, "payload": ROW}, "not what its schema says"),
        ({"schema": None, "payload": [1]}, "is not an object"),
    ],
)
def test_what_is_not_connects_says_why(value, reason):
    assert reason in event(Messages(envelope="connect"), value)


def test_json_of_a_registry_lies_behind_its_frame():
    messages, body = Messages(format="json_schema"), json.dumps(ROW).encode()
    assert event(messages, b"\x00\x00\x00\x00\x07" + body) == GOOD
    assert event(messages, body, [("__value_schema_id", b"\x01" + bytes(16))]) == GOOD
    assert "wire format" in event(messages, body)
    assert event(messages, b"\x00\x00\x00\x00\x07{").startswith("is not JSON")


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        ({"paths": {"value": "@.time"}}, "declare envelope="),
        ({"schema_file": "events.avsc"}, "the format is json"),
        ({"format": "xml"}, "format"),
    ],
)
def test_what_contradicts_itself_is_refused(stream, said):
    with pytest.raises(DeclarationError, match=said):
        Stream(**stream)
