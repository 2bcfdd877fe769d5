"""The answers on a topic as what is passed on: each once, and everything counted."""

import json
from datetime import UTC, datetime

import pytest
from tests.commands import headrace
from tests.servers import LIVE, TITANIC

from headrace.loading import load_system
from headrace.serving.messages.said import AnswerReader
from headrace.serving.passing.answers import TopicPredictions
from headrace.serving.passing.documents import Documents, layout_of
from headrace.sources.broker import TopicLog


class Message:
    def __init__(self, offset, value, partition=0):
        self._at, self._value = (partition, offset), value if isinstance(value, bytes) else json.dumps(value).encode()

    def partition(self):
        return self._at[0]

    def offset(self):
        return self._at[1]

    def value(self):
        return self._value

    def headers(self):
        return [("traceparent", b"00-a"), ("inputs", b"{}")]


class Topic:
    """A topic of one partition, as the broker tells of it."""

    bootstrap = "nowhere:1"

    def __init__(self, messages, begin=0, name="first"):
        self.messages, self.begin, self.name = messages, begin, name

    def log(self, topic):
        return TopicLog(self.name, {0: self.begin}, {0: len(self.messages)})

    def read(self, topic, begin):
        return [m for m in self.messages if m.offset() >= max(begin[0], self.begin)]


def answer(number, **more):
    said = {"PassengerId": number, "prediction_id": f"id-{number}", "event_id": f"t-0-{number}", "Survived": 1}
    said |= {"as_of": f"2026-01-0{number + 1}T00:00:00Z", "probability": 0.5, "model_version": 1, "pins": {}}
    return {**said, **more}


@pytest.fixture
def source():
    system = load_system(TITANIC, [])
    documents = Documents(system, layout_of(system, "topic"))

    def make(topic, since=None):
        return TopicPredictions(topic, "t", AnswerReader(system), documents, since)

    return make


def ids(parts):
    return [each.id for part in parts for each in part.predictions]


def test_each_prediction_is_passed_on_once_and_everything_is_counted(source):
    values = [answer(0), b"{", answer(1), answer(1, repeated=True), {"foreign": 1}, answer(2)]
    messages = [Message(offset, value) for offset, value in enumerate(values)]
    (part,) = source(Topic(messages)).read(None)
    assert ids([part]) == ["id-0", "id-1", "id-2"]
    assert part.counts == {"foreign": 2, "repeated": 1}
    assert part.predictions[0].headers == [("traceparent", b"00-a")]
    assert part.predictions[0].rows[0][-2:] == ("t-0-0", "stream")
    assert list(source(Topic(messages)).read(part.after)) == []
    late = datetime(2026, 1, 3, tzinfo=UTC)
    (some,) = source(Topic(messages), late).read(None)
    assert (ids([some]), some.counts["earlier"]) == (["id-2"], 2)


def test_what_the_topic_lost_is_counted_and_one_made_anew_is_read_whole(source):
    messages = [Message(offset, answer(offset)) for offset in range(6)]
    (part,) = source(Topic(messages[:2])).read(None)
    (rest,) = source(Topic(messages, begin=4)).read(part.after)
    assert (ids([rest]), rest.counts["expired"]) == (["id-4", "id-5"], 2)
    (anew,) = source(Topic(messages[:3], name="second")).read(rest.after)
    assert (ids([anew]), anew.counts["expired"]) == (["id-0", "id-1", "id-2"], 0)


def test_nothing_is_passed_on_to_the_stream_itself(tmp_path):
    for kind in ("events", "predictions", "state"):
        to = f"kafka://localhost:1/live_metrics.{kind}"
        ran = headrace("sink", LIVE, "--home", tmp_path, "--bootstrap", "localhost:1", "--to", to)
        assert (ran.code, "own stream" in ran.err) == (2, True)
