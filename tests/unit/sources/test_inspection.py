"""What is said of topics' settings."""

import pytest

from headrace.sources.inspection import TopicState, judged
from headrace.sources.topics import KINDS

GOOD = {
    "events": {"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "1000"},
    "predictions": {"cleanup.policy": "delete", "retention.ms": "604800000"},
    "dead_letters": {"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "16777216"},
    "late": {"cleanup.policy": "delete", "retention.ms": "604800000", "max.message.bytes": "16777216"},
    "state": {"cleanup.policy": "compact", "retention.ms": "604800000"},
    "series": {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
    "shadows": {"cleanup.policy": "delete", "retention.ms": "604800000"},
}


def told(kind=None, copies=1, brokers=1, **settings):
    changed = {name.replace("_", "."): value for name, value in settings.items()}
    found = {each: TopicState({**GOOD[each], **(changed if each == kind else {})}, copies) for each in GOOD}
    return [(of, said) for of, said, hint in judged(found, brokers) if hint]


def test_nothing_is_said_of_what_is_wise():
    assert GOOD.keys() == KINDS.keys()
    assert told() == []
    assert all(of != "events" for of, _ in told("events", copies=3, brokers=3, min_insync_replicas="2"))


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("events", {"cleanup_policy": "compact,delete"}, "is compacted"),
        ("events", {"retention_ms": "3600000"}, "keeps events for 1h only"),
        ("events", {"retention_bytes": "1000"}, "a burst throws events away"),
        ("events", {"message_timestamp_type": "CreateTime"}, "producers' times"),
        ("events", {"unclean_leader_election_enable": "true"}, "a copy that is behind can take over"),
        ("events", {"min_insync_replicas": "2"}, "nothing can be written with acks=all"),
        ("predictions", {"cleanup_policy": "compact"}, "is compacted"),
        ("predictions", {"retention_ms": "60000"}, "keeps answers for 1m only"),
        ("shadows", {"retention_ms": "60000"}, "keeps answers for 1m only"),
        ("dead_letters", {"retention_ms": "60000"}, "keeps letters for 1m only"),
        ("dead_letters", {"max_message_bytes": "1000"}, "set apart cut off"),
        ("late", {"max_message_bytes": "1000"}, "set apart cut off"),
        ("state", {"cleanup_policy": "delete"}, "is not compacted"),
        ("state", {"cleanup_policy": "compact,delete"}, "is not compacted"),
        ("series", {"retention_ms": "1000"}, "forgets after its retention"),
        ("series", {"retention_bytes": "1000"}, "forgets after its retention"),
    ],
)
def test_what_is_unwise_is_said_of_its_topic_alone(kind, settings, said):
    (found,) = told(kind, **settings)
    assert found[0] == kind
    assert said in found[1]


@pytest.mark.parametrize(
    ("copies", "brokers", "least", "said"),
    [
        (1, 3, "1", "has one copy on a cluster of 3 brokers"),
        (3, 3, "1", "has 3 copies, and a write counts once one has it"),
        (3, 3, "3", "wants all of its 3 copies in step"),
        (2, 3, "3", "wants 3 copies in step, and has 2"),
    ],
)
def test_copies_are_judged_by_those_that_a_write_waits_for(copies, brokers, least, said):
    found = [text for of, text in told("state", copies, brokers, min_insync_replicas=least) if of == "state"]
    assert len(found) == 1
    assert said in found[0]
