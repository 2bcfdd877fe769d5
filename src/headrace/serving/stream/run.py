"""Runs a stream: workers in processes of their own, that are started again when they die."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from headrace.errors import HeadraceError, StreamError
from headrace.home import Home
from headrace.pipelines import shape
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.log import logger
from headrace.serving.stream.supervisor import Ended, Supervisor
from headrace.serving.stream.telemetry import Telemetry, serve
from headrace.serving.stream.worker import Options, Worker
from headrace.settings import Settings
from headrace.sources.broker import Broker
from headrace.system import System

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Job:
    """What to stream; it is what a new process is handed.

    Attributes:
        system: The declaration.
        settings: Of the home.
        bootstrap: The cluster.
        port: First port of the metrics.
        options: How workers run.
    """

    system: System
    settings: Settings
    bootstrap: str
    port: int
    options: Options


def run(job: Job, workers: int, on_start: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Answer events until SIGTERM or SIGINT; returns what was done.

    Args:
        job: What to stream.
        workers: Processes; each is started again when it dies.
        on_start: Called before the first event is read.

    Raises:
        DeclarationError: The system answers no events.
        FencedError: Workers with the names of these took their places again and again.
        BrokerUnavailableError: The cluster was away for longer than it is waited for.
        HeadraceError: A worker failed before it answered anything, or again and again.
    """
    if job.system.forecasts:
        job.system.event_shape()
    shape.check(job.system, Home(job.settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log = logger(job.system.name, "supervisor")
    supervisor = Supervisor(job, workers, _child, log, ends=job.options.idle is not None)
    on_start()
    return {"system": job.system.name, **supervisor.run(stop)}


def work(job: Job, number: int, stop: threading.Event) -> Ended:
    """One worker, in this process, to its end."""
    telemetry, log = Telemetry(job.system.name), logger(job.system.name, str(number))
    try:
        return Ended(done=_worked(job, number, stop, telemetry))
    except HeadraceError as error:
        log.error("failed", detail=error.message, where=error.where)
        return Ended(error=error, worked=telemetry.worked)
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor tells it
        log.error("failed", detail=str(error), traceback=traceback.format_exc())
        told = StreamError(f"{type(error).__name__}: {error}", hint="this should not happen; the log has the traceback")
        return Ended(error=told, worked=telemetry.worked)


def _worked(job: Job, number: int, stop: threading.Event, telemetry: Telemetry) -> dict[str, Any]:
    system, home = job.system, Home(job.settings)
    identity = Identity(home.path / "stream" / system.name, job.settings.replica, number)
    worker = Worker(system, home, Broker(job.bootstrap, home.kafka), identity.name, job.options, telemetry)
    server = serve(telemetry, job.port)
    log = logger(system.name, identity.name)
    log.info("serves metrics", port=server.server_address[1], pid=os.getpid())
    try:
        return worker.run(stop)
    finally:
        server.shutdown()
        server.server_close()


def _child(job: Job, number: int, parent: int, ended: Connection) -> None:
    """A worker in a process of its own; it ends when the one that started it is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the supervisor tells this one
    _end_with_parent()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
    ended.send(work(job, number, stop))


def _end_with_parent() -> None:
    """Where the system can, die at once with the supervisor: what starts next in its place then finds the name free."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
