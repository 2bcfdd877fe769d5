"""What has an outcome already: the answers and letters on the topics say it, should all else be gone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from headrace.serving.stream.positions import source_of
from headrace.serving.stream.rings import Keys
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = 1_000
"""Messages of a partition that are looked at first, from its end."""


class Outcome(NamedTuple):
    """An event that has one."""

    log: int
    offset: int


def newest(broker: Broker, topics: Topics, partition: int) -> Outcome | None:
    """The newest event of a partition that has an outcome; None if none of them has.

    Events have theirs in order, so all before it have one as well.

    Raises:
        StreamError: The cluster failed.
    """
    counts = broker.partitions()
    found = [
        *_newest(broker, topics.predictions, [partition], outcome_of_answer(topics.events, partition), counts),
        *_newest(broker, topics.dead_letters, None, _of_letter(topics.events, partition), counts),
        *_newest(broker, topics.late, None, _of_letter(topics.events, partition), counts),
    ]
    return max(found, default=None)


def first_known(broker: Broker, topics: Topics, partition: int, columns: Sequence[str]) -> dict[Keys, int]:
    """When the first event of each series of a partition that was answered became known, microseconds since 1970.

    Nothing where the topic has lost its beginning.

    Raises:
        StreamError: The cluster failed.
    """
    there = broker.log(topics.predictions)
    if there is None or there.begins.get(partition, 0) > 0 or not there.ends.get(partition, 0):
        return {}
    found: dict[Keys, int] = {}
    outcome, seen = outcome_of_answer(topics.events, partition), set[bytes | None]()
    for message in broker.read(topics.predictions, {partition: 0}):
        if message.key() in seen or outcome(message) is None:
            continue
        seen.add(message.key())
        said = json.loads(message.value())
        keys, at = tuple(said.get(name) for name in columns), datetime.fromisoformat(said["as_of"])
        found.setdefault(keys, (at - _EPOCH) // timedelta(microseconds=1))
    return found


def _newest(
    broker: Broker,
    topic: str,
    partitions: list[int] | None,
    outcome: Callable[[Any], Outcome | None],
    counts: dict[str, int],
) -> Iterator[Outcome]:
    """The newest outcome of each partition of a topic that has any."""
    count = counts.get(topic, 0)
    wanted = [p for p in (range(count) if partitions is None else partitions) if p < count]
    ends = broker.ends(topic, wanted) if wanted else {}
    for partition, end in ends.items():
        back, until = _LAST, end
        while until > 0:
            begin = max(until - back, 0)
            read = broker.read(topic, {partition: begin}, until={partition: until})
            found = [each for each in map(outcome, read) if each is not None]
            if found:
                yield max(found)
                break
            until, back = begin, back * 10


def outcome_of_answer(topic: str, partition: int) -> Callable[[Any], Outcome | None]:
    """Tells of a message of the answers which event of a partition it is for; None for others."""
    named = re.compile(rf"{re.escape(topic)}(?:@(\d+))?-{partition}-(\d+)")

    def outcome(message: Any) -> Outcome | None:
        try:
            said = json.loads(message.value() or b"")
        except ValueError:
            return None
        cause = named.fullmatch(str(said.get("event_id"))) if isinstance(said, dict) else None
        return Outcome(int(cause[1] or 1), int(cause[2])) if cause else None

    return outcome


def _of_letter(topic: str, partition: int) -> Callable[[Any], Outcome | None]:
    def outcome(message: Any) -> Outcome | None:
        said = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
        source, offset = said.get("source_topic", ""), said.get("source_offset", "")
        log = int(source[len(topic) + 1 :] or 1) if re.fullmatch(rf"{re.escape(topic)}(@\d+)?", source) else 0
        mine = log and source == source_of(topic, log) and said.get("source_partition") == str(partition)
        return Outcome(log, int(offset)) if mine and offset.isdigit() else None

    return outcome
