"""Runs a stream: workers in processes of their own, that are started again when they die."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.errors import HeadraceError, StreamError
from headrace.executors import Handover, executor_of
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.log import logger
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.supervisor import Ended, Supervisor
from headrace.serving.stream.telemetry import WorkerTelemetry, serve
from headrace.serving.stream.worker import StreamWorker
from headrace.sources.broker import Broker
from headrace.sources.topics import Topics
from headrace.system import System
from headrace.tasks import shape, task_of


@dataclass(frozen=True)
class StreamJob:
    """What to stream; it is what a new process is handed.

    Attributes:
        handed: The system, and the settings of the home.
        bootstrap: The cluster.
        port: First port of the metrics.
        options: How workers run.
    """

    handed: Handover
    bootstrap: str
    port: int
    options: WorkerOptions

    @property
    def system(self) -> System:
        """The declaration."""
        return self.handed.system

    @property
    def topics(self) -> Topics:
        """What is read and written."""
        return self.options.topics or self.system.topics


def run(job: StreamJob, workers: int, on_start: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Answer events until SIGTERM or SIGINT; returns what was done.

    Args:
        job: What to stream.
        workers: Processes; each is started again when it dies.
        on_start: Called before the first event is read.

    Raises:
        DeclarationError: The system answers no events.
        NotFoundError: There is no such model, or not any more.
        FencedError: Workers with the names of these took their places again and again.
        BrokerUnavailableError: The cluster was away for longer than it is waited for.
        HeadraceError: A worker failed before it answered anything, or again and again.
    """
    if task_of(job.system).stateful:
        job.system.event_shape()
    home = job.handed.home()
    shape.check(job.system, home)
    if job.topics.shadow is not None:
        home.registry.get(job.system.name, job.topics.shadow)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = logger(job.topics.stream, "supervisor")
    executor = executor_of(job.handed.settings.executor)
    supervisor = Supervisor(executor, work, job, workers, log, ends=job.options.idle is not None)
    on_start()
    shadow = {} if job.topics.shadow is None else {"shadow": job.topics.shadow}
    return {"system": job.system.name, **shadow, **supervisor.run(stop)}


def work(job: StreamJob, number: int, stop: threading.Event) -> Ended:
    """One worker, to its end: what its process runs."""
    telemetry, log = WorkerTelemetry(job.topics.stream), logger(job.topics.stream, str(number))
    return ended_by(lambda: _worked(job, number, stop, telemetry), telemetry, log)


def ended_by(work: Callable[[], dict[str, Any]], telemetry: WorkerTelemetry, log: Any) -> Ended:
    """How some work of a worker ended: with what it did, or with what it failed with."""
    try:
        return Ended(done=work())
    except HeadraceError as error:
        log.error("failed", detail=error.message, where=error.where)
        return Ended(error=error, worked=telemetry.worked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor tells it
        log.error("failed", detail=str(error), traceback=traceback.format_exc())
        failure = StreamError(
            f"{type(error).__name__}: {error}", hint="this should not happen; the log has the traceback"
        )
        return Ended(error=failure, worked=telemetry.worked)


def _worked(job: StreamJob, number: int, stop: threading.Event, telemetry: WorkerTelemetry) -> dict[str, Any]:
    system, home = job.system, job.handed.home()
    identity = Identity(home.path / "stream" / job.topics.stream, home.settings.replica, number)
    worker = StreamWorker(system, home, Broker(job.bootstrap, home.kafka), identity.name, job.options, telemetry)
    server = serve(telemetry, job.port)
    log = logger(job.topics.stream, identity.name)
    log.info("serves metrics", port=server.server_address[1], pid=os.getpid())
    try:
        return worker.run(stop)
    finally:
        server.shutdown()
        server.server_close()
