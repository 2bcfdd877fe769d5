"""Passes predictions on until there are no more, or until it is told to stop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import Any

from headrace.errors import (
    BrokerUnavailableError,
    HeadraceError,
    LedgerUnavailableError,
    SinkMovedError,
    SinkUnavailableError,
    UsageError,
)
from headrace.home import Home
from headrace.serving.messages.said import AnswerReader
from headrace.serving.messages.written import reading
from headrace.serving.passing.answers import TopicPredictions
from headrace.serving.passing.base import Predictions
from headrace.serving.passing.documents import Documents, layout_of
from headrace.serving.passing.stored import StoredPredictions
from headrace.sinks import Sink, SinkContext, open_sink
from headrace.sinks.address import Address
from headrace.sinks.base import Position, PredictionLayout, Sent
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT, Patience
from headrace.sources.topics import KINDS
from headrace.system import System

FOLDER = "sinks"
"""Below the home: journals of targets that keep nothing themselves."""
_PAUSE = 1.0
"""Seconds between two looks for what is new."""
_FIRST, _LONGEST = 0.5, 30.0
"""Seconds between two tries."""
_AWAY = (SinkUnavailableError, BrokerUnavailableError, LedgerUnavailableError)


@dataclass(frozen=True)
class PassingJob:
    """What is to be passed on.

    Attributes:
        to: The URI of the target, or its name in the settings.
        bootstrap: The cluster whose answers are passed on; None: what is stored.
        since: No prediction is from earlier than this.
        follow: Whether to go on with what comes.
        again: Begin with the first prediction, whatever was passed on before.
        patience: Seconds for which a target or a source that is away is waited for.
        batch: Predictions of one request.
        concurrent: Requests at a time.
    """

    to: str
    bootstrap: str | None = None
    since: datetime | None = None
    follow: bool = False
    again: bool = False
    patience: float = 600.0
    batch: int = 1
    concurrent: int = 8


def uri_of(home: Home, to: str) -> str:
    """The URI that a name in the settings stands for, or that is given."""
    named = home.settings.sinks.get(to)
    return to if named is None else named.get_secret_value()


def run(
    system: System,
    home: Home,
    job: PassingJob,
    stop: Event,
    tell: Callable[[str], None],
    started: Callable[[str, str], None],
) -> dict[str, Any]:
    """Pass on; returns what was done: ``system source target read passed refused`` and so on, which add up.

    Args:
        system: The declaration.
        home: Where everything is.
        job: What to do.
        stop: Ends it, when what is under way is done.
        tell: Told of trouble that is waited over.
        started: Told of source and target, once both are opened.

    Raises:
        UsageError: The URI is none.
        SinkError: The target refuses, or does not fit; or it was away for longer than it is waited for.
        StreamError: The same of the cluster.
        StoreError: A table cannot be read or written.
    """
    uri = uri_of(home, job.to)
    _refuse_own(system, Address.of(uri))
    name = "tables" if job.bootstrap is None else f"topic {system.topics.predictions}"
    layout = layout_of(system, name)
    secret = home.settings.sink_secret
    place = SinkContext(
        home.path / FOLDER,
        None if secret is None else secret.get_secret_value(),
        home.kafka,
        partitions=system.topics.partitions if system.topics.create else 0,
        timeout=TIMEOUT,
        batch=job.batch,
        concurrent=job.concurrent,
        stop=stop,
    )
    sink = open_sink(uri, layout, place)
    started(name, sink.target)
    passing = _Passing(_source(system, home, job, layout, stop), sink, job, stop, tell)
    try:
        passing.run()
    finally:
        sink.close()
    counts = passing.counts
    extras = {name: counts[name] for name in ("repeated", "foreign", "earlier") if counts[name]}
    losses = {name: counts[name] for name in ("expired", "begun_anew") if counts[name]}
    passed = {"passed": counts["passed"], "refused": counts["refused"], **extras}
    return {
        "system": system.name,
        "source": name,
        "target": sink.target,
        "read": sum(passed.values()),
        **passed,
        **losses,
    }


def _refuse_own(system: System, address: Address) -> None:
    """Refuse a topic of the stream itself: what is passed on would be read as an answer, an event or a state."""
    topics = {system.topics.named(kind) for kind in KINDS}
    if address.scheme == "kafka" and address.path.strip("/") in topics:
        hint = "name another topic; a cluster is mirrored by other tools"
        raise UsageError("is a topic of the system's own stream", where=address.shown, hint=hint)


def _source(system: System, home: Home, job: PassingJob, layout: PredictionLayout, stop: Event) -> Predictions:
    documents = Documents(system, layout)
    if job.bootstrap is None:
        return StoredPredictions(system, home, documents, job.since)
    broker = Broker(job.bootstrap, home.kafka, Patience(TIMEOUT, stop))
    broker = reading(system, home, broker, system.topics.predictions)
    return TopicPredictions(broker, system.topics.predictions, AnswerReader(system), documents, job.since)


class _Passing:
    """One job under way.

    Attributes:
        counts: What became of what was read, by its kind.
    """

    def __init__(
        self, source: Predictions, sink: Sink, job: PassingJob, stop: Event, tell: Callable[[str], None]
    ) -> None:
        self._source, self._sink, self._job, self._stop, self._tell = source, sink, job, stop, tell
        self.counts = Counter[str]()
        self._again = job.again
        self._failed: float | None = None
        self._pause = _FIRST

    def run(self) -> None:
        """Until it is done; what is away is waited for, and then begun with anew."""
        while True:
            try:
                self._pass_on()
                return
            except SinkMovedError as moved:
                self.counts["begun_anew"] += 1
                self._wait(moved)
            except _AWAY as outage:
                self._wait(outage)
            if self._stop.is_set():
                return

    def _pass_on(self) -> None:
        begun = self._sink.begin()
        self._count(begun.finished)
        before = begun.position
        position: Position | None = None if self._again else before
        while not self._stop.is_set():
            for part in self._source.read(position):
                if part.predictions:
                    self._count(self._sink.send(part.predictions, before, part.after))
                    before, self._again = part.after, False
                position = part.after
                self.counts += part.counts
                if self._stop.is_set():
                    return
            self._worked()
            if not self._job.follow:
                return
            self._stop.wait(_PAUSE)

    def _count(self, sent: Sent) -> None:
        self.counts["passed"] += sent.passed
        self.counts["refused"] += sent.refused
        if sent.passed or sent.refused:
            self._worked()

    def _worked(self) -> None:
        self._failed, self._pause = None, _FIRST

    def _wait(self, error: HeadraceError) -> None:
        """Wait a little after a failure, or raise it where that was done for long enough."""
        now = time.monotonic()
        self._failed = now if self._failed is None else self._failed
        left = self._failed + self._job.patience - now
        if self._stop.is_set():
            return
        if left <= 0:
            raise error
        delay = error.after if isinstance(error, SinkUnavailableError) else None
        wait = min(max(self._pause, delay or 0.0), max(left, _FIRST))
        self._tell(
            f"{error.where}: {error.message}; tried again in {wait:.0f} s"
            if wait >= 1
            else f"{error.where}: {error.message}"
        )
        self._stop.wait(wait)
        self._pause = min(self._pause * 2, _LONGEST)
