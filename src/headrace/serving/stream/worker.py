"""One worker: reads a micro-batch, answers it, and commits answers, state and offsets in one transaction.

While a transaction is committed the next micro-batch is read and answered; should the commit fail, both are forgotten
and made again from the last transaction that counts.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import BrokerUnavailableError, FencedError, HeadraceError, StreamError
from headrace.home import Home
from headrace.serving.stream.batch import Answered, Batch
from headrace.serving.stream.champions import Watch, answering
from headrace.serving.stream.changelog import Change
from headrace.serving.stream.engine import Champion
from headrace.serving.stream.engines import engine_of, placed
from headrace.serving.stream.fence import Fence
from headrace.serving.stream.homes import Homes
from headrace.serving.stream.identity import fenced
from headrace.serving.stream.lag import LagWatch, Told
from headrace.serving.stream.log import logger
from headrace.serving.stream.partitions import Partitions
from headrace.serving.stream.rows import RowChampion
from headrace.serving.stream.sender import Aborted, Lost, Sender
from headrace.serving.stream.telemetry import Telemetry
from headrace.sources.broker import Broker
from headrace.sources.inspection import inspect
from headrace.sources.patience import TIMEOUT, Patience
from headrace.sources.topics import Topics
from headrace.system import System

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

LINGER = 0.005
"""Seconds that a micro-batch is filled for after its first event."""
_WAIT = 0.25
"""Seconds that a turn of the loop waits for an event."""
_CLOSING = 10.0
"""Seconds that the consumer has to close."""
_NOT_MINE = 2**63
_QUIET = 10.0
"""Seconds for which trouble of one kind is told once: a client without its broker has some many times a second."""
_REFRESH = 2_000
"""Milliseconds between two looks of the client at the topic: whether it was made anew, or has more partitions."""
_STATUS = 5.0
"""Seconds between two looks at what changes slowly."""
_AFTER = 120.0
"""Seconds after an outage for which the cluster may take a worker for another one of its name."""
_AWAY = 60.0
"""Seconds without an answer after which new clients are made."""


class _Grown(Exception):
    """The topic has more partitions than before."""


@dataclass(frozen=True)
class Options:
    """How a worker runs.

    Attributes:
        partitions: Partitions of topics that are made; None: as the system declares.
        poll: Seconds that a batch may take before the group takes the worker's partitions away.
        session: Seconds without a sign of life after which the group counts it as dead.
        champions: Seconds between two looks for a new champion.
        idle: Stop after so many seconds without an event; None goes on.
        patience: Seconds for which a cluster that does not answer is waited for.
        topics: What is read and written; None: as the system declares.
        begins: Where to begin with partitions of which nothing is known; None: with their first events.
    """

    partitions: int | None = None
    poll: float = 300.0
    session: float = 10.0
    champions: float = 5.0
    idle: float | None = None
    patience: float = 600.0
    topics: Topics | None = None
    begins: Mapping[int, int] | None = None


class Worker:
    """Answers the events of the partitions that its group gives it.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        name: Its identity, the same after a restart.
        options: How it runs.
        telemetry: Where it tells of itself.
    """

    def __init__(
        self,
        system: System,
        home: Home,
        broker: Broker,
        name: str,
        options: Options,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.telemetry = telemetry or Telemetry(system.name)
        self._system, self._home, self._broker, self._name, self._options = system, home, broker, name, options
        self._topics = options.topics or system.topics
        self._log = logger(system.name, name)
        self._positions: dict[int, int] = {}
        self._read_up: set[int] = set()
        self._failure: Exception | None = None
        self._sent: tuple[Answered, float] | None = None
        self._aborted = False
        self._astray: set[int] = set()
        self._came: set[int] = set()
        self._told: dict[str, float] = {}
        self._consumer: Any = None
        self._homes: Homes | None = None
        self._nothing_from: dict[int, int] = {}
        self._outage_at = -_AFTER

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Answer events until told to stop, or idle for as long as the options say; returns what was done.

        Raises:
            NotFoundError: There is no model.
            FencedError: Another worker with this identity was started.
            BrokerUnavailableError: The cluster was away for longer than it is waited for.
            StreamError: The cluster refuses, or the topics do not fit.
        """
        first = answering(self._system, self._home, datetime.now(UTC))
        self._stop, self._patience = stop, Patience(self._options.patience, stop, self._waiting)
        self._broker = replace(self._broker, patience=self._patience)
        try:
            self._start(first)
        except BrokerUnavailableError:
            if stop.is_set():  # while it waited for the cluster
                return self._done()
            raise
        watch = Watch(self._system, self._home, first, self._options.champions, self._could_not_look)
        lag = LagWatch(self._broker, self._topics, self._told_of_lag())
        watch.start()
        lag.start()
        try:
            while self._works(stop, watch):
                self._partitions = self._fitting()
        except BrokerUnavailableError:
            if not stop.is_set():
                raise
        finally:
            watch.stop()
            lag.stop()
            self.telemetry.reason = "has stopped"
            self._engine.close()
            if self._homes is not None:
                self._homes.close()
            self._log.info("stopped", **self._done())
        return self._done()

    def _start(self, first: Champion | RowChampion) -> None:
        """See to the topics, and make ready to answer with a model."""
        self._partitions = self._fitting()
        self._engine, again = engine_of(
            *(self._system, self._home, self._broker, self._topics, first),
            partitions=self._partitions,
            begins=self._options.begins,
        )
        self.telemetry.model_version.set(first.pins.model_version)
        self._parts = Partitions(
            *(self._engine, self._broker, self._topics, self.telemetry, self._log, self._write),
            begins=self._options.begins,
            again=again,
        )
        self._fence = Fence(self._broker, self._topics.events, lambda: self._parts.topic)
        self._log.info("started", model_version=first.pins.model_version, partitions=self._partitions)
        gc.freeze()  # a batch makes many small objects, and none of them in cycles: what is there need not be looked at
        gc.set_threshold(100_000, 20, 50)

    def _fitting(self) -> int:
        """See to the topics; returns the number of partitions of the events."""
        lone = not self._system.keys
        wanted = self._options.partitions or self._topics.partitions
        partitions = self._broker.ensure(self._topics, 1 if lone else wanted)
        if lone and partitions > 1:
            text, hint = f"a lone series needs one partition, there are {partitions}", "make the topic anew with one"
            raise StreamError(text, where=self._topics.events, hint=hint)
        self._keyless = partitions == 1
        self._inspect()
        return partitions

    def _inspect(self) -> None:
        """Say what is unwise about the topics."""
        try:
            for each in inspect(self._broker, self._topics):
                self._log.warning("topic", topic=each.topic, detail=each.said, hint=each.hint)
        except StreamError as error:  # not everybody may see the settings
            self._log.info("could not look at the topics' settings", detail=error.message)

    def _works(self, stop: threading.Event, watch: Watch) -> bool:
        """Answer events with one set of clients; True: the cluster went away or grew, and new ones are to go on."""
        try:
            self._place()
            self._sender = self._new_sender()
            self._consumer = self._subscribed()
            self._loop(stop, watch)
            return False
        except FencedError as error:
            # A cluster that comes back may take a client for another one of its name: that one is asked for once.
            if time.monotonic() - self._outage_at > _AFTER:
                raise
            self._outage_at = -_AFTER
            self._log.warning("begins anew", detail=error.message)
            return True
        except BrokerUnavailableError as error:
            if stop.is_set():
                return False
            self._log.warning("begins anew", detail=error.message)
            self._patience.wait(error)
            return True
        except _Grown as grown:
            self._log.warning("begins anew", detail=str(grown))
            return True
        finally:
            self._leave()

    def _place(self) -> None:
        """See to it that every series is answered on one partition."""
        if not self._keyless and self._homes is None:
            self._homes = placed(self._engine, self._system, self._broker, self._topics)

    def _new_sender(self) -> Sender:
        identity = f"{self._topics.group}.{self._name}"
        fence = self._fence.ask
        return Sender(self._broker, self._topics, identity, self._stop, waiting=self._waits, fence=fence)

    def _write(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> bool:
        """Write records of the state outside of a batch, and the group's offsets; False: nothing was written."""
        apart = Answered(Batch.of([]), changes=list(changes))
        try:
            self._sender.send(apart, offsets, self._consumer.consumer_group_metadata())
            self._sender.settle()
        except Aborted as aborted:
            self._abandon(aborted, apart)
            self._aborted = True
        return not self._aborted

    def _waits(self, seconds: float) -> None:
        if seconds > _QUIET:
            self._waiting(f"a commit has no answer for {seconds:.0f} s")

    def _waiting(self, detail: str) -> None:
        """The cluster does not answer, and is waited for: the worker lives, and is not ready."""
        self.telemetry.turn()
        self.telemetry.reason = f"waits for the cluster: {detail}"
        self._tell_once("waits for the cluster", detail)

    def _leave(self) -> None:
        """Let go of the clients and of the state. In the middle of a rebalance the consumer's may wait for ever."""
        consumer, self._consumer = self._consumer, None  # what it still calls back is of no interest
        self._sent, self._aborted, self._failure = None, False, None
        self._forget(list(self._positions))
        if hasattr(self, "_sender"):
            self._sender.close()
            del self._sender
        if consumer is None:
            return
        closing = threading.Thread(target=consumer.close, name="close", daemon=True)
        closing.start()
        closing.join(_CLOSING)
        if closing.is_alive():
            self._log.warning("did not close in time", seconds=_CLOSING)

    def _forget(self, partitions: list[int]) -> None:
        for partition in partitions:
            self._parts.drop(partition)
            self._positions.pop(partition, None)
            self._read_up.discard(partition)
            self._nothing_from.pop(partition, None)

    def _told_of_lag(self) -> Told:
        def away(seconds: float, detail: str) -> None:
            self.telemetry.away = f"the cluster does not answer: {detail}" if seconds else ""
            if seconds > _AWAY:  # it may be back at another address, which only new clients ask for
                self._failure = BrokerUnavailableError(detail, where=self._broker.bootstrap)

        def partitions(count: int) -> None:
            if count > self._partitions:
                self._failure = _Grown(f"there are {count} partitions, not {self._partitions}")

        def read() -> dict[int, tuple[int, int]]:
            nothing_from = self._nothing_from
            return {p: (at, nothing_from.get(p, -1)) for p, at in self._positions.copy().items()}

        return Told(self.telemetry.lag, away, partitions, read)

    def _done(self) -> dict[str, Any]:
        t = self.telemetry
        made = ("answers", "dead_letters", "late", "moved", "ignored", "repeated", "anomalies")
        counters = ("events", *made, "commits", "aborts")
        names = {name: f"headrace_stream_{name}_total" for name in counters}
        value = t.registry.get_sample_value
        return {name: int(value(full, {"system": self._system.name}) or 0) for name, full in names.items()}

    def _loop(self, stop: threading.Event, watch: Watch) -> None:
        quiet = looked = time.monotonic()
        while not stop.is_set():
            self.telemetry.turn()
            self._take_up(watch)
            batch = self._next()
            now = time.monotonic()
            if batch:
                self._answer(batch)
            else:
                self._settle()
            if batch or not self._positions:
                quiet = time.monotonic()
            elif self._rests(now - quiet):
                return
            if now - looked > _STATUS:
                looked = now
                self._tell()
        self._settled()

    def _rests(self, quiet: float) -> bool:
        """Whether there was nothing to do for as long as the options say, and nothing waits."""
        idle = self._options.idle
        return idle is not None and quiet >= idle and self._positions.keys() <= self._read_up

    def _next(self) -> Batch | None:
        """The events of a micro-batch: what is there once the first has come, and a little after."""
        limit = self._system.stream.batch
        came: list[Any] = self._consumer.consume(1, timeout=_WAIT)
        if came and limit > 1:
            came += self._consumer.consume(limit - 1, timeout=LINGER)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._aborted:  # while partitions came or went
            self._reload()
            return None
        good = [each for each in came if each.error() is None]
        batch = self._mine(Batch.taken(good, self._system.stream.clock))
        self._read_up -= set(batch.partition)
        for each in came if len(good) != len(came) else ():
            self._noted(each)
        if self._astray or self._parts.astray:
            self._settle()
            self._reload()
            return None
        self._positions |= batch.ends
        return batch if len(batch) else None

    def _mine(self, batch: Batch) -> Batch:
        """The same batch; without partitions that came in between, which are read once more from where they go on."""
        again, self._came = self._came & set(batch.partition), set()
        again |= {p for p, first in batch.begins.items() if self._positions.get(p, _NOT_MINE) > first}
        if not again:
            return batch
        begin = [self._parts.at[p].begin(self._topics.events, p) for p in again if p in self._positions]
        self._consumer.incremental_unassign(begin)
        self._consumer.incremental_assign(begin)
        return batch.without(again)

    def _noted(self, message: Any) -> None:
        """What a message says beside an event: in the order in which they came."""
        if message.error() is None:
            self._read_up.discard(message.partition())
        else:
            self._trouble(message.error(), message)

    def _outage(self, error: Any) -> None:
        """Trouble of the client beside any message; unless it is fatal, the client goes on by itself."""
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name
            self._outage_at = time.monotonic()
        try:
            self._trouble(error)
        except HeadraceError as failure:  # an exception here would be lost inside the client
            self._failure = failure

    def _trouble(self, error: Any, message: Any = None) -> None:
        from confluent_kafka import KafkaError

        if error.code() == KafkaError._PARTITION_EOF and message is not None:  # noqa: SLF001 - its public name
            self._read_up.add(message.partition())
            self._nothing_from[message.partition()] = message.offset()
            return
        if error.code() == KafkaError._AUTO_OFFSET_RESET and message is not None:  # noqa: SLF001 - its public name
            partition = message.partition()
            self._log.warning("the log is not what it was", partition=partition, detail=error.str())
            self._astray.add(partition)
            self._parts.cut_off(partition, error.str())
            return
        fatal = error.fatal() or error.code() == KafkaError._FATAL  # noqa: SLF001 - its public name
        if error.code() == KafkaError.FENCED_INSTANCE_ID or (fatal and "fenced" in error.str()):
            raise fenced(self._name)
        if fatal:
            raise BrokerUnavailableError(error.str(), where=self._broker.bootstrap)
        self._tell_once("trouble", error.str())

    def _tell_once(self, what: str, detail: str, **more: object) -> None:
        """Log trouble, of each kind once in a while."""
        now = time.monotonic()
        if now - self._told.get(what, -_QUIET) >= _QUIET:
            self._told[what] = now
            self._log.warning(what, detail=detail, **more)

    def _answer(self, batch: Batch) -> None:
        began = time.monotonic()
        answered = self._engine.answer(batch, keyless=self._keyless)
        answered.changes += self._parts.moved(batch)
        if not self._settle():
            return
        try:
            self._sender.send(answered, batch.ends, self._consumer.consumer_group_metadata())
        except Aborted as aborted:
            self._abandon(aborted, answered)
            self._reload()
            return
        self._sent = answered, began

    def _settle(self) -> bool:
        """Wait for the commit under way; False if it failed, and all went back to the last one that counts."""
        if not self._settled():
            self._reload()
            return False
        return True

    def _settled(self) -> bool:
        """Wait for the commit under way; whether it did not fail."""
        sent, self._sent = self._sent, None
        if sent is None:
            return True
        answered, began = sent
        try:
            committed = self._sender.settle()
        except Aborted as aborted:
            self._abandon(aborted, answered)
            return False
        t = self.telemetry
        self._patience.rewarded()
        t.reason = ""
        t.commits.inc()
        t.events.inc(len(answered.batch))
        t.answers.inc(len(answered.answers))
        t.dead_letters.inc(len(answered.dead))
        t.late.inc(len(answered.late))
        for message, reason in (*answered.dead[:1], *answered.late[:1]):
            count = len(answered.dead) + len(answered.late)
            self._tell_once("set apart", reason, letters=count, **message.named())
        t.moved.inc(len(answered.moved))
        t.ignored.inc(len(answered.ignored))
        t.repeated.inc(answered.repeated)
        t.anomalies.inc(answered.anomalies)
        t.batch_size.observe(len(answered.batch))
        t.batch_seconds.observe(time.monotonic() - began)
        t.latency.observe(max(committed - min(answered.batch.timestamp) / 1000, 0.0))
        return True

    def _abandon(self, aborted: Aborted, answered: Answered) -> None:
        self.telemetry.aborts.inc()
        self._log.warning("aborted", detail=str(aborted), events=len(answered.batch))
        if isinstance(aborted, Lost) and not self._stop.is_set():
            self._sender.close()
            self._sender = self._new_sender()

    def _take_up(self, watch: Watch) -> None:
        """Answer with a new champion from here on."""
        new = watch.taken()
        if new is None:
            return
        self._settle()
        if self._engine.use(new):
            self._reload()
        self.telemetry.model_version.set(new.pins.model_version)
        self._log.info("new champion", model_version=new.pins.model_version)

    def _could_not_look(self, error: Exception) -> None:
        self._log.warning("could not look for a champion", detail=str(error))

    def _tell(self) -> None:
        """What changes slowly: sizes."""
        t, idle = self.telemetry, self._system.stream.idle
        if idle is not None:
            self._engine.evict(time.time() - idle.total_seconds())
        count, size = self._engine.size()
        t.series.set(count)
        t.state_bytes.set(size)

    # What the group does: the callbacks run inside `consume`, and first wait for the transaction that is open.

    def _subscribed(self) -> Consumer:
        from confluent_kafka import Consumer

        group = self._topics.group
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
                session_timeout_ms=int(self._options.session * 1000),
                max_poll_interval_ms=int(max(self._options.poll, self._options.session) * 1000),
                fetch_queue_backoff_ms=10,
                queued_max_messages_kbytes=32_768,
                fetch_wait_max_ms=100,
            )
        )
        consumer.subscribe(
            [self._topics.events], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        self.telemetry.reason = "has not joined its group yet"
        return consumer

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Restore the state of new partitions, and begin where its last transaction ended."""
        if consumer is not self._consumer:
            return
        if max((each.partition for each in partitions), default=-1) >= self._partitions:
            self._failure = _Grown("the topic has more partitions than before")  # the state has not, yet
            return
        self.telemetry.rebalances.inc()
        try:
            self._aborted |= not self._settled()
            begin = self._restored([each.partition for each in partitions])
        except HeadraceError as error:  # an exception here would be lost inside the client
            self._failure = error
            return
        consumer.incremental_assign(begin)
        self._came |= {each.partition for each in begin}
        self._positions |= {each.partition: each.offset for each in begin}

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget the state of partitions that another worker will have."""
        if consumer is not self._consumer:
            return
        self.telemetry.rebalances.inc()
        try:
            self._aborted |= not self._settled()
        except HeadraceError as error:  # as above
            self._failure = error
        self._forget([each.partition for each in partitions])
        consumer.incremental_unassign(partitions)
        self._log.info("taken away", partitions=[each.partition for each in partitions])

    def _restored(self, partitions: list[int]) -> list[TopicPartition]:
        """Where to begin with each partition; its state is restored."""
        from confluent_kafka import TopicPartition

        self.telemetry.reason = "restores its state"
        began = time.monotonic()
        asked = [TopicPartition(self._topics.events, p) for p in partitions]
        # Committed offsets first: they wait for open transactions, which the changelog then holds to their end.
        committed = self._committed(asked) if asked else []
        begin = self._parts.take_up({each.partition: each.offset for each in committed})
        seconds, series = time.monotonic() - began, self._engine.size()[0]
        self.telemetry.restore_seconds.observe(seconds)
        self.telemetry.reason, self.telemetry.worked = "", True
        self._patience.rewarded()
        self._log.info("restored", partitions=partitions, series=series, seconds=round(seconds, 3))
        return [position.begin(self._topics.events, partition) for partition, position in begin.items()]

    def _committed(self, asked: list[TopicPartition]) -> list[TopicPartition]:
        return self._broker.patiently(lambda: self._consumer.committed(asked, timeout=TIMEOUT), self._topics.events)

    def _reload(self) -> None:
        """Go back to the last transaction that counts."""
        from confluent_kafka import KafkaException

        self._aborted = False
        self._astray.clear()
        mine = self._consumer.assignment()
        try:
            self._consumer.incremental_unassign(mine)
            self._positions.clear()
            self._read_up.clear()
            begin = self._restored([each.partition for each in mine])
            self._consumer.incremental_assign(begin)
        except KafkaException as error:
            raise self._broker.unreachable(error, self._topics.events) from error
        self._positions |= {each.partition: each.offset for each in begin}
