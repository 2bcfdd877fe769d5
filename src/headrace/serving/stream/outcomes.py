"""What has an outcome already: the answers and letters on the topics say it, should all else be gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from headrace.serving.engine.positions import source_of
from headrace.serving.engine.rings import Keys
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import Topics

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EVER = 2**63
_LAST = 1_000
"""Messages of a partition that are looked at first, from its end."""


class EventOutcome(NamedTuple):
    """An event that has one."""

    log: int
    offset: int


class NewestOutcome(NamedTuple):
    """The newest event of a partition that has an outcome.

    Attributes:
        log: Of which log it is, counted as in `Position`.
        offset: Its place there.
        message: The answer or letter.
        answers: Whether there are answers at all; without them others may have come after this letter.
    """

    log: int
    offset: int
    message: Any
    answers: bool


def newest(broker: Broker, topics: Topics, partition: int) -> NewestOutcome | None:
    """The newest event of a partition that has an outcome; None if none of them has.

    Events have theirs in order, so all before it have one as well.

    Raises:
        StreamError: The cluster failed.
    """
    counts, outcome = broker.partitions(), outcome_of_answer(topics.events, partition, topics.shadow)
    outcomes = list(_newest(broker, topics.output, [partition], outcome, counts))
    answers = bool(outcomes)
    for letters in () if topics.shadow is not None else (topics.dead_letters, topics.late):
        outcomes += _newest(broker, letters, None, _of_letter(topics.events, partition), counts)
    last = max(outcomes, key=lambda item: item[0], default=None)
    return None if last is None else NewestOutcome(*last[0], last[1], answers)


def is_of(
    broker: Broker, log: TopicLog, topics: Topics, partition: int, newest: NewestOutcome, columns: Sequence[str]
) -> bool:
    """Whether the event of an outcome is the one that the topic has at its place.

    A letter has all of the event. Of an answer the message's key, the keys and what was observed are compared. Events
    before the log's beginning are not read again in any case, so they count as the topic's.

    Args:
        broker: The cluster.
        log: The input topic as it is.
        topics: Of the system.
        partition: Of the event.
        newest: The outcome.
        columns: The key columns.

    Raises:
        StreamError: The cluster failed.
    """
    if newest.offset < log.begins.get(partition, 0):
        return True
    begin, until = {partition: newest.offset}, {partition: newest.offset + 1}
    events = list(broker.read(topics.events, begin, until=until))
    if [event.offset() for event in events] != [newest.offset] or events[0].key() != newest.message.key():
        return False
    event, outcome = events[0].value() or b"", newest.message.value() or b""
    if newest.message.topic() != topics.output:
        cut = "cut_from" in dict(newest.message.headers() or [])
        return bool(event.startswith(outcome) if cut else event == outcome)
    try:
        body = json.loads(event)
    except ValueError:  # another format
        return True
    answer, leaves = json.loads(outcome), list(_leaves(body))
    keys = isinstance(body, dict) and any(
        isinstance(body.get(name), str) and body[name] != answer.get(name) for name in columns
    )
    return not keys and ("observed" not in answer or answer["observed"] in leaves)


def _leaves(body: Any) -> Iterator[Any]:
    """The values of a document, of whatever depth; texts that are numbers count as such."""
    if isinstance(body, dict | list):
        for value in body.values() if isinstance(body, dict) else body:
            yield from _leaves(value)
    else:
        try:
            yield float(body)
        except (TypeError, ValueError):
            yield body


class FirstKnown:
    """When the first event of each series that was answered became known, as the answers say it.

    Args:
        broker: The cluster.
        topics: Whose answers: what answers, not a shadow of it.
        columns: The key columns.
    """

    def __init__(self, broker: Broker, topics: Topics, columns: Sequence[str]) -> None:
        self._broker, self._topics, self._columns = broker, topics, columns
        self._next: dict[int, int] = {}
        self._found: dict[Keys, int] = {}
        self._seen: dict[int, set[bytes | None]] = {}

    def __call__(self, partitions: Iterable[int] | None = None) -> dict[Keys, int]:
        """By series, in microseconds since 1970; of some partitions, or of all. What was read is not read again.

        Nothing of a partition where the topic has lost its beginning.

        Raises:
            StreamError: The cluster failed.
        """
        topic_log = self._broker.log(self._topics.predictions)
        if topic_log is None:
            return self._found
        for partition in topic_log.ends if partitions is None else partitions:
            begin, end = self._next.get(partition, 0), topic_log.ends.get(partition, 0)
            if (begin == 0 and topic_log.begins.get(partition, 0) > 0) or end <= begin:
                continue
            self._read(partition, begin, end)
            self._next[partition] = end
        return self._found

    def _read(self, partition: int, begin: int, end: int) -> None:
        outcome, slots_seen = outcome_of_answer(self._topics.events, partition), self._seen.setdefault(partition, set())
        for message in self._broker.read(self._topics.predictions, {partition: begin}, until={partition: end}):
            if message.key() in slots_seen or outcome(message) is None:
                continue
            slots_seen.add(message.key())
            document = json.loads(message.value())
            keys, moment = (
                tuple(document.get(name) for name in self._columns),
                datetime.fromisoformat(document["as_of"]),
            )
            self._found.setdefault(keys, (moment - _EPOCH) // timedelta(microseconds=1))


@dataclass(frozen=True)
class Done:
    """How far the stream that answers has come.

    Attributes:
        topic: Name of the input topic.
        offsets: Of each partition, the next event; those are left out of which nothing was answered ever.
        ends: Where each partition of the topic ends.
    """

    topic: str
    offsets: Mapping[int, int]
    ends: Mapping[int, int]

    def waits(self, message: Any) -> bool:
        """Whether the event that a shadow speaks of has no outcome yet of the one that answers."""
        partition = message.partition()
        offset, end = self.offsets.get(partition, _EVER), self.ends.get(partition, 0)
        if offset >= end:  # all have one; or none will
            return False
        outcome = outcome_of_answer(self.topic, partition)(message)
        return outcome is not None and outcome.offset >= offset


def done_by(broker: Broker, topics: Topics) -> Done:
    """How far the stream that answers has come, by its group.

    Raises:
        StreamError: The cluster failed.
    """
    from confluent_kafka import ConsumerGroupTopicPartitions

    log, client = broker.log(topics.events), broker.admin()
    if log is None:
        return Done(topics.events, {}, {})

    def ask() -> Any:
        requests = [ConsumerGroupTopicPartitions(topics.group)]
        return client.list_consumer_group_offsets(requests, request_timeout=TIMEOUT / 3)[topics.group].result()

    committed = broker.patiently(ask, topics.group, client).topic_partitions
    offsets = {
        partition.partition: partition.offset
        for partition in committed
        if partition.topic == topics.events and partition.offset >= 0
    }
    return Done(topics.events, offsets, log.ends)


def _newest(
    broker: Broker,
    topic: str,
    partitions: list[int] | None,
    outcome: Callable[[Any], EventOutcome | None],
    counts: dict[str, int],
) -> Iterator[tuple[EventOutcome, Any]]:
    """The newest outcome of each partition of a topic that has any, with its message."""
    count = counts.get(topic, 0)
    numbers = [p for p in (range(count) if partitions is None else partitions) if p < count]
    ends = broker.ends(topic, numbers) if numbers else {}
    for partition, end in ends.items():
        step, until = _LAST, end
        while until > 0:
            begin = max(until - step, 0)
            read = broker.read(topic, {partition: begin}, until={partition: until})
            outcome_found = [(pair, message) for message in read if (pair := outcome(message)) is not None]
            if outcome_found:
                yield max(outcome_found, key=lambda item: item[0])
                break
            until, step = begin, step * 10


def outcome_of_answer(topic: str, partition: int, version: int | None = None) -> Callable[[Any], EventOutcome | None]:
    """Tells of a message of the answers which event of a partition it is for; None for others.

    Of a `version` given, only what that one said.
    """
    named = re.compile(rf"{re.escape(topic)}(?:@(\d+))?-{partition}-(\d+)")

    def outcome(message: Any) -> EventOutcome | None:
        try:
            document = json.loads(message.value() or b"")
        except ValueError:
            return None
        is_ours = isinstance(document, dict) and version in (None, document.get("model_version"))
        cause = named.fullmatch(str(document.get("event_id"))) if is_ours else None
        return EventOutcome(int(cause[1] or 1), int(cause[2])) if cause else None

    return outcome


def _of_letter(topic: str, partition: int) -> Callable[[Any], EventOutcome | None]:
    def outcome(message: Any) -> EventOutcome | None:
        header_texts = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
        source, offset = header_texts.get("source_topic", ""), header_texts.get("source_offset", "")
        log = int(source[len(topic) + 1 :] or 1) if re.fullmatch(rf"{re.escape(topic)}(@\d+)?", source) else 0
        is_ours = log and source == source_of(topic, log) and header_texts.get("source_partition") == str(partition)
        return EventOutcome(log, int(offset)) if is_ours and offset.isdigit() else None

    return outcome
