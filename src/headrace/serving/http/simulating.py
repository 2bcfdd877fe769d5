"""Does the simulations that people asked for: one at a time, in a process of its own that gives way to all others.

The ledger is the queue, so it outlives the server, and all servers of a home have one. A server says every second that
its process is alive; what becomes of a simulation of which nothing is said any more is told in words.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import HeadraceError
from headrace.executors import Handover, Running, executor_of
from headrace.home import Home
from headrace.ledger import LedgerIdentity
from headrace.serving.http.problem import outward
from headrace.serving.http.reads.reader import ReadHome
from headrace.serving.http.telemetry import LOGGING
from headrace.system import System

if TYPE_CHECKING:
    from headrace.ledger.simulations import QueuedSimulation, SimulationQueue

LOOK, BEAT, TROUBLED = 0.5, 1.0, 5.0
"""Seconds between two looks at the queue, between two signs of life, and after a failure."""
LONGEST = timedelta(hours=24)
"""A simulation that takes longer is ended."""
_END = 5.0
"""Seconds that a process has to end by itself."""
_NICE = 15
_log = logging.getLogger("headrace.serving")


@dataclass(frozen=True)
class SimulationJob:
    """What a process is handed.

    Attributes:
        handed: The system, and the settings of the home.
        simulation: What is to be done.
        simulate: Does it; see `Tools.simulate`.
        known: The ledger that it must be.
    """

    handed: Handover
    simulation: QueuedSimulation
    simulate: Callable[..., Any]
    known: LedgerIdentity | None = None


class Simulator:
    """Does what waits in the queue, beside a server.

    Args:
        handed: The systems, and the settings of the home.
        home: Where the queue is.
        simulate: See `Tools.simulate`.
        known: The ledger that it must be.
    """

    def __init__(
        self, handed: Handover, home: Home, simulate: Callable[..., Any], known: LedgerIdentity | None = None
    ) -> None:
        self._handed, self._home, self._simulate, self._known = handed, home, simulate, known
        self._systems = {system.name: system for system in handed.systems if isinstance(system, System)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="headrace-simulations", daemon=True)

    def start(self) -> None:
        """Begin to look at the queue."""
        self._thread.start()

    def close(self, timeout: float = 2 * _END) -> None:
        """End what is being done; it is interrupted, and what waits goes on waiting."""
        self._stop.set()
        self._thread.join(timeout)

    def _keep(self) -> None:
        problem = ""
        while not self._stop.is_set():
            pause = LOOK
            try:
                if self._home.has_ledger and self._home.ledger.simulations.any_open:
                    simulation = self._home.ledger.simulations.claim(_now(), list(self._systems))
                    if simulation is not None:
                        self._do(simulation)
                problem = ""
            except (HeadraceError, OSError) as error:
                if str(error) != problem:
                    _log.warning("simulations cannot be looked after: %s", error)
                problem, pause = str(error), TROUBLED
            self._stop.wait(pause)

    def _do(self, simulation: QueuedSimulation) -> None:
        """Have a process do one, and see to its end, whatever that is."""
        queue, name = self._home.ledger.simulations, simulation.id
        handover = Handover.of(self._handed.settings, self._systems[simulation.system])
        job = SimulationJob(handover, simulation, self._simulate, self._known)
        process, due = executor_of(handover.settings.executor).start(_work, job, 0), _now() + LONGEST
        reason = None
        while process.alive and reason is None:
            if self._stop.wait(BEAT):
                reason = "interrupted: the server ended"
            elif _now() > due:
                reason = f"it took longer than {LONGEST / timedelta(hours=1):g} h, and was ended"
            else:
                with contextlib.suppress(HeadraceError):  # the next one says
                    if not queue.beat(name, _now()):
                        break
        _ended(process)
        if reason is None:
            reason = f"interrupted: its process ended with {process.code}"
        queue.settle(name, _now(), reason=reason)  # changes nothing of one whose end is written down


def _ended(process: Running) -> None:
    """See that a process is gone."""
    process.stop()
    process.wait(_END)
    if process.alive:
        process.kill()
        process.wait(_END)


class _StoppedError(Exception):
    """The simulation is not to go on."""


class _Progress:
    """Writes down how far a simulation is, now and then.

    Args:
        queue: Where it is written.
        name: Of the simulation.
        stop: Set when it is to end.
    """

    def __init__(self, queue: SimulationQueue, name: str, stop: threading.Event) -> None:
        self._queue, self._name, self._stop = queue, name, stop
        self._due, self._stage = 0.0, ""

    def __call__(self, stage: str, count: int, total: int) -> None:
        """What is being done, how many runs of it are done, and of how many; raises where it is to end."""
        if self._stop.is_set():
            raise _StoppedError
        if stage == self._stage and time.monotonic() < self._due:
            return
        self._due, self._stage = time.monotonic() + BEAT, stage
        try:
            self._queue.progress(self._name, stage, count, total)
        except HeadraceError as error:
            _log.warning("the progress of a simulation cannot be written down: %s", error)


def _work(job: SimulationJob, number: int, stop: threading.Event) -> None:
    """What the process does."""
    os.environ.setdefault("POLARS_MAX_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
    os.nice(_NICE)
    logging.config.dictConfig(LOGGING)
    home, simulation = job.handed.home(make=False, known=job.known), job.simulation
    queue = home.ledger.simulations
    place = ReadHome(home, {simulation.system: job.handed.system})
    progress = _Progress(queue, simulation.id, stop)
    try:
        result = job.simulate(place, name=simulation.system, request=simulation.request, on_progress=progress)
        queue.settle(simulation.id, _now(), result=msgspec.json.encode(result))
    except _StoppedError:
        return
    except HeadraceError as error:
        queue.settle(simulation.id, _now(), reason=_said(error))
    except Exception:  # noqa: BLE001  # it is told to whoever asked for it, and logged
        _log.exception("the simulation %s failed in an unforeseen way", simulation.id)
        queue.settle(simulation.id, _now(), reason="it failed in an unforeseen way; the server's log says how")


def _said(error: HeadraceError) -> str:
    """An error in one line, without what is nobody's business outside."""
    text = f"{error.where}: {error.message}" if error.where else error.message
    return outward(f"{text} ({error.hint})" if error.hint else text)


def _now() -> datetime:
    return datetime.now(UTC)
