"""Runs the workers of a feature group, in processes of their own that are started again when they die."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.executors import Handover, executor_of
from headrace.feature_system import FeatureSystem
from headrace.serving.stream.features.feeding import forget
from headrace.serving.stream.features.group import prepared
from headrace.serving.stream.features.telemetry import FeatureTelemetry
from headrace.serving.stream.features.worker import FeedOptions, FeedWorker
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.log import logger
from headrace.serving.stream.run import ended_by
from headrace.serving.stream.supervisor import Ended, Supervisor
from headrace.serving.stream.telemetry import serve
from headrace.sources.broker import Broker


@dataclass(frozen=True)
class FeedJob:
    """What to feed; it is what a new process is handed.

    Attributes:
        handed: The system of features, and the settings of the home.
        bootstrap: The cluster.
        port: First port of the metrics.
        options: How workers run.
    """

    handed: Handover
    bootstrap: str
    port: int
    options: FeedOptions

    @property
    def system(self) -> FeatureSystem:
        """The declaration."""
        (system,) = self.handed.systems
        assert isinstance(system, FeatureSystem)
        return system


def run(job: FeedJob, workers: int, on_start: Callable[[], None], *, rebuild: bool = False) -> dict[str, Any]:
    """Feed the group until SIGTERM or SIGINT; returns what was done.

    Args:
        job: What to feed.
        workers: Processes; each is started again when it dies.
        on_start: Called before the first event is read.
        rebuild: Make what is remembered anew from the topic; no row is written twice.

    Raises:
        BrokerUnavailableError: The cluster was away for longer than it is waited for.
        HeadraceError: A worker failed before it did anything, or again and again.
    """
    system, stop = job.system, threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if rebuild:
        forget(prepared(system, job.handed.home()))
    executor, log = executor_of(job.handed.settings.executor), logger(system.name, "supervisor")
    supervisor = Supervisor(executor, _work, job, workers, log, ends=job.options.idle is not None)
    on_start()
    return {"system": system.name, **supervisor.run(stop)}


def _work(job: FeedJob, number: int, stop: threading.Event) -> Ended:
    """One worker, to its end: what its process runs."""
    system = job.system
    telemetry = FeatureTelemetry(system.name)

    def work() -> dict[str, Any]:
        home = job.handed.home()
        name = Identity(home.path / "stream" / system.name, home.settings.replica, number).name
        worker = FeedWorker(system, home, Broker(job.bootstrap, home.kafka), name, job.options, telemetry)
        server = serve(telemetry, job.port)
        logger(system.name, name).info("serves metrics", port=server.server_address[1], pid=os.getpid())
        try:
            return worker.run(stop)
        finally:
            server.shutdown()
            server.server_close()

    return ended_by(work, telemetry, logger(system.name, str(number)))
