"""One worker of a feature group: reads a micro-batch and puts it in, from where the online side says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.errors import BrokerUnavailableError, HeadraceError, OnlineUnavailableError, StoreError
from headrace.feature_system import FeatureSystem
from headrace.home import Home
from headrace.pipelines.messages import opener
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.stream.features.feeding import Elsewhere, Fed, Feeding
from headrace.serving.stream.features.folding import Folds
from headrace.serving.stream.features.group import prepared
from headrace.serving.stream.features.places import Places
from headrace.serving.stream.features.telemetry import FeatureTelemetry
from headrace.serving.stream.fence import Fence
from headrace.serving.stream.lag import LagReport, LagWatch
from headrace.serving.stream.log import logger
from headrace.serving.stream.sender import Aborted
from headrace.sources.broker import Broker
from headrace.sources.events import EventDecoder
from headrace.sources.patience import Patience
from headrace.store import fed
from headrace.store.online.feeds import FeedPosition

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

T = TypeVar("T")
LINGER = 0.005
"""Seconds that a micro-batch is filled for after its first event."""
LARGEST = 2_000
"""Events of a micro-batch at most: none is to wait for many others."""
SETTLED = 2.0
"""Seconds between two writes to the table."""
_WAIT, _PAUSE = 0.25, 1.0
_QUIET = 10.0
"""Seconds for which trouble of one kind is told once."""


@dataclass(frozen=True)
class FeedOptions:
    """How a worker runs.

    Attributes:
        partitions: Partitions of a topic that is made; None: as the system declares.
        idle: Stop after so many seconds without an event; None goes on.
        patience: Seconds for which a cluster that does not answer is waited for.
        accept_loss: Whether to go on where events are gone before they were read.
    """

    partitions: int | None = None
    idle: float | None = None
    patience: float = 600.0
    accept_loss: bool = False


class FeedWorker:
    """Feeds the group with the events of the partitions that it is given.

    Args:
        system: The declaration.
        home: Where tables and the online side are.
        broker: The cluster.
        name: Its name in logs.
        options: How it runs.
        telemetry: Where it tells of itself.
    """

    def __init__(
        self,
        system: FeatureSystem,
        home: Home,
        broker: Broker,
        name: str,
        options: FeedOptions,
        telemetry: FeatureTelemetry | None = None,
    ) -> None:
        self.telemetry = telemetry or FeatureTelemetry(system.name)
        self._system, self._home, self._options = system, home, options
        self._broker, self._topics = broker, system.topics
        self._log = logger(system.name, name)
        self._at: dict[int, FeedPosition] = {}
        self._read_up: dict[int, int] = {}
        self._assigned: list[int] = []
        self._fresh = True
        self._failure: HeadraceError | None = None
        self._said: dict[str, float] = {}
        self._settles = threading.Lock()
        self._consumer: Any = None

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Feed until told to stop, or idle for as long as the options say; returns what was done.

        Raises:
            BrokerUnavailableError: The cluster was away for longer than it is waited for.
            StreamError: The cluster refuses; or events are gone that were not read.
        """
        self._stop, self._patience = stop, Patience(self._options.patience, stop, self._waiting)
        self._broker = replace(self._broker, patience=self._patience)
        try:
            self._broker.ensure(self._topics, self._options.partitions or self._topics.partitions)
            started = self._once_online(self._start)
        except BrokerUnavailableError:
            if stop.is_set():
                return self._done()
            raise
        if started is None:
            return self._done()
        lag = LagWatch(
            self._broker, self._topics, LagReport(self.telemetry.lag, self._away, lambda _: None, self._read)
        )
        settler = threading.Thread(target=self._settler, name="table", daemon=True)
        lag.start()
        settler.start()
        try:
            self._consumer = self._subscribed()
            self._loop()
        except BrokerUnavailableError:
            if not stop.is_set():
                raise
        finally:
            lag.stop()
            self._leave()
            self.telemetry.reason = "has stopped"
            self._log.info("stopped", **self._done())
        return self._done()

    def _start(self) -> bool:
        """Make ready to feed."""
        system, home = self._system, self._home
        self._group = prepared(system, home)
        events = system.events
        shape = events.event_shape(home.grid(events))
        decode = EventDecoder(shape, opener(events, home, self._broker.patience))
        self._feeding = Feeding(system, self._group, self._topics.events, Folds(system, shape.grid), decode)
        accept = self._options.accept_loss
        self._places = Places(system, self._group, self._topics.events, self._feeding, accept_loss=accept)
        self._fence = Fence(self._broker, self._topics.events, self._expected)
        self._log.info("started", group=f"{system.name}/{self._group.name}", definition=system.definition)
        return True

    def _expected(self) -> str | None:
        return next((position.topic for position in self._at.values()), None)

    def _subscribed(self) -> Consumer:
        from confluent_kafka import Consumer

        consumer_class: Any = Consumer
        consumer: Consumer = consumer_class(
            self._broker.settings(
                group_id=self._topics.group,
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="error",
                isolation_level="read_committed",
                session_timeout_ms=6_000,
                topic_metadata_refresh_interval_ms=2_000,
                fetch_wait_max_ms=10,
                fetch_queue_backoff_ms=10,
                queued_max_messages_kbytes=16_384,
                error_cb=self._heard,
            )
        )
        consumer.subscribe([self._topics.events], on_assign=self._given, on_revoke=self._taken)
        return consumer

    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take partitions; nothing is read of them before it is known where to begin."""
        from confluent_kafka import OFFSET_END

        for partition in partitions:
            partition.offset = OFFSET_END
        consumer.assign(partitions)
        consumer.pause(partitions)
        self._assigned, self._fresh = [partition.partition for partition in partitions], True
        self.telemetry.rebalances.inc()

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Nothing of them is in memory but where they are."""
        self._at, self._assigned, self._fresh = {}, [], True
        consumer.unassign()
        self.telemetry.rebalances.inc()

    def _heard(self, error: Any) -> None:
        if error.fatal():
            self._failure = BrokerUnavailableError(error.str(), where=self._broker.bootstrap)

    def _loop(self) -> None:
        quiet = time.monotonic()
        while not self._stop.is_set():
            self.telemetry.turn()
            if self._fresh and self._assigned:
                self._take_up()
            batch = self._next()
            now = time.monotonic()
            if batch is not None:
                self._put(batch)
            if batch is not None or self._fresh or not self._at:
                quiet = now
            elif self._options.idle is not None and now - quiet >= self._options.idle and self._up():
                return

    def _up(self) -> bool:
        return self._at.keys() <= self._read_up.keys()

    def _next(self) -> MessageBatch | None:
        """The events of a micro-batch: what is there once the first has come, and a little after."""
        limit = min(self._system.stream.batch, LARGEST)
        came: list[Any] = self._consumer.consume(1, timeout=_WAIT)
        if came and limit > 1:
            came += self._consumer.consume(limit - 1, timeout=LINGER)
        if self._failure is not None:
            raise self._failure
        good = []
        for partition in came:
            if partition.error() is not None:
                self._trouble(partition)
            elif partition.partition() in self._at and partition.offset() >= self._at[partition.partition()].place:
                self._read_up.pop(partition.partition(), None)
                good.append(partition)
        return MessageBatch.taken(good, self._system.stream.clock) if good and not self._fresh else None

    def _trouble(self, message: Any) -> None:
        from confluent_kafka import KafkaError

        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
            self._read_up[message.partition()] = message.offset()
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - its public name
            self._tell("the log is not what it was", error.str())
            self._fresh = True
        elif error.fatal():
            raise BrokerUnavailableError(error.str(), where=self._broker.bootstrap)
        else:
            self._tell("trouble", error.str())

    def _take_up(self) -> None:
        """Begin with the partitions where the online side says."""
        from confluent_kafka import TopicPartition

        self.telemetry.reason = "takes up its partitions"
        assigned, topic = list(self._assigned), self._topics.events
        log = self._broker.log(topic)
        if log is None:
            self._waiting("the topic is gone")
            self._stop.wait(_PAUSE)
            return
        lost = self._places.lost
        positions = self._once_online(lambda: self._places.take_up(assigned, log))
        if positions is None or self._assigned != assigned:
            return
        if self._places.lost > lost:
            self.telemetry.lost_events(self._places.lost - lost)
        self._at, self._fresh = positions, False
        self._read_up.clear()
        begin = [TopicPartition(topic, p, position.place) for p, position in positions.items()]
        self._consumer.assign(begin)
        self._consumer.resume(begin)
        self.telemetry.reason, self.telemetry.worked = "", True
        self._log.info(
            "takes up", partitions=[f"{p} from {position.place}" for p, position in sorted(positions.items())]
        )

    def _put(self, batch: MessageBatch) -> None:
        """Put a batch in, however long the online side is away; another worker's move drops it."""
        began = time.monotonic()
        try:
            self._fence.ask()()
            fed = self._once_online(lambda: self._feeding(batch, self._at))
        except (Aborted, Elsewhere) as error:
            self._tell("begins anew", str(error))
            self._at, self._fresh = {}, True
            return
        if fed is None:
            return
        self._at |= fed.positions
        self._count(batch, fed, time.monotonic() - began)
        self._commit(fed.positions)

    def _commit(self, positions: dict[int, FeedPosition]) -> None:
        """Tell the cluster, for those who look at the lag there; what counts stands in the online side."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition(self._topics.events, p, position.place) for p, position in positions.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._tell("the cluster did not take offsets", str(error))

    def _count(self, batch: MessageBatch, fed: Fed, seconds: float) -> None:
        t = self.telemetry
        self._patience.rewarded()
        t.reason = ""
        for counter, count in (
            (t.events, len(batch)),
            (t.rows, fed.rows),
            (t.late, fed.late),
            (t.dead_letters, fed.bad),
            (t.ignored, fed.ignored),
            (t.repeated, fed.quiet),
            (t.commits, 1),
            (t.exposed, int(fed.exposed)),
        ):
            counter.inc(count)
        t.batch_size.observe(len(batch))
        t.batch_seconds.observe(seconds)
        t.latency.observe(max(time.time() - min(batch.timestamp) / 1000, 0.0))
        if fed.late or fed.bad:
            self._tell("set apart", f"{fed.bad} bad and {fed.late} late events")
        if fed.exposed:
            self._tell("came late", "rows could be seen a moment after they say; is the machine overloaded?")

    def _once_online(self, work: Callable[[], T]) -> T | None:
        """What `work` gives once the online side answers; None: it is to stop, or has other partitions meanwhile."""
        assigned, paused = list(self._assigned), False
        while not self._stop.is_set():
            try:
                result = work()
            except OnlineUnavailableError as error:
                self.telemetry.turn()
                self.telemetry.reason = f"waits for the online side: {error.message}"
                self._tell("waits for the online side", error.message)
                paused = self._rested(paused)
                if self._assigned != assigned:
                    return None
                continue
            if paused:
                self._consumer.resume(self._consumer.assignment())
            self.telemetry.reason = ""
            return result
        return None

    def _rested(self, paused: bool) -> bool:
        """Wait a little; the cluster still hears of this worker, and gives it no more events meanwhile."""
        if self._consumer is None:
            self._stop.wait(_PAUSE)
            return False
        if not paused:
            self._consumer.pause(self._consumer.assignment())
        until = time.monotonic() + _PAUSE
        while time.monotonic() < until and not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is not None:
                self._trouble(message)
        return True

    def _settler(self) -> None:
        """Bring rows into the table every now and then, from the worker that has the first partition."""
        while not self._stop.wait(SETTLED):
            if 0 in self._at:
                self._settle()

    def _settle(self) -> None:
        with self._settles:
            try:
                fed.settle(self._group)
                self.telemetry.pending.set(fed.waiting(self._group))
                self.telemetry.table = ""
            except OnlineUnavailableError as error:
                self._tell("waits for the online side", error.message)
            except StoreError as error:
                self.telemetry.table = error.message
                self._tell("cannot write the table", error.message)

    def _leave(self) -> None:
        if self._consumer is not None:
            closing = threading.Thread(target=self._consumer.close, name="close", daemon=True)
            closing.start()
            closing.join(10.0)
        self._settle()

    def _read(self) -> dict[int, tuple[int, int]]:
        return {p: (position.place, self._read_up.get(p, -1)) for p, position in self._at.copy().items()}

    def _away(self, seconds: float, detail: str) -> None:
        self.telemetry.away = f"the cluster does not answer: {detail}" if seconds else ""
        if seconds > self._options.patience:
            self._failure = BrokerUnavailableError(detail, where=self._broker.bootstrap)

    def _waiting(self, detail: str) -> None:
        self.telemetry.turn()
        self.telemetry.reason = f"waits for the cluster: {detail}"
        self._tell("waits for the cluster", detail)

    def _tell(self, label: str, detail: str) -> None:
        """Log trouble, of each kind once in a while."""
        now = time.monotonic()
        if now - self._said.get(label, -_QUIET) >= _QUIET:
            self._said[label] = now
            self._log.warning(label, detail=detail)

    def _done(self) -> dict[str, Any]:
        names = ("events", "rows", "dead_letters", "late", "ignored", "repeated", "lost", "commits", "exposed")
        value = self.telemetry.registry.get_sample_value
        label = {"system": self._system.name}
        counts = {name: int(value(f"headrace_stream_{name}_total", label) or 0) for name in names}
        return {("quarantined" if name == "dead_letters" else name): count for name, count in counts.items()}
