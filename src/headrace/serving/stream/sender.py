"""Sends what a micro-batch gave in one transaction, with the offsets of its events.

The cluster takes milliseconds for a commit, in which there is nothing to do here: so it goes on in a thread of its own
while the next micro-batch is read and answered. One transaction is open at a time.

The client may never come back from a call: librdkafka forgets its limit where the group's coordinator goes away at the
wrong moment (its issues 5456 and 5511). Or it may be of no use any more, because a broker that comes back after a crash
knows its transaction otherwise. Then the sender is given up for a new one, whose start ends the transaction.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

from headrace.errors import BrokerUnavailableError, StreamError
from headrace.lineage import ROLE, SHADOW
from headrace.serving.engine.batch import Answered, Message
from headrace.serving.engine.positions import source_of
from headrace.serving.stream.identity import fenced
from headrace.sources.broker import Broker
from headrace.sources.messages.base import Headers
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import LARGEST, Topics

CALL = 10.0
"""Seconds that one call of the client has."""
_SMALL = 500_000
"""Bytes that every topic takes."""
HEADERS = 16_384
"""Bytes that a letter may have beside the event."""
STUCK = 15.0
"""Seconds after which a call will not come back any more."""
_LOOK = 0.5
"""Seconds between two looks whether it is stuck."""


class Aborted(Exception):
    """The transaction did not happen, and the worker may go on from the last one that did."""


class Lost(Aborted):
    """The client is of no use any more. A new sender sees to it that nothing counts that is not committed."""


class Stuck(Lost):
    """The client did not come back."""


class Sender:
    """A transactional producer.

    Args:
        broker: The cluster.
        topics: Where to send.
        identity: The ``transactional.id``: the newest worker that has it fences off earlier ones.
        stop: When it is set there is little patience: what is not done soon is given up.
        timeout: Seconds after which the cluster ends a transaction whose worker has died.
        waiting: Told now and then while a commit is waited for.
        fence: Begins to look whether a transaction may be committed; what it gives waits for it, and raises `Aborted`.

    Raises:
        BrokerUnavailableError: The cluster cannot be reached within the broker's patience.
        FencedError: Another worker with this identity was started.
        StreamError: The cluster refuses.
    """

    _called = 0.0
    """When the client was last called."""
    _stuck = False

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        identity: str,
        stop: threading.Event,
        *,
        timeout: float = 10.0,
        waiting: Callable[[float], None] = lambda seconds: None,
        fence: Callable[[], Callable[[], None]] = lambda: lambda: None,
    ) -> None:
        from confluent_kafka import Producer

        self._topics, self._identity, self._stop = topics, identity, stop
        self._patience, self._waiting, self._fence = broker.patience.seconds, waiting, fence
        self._broker, self._most = broker, dict[str, int]()
        self._producer = Producer(
            broker.settings(
                transactional_id=identity,
                transaction_timeout_ms=int(timeout * 1000),
                linger_ms=1,
                # The first request of a transaction is refused while the one before is being marked: ask again at once.
                retry_backoff_ms=2,
                retry_backoff_max_ms=500,
                batch_size=1_000_000,
                queue_buffering_max_messages=1_000_000,
                message_max_bytes=LARGEST,
                compression_type="lz4",
            )
        )
        self._start(broker)
        self._open: Future[float] | None = None
        self._work: SimpleQueue[tuple[list[Any], Any, Callable[[], None], Future[float]] | None] = SimpleQueue()
        # Not of an executor: the end of the program waits for those.
        threading.Thread(target=self._commits, name="commit", daemon=True).start()

    def _start(self, broker: Broker) -> None:
        patience = broker.patience.part()
        while True:
            try:
                self._insist(lambda: self._producer.init_transactions(CALL), 0.0)
                return
            except Aborted as refused:
                failure = broker.unreachable(_cause(refused), self._identity)
                if isinstance(refused, Lost) or not isinstance(failure, BrokerUnavailableError):
                    raise failure from refused
                patience.wait(failure)

    def send(self, answered: Answered, offsets: Mapping[int, int], group: Any) -> None:
        """Begin to send all records of a micro-batch and the offsets after it, or nothing; `settle` says which.

        Args:
            answered: The records.
            offsets: Partition to the offset of the next event.
            group: The consumer's membership of its group.

        Raises:
            Aborted: Nothing of it counts.
            Lost: The same, and a new sender is to take the place.
            FencedError: Another worker with this identity was started.
        """
        from confluent_kafka import KafkaException, TopicPartition

        assert self._open is None, "one transaction at a time"
        batch, produce = answered.batch, self._producer.produce
        ends = [TopicPartition(self._topics.events, partition, offset) for partition, offset in offsets.items()]
        may = self._fence()
        try:
            self._attempt(self._producer.begin_transaction)
            keys, partitions, topic = batch.key, batch.partition, self._topics.output
            going_on = answered.going_on()
            for place, answer in zip(answered.places, answered.answers, strict=True):
                if place in going_on:
                    produce(topic, answer, keys[place], partitions[place], headers=going_on[place])
                else:
                    produce(topic, answer, keys[place], partitions[place])
            topic = self._topics.state
            for partition, key, value in answered.changes:
                produce(topic, value, key, partition)
            if self._topics.shadow is not None:
                self._tell_refused(answered, self._topics.shadow)
            else:
                self._set_apart(answered)
        except (KafkaException, BufferError) as error:  # of handing a record over
            self._abort(error)
        except Lost:
            raise
        except Aborted as aborted:
            self._abort(aborted.__cause__ or aborted)
        self._open = Future()
        self._work.put((ends, group, may, self._open))

    def _set_apart(self, answered: Answered) -> None:
        """Send on what is not answered here."""
        for message, partition in answered.moved:
            cause = f"{self._topics.events}-{message.partition}-{message.offset}"
            headers: list[Any] = [*(message.headers or ()), ("moved_from", cause.encode())]
            self._producer.produce(self._topics.events, message.value, message.key, partition, headers=headers)
        self._pass_on(self._topics.dead_letters, answered.dead, answered.logs)
        self._pass_on(self._topics.late, answered.late, answered.logs)

    def _tell_refused(self, answered: Answered, version: int) -> None:
        """Say of what a version beside has nothing to say to, why; the one that answers sets it apart, or moves it."""
        for message, reason in (*answered.dead, *answered.late):
            source = source_of(self._topics.events, answered.logs.get(message.partition, 1))
            document = {"event_id": f"{source}-{message.partition}-{message.offset}", "error": reason[:4096]}
            body = json.dumps({**document, "model_version": version, ROLE: SHADOW}, ensure_ascii=False).encode()
            self._producer.produce(self._topics.output, body, message.key, message.partition)

    def _commits(self) -> None:
        """Commit one transaction after the other, in a thread of its own."""
        for ends, group, may, callback in iter(self._work.get, None):
            try:
                callback.set_result(self._commit(ends, group, may))
            except Exception as error:  # noqa: BLE001 - whatever it is, who waits for it raises it
                callback.set_exception(error)

    def _commit(self, ends: list[Any], group: Any, may: Callable[[], None]) -> float:
        try:
            self._insist(lambda: self._producer.send_offsets_to_transaction(ends, group, CALL), TIMEOUT)
            may()
            self._insist(lambda: self._producer.commit_transaction(CALL), self._patience)
        except Lost:
            raise
        except Aborted as aborted:
            self._abort(aborted.__cause__ or aborted)
        return time.time()

    def settle(self) -> float:
        """Wait until what was sent counts; returns since when, by the clock. To be called once after each `send`.

        Raises:
            Aborted: Nothing of it counts.
            Lost: Whether it counts is known once a new sender has taken the place.
            FencedError: Another worker with this identity was started.
        """
        assert self._open is not None, "nothing was sent"
        waited, self._open = self._open, None
        # Counted, not read off the clock: a process that was stopped is not stuck, and another may have its place.
        called, silent, began = self._called, 0.0, time.monotonic()
        while silent <= STUCK:
            try:
                return waited.result(_LOOK)
            except TimeoutError:
                called, silent = self._called, silent + _LOOK if self._called == called else 0.0
                self._waiting(time.monotonic() - began)
        self._stuck = True
        raise Stuck(f"the client has not come back from a call for {silent:.0f} s")

    def close(self) -> None:
        """Let go of the connection; an open transaction ends by itself."""
        if (
            self._stuck
        ):  # the client is inside of a call: to touch it, or to let it go when it returns, ends the process
            return
        self._work.put(None)
        self._producer.purge()

    def _pass_on(self, topic: str, letters: Sequence[tuple[Message, str]], logs: Mapping[int, int]) -> None:
        for message, reason in letters:
            value, own_headers = self._fitting(topic, message)
            headers: list[tuple[str, str | bytes | None]] = [
                # As the event came; what follows has the last word where names are the same.
                *(header for header in own_headers if header[0] != "cut_from"),
                ("reason", reason.encode()[:4096]),
                ("early", b"true" if getattr(reason, "early", False) else None),
                ("source_topic", source_of(self._topics.events, logs.get(message.partition, 1)).encode()),
                ("source_partition", str(message.partition).encode()),
                ("source_offset", str(message.offset).encode()),
                ("source_timestamp", str(message.timestamp).encode()),
            ]
            if value is not message.value:
                headers.append(("cut_from", str(len(message.value or b"")).encode()))
            self._producer.produce(topic, key=message.key, value=value, headers=headers)

    def _fitting(self, topic: str, message: Message) -> tuple[bytes | None, Headers]:
        """As much of a letter as its topic takes: a longer one would fail every transaction that it is in."""
        value, own_headers = message.value, message.headers or ()
        size = sum(len(name) + len(content or b"") for name, content in own_headers)
        if len(value or b"") + size < _SMALL:
            return value, own_headers
        if topic not in self._most:
            try:
                self._most[topic] = int(self._broker.configs([topic])[topic]["max.message.bytes"])
            except StreamError:  # not everybody may see it: it is as the stream makes it
                self._most[topic] = LARGEST
        limit = self._most[topic] - HEADERS
        if size > limit // 2:
            own_headers, size = (), 0
        limit -= size
        return value if value is None or len(value) <= limit else value[:limit], own_headers

    def _abort(self, cause: BaseException) -> None:
        try:
            self._insist(lambda: self._producer.abort_transaction(CALL), self._patience)
        except Aborted as aborted:
            raise Lost(f"the transaction can be neither committed nor aborted: {aborted}") from cause
        raise Aborted(str(cause)) from cause

    def _attempt(self, call: Callable[[], object]) -> None:
        self._insist(call, 0.0)

    def _insist(self, call: Callable[[], object], patience: float) -> None:
        """Make a call until it succeeds; errors that pass are tried again while there is patience."""
        from confluent_kafka import KafkaException

        began = time.monotonic()
        while True:
            self._called = time.monotonic()
            try:
                call()
            except KafkaException as failed:
                error = failed.args[0]
                if self._fenced(error):
                    raise fenced(self._identity) from failed
                if error.fatal():
                    raise Lost(error.str()) from failed
                limit = min(patience, CALL) if self._stop.is_set() else patience
                if not error.retriable() or time.monotonic() - began > limit:
                    raise Aborted(error.str()) from failed
                time.sleep(0.05)
            else:
                return

    def _fenced(self, error: Any) -> bool:
        from confluent_kafka import KafkaError

        return error.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED)  # noqa: SLF001 - its public name


def _cause(refused: Aborted) -> Exception:
    cause = refused.__cause__
    return cause if isinstance(cause, Exception) else refused
