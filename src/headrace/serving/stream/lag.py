"""How many events wait on the topic, as the cluster tells it: of every partition, whoever works on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.sources.broker import Broker
from headrace.sources.topics import Topics

EVERY = 5.0
"""Seconds between two looks."""
_LIMIT = 5.0
"""Seconds that the cluster has to answer."""


@dataclass(frozen=True)
class Told:
    """What becomes of what a look finds.

    Attributes:
        lag: Takes the events that wait, by partition.
        away: Takes the seconds for which the cluster has not answered, 0 where it does, and its last word.
        partitions: Takes the number of partitions that the topic has.
        read: Gives the next offset and the one at which the worker found nothing more, by partition.
    """

    lag: Callable[[Mapping[int, int]], None]
    away: Callable[[float, str], None]
    partitions: Callable[[int], None]
    read: Callable[[], Mapping[int, tuple[int, int]]]


class LagWatch:
    """Looks every few seconds, in a thread of its own.

    Args:
        broker: The cluster.
        topics: Whose events, and whose group.
        told: What becomes of it.
    """

    def __init__(self, broker: Broker, topics: Topics, told: Told) -> None:
        self._broker, self._topics, self._told = broker, topics, told
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lag", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join(timeout=_LIMIT)

    def _look(self) -> None:
        from confluent_kafka import KafkaException

        client, since = self._broker.admin(), None
        while not self._stop.wait(EVERY):
            try:
                found = self._found(client)
            except KafkaException as error:
                client.poll(0)
                since = time.monotonic() - EVERY if since is None else since
                self._told.away(time.monotonic() - since, self._broker.unreachable(error).message)
                continue
            since = None
            self._told.away(0.0, "")
            self._told.lag(found)
            self._told.partitions(len(found))

    def _found(self, client: Any) -> dict[int, int]:
        """Events that wait, by partition."""
        from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition, admin

        make: Any = admin
        name = self._topics.events
        topic = client.list_topics(name, timeout=_LIMIT).topics[name]
        if topic.error is not None:
            raise KafkaException(topic.error)
        if not topic.partitions:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        asked = [TopicPartition(name, p) for p in topic.partitions]
        group = self._topics.group
        offsets = client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, asked)], request_timeout=_LIMIT
        )
        done = {each.partition: each.offset for each in offsets[group].result().topic_partitions}
        latest = self._offsets(client, dict.fromkeys(asked, make.OffsetSpec.latest()))
        fresh = {each: make.OffsetSpec.earliest() for each in asked if done.get(each.partition, -1) < 0}
        done |= self._offsets(client, fresh) if fresh else {}
        read = self._told.read()
        found = {}
        for partition, end in latest.items():
            position, nothing_from = read.get(partition, (0, -1))
            # Nothing more was found, and all before is committed: the rest are marks of transactions.
            up = nothing_from >= end and done[partition] >= position
            found[partition] = 0 if up else max(end - done[partition], 0)
        return found

    @staticmethod
    def _offsets(client: Any, asked: Mapping[Any, Any]) -> dict[int, int]:
        answers = client.list_offsets(dict(asked), request_timeout=_LIMIT)
        return {each.partition: future.result().offset for each, future in answers.items()}
