"""One worker: reads a micro-batch, answers it, and commits answers, state and offsets in one transaction.

While a transaction is committed the next micro-batch is read and answered; should the commit fail, both are forgotten
and made again from the last transaction that counts.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headrace.errors import BrokerUnavailableError, FencedError, StreamError
from headrace.home import Home
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.engine.engine import AnsweringModel
from headrace.serving.messages.written import answers_in, reading
from headrace.serving.stream.assignment import Assignment, Grown
from headrace.serving.stream.beside import BesideChampion, begins_at
from headrace.serving.stream.champions import Watch, answering
from headrace.serving.stream.commits import Commits
from headrace.serving.stream.engines import engine_of, placed
from headrace.serving.stream.fence import Fence
from headrace.serving.stream.health import Health
from headrace.serving.stream.homes import Homes
from headrace.serving.stream.lag import LagReport, LagWatch
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.partitions import Begin, Partitions
from headrace.serving.stream.reading import EventReader
from headrace.serving.stream.rows import RowChampion
from headrace.serving.stream.sender import Sender
from headrace.serving.stream.spans import spans_of
from headrace.serving.stream.telemetry import WorkerTelemetry
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.inspection import inspect
from headrace.sources.patience import Patience
from headrace.system import System

_STATUS = 5.0
"""Seconds between two looks at what changes slowly."""
_AFTER = 120.0
"""Seconds after an outage for which the cluster may take a worker for another one of its name."""
_GONE = 1.0
"""Seconds between two looks for a topic that is gone."""
_AWAY = 60.0
"""Seconds without an answer after which new clients are made."""


class StreamWorker:
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
        options: WorkerOptions,
        telemetry: WorkerTelemetry | None = None,
    ) -> None:
        self._topics = options.topics or system.topics
        self.telemetry = telemetry or WorkerTelemetry(self._topics.stream)
        self.health = Health(self._topics.stream, name, self.telemetry)
        self._system, self._home, self._broker, self._name, self._options = system, home, broker, name, options
        self._homes: Homes | None = None
        self._spans = spans_of(self._topics)

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Answer events until told to stop, or idle for as long as the options say; returns what was done.

        Raises:
            NotFoundError: There is no model, or not any more.
            ModelError: It was trained with another declaration.
            FencedError: Another worker with this identity was started.
            BrokerUnavailableError: The cluster was away for longer than it is waited for.
            StreamError: The cluster refuses, or the topics do not fit.
        """
        version = self._topics.shadow
        first = answering(self._system, self._home, datetime.now(UTC), version)
        self._stop, self._patience = stop, Patience(self._options.patience, stop, self.health.waiting)
        broker = replace(self._broker, patience=self._patience)
        self._broker = reading(self._system, self._home, broker, self._topics.predictions)
        try:
            self._start(first)
        except BrokerUnavailableError:
            if stop.is_set():  # while it waited for the cluster
                return self.health.done()
            raise
        watch = Watch(self._system, self._home, first, self._options.champions, self._could_not_look, version)
        lag = LagWatch(self._broker, self._topics, self._told_of_lag())
        watch.start()
        lag.start()
        try:
            while self._works(stop, watch):
                self._await_topic()
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
            self.health.log.info("stopped", **self.health.done())
        return self.health.done()

    def _start(self, first: AnsweringModel | RowChampion) -> None:
        """See to the topics, and make ready to answer with a model."""
        self._partitions = self._fitting()
        self._written: Callable[[list[bytes]], list[bytes]] = list  # what shadows say is JSON in any case
        if self._topics.shadow is None:
            self._written = answers_in(self._system, self._home, self._topics.predictions, self._patience)
        self._engine, replayer = engine_of(
            *(self._system, self._home, self._broker, self._topics, first),
            partitions=self._partitions,
            begins=self._options.begins,
        )
        self.telemetry.model_version.set(first.pins.model_version)
        broker, topics, health, patience = self._broker, self._topics, self.health, self._patience
        self._commits = Commits(self._new_sender, self._group, health, patience, self._stop)
        parts = Partitions(
            *(self._engine, broker, topics, self.telemetry, health.log, self._commits.write),
            begins=self._begins(),
            again=replayer,
        )
        self._parts = parts
        self._its = Assignment(broker, topics.events, parts, self._commits, health, patience)
        self._reader = EventReader(self._system, broker, topics, self._name, parts, self._its, health)
        self._fence = Fence(broker, topics.events, lambda: parts.topic)
        health.log.info("started", model_version=first.pins.model_version, partitions=self._partitions)
        gc.freeze()  # a batch makes many small objects, and none of them in cycles: what is there need not be looked at
        gc.set_threshold(100_000, 20, 50)

    def _begins(self) -> Callable[[int, TopicLog], Begin] | None:
        """Where partitions begin of which nothing is known."""
        offsets = self._options.begins
        if offsets is not None:
            return lambda partition, log: begins_at(offsets, log, partition)
        if self._topics.shadow is not None:
            return BesideChampion(self._system, self._home, self._broker, self._engine)
        return None

    def _fitting(self) -> int:
        """See to the topics; returns the number of partitions of the events."""
        lone = not self._system.keys
        count = self._options.partitions or self._topics.partitions
        partitions = self._broker.ensure(self._topics, 1 if lone else count)
        if lone and partitions > 1:
            text, hint = f"a lone series needs one partition, there are {partitions}", "make the topic anew with one"
            raise StreamError(text, where=self._topics.events, hint=hint)
        self._keyless = partitions == 1
        self._inspect()
        return partitions

    def _await_topic(self) -> None:
        """Wait for a topic that is gone: one that was deleted under a running worker is for others to make again."""
        while not self._stop.is_set() and self._topics.events not in self._broker.partitions():
            self.telemetry.turn()
            self.health.gone(self._topics.events)
            self._stop.wait(_GONE)

    def _inspect(self) -> None:
        """Say what is unwise about the topics."""
        try:
            for finding in inspect(self._broker, self._topics):
                self.health.log.warning("topic", topic=finding.topic, detail=finding.said, hint=finding.hint)
        except StreamError as error:  # not everybody may see the settings
            self.health.log.info("could not look at the topics' settings", detail=error.message)

    def _works(self, stop: threading.Event, watch: Watch) -> bool:
        """Answer events with one set of clients; True: new ones are to go on, as the cluster or topic went or grew."""
        try:
            self._place()
            self._commits.open()
            self._reader.join(self._options, self._partitions)
            self._loop(stop, watch)
            return False
        except FencedError as error:
            # A cluster that comes back may take a client for another one of its name: that one is asked for once.
            down_at, self._reader.down_at = self._reader.down_at, None
            if down_at is None or time.monotonic() - down_at > _AFTER:
                raise
            self.health.log.warning("begins anew", detail=error.message)
            return True
        except BrokerUnavailableError as error:
            if stop.is_set():
                return False
            self.health.log.warning("begins anew", detail=error.message)
            self._patience.wait(error)
            return True
        except Grown as grown:
            self.health.log.warning("begins anew", detail=str(grown))
            return True
        finally:
            self._commits.close()
            self._reader.leave()

    def _place(self) -> None:
        """See to it that every series is answered on one partition."""
        if not self._keyless and self._homes is None:
            self._homes = placed(self._engine, self._system, self._broker, self._topics)

    def _new_sender(self) -> Sender:
        identity, waiting = f"{self._topics.group}.{self._name}", self.health.commit_waits
        return Sender(self._broker, self._topics, identity, self._stop, waiting=waiting, fence=self._fence.ask)

    def _group(self) -> Any:
        return self._reader.group()

    def _told_of_lag(self) -> LagReport:
        def away(seconds: float, detail: str) -> None:
            self.telemetry.away = f"the cluster does not answer: {detail}" if seconds else ""
            if seconds > _AWAY:  # it may be back at another address, which only new clients ask for
                self._its.failure = BrokerUnavailableError(detail, where=self._broker.bootstrap)

        def partitions(count: int) -> None:
            if count == 0:
                self.health.gone(self._topics.events)
            elif count != self._partitions:
                self._its.failure = Grown(f"there are {count} partitions, not {self._partitions}")

        return LagReport(self.telemetry.lag, away, partitions, self._its.read)

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
            if batch or not self._its.positions:
                quiet = time.monotonic()
            elif self._rests(now - quiet):
                return
            if now - looked > _STATUS:
                looked = now
                self.health.sizes(self._engine, self._system.stream.idle)
        self._commits.settled()

    def _rests(self, quiet: float) -> bool:
        """Whether there was nothing to do for as long as the options say, and nothing waits."""
        idle = self._options.idle
        return idle is not None and quiet >= idle and self._its.exhausted

    def _next(self) -> MessageBatch | None:
        """The events of a micro-batch; None where there are none, or all was read anew."""
        came = self._reader.consume()
        if self._commits.aborted:  # while partitions came or went
            self._reader.reload()
            return None
        batch = self._reader.batch(came)
        if batch is None:
            self._settle()
            self._reader.reload()
            return None
        return batch if len(batch) else None

    def _answer(self, batch: MessageBatch) -> None:
        began = time.monotonic()
        answered = self._spans.answer(batch, lambda: self._engine.answer(batch, keyless=self._keyless))
        answered.answers = self._written(answered.answers)
        self._reader.took(len(batch), time.monotonic() - began)
        answered.changes += self._parts.moved(batch)
        if not self._settle():
            answered.over("the one before it was aborted")
        elif not self._commits.send(answered, batch.ends, began):
            self._reader.reload()

    def _settle(self) -> bool:
        """Wait for the commit under way; False if it failed, and all went back to the last one that counts."""
        if not self._commits.settled():
            self._reader.reload()
            return False
        return True

    def _take_up(self, watch: Watch) -> None:
        """Answer with a new champion from here on."""
        new = watch.taken()
        if new is None:
            return
        self._settle()
        if self._engine.use(new):
            self._reader.reload()
        self.telemetry.model_version.set(new.pins.model_version)
        self.health.log.info("new champion", model_version=new.pins.model_version)

    def _could_not_look(self, error: Exception) -> None:
        self.health.log.warning("could not look for a champion", detail=str(error))
