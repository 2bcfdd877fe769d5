"""Reads micro-batches of the partitions that its group gives a worker, and sees to what the client says beside them."""

from __future__ import annotations

import threading
import time
from typing import Any

from headrace.errors import BrokerUnavailableError, HeadraceError
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.stream.assignment import Assignment
from headrace.serving.stream.health import Health
from headrace.serving.stream.identity import fenced
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.partitions import Partitions
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics
from headrace.system import System

LINGER = 0.005
"""Seconds that a micro-batch is filled for after its first event."""
_WAIT = 0.25
"""Seconds that a turn of the loop waits for an event."""
_CLOSING = 10.0
"""Seconds that the consumer has to close."""
_NOT_MINE = 2**63
_SPARE = 8
"""A micro-batch that took less than one such part of the time there is may be followed by one of twice its size."""
_REFRESH = 2_000
"""Milliseconds between two looks of the client at the topic: whether it was made anew, or has more partitions."""


class EventReader:
    """The consumer of one worker.

    Args:
        system: The declaration.
        broker: The cluster.
        topics: What is read.
        name: The worker's.
        parts: Told where a log is not what it was.
        assignment: The partitions that are read.
        health: Where to tell.
    """

    def __init__(
        self,
        system: System,
        broker: Broker,
        topics: Topics,
        name: str,
        parts: Partitions,
        assignment: Assignment,
        health: Health,
    ) -> None:
        self._declared, self._broker, self._topics, self._name = system.stream, broker, topics, name
        self._parts, self._its, self._health = parts, assignment, health
        self._consumer: Any = None
        self._astray = False
        self.down_at: float | None = None
        """When all brokers were away last (monotonic)."""
        self._poll = 0.0
        self.limit = system.stream.batch
        """Events of a micro-batch at most: fewer than declared after one that took too long."""

    def join(self, options: WorkerOptions, partitions: int) -> None:
        """Join the group with a new client; the topic has so many partitions."""
        from confluent_kafka import Consumer

        group, membership = self._topics.group, self._its
        self._poll = max(options.poll, options.session)
        consumer = Consumer(
            self._broker.settings(
                group_id=group,
                group_instance_id=f"{group}.{self._name}",
                enable_auto_commit=False,
                isolation_level="read_committed",
                error_cb=self._outage,
                enable_partition_eof=True,
                auto_offset_reset="error",  # what the log has no more is for the worker to see
                topic_metadata_refresh_interval_ms=_REFRESH,
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=int(options.session * 1000),
                max_poll_interval_ms=int(self._poll * 1000),
                fetch_queue_backoff_ms=10,
                queued_max_messages_kbytes=32_768,
                fetch_wait_max_ms=100,
            )
        )
        consumer.subscribe(
            [self._topics.events],
            on_assign=membership.assigned,
            on_revoke=membership.revoked,
            on_lost=membership.revoked,
        )
        self._health.telemetry.reason = "has not joined its group yet"
        self._consumer = membership.consumer = consumer
        membership.count = partitions

    def leave(self) -> None:
        """Let go of the client and of the state. In the middle of a rebalance the client may wait for ever."""
        consumer, self._consumer = self._consumer, None
        self._its.leave()
        if consumer is None:
            return
        closing = threading.Thread(target=consumer.close, name="close", daemon=True)
        closing.start()
        closing.join(_CLOSING)
        if closing.is_alive():
            self._health.log.warning("did not close in time", seconds=_CLOSING)

    def group(self) -> Any:
        """The client's membership of its group, for a transaction."""
        return self._consumer.consumer_group_metadata()

    def reload(self) -> None:
        """Go back to the last transaction that counts."""
        self._astray = False
        self._its.reload()

    def consume(self) -> list[Any]:
        """What is there once the first event has come, and a little after.

        Raises:
            HeadraceError: What failed beside it.
            Grown: The topic has more partitions than before.
        """
        came: list[Any] = self._consumer.consume(1, timeout=_WAIT)
        if came and self.limit > 1:
            came += self._consumer.consume(self.limit - 1, timeout=LINGER)
        if self._its.failure is not None:
            failure, self._its.failure = self._its.failure, None
            raise failure
        return came

    def took(self, events: int, seconds: float) -> None:
        """So many events took so long: the next micro-batch has fewer or, in time, more again.

        Past the group's patience the client is taken out of it, and nothing of the micro-batch counts.
        """
        if seconds > self._poll / 2 and self.limit > 1:
            self.limit = max(min(self.limit, events) // 2, 1)
            reason = f"{events:,} events took {seconds:.1f} s, the group waits for {self._poll:g} s"
            self._health.log.warning("micro-batches are halved", detail=reason, events=self.limit)
        elif self.limit < self._declared.batch and seconds * _SPARE < self._poll:
            self.limit = min(2 * self.limit, self._declared.batch)
            if self.limit == self._declared.batch:
                self._health.log.info("micro-batches are whole again", events=self.limit)
        self._health.telemetry.batch_limit.set(self.limit)

    def batch(self, came: list[Any]) -> MessageBatch | None:
        """The events of a micro-batch, in the order of the log; None: a log is not what it was, so read all anew."""
        good = [message for message in came if message.error() is None]
        batch = self._mine(MessageBatch.taken(good, self._declared.clock))
        self._its.read_up -= set(batch.partition)
        for message in came if len(good) != len(came) else ():
            self._noted(message)
        if self._astray or self._parts.astray:
            return None
        self._its.positions |= batch.ends
        return batch

    def _mine(self, batch: MessageBatch) -> MessageBatch:
        """The same batch; without partitions that came in between, which are read once more from where they go on."""
        membership = self._its
        is_again, membership.came = membership.came & set(batch.partition), set()
        is_again |= {p for p, first in batch.begins.items() if membership.positions.get(p, _NOT_MINE) > first}
        if not is_again:
            return batch
        membership.begin_again(is_again)
        return batch.without(is_again)

    def _noted(self, message: Any) -> None:
        """What a message says beside an event: in the order in which they came."""
        if message.error() is None:
            self._its.read_up.discard(message.partition())
        else:
            self._trouble(message.error(), message)

    def _outage(self, error: Any) -> None:
        """Trouble of the client beside any message; unless it is fatal, the client goes on by itself."""
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name
            self.down_at = time.monotonic()
        try:
            self._trouble(error)
        except HeadraceError as failure:  # an exception here would be lost inside the client
            self._its.failure = failure

    def _trouble(self, error: Any, message: Any = None) -> None:
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._PARTITION_EOF and message is not None:  # noqa: SLF001 - its public name
            self._its.read_up.add(message.partition())
            self._its.nothing_from[message.partition()] = message.offset()
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET and message is not None:  # noqa: SLF001 - its public name
            partition = message.partition()
            self._health.log.warning("the log is not what it was", partition=partition, detail=error.str())
            self._astray = True
            self._parts.cut_off(partition, error.str())
            return
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._health.gone(self._topics.events)
            return
        fatal = error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001 - its public name
        if error.code() == KafkaError.FENCED_INSTANCE_ID or (fatal and "fenced" in error.str()):
            raise fenced(self._name)
        if fatal:
            raise BrokerUnavailableError(error.str(), where=self._broker.bootstrap)
        self._health.once("trouble", error.str())
