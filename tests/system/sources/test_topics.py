"""Names of topics, and how they are to be made."""

import pytest

from headrace.errors import DeclarationError, StreamError
from headrace.sources.broker import Broker
from headrace.sources.stream_topics import StreamTopics
from headrace.sources.topics import KINDS, Topics


def test_names_follow_the_system_and_the_prefix():
    assert Topics("kpi").events == "kpi.events"
    topics = Topics("kpi", {"events": "shop.orders.v1"}, prefix="prod.")
    assert (topics.events, topics.predictions, topics.state) == (
        "shop.orders.v1",
        "prod.kpi.predictions",
        "prod.kpi.state",
    )
    assert (Topics("kpi").group, topics.group) == ("headrace.kpi", "prod.headrace.kpi")
    assert Topics("kpi", group_given="mine").group == "mine"


def test_every_topic_says_how_it_is_made():
    wanted = {each.kind: each for each in Topics("kpi", replication=3).wanted(12)}
    assert set(wanted) == set(KINDS) - {"shadows"}
    assert {each.kind for each in Topics("kpi").of_shadow(2).wanted(12)} == {"events", "shadows", "state", "series"}
    assert wanted["series"].partitions == 1
    assert all(each.partitions == 12 for kind, each in wanted.items() if kind != "series")
    assert wanted["state"].config["cleanup.policy"] == "compact"
    line, command = wanted["events"].line(), wanted["events"].command("host:1")
    assert line == "kpi.events: 12 partitions, replication factor 3, message.timestamp.type=LogAppendTime"
    assert command == (
        "kafka-topics.sh --bootstrap-server host:1 --create --topic kpi.events --partitions 12 "
        "--replication-factor 3 --config message.timestamp.type=LogAppendTime"
    )


@pytest.mark.parametrize("wrong", [{"events": "a b"}, {"state": "."}, {"events": "x", "late": "x"}, {"prefix": "ä"}])
def test_names_that_kafka_does_not_take(wrong):
    with pytest.raises(DeclarationError, match=r"topic|name"):
        StreamTopics(**wrong)


class Without(Broker):
    """A cluster with one topic."""

    def partitions(self):
        return {"kpi.events": 6}


def test_topics_that_are_not_to_be_made_are_asked_for():
    with pytest.raises(StreamError) as told:
        Without("nowhere:1").ensure(Topics("kpi", create=False), 4)
    text = str(told.value)
    assert "5 topics are missing" in text
    assert "kpi.state: 6 partitions, cleanup.policy=compact" in text
    assert "kpi.events:" not in text
