"""The partitions that its group gives a worker, and how far it has read each; here it takes them up and lets them go.

The callbacks run inside `consume`, and first wait for the transaction that is open.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.serving.stream.commits import Commits
from headrace.serving.stream.health import Health
from headrace.serving.stream.partitions import Partitions
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT, Patience

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition


class Grown(Exception):
    """The topic has more partitions than before."""


class Assignment:
    """What one worker reads.

    Args:
        broker: The cluster.
        topic: Name of the input topic.
        parts: Takes partitions up where their last transaction ended.
        commits: The transaction that is open.
        health: Where to tell.
        patience: Rewarded by every restore.
    """

    def __init__(
        self, broker: Broker, topic: str, parts: Partitions, commits: Commits, health: Health, patience: Patience
    ) -> None:
        self._broker, self._topic, self._parts, self._commits = broker, topic, parts, commits
        self._health, self._patience = health, patience
        self.consumer: Any = None
        """The client whose callbacks count; of others they are of no interest."""
        self.count = 0
        """Partitions that the topic had when it was looked at."""
        self.positions: dict[int, int] = {}
        """The next offset, by partition."""
        self.read_up: set[int] = set()
        """Partitions that were read to their end."""
        self.nothing_from: dict[int, int] = {}
        """The offset at which nothing more was found, by partition."""
        self.came: set[int] = set()
        """Partitions that came since the last micro-batch."""
        self.failure: Exception | None = None
        """What a callback failed with, and the worker is to: an exception there would be lost inside the client."""

    @property
    def exhausted(self) -> bool:
        """Whether all partitions were read to their ends."""
        return self.positions.keys() <= self.read_up

    def read(self) -> dict[int, tuple[int, int]]:
        """The next offset and the one at which nothing more was found (or -1), by partition."""
        nothing_from = self.nothing_from
        return {p: (offset, nothing_from.get(p, -1)) for p, offset in self.positions.copy().items()}

    def begin_again(self, partitions: set[int]) -> None:
        """Read partitions once more from where they go on."""
        begin = [self._parts.at[p].begin(self._topic, p) for p in partitions if p in self.positions]
        self.consumer.incremental_unassign(begin)
        self.consumer.incremental_assign(begin)

    def assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Restore the state of new partitions, and begin where its last transaction ended."""
        if consumer is not self.consumer:
            return
        if max((partition.partition for partition in partitions), default=-1) >= self.count:
            self.failure = Grown("the topic has more partitions than before")  # the state has not, yet
            return
        self._health.telemetry.rebalances.inc()
        try:
            self._commits.aborted |= not self._commits.settled()
            begin = self._restored([partition.partition for partition in partitions])
        except HeadraceError as error:
            self.failure = error
            return
        consumer.incremental_assign(begin)
        self.came |= {start.partition for start in begin}
        self.positions |= {start.partition: start.offset for start in begin}

    def revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget the state of partitions that another worker will have."""
        if consumer is not self.consumer:
            return
        self._health.telemetry.rebalances.inc()
        try:
            self._commits.aborted |= not self._commits.settled()
        except HeadraceError as error:
            self.failure = error
        numbers = [partition.partition for partition in partitions]
        self._forget(numbers)
        consumer.incremental_unassign(partitions)
        self._health.log.info("taken away", partitions=numbers)

    def reload(self) -> None:
        """Go back to the last transaction that counts."""
        from confluent_kafka import KafkaException

        self._commits.aborted = False
        assigned = self.consumer.assignment()
        try:
            self.consumer.incremental_unassign(assigned)
            self.positions.clear()
            self.read_up.clear()
            begin = self._restored([partition.partition for partition in assigned])
            self.consumer.incremental_assign(begin)
        except KafkaException as error:
            raise self._broker.unreachable(error, self._topic) from error
        self.positions |= {start.partition: start.offset for start in begin}

    def leave(self) -> None:
        """Forget all of it; the client's callbacks count no more."""
        self.consumer = self.failure = None
        self._forget(list(self.positions))

    def _forget(self, partitions: Sequence[int]) -> None:
        for partition in partitions:
            self._parts.drop(partition)
            self.positions.pop(partition, None)
            self.read_up.discard(partition)
            self.nothing_from.pop(partition, None)

    def _restored(self, partitions: list[int]) -> list[TopicPartition]:
        """Where to begin with each partition; its state is restored."""
        from confluent_kafka import TopicPartition

        telemetry = self._health.telemetry
        telemetry.reason = "restores its state"
        began = time.monotonic()
        requests = [TopicPartition(self._topic, p) for p in partitions]
        # Committed offsets first: they wait for open transactions, which the changelog then holds to their end.
        committed = self._committed(requests) if requests else []
        begin = self._parts.take_up({partition.partition: partition.offset for partition in committed})
        seconds, series = time.monotonic() - began, self._parts.engine.size()[0]
        telemetry.restore_seconds.observe(seconds)
        telemetry.reason, telemetry.worked = "", True
        self._patience.rewarded()
        self._health.log.info("restored", partitions=partitions, series=series, seconds=round(seconds, 3))
        return [position.begin(self._topic, partition) for partition, position in begin.items()]

    def _committed(self, requests: list[TopicPartition]) -> list[TopicPartition]:
        return self._broker.patiently(lambda: self.consumer.committed(requests, timeout=TIMEOUT), self._topic)
