"""Messages that are no plain JSON, through the engine: answers are those of plain JSON, and headers go on."""

import json
from dataclasses import replace

import pytest

from headrace.serving.engine.batch import Message, MessageBatch
from headrace.serving.engine.engine import Engine
from headrace.serving.stream.dead_letters import as_it_came
from headrace.sources.keys import agrees
from headrace.sources.messages.declared import Messages
from headrace.sources.messages.opening import Opener, framed_json, json_of

TRACE = ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def engine_of(world, champion, messages):
    of = world.system()
    opener = Opener(messages, of.contract, json_of)
    seeds = {"seed": world.nothing, "opener": opener}
    return Engine("live_metrics", world.shape(of), champion, "live_metrics.events", **seeds)


def plain(world, count=30):
    return [world.message(i, "orders", world.TRAINED + i * world.STEP, 5.0 + i % 7) for i in range(count)]


def wrapped(message):
    change = {"op": "c", "after": json.loads(message.value), "source": {}}
    return message._replace(value=json.dumps(change).encode())


def test_answers_to_changes_are_those_to_their_rows_and_deletions_are_counted(world, champion):
    messages = [wrapped(each) for each in plain(world)]
    gone = messages[-1]._replace(offset=30, value=None)
    deleted = messages[-1]._replace(offset=31, value=json.dumps({"op": "d", "before": {}, "after": None}).encode())
    bad = messages[-1]._replace(offset=32, value=b"{}")
    done = engine_of(world, champion, Messages(envelope="debezium")).answer([*messages, gone, deleted, bad])
    assert done.answers == world.engine(champion).answer(plain(world)).answers
    assert [(m.offset, what) for m, what in done.ignored] == [(30, "deletion"), (31, "deletion")]
    assert [m.offset for m, _ in done.dead] == [32]


def test_headers_of_tracing_and_declared_ones_go_on(world, champion):
    headers = [TRACE, ("x-tenant", b"a"), ("X-Tenant", b"b"), ("other", b"c"), ("tracestate", None)]
    messages = [each._replace(headers=headers if each.offset == 3 else None) for each in plain(world, 5)]
    done = engine_of(world, champion, Messages(headers=("X-TENANT",))).answer(MessageBatch.of(messages))
    assert done.going_on() == {3: [TRACE, ("x-tenant", b"a"), ("X-Tenant", b"b")]}
    assert world.engine(champion).answer(messages).going_on() == {3: [TRACE]}
    assert world.engine(champion).answer(plain(world, 5)).going_on() == {}


def test_headers_stay_with_their_messages_when_others_leave_the_batch():
    made = [Message(i % 2, i, None, b"", 0, [("n", b"%d" % i)] if i else None) for i in range(4)]
    batch = replace(MessageBatch.of(made), received=[0] * 4).without({0})
    assert [batch[place].headers for place in range(2)] == [[("n", b"1")], [("n", b"3")]]


def test_a_letter_that_is_sent_again_has_the_headers_that_it_came_with():
    own = [TRACE, ("reason", b"of the producer"), ("ce_id", b"1"), ("resent_from", b"before")]
    ours = [("reason", b"is bad"), ("early", None), ("source_topic", b"t")]
    assert as_it_came([*own, *ours]) == own[:3]
    assert as_it_came(ours) == []
    assert as_it_came(own[:1]) == own[:1]


def test_headers_that_no_answer_would_bear_stay_behind(world, champion):
    headers = [("more", b"x" * 5_000), *[("more", b"%d" % i) for i in range(30)]]
    messages = [each._replace(headers=headers) for each in plain(world, 1)]
    done = engine_of(world, champion, Messages(headers=("more",))).answer(MessageBatch.of(messages))
    assert done.going_on() == {0: [("more", b"%d" % i) for i in range(16)]}


@pytest.mark.parametrize(
    ("headers", "going"),
    [
        (
            [("Traceparent", TRACE[1]), ("TraceState", b"a=1"), ("tracestate", b"b=2")],
            [TRACE, ("tracestate", b"a=1,b=2")],
        ),
        ([TRACE, ("tracestate", b"A=1")], [TRACE]),
        ([TRACE, TRACE, ("tracestate", b"a=1")], None),
        ([("traceparent", b"nonsense"), ("tracestate", b"a=1")], None),
        ([("tracestate", b"a=1")], None),
    ],
    ids=["in parts", "a bad state", "two parents", "a bad parent", "no parent"],
)
def test_what_is_no_trace_does_not_go_on(world, champion, headers, going):
    messages = [each._replace(headers=headers) for each in plain(world, 1)]
    done = world.engine(champion).answer(messages)
    assert done.going_on() == ({} if going is None else {0: going})


def test_a_key_in_the_format_of_the_values_names_its_series(world):
    key = b"\x00\x00\x00\x00\x07" + b'{"metric":"orders"}'
    opener = Opener(Messages(format="json_schema"), world.system().contract, framed_json)
    assert agrees(opener.key(key), ["metric"], ["orders"])
    assert not agrees(opener.key(key), ["metric"], ["revenue"])
    assert agrees(opener.key(b"orders"), ["metric"], ["orders"])
    assert opener.key(b"\x00\x00\x00\x00\x07{") == b"\x00\x00\x00\x00\x07{"
    assert opener.key(None) is None


@pytest.mark.parametrize(
    ("told", "trace"),
    [
        (TRACE[1], {"trace.id": "0af7651916cd43dd8448eb211c80319c", "span.id": "b7ad6b7169203331"}),
        (
            b"01" + TRACE[1][2:] + b"-more",
            {"trace.id": "0af7651916cd43dd8448eb211c80319c", "span.id": "b7ad6b7169203331"},
        ),
        (TRACE[1] + b"-more", {}),
        (TRACE[1][:-1], {}),
        (b"nonsense\n", {}),
        (b"\xff", {}),
        (None, {}),
    ],
)
def test_a_log_line_names_the_trace_of_a_message(told, trace):
    message = Message(1, 7, None, b"", 0, [("Traceparent", told)])
    assert message.named() == {"partition": 1, "offset": 7, **trace}
    assert Message(1, 7, None, b"", 0).named() == {"partition": 1, "offset": 7}
