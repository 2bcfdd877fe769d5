"""Where a partition goes on after state, group, topic or answers were lost or are others: no broker is needed."""

import json
from itertools import product

import pytest

from headrace.errors import StreamError
from headrace.serving.engine.changelog import StateRecord
from headrace.serving.engine.positions import PartitionPosition, Total
from headrace.serving.stream import offline
from headrace.serving.stream.outcomes import NewestOutcome, is_of
from headrace.serving.stream.restore import StoredState
from headrace.serving.stream.resume import Now, resumed
from headrace.sources.broker import TopicLog
from headrace.sources.topics import Topics

TOPICS = {"answering": Topics("live"), "shadow": Topics("live").of_shadow(3)}
STATES = ("kept", "lost", "without position", "damaged")
GROUPS = {"kept": 10, "lost": None, "at the beginning": None, "back": 3, "ahead": 15}
LOGS = {
    "same": TopicLog("a", {0: 0}, {0: 20}),
    "expired": TopicLog("a", {0: 4}, {0: 20}),
    "expired unread": TopicLog("a", {0: 12}, {0: 20}),
    "remade": TopicLog("b", {0: 0}, {0: 20}),
    "remade, shorter": TopicLog("b", {0: 0}, {0: 5}),
    "cut off": TopicLog("a", {0: 0}, {0: 6}),
}
ANSWERS = {  # of events 0 to 9
    "kept": NewestOutcome(1, 9, None, answers=True),
    "gone": None,
    "gone, with an older letter": NewestOutcome(1, 7, None, answers=False),
}
NEXT = {  # of which log, and where: what was never answered
    "same": (1, 10),
    "expired": (1, 10),
    "expired unread": (1, 12),
    "remade": (2, 0),
    "remade, shorter": (2, 0),
    "cut off": (2, 6),
}
SOME = list(product(STATES, ANSWERS))


def found(state):
    if state == "lost":
        return StoredState(0, [], frozenset(), None, [])
    record = StateRecord(b"[1", 0, b"", 7, sealed=True)
    position = PartitionPosition("a", 1, 10, state=Total(1, 7 if state == "kept" else 8))
    return StoredState(0, [record], frozenset([b"[1]"]), None if state == "without position" else position, [])


def same_events(log, newest):
    """What `is_of` says of these logs."""
    return log in ("same", "expired", "expired unread") or (log == "cut off" and newest.offset < 6)


def by_the_group(state, answers):
    """Whether nothing but the group's offsets is left that could say how far it came."""
    return state != "kept" and answers != "kept"


@pytest.mark.parametrize(("state", "answers"), SOME)
def test_it_goes_on_with_the_next_event_or_stops(state, answers):
    """It stops only where the state is gone, and with it the group's offsets or the events that the outcomes are of."""
    for group, log in product(GROUPS, LOGS):
        goes_on(state, group, log, answers)


def goes_on(state, group, log, answers):
    cut = LOGS[log].ends[0] if log == "cut off" and state in ("kept", "damaged") else None  # by the position's epoch
    newest, fresh = ANSWERS[answers], PartitionPosition(LOGS[log].id, 1, 0)
    now = Now(
        "live", "live.events", LOGS[log], GROUPS[group], fresh, cut, lambda: newest, lambda n: same_events(log, n)
    )
    unsaid, known = state in ("lost", "without position"), newest is not None or state == "without position"
    remade = log.startswith("remade")
    stops = (
        (unsaid and GROUPS[group] is None and known)
        or (unsaid and newest is not None and not same_events(log, newest))
        or (state == "damaged" and remade)
    )
    if stops:
        with pytest.raises(StreamError) as failure:
            resumed(found(state), now)
        assert "headrace stream rebuild live" in failure.value.hint
        return
    done = resumed(found(state), now)
    place = done.position.log, done.position.offset
    if not by_the_group(state, answers) or (group == "kept" and log not in ("remade", "remade, shorter", "cut off")):
        assert place == NEXT[log]
    elif log != "cut off":
        least = 10 if state == "damaged" else 8 if newest else 0
        assert place == (1, max(least, GROUPS[group] or 0, LOGS[log].begins[0]))
    assert done.rebuild == (state != "kept") or (state == "lost" and newest is None and GROUPS[group] is None)
    assert done.position.topic == LOGS[log].id


@pytest.mark.parametrize("who", TOPICS)
@pytest.mark.parametrize(("state", "answers"), SOME)
def test_rebuild_finds_the_next_event_or_stops(monkeypatch, who, state, answers):
    """And with the tables it begins with the first event of a topic that was made anew, under another name."""
    monkeypatch.setattr(offline, "newest", lambda *_: ANSWERS[answers])
    for group, log in product(GROUPS, LOGS):
        monkeypatch.setattr(offline, "is_of", lambda *asked, log=log: same_events(log, asked[4]))
        finds(who, state, group, log, answers)


