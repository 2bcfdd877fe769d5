"""On which partition each series is: the one where it was seen first, by the order of a topic that all workers read.

Two producers that hash keys differently, or write them differently, put one series on two partitions. What a key hashes
to says nothing of that; where the series was before does. A worker that meets a series writes down where, reads the
topic to its end, and goes by what stands there first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from headrace.errors import BrokerUnavailableError
from headrace.sources.broker import Broker
from headrace.sources.keys import note, text_of
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import Topics

Keys = tuple[Any, ...]


class Homes:
    """Reads and writes the topic. Not for several threads at once.

    Args:
        broker: The cluster.
        topics: Of the system.
    """

    def __init__(self, broker: Broker, topics: Topics) -> None:
        from confluent_kafka import Consumer, Producer, TopicPartition

        self._broker, self._topic = broker, topics.series
        self._homes: dict[str, int] = {}
        self._read = 0
        settings = {"group_id": f"{topics.group}.series", "enable_auto_commit": False, "fetch_wait_max_ms": 10}
        more = {"enable_partition_eof": True, "auto_offset_reset": "earliest", "error_cb": lambda error: None}
        self._consumer = Consumer(broker.settings(**settings, **more))
        self._consumer.assign([TopicPartition(self._topic, 0, 0)])
        self._producer = Producer(
            broker.settings(
                enable_idempotence=True, linger_ms=1, error_cb=lambda error: None, message_timeout_ms=30_000
            )
        )

    def settle(self, found: Iterable[tuple[int, Keys]]) -> dict[Keys, int]:
        """The partition of each series, given partitions on which they were found; those without one get it.

        Raises:
            BrokerUnavailableError: The cluster did not answer in time.
        """
        first = {keys: partition for partition, keys in reversed(list(found))}
        if any(text_of(keys) not in self._homes for keys in first):
            self._catch_up()
        new = {keys: partition for keys, partition in first.items() if text_of(keys) not in self._homes}
        if new:
            for keys, partition in new.items():
                self._producer.produce(self._topic, key=text_of(keys), value=str(partition), partition=0)
                self._producer.poll(0)
            if self._producer.flush(TIMEOUT):
                raise BrokerUnavailableError("did not take where new series are", where=self._topic)
            self._catch_up()
        return {keys: self._homes[text_of(keys)] for keys in first}

    def _catch_up(self) -> None:
        (end,) = self._broker.ends(self._topic, [0]).values()
        until = time.monotonic() + TIMEOUT
        while self._read < end:
            for message in self._consumer.consume(10_000, timeout=0.05):
                if message.error() is not None:
                    continue
                note(self._homes, message)
                self._read = (message.offset() or 0) + 1
            if time.monotonic() > until:
                raise BrokerUnavailableError("cannot be read to its end", where=self._topic)

    def close(self) -> None:
        """Let go of the connections."""
        self._producer.purge()
        self._consumer.close()
