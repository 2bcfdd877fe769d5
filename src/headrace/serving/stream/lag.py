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
class LagReport:
    """What becomes of what a look finds.

    Attributes:
        lag: Takes the events that wait, by partition.
        away: Takes the seconds for which the cluster has not answered, 0 where it does, and its last word.
        partitions: Takes the number of partitions that the topic has; 0: it is gone.
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

    def __init__(self, broker: Broker, topics: Topics, told: LagReport) -> None:
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
        from confluent_kafka import KafkaError, KafkaException

        missing_codes = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001 - its public name
        client, since = self._broker.admin(), None
        while not self._stop.wait(EVERY):
            try:
                group_state = self._found(client)
            except KafkaException as error:
                if error.args[0].code() in missing_codes:
                    since = None
                    self._told.partitions(0)
                    continue
                client.poll(0)
                since = time.monotonic() - EVERY if since is None else since
                self._told.away(time.monotonic() - since, self._broker.unreachable(error).message)
                continue
            since = None
            self._told.away(0.0, "")
            self._told.lag(group_state)
            self._told.partitions(len(group_state))

    def _found(self, client: Any) -> dict[int, int]:
        """Events that wait, by partition."""
        from confluent_kafka import ConsumerGroupTopicPartitions, TopicCollection, TopicPartition, admin

        make: Any = admin
        name = self._topics.events
        # Not `list_topics`: where brokers make topics by themselves, to list one by its name makes it.
        topic = client.describe_topics(TopicCollection([name]), request_timeout=_LIMIT)[name].result()
        requests = [TopicPartition(name, p.id) for p in topic.partitions]
        group = self._topics.group
        offsets = client.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, requests)], request_timeout=_LIMIT
        )
        committed = {partition.partition: partition.offset for partition in offsets[group].result().topic_partitions}
        latest = self._offsets(client, dict.fromkeys(requests, make.OffsetSpec.latest()))
        fresh = {
            partition: make.OffsetSpec.earliest()
            for partition in requests
            if committed.get(partition.partition, -1) < 0
        }
        committed |= self._offsets(client, fresh) if fresh else {}
        read = self._told.read()
        offsets_found = {}
        for partition, end in latest.items():
            position, nothing_from = read.get(partition, (0, -1))
            # Nothing more was found, and all before is committed: the rest are marks of transactions.
            up = nothing_from >= end and committed[partition] >= position
            offsets_found[partition] = 0 if up else max(end - committed[partition], 0)
        return offsets_found

    @staticmethod
    def _offsets(client: Any, partitions: Mapping[Any, Any]) -> dict[int, int]:
        answers = client.list_offsets(dict(partitions), request_timeout=_LIMIT)
        return {partition.partition: future.result().offset for partition, future in answers.items()}