def finds(who, state, group, log, answers):
    newest, committed = ANSWERS[answers], GROUPS[group] or -1
    side = object.__new__(offline.Offline)
    side.topics, side.log, side.broker, side.again = TOPICS[who], LOGS[log], None, type("Again", (), {"columns": ()})
    begun = who == "answering" or state != "lost" or newest is not None or committed > 0
    unsaid, remade = state in ("lost", "without position"), log.startswith("remade")
    other = (unsaid and newest is not None and not same_events(log, newest)) or (state == "damaged" and remade)
    if state == "kept":
        assert side.position(found(state), committed) == found(state).position
        return
    if not begun or other:
        with pytest.raises(StreamError) as failure:
            side.position(found(state), committed)
        assert f"headrace stream {'rebuild ' * begun}{TOPICS[who].arguments}" in failure.value.hint
    if begun:
        done = side.position(found(state), committed, tables=True)
        place = done.log, done.offset
        if other:
            assert place == (2, 0)
        elif answers == "kept":
            assert place == (1, 10)
        else:
            assert place == (1, max(10 if state == "damaged" else 8 if newest else 0, committed))
        assert done.topic == LOGS[log].id


def test_a_newer_log_than_that_of_a_damaged_position():
    """An old record of the position: the topic was made anew since, and its first events were answered."""
    side = object.__new__(offline.Offline)
    side.topics, side.log, side.again = TOPICS["answering"], LOGS["remade"], type("Again", (), {"columns": ()})
    side.broker = Fake(event(b'{"key": "k", "y": 5}', 4), answer(4, log=2))
    done = side.position(found("damaged"), 5)
    assert (done.topic, done.log, done.offset) == ("b", 2, 5)


def test_a_shadow_whose_state_is_gone_goes_by_its_own_offsets():
    """Not by where what answers has come since."""
    beside = PartitionPosition("a", 1, 18)
    for newest, committed, next_one in ((ANSWERS["kept"], 10, 10), (None, 10, 10), (None, None, 18)):
        now = Now("live --shadow 3", "live.events", LOGS["same"], committed, beside, None, lambda n=newest: n, bool)
        assert resumed(found("lost"), now).position.offset == next_one


class Message:
    def __init__(self, topic, key, value, offset=0, headers=()):
        self.said = topic, key, value, offset, list(headers)

    topic, key, value, offset, headers = (lambda self, i=i: self.said[i] for i in range(5))


class Fake:
    """A cluster with one event and one message about it."""

    def __init__(self, event, message):
        self.event, self.message = event, message

    def partitions(self):
        return {"live.events": 1, "live.predictions": 1}

    def ends(self, topic, partitions):
        return dict.fromkeys(partitions, 1)

    def read(self, topic, begin, until=None):
        return [each for each in (self.event, self.message) if each is not None and each.topic() == topic]


def event(value, offset=9, key=b"k"):
    return Message("live.events", key, value, offset)


def answer(offset=9, observed=5.0, log=1, **more):
    name = "live.events" if log == 1 else f"live.events@{log}"
    said = {"event_id": f"{name}-0-{offset}", "key": "k", "observed": observed, **more}
    return Message("live.predictions", b"k", json.dumps(said).encode())


def letter(value, *headers):
    return Message("live.dead_letters", b"k", value, 0, headers)


@pytest.mark.parametrize(
    ("event", "message", "same"),
    [
        (event(b'{"key": "k", "y": 5}'), answer(), True),
        (event(b'{"key": "k", "y": "5.0"}'), answer(), True),
        (event(b'{"after": {"key": "k", "y": 5}}'), answer(), True),
        (event(b'{"key": "k", "y": null}'), answer(observed=None), True),
        (event(b"\x00\x01"), answer(), True),
        (event(b'{"key": "k", "y": 6}'), answer(), False),
        (event(b'{"key": "other", "y": 5}'), answer(), False),
        (event(b'{"key": "k", "y": 5}', key=b"other"), answer(), False),
        (event(b'{"key": "k", "y": 5}', offset=10), answer(), False),
        (None, answer(), False),
        (event(b"bad"), letter(b"bad"), True),
        (event(b"bad"), letter(b"worse"), False),
        (event(b"bad and long"), letter(b"bad", ("cut_from", b"12")), True),
        (event(b"bad and long"), letter(b"bad"), False),
        (event(None), letter(None), True),
    ],
)
def test_an_outcome_is_of_the_event_at_its_place(event, message, same):
    newest = NewestOutcome(1, 9, message, answers=True)
    assert is_of(Fake(event, message), LOGS["same"], TOPICS["answering"], 0, newest, ("key",)) is same
    assert is_of(Fake(event, message), LOGS["expired unread"], TOPICS["answering"], 0, newest, ("key",))
