"""Events decoded together are those decoded one by one, whatever the messages hold."""

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.sources.events import EventDecoder

GOOD = b'{"metric":"orders","time":"2020-03-02T01:00:00Z","value":1.5}'
PIECES = (
    *(GOOD, GOOD.replace(b"orders", b"revenue"), GOOD.replace(b",", b",\n"), GOOD[:30], GOOD[30:], b" " + GOOD),
    *(
        b"{",
        b"}",
        b"",
        b"\n",
        b",",
        b'"',
        b"{}",
        b"{},{}",
        b"[",
        b"]",
        b'{"metric":"',
        b'"}',
        b'{"x":[{}',
        b"{}]}",
        b"\xff",
    ),
    *(b'"time":"2020-03-02T02:00:00Z"', b'"value":2', b'"metric":"  "', b"null", b'{"time":7}'),
)
value = st.one_of(st.just(GOOD), st.lists(st.sampled_from(PIECES), max_size=4).map(b"".join), st.none())
NOW = round(datetime(2100, 1, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture(scope="module")
def decoder(world):
    return EventDecoder(world.shape())


def seen(events):
    return (
        [(place, row, keys) for place, row, keys in zip(events.place, events.rows, events.keys, strict=True)],
        [events.slot.tolist(), events.at.tolist()],
        events.bad,
    )


@given(st.lists(value, max_size=6))
@example([GOOD + b"\n" + GOOD, b'{"metric":"orders"', b"}"])
@example([b'{"metric":"orders","x":[{}', b'{}],"time":"2020-03-02T01:00:00Z","value":1}', GOOD + b"\n" + GOOD])
@example([b'{"metric":"}', b'{","time":"2020-03-02T01:00:00Z","value":1}', GOOD + GOOD])
@example([GOOD + b"\n" + GOOD, b"{}"])
def test_events_of_a_batch_are_those_of_each_message(decoder, values):
    together = decoder(values, [NOW] * len(values))
    alone = [decoder([value, b"{"], [NOW, NOW]) for value in values]  # a bad one beside it: it is decoded by itself
    good = [(i, e.rows[0], e.keys[0]) for i, e in enumerate(alone) if len(e.rows)]
    bad = [(i, reason) for i, e in enumerate(alone) for place, reason in e.bad if place == 0]
    times = [[int(t) for e in alone for t in column(e)] for column in (lambda e: e.slot, lambda e: e.at)]
    assert seen(together) == (good, times, bad)


def test_a_whole_batch_of_good_events_needs_one_call(decoder, monkeypatch):
    monkeypatch.setattr(decoder, "_decoded", None)
    events = decoder([GOOD, GOOD.replace(b"orders", b"revenue")], [NOW, NOW])
    assert events.keys == [("orders",), ("revenue",)]
    assert events.bad == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (GOOD.replace(b'"2020-03-02T01:00:00Z"', b"1772417100"), 'format="epoch_s"'),
        (GOOD.replace(b'"2020-03-02T01:00:00Z"', b"1772417100000"), 'format="epoch_ms"'),
        (GOOD.replace(b'"2020-03-02T01:00:00Z"', b"1772417100000000"), 'format="epoch_us"'),
        (GOOD.replace(b"1.5", b"NaN"), "JSON has no NaN"),
        (GOOD.replace(b"1.5", b"-Infinity"), "JSON has no Infinity"),
    ],
)
def test_a_reason_says_what_to_do(decoder, body, said):
    ((_, reason),) = decoder([body], [NOW]).bad
    assert said in reason


def test_a_byte_order_mark_is_no_part_of_an_event(decoder):
    assert decoder([b"\xef\xbb\xbf" + GOOD], [NOW]).bad == []
