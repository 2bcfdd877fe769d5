"""Runs a stream: one worker in this process, or several in processes that are started again when they die."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

from headrace.errors import StreamError
from headrace.home import Home
from headrace.pipelines import shape
from headrace.serving.stream.identity import Identity
from headrace.serving.stream.log import logger
from headrace.serving.stream.telemetry import serve
from headrace.serving.stream.worker import Options, Worker
from headrace.settings import Settings
from headrace.sources.broker import Broker
from headrace.system import System

_GRACE = 30.0
"""Seconds that workers have to stop."""
_LONGEST_PAUSE = 30.0


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
    """Answer events until SIGTERM or SIGINT; returns what was done, where one worker did it.

    Args:
        job: What to stream.
        workers: Processes; one works in this one.
        on_start: Called before the first event is read.

    Raises:
        DeclarationError: The system answers no events.
        HeadraceError: This worker, or the first start of the others, failed.
    """
    job.system.event_shape()
    shape.check(job.system, Home(job.settings))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervisor = Supervisor(job, workers) if workers != 1 else None
    on_start()
    return work(job, 0, stop) if supervisor is None else supervisor.run(stop)


def work(job: Job, number: int, stop: threading.Event) -> dict[str, Any]:
    """One worker, in this process."""
    system, home = job.system, Home(job.settings)
    identity = Identity(home.path / "stream" / system.name, job.settings.replica, number)
    worker = Worker(system, home, Broker(job.bootstrap, home.kafka), identity.name, job.options)
    server = serve(worker.telemetry, job.port)
    logger(system.name, identity.name).info("serves metrics", port=server.server_address[1], pid=os.getpid())
    try:
        return worker.run(stop) | {"system": system.name, "replica": identity.name}
    finally:
        server.shutdown()
        server.server_close()


def _child(job: Job, number: int, parent: int) -> None:
    """A worker in a process of its own; it stops when the one that started it is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the supervisor tells this one

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
    work(job, number, stop)


class Supervisor:
    """Keeps several workers running: one that dies is started again, after a pause that grows."""

    def __init__(self, job: Job, workers: int) -> None:
        if workers < 1:
            raise StreamError(f"{workers} workers answer nothing", where="--workers")
        self._job, self._count = job, workers
        self._log = logger(job.system.name, "supervisor")
        self._processes: dict[int, BaseProcess] = {}
        self._pauses = dict.fromkeys(range(workers), 1.0)
        self._due = dict.fromkeys(range(workers), 0.0)

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Until told to stop, or, where workers stop when idle, until all have."""
        restarts = -self._count
        ended: set[int] = set()
        while not stop.is_set() and len(ended) < self._count:
            for number in range(self._count):
                process = self._processes.get(number)
                if number in ended or (process is not None and process.is_alive()):
                    continue
                if process is not None and process.exitcode == 0 and self._job.options.idle is not None:
                    ended.add(number)
                elif self._may_start(number, process):
                    self._start(number)
                    restarts += 1
            stop.wait(0.2)
        self._stop()
        return {"system": self._job.system.name, "workers": self._count, "restarts": restarts}

    def _may_start(self, number: int, died: BaseProcess | None) -> bool:
        now = time.monotonic()
        if died is not None:
            self._log.warning("worker died", worker=number, exit=died.exitcode, pause=self._pauses[number])
            self._due[number] = now + self._pauses[number]
            self._pauses[number] = min(self._pauses[number] * 2, _LONGEST_PAUSE)
            del self._processes[number]
        return now >= self._due[number]

    def _start(self, number: int) -> None:
        process = get_context("spawn").Process(target=_child, args=(self._job, number, os.getpid()))
        process.start()
        self._processes[number] = process

    def _stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        until = time.monotonic() + _GRACE
        for number, process in self._processes.items():
            process.join(max(until - time.monotonic(), 0.1))
            if process.is_alive():
                self._log.warning("worker did not stop in time", worker=number)
                process.kill()
