"""Keeps workers running: one that dies is started again after a pause that grows, unless that is of no use."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from headrace.errors import BrokerUnavailableError, FencedError, HeadraceError, NotFoundError, StreamError
from headrace.executors import Entry, Executor, Running

GRACE = 30.0
"""Seconds that workers have to stop."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST = 5
"""Failures of a worker in a row after which all end; a kill is none."""
WELL = 300.0
"""Seconds of work after which earlier failures are forgotten."""


@dataclass(frozen=True)
class Ended:
    """How a worker's process ended, by its own words.

    Attributes:
        done: Counts of what it did.
        error: What it failed with.
        worked: Whether it had state and partitions before that.
    """

    done: dict[str, Any] = field(default_factory=dict)
    error: HeadraceError | None = None
    worked: bool = True


@dataclass
class WorkerSlot:
    """One worker over all its processes.

    Attributes:
        process: The one that runs; None before the first and while the next is waited for.
        began: When it was started.
        due: When the next may start.
        pause: Seconds before the next start after a failure.
        failures: Failures in a row.
        worked: Whether any of its processes has worked.
        over: It ended by itself, and for good.
    """

    process: Running | None = None
    began: float = 0.0
    due: float = 0.0
    pause: float = FIRST_PAUSE
    failures: int = 0
    worked: bool = False
    over: bool = False


class Supervisor:
    """Starts workers, and starts them again.

    Args:
        executor: Where they run.
        entry: What they run; it returns an `Ended`.
        job: What every worker is handed; it can be pickled.
        workers: How many.
        log: Where to tell of deaths.
        ends: Whether a worker may end by itself.
    """

    def __init__(self, executor: Executor, entry: Entry, job: Any, workers: int, log: Any, *, ends: bool) -> None:
        if workers < 1:
            raise StreamError(f"{workers} workers answer nothing", where="--workers")
        self._executor, self._entry, self._job = executor, entry, job
        self._log, self._ends = log, ends
        self._places = [WorkerSlot() for _ in range(workers)]
        self._done: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> dict[str, Any]:
        """Until told to stop, or until all have ended by themselves; returns what was done.

        Raises:
            HeadraceError: A worker cannot go on.
        """
        starts = 0
        try:
            while not stop.is_set() and not all(place.over for place in self._places):
                for number, place in enumerate(self._places):
                    if place.process is not None and not place.process.alive:
                        self._take_leave(number, place, stop)
                    if place.process is None and not place.over and time.monotonic() >= place.due:
                        self._start(number, place)
                        starts += 1
                stop.wait(0.1)
        finally:
            self._stop()
        return {**self._done, "workers": len(self._places), "restarts": max(starts - len(self._places), 0)}

    def _start(self, number: int, place: WorkerSlot) -> None:
        place.process, place.began = self._executor.start(self._entry, self._job, number), time.monotonic()

    def _take_leave(self, number: int, place: WorkerSlot, stop: threading.Event) -> None:
        """See how a process ended, and whether another is to follow."""
        assert place.process is not None
        outcome, code = place.process.result(), place.process.code
        place.process = None
        if outcome is not None and outcome.error is None:
            self._done.update(outcome.done)
            place.over = self._ends
            if place.over or stop.is_set():
                return
        error = outcome.error if outcome is not None else _silent(code)
        place.worked |= outcome is not None and outcome.worked
        if time.monotonic() - place.began > WELL:
            place.failures, place.pause = 0, FIRST_PAUSE
        if error is not None:
            place.failures += 1
            self._refuse(error, place, is_told=outcome is not None)
        self._log.warning(
            "worker died", worker=number, exit=code, detail=error and error.message, pause=round(place.pause, 1)
        )
        place.due = time.monotonic() + place.pause
        place.pause = min(place.pause * 2, LONGEST_PAUSE)

    def _refuse(self, error: HeadraceError, place: WorkerSlot, *, is_told: bool) -> None:
        """Raise a failure that no new process helps against."""
        lasting = isinstance(error, NotFoundError) or (
            is_told and not place.worked and not isinstance(error, FencedError)
        )
        if lasting or isinstance(error, BrokerUnavailableError) or place.failures >= MOST:
            if place.failures >= MOST:
                error.message = f"{error.message}; {place.failures} times in a row, so this one gives up"
            raise error

    def _stop(self) -> None:
        running = [place for place in self._places if place.process is not None]
        for place in running:
            assert place.process is not None
            place.process.stop()
        until = time.monotonic() + GRACE
        for number, place in enumerate(running):
            assert place.process is not None
            place.process.wait(max(until - time.monotonic(), 0.1))
            if place.process.alive:
                self._log.warning("worker did not stop in time", worker=number)
                place.process.kill()
            outcome = place.process.result()
            self._done.update(outcome.done if outcome is not None else {})


def _silent(code: int | None) -> StreamError | None:
    """What to make of a process that ended with a code and did not say why; one that a signal killed has not failed."""
    if code is None or code < 0:
        return None
    return StreamError(
        f"a worker ended with code {code} and did not say why", hint="what it printed on stderr, above, says where"
    )
