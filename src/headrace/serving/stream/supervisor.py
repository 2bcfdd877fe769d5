"""Keeps workers running: one that dies is started again after a pause that grows, unless that is of no use."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from headrace.errors import BrokerUnavailableError, FencedError, HeadraceError, StreamError

GRACE = 30.0
"""Seconds that workers have to stop."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
MOST = 5
"""Typed failures of a worker in a row after which all end."""
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
class Place:
    """One worker over all its processes.

    Attributes:
        process: The one that runs, or ran last; None before the first and while the next is waited for.
        ended: Where it says how it ended.
        began: When it was started.
        due: When the next may start.
        pause: Seconds before the next start after a failure.
        failures: Typed failures in a row.
        worked: Whether any of its processes has worked.
        over: It ended by itself, and for good.
    """

    process: BaseProcess | None = None
    ended: Connection | None = None
    began: float = 0.0
    due: float = 0.0
    pause: float = FIRST_PAUSE
    failures: int = 0
    worked: bool = False
    over: bool = False

    def said(self) -> Ended | None:
        """How its process ended; None where that did not say."""
        try:
            return self.ended.recv() if self.ended is not None and self.ended.poll() else None
        except EOFError:
            return None


Entry = Callable[[Any, int, int, Connection], None]
"""What a process runs, given the job, the worker's number, its parent's, and where to say how it ended."""


class Supervisor:
    """Starts workers, and starts them again.

    Args:
        job: What every worker is handed; it can be pickled.
        workers: How many.
        entry: What their processes run.
        log: Where to tell of deaths.
        ends: Whether a worker may end by itself.
    """

    def __init__(self, job: Any, workers: int, entry: Entry, log: Any, *, ends: bool) -> None:
        if workers < 1:
            raise StreamError(f"{workers} workers answer nothing", where="--workers")
        self._job, self._entry, self._log, self._ends = job, entry, log, ends
        self._places = [Place() for _ in range(workers)]
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
                    if place.process is not None and not place.process.is_alive():
                        self._take_leave(number, place, stop)
                    if place.process is None and not place.over and time.monotonic() >= place.due:
                        self._start(number, place)
                        starts += 1
                self._rest(stop)
        finally:
            self._stop()
        return {**self._done, "workers": len(self._places), "restarts": max(starts - len(self._places), 0)}

    def _rest(self, stop: threading.Event) -> None:
        running = [place.process.sentinel for place in self._places if place.process is not None]
        if running:
            wait(running, timeout=0.2)
        if any(place.process is None for place in self._places):
            stop.wait(0.1)

    def _start(self, number: int, place: Place) -> None:
        context = get_context("spawn")
        place.ended, theirs = context.Pipe(duplex=False)
        process = context.Process(target=self._entry, args=(self._job, number, os.getpid(), theirs))
        process.start()
        theirs.close()
        place.process, place.began = process, time.monotonic()

    def _take_leave(self, number: int, place: Place, stop: threading.Event) -> None:
        """See how a process ended, and whether another is to follow."""
        assert place.process is not None
        said, code = place.said(), place.process.exitcode
        place.process = None
        if said is not None and said.error is None:
            self._done.update(said.done)
            place.over = self._ends
            if place.over or stop.is_set():
                return
        error = said.error if said is not None else None
        place.worked |= said is not None and said.worked
        if time.monotonic() - place.began > WELL:
            place.failures, place.pause = 0, FIRST_PAUSE
        if error is not None:
            place.failures += 1
            self._refuse(error, place)
        self._log.warning(
            "worker died", worker=number, exit=code, detail=error and error.message, pause=round(place.pause, 1)
        )
        place.due = time.monotonic() + place.pause
        place.pause = min(place.pause * 2, LONGEST_PAUSE)

    def _refuse(self, error: HeadraceError, place: Place) -> None:
        """Raise a failure that no new process helps against."""
        lasting = not place.worked and not isinstance(error, FencedError)
        if lasting or isinstance(error, BrokerUnavailableError) or place.failures >= MOST:
            if place.failures >= MOST:
                error.message = f"{error.message}; {place.failures} times in a row, so this one gives up"
            raise error

    def _stop(self) -> None:
        running = [place for place in self._places if place.process is not None]
        for place in running:
            assert place.process is not None
            place.process.terminate()
        until = time.monotonic() + GRACE
        for number, place in enumerate(running):
            assert place.process is not None
            place.process.join(max(until - time.monotonic(), 0.1))
            if place.process.is_alive():
                self._log.warning("worker did not stop in time", worker=number)
                place.process.kill()
            said = place.said()
            self._done.update(said.done if said is not None else {})
