"""What is unwise about topics that somebody else made: their settings beside what a stream needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from headrace.declaration import format_duration
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

SHORT = timedelta(days=1)
"""Events that are kept for less are gone after a night without workers."""
_HEADERS = 16_384
"""Bytes that a letter may have beside the event."""


@dataclass(frozen=True)
class TopicFinding:
    """Something about a topic that is not as it should be.

    Attributes:
        topic: Its name.
        said: What it is, and what follows.
        hint: What to do.
    """

    topic: str
    said: str
    hint: str


@dataclass(frozen=True)
class TopicState:
    """A topic as the cluster keeps it.

    Attributes:
        settings: All of its settings.
        copies: Of each partition.
    """

    settings: Mapping[str, str] = field(default_factory=dict)
    copies: int = 1


def inspect(broker: Broker, topics: Topics) -> list[TopicFinding]:
    """Look at the settings of a system's topics that are there.

    Raises:
        StreamError: The cluster cannot be reached, or shows nobody here the settings.
    """
    brokers, copies = broker.copies()
    names = {topic.kind: topic.name for topic in topics.wanted(1) if topic.name in copies}
    settings = broker.configs(list(names.values()))
    states = {kind: TopicState(settings[name], copies[name]) for kind, name in names.items()}
    return [TopicFinding(names[kind], reason, hint) for kind, reason, hint in judged(states, brokers)]


def judged(found: Mapping[str, TopicState], brokers: int) -> Iterator[tuple[str, str, str]]:
    """Kind of the topic, what is unwise about it, and what to do.

    Args:
        found: The topics, by kind.
        brokers: How many the cluster has.
    """
    for kind, state in found.items():
        for reason, hint in (*_of_cleaning(kind, state.settings), *_of_copies(state, brokers)):
            yield kind, reason, hint
        if kind == "events" and state.settings.get("message.timestamp.type") == "CreateTime":
            reason = "has its producers' times, not the broker's: events are in the future by the worker's clock"
            yield kind, reason, f"{_set('message.timestamp.type=LogAppendTime')}, or leave it: see stream.clock"
    largest = int(found["events"].settings.get("max.message.bytes", "0")) if "events" in found else 0
    for kind in ("dead_letters", "late"):
        limit = int(found[kind].settings.get("max.message.bytes", str(2**40))) if kind in found else 2**40
        if limit < largest + _HEADERS:
            reason = f"takes {limit:,} bytes, an event may have {largest:,}: a longer one is set apart cut off"
            yield kind, reason, _set(f"max.message.bytes={largest + _HEADERS}")


def _of_cleaning(kind: str, settings: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is unwise about when records are thrown away."""
    policy = settings.get("cleanup.policy", "delete")
    if kind == "state":
        if policy != "compact":
            reason = "is not compacted: it grows for ever, or loses what is older than its retention"
            yield reason, _set("cleanup.policy=compact")
        return
    if "compact" in policy:
        reason = "is compacted: all but the newest message of each key is thrown away"
        yield reason, _set("cleanup.policy=delete")
    milliseconds, size = int(settings.get("retention.ms", "-1")), int(settings.get("retention.bytes", "-1"))
    retention = timedelta(milliseconds=max(milliseconds, 0))
    if kind == "series":
        if (milliseconds, size) != (-1, -1):
            yield (
                "forgets after its retention on which partition a series is",
                _set("retention.ms=-1,retention.bytes=-1"),
            )
        return
    if milliseconds != -1 and retention < SHORT:
        reason = f"keeps {_KEPT[kind][0]} for {format_duration(retention)} only: {_KEPT[kind][1]}"
        yield reason, _set(f"retention.ms={SHORT // timedelta(milliseconds=1)} or more")
    if size != -1 and kind == "events":
        reason = (
            f"keeps {size:,} bytes of a partition: a burst throws events away before workers that are behind read them"
        )
        yield reason, f"{_set('retention.bytes=-1')}, or count what an hour away takes"


def _of_copies(state: TopicState, brokers: int) -> Iterator[tuple[str, str]]:
    """What is unwise about copies: with how many of them a write counts."""
    least = int(state.settings.get("min.insync.replicas", "1"))
    if state.copies == 1 and brokers > 1:
        reason = f"has one copy on a cluster of {brokers} brokers: what it holds is away, or lost, with one broker"
        yield reason, "kafka-reassign-partitions.sh; new topics: stream.topics.replication=3"
    if state.copies > 1 and least == 1:
        reason = (
            f"has {state.copies} copies, and a write counts once one has it: acknowledged records go with that broker"
        )
        yield reason, _set("min.insync.replicas=2")
    if least > state.copies:
        reason = (
            f"wants {least} copies in step, and has {state.copies}: nothing can be written with acks=all, as workers do"
        )
        yield reason, _set(f"min.insync.replicas={max(state.copies - 1, 1)}")
    elif least == state.copies > 1:
        reason = f"wants all of its {least} copies in step: while one broker is away nothing can be written"
        yield reason, _set(f"min.insync.replicas={least - 1}")
    if state.settings.get("unclean.leader.election.enable") == "true":
        reason = "may lose acknowledged records: a copy that is behind can take over"
        yield reason, _set("unclean.leader.election.enable=false")


_KEPT = {
    "events": ("events", "workers that are away longer lose them"),
    "predictions": ("answers", "`archive` has to run more often, and a lost state cannot be made anew from older ones"),
    "dead_letters": ("letters", "nobody may have looked at them by then"),
    "late": ("letters", "nobody may have looked at them by then"),
    "shadows": ("answers", "`archive` has to run more often"),
}
"""What a topic keeps, and what follows if that is for a short time only."""


def _set(setting: str) -> str:
    return f"kafka-configs.sh --alter --add-config {setting}"
