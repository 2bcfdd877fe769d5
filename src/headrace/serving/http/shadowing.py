"""Has versions score, beside, what the HTTP door has answered: by the ledger's log, in a process of its own.

The log is the queue: whatever is durable there is scored, once, however often this process is killed or how far behind
it is. Requests know nothing of it, and a machine that is busy with them lets it wait.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from headrace.errors import HeadraceError
from headrace.executors import Handover, executor_of
from headrace.home import Home
from headrace.ledger import LedgerIdentity
from headrace.ledger.shadows import Follower
from headrace.serving.http.scoring import FAILED, Scorer, scorer_of
from headrace.serving.http.telemetry import LOGGING
from headrace.system import System

PART = 500
"""Entries that are scored and stored at once. A commit keeps the answers' own waiting."""
PAUSE, IDLE, TROUBLED = 0.05, 0.5, 5.0
"""Seconds between two parts, until the next look at the log's end, and after a failure."""
_NICE = 10
_FIRST, _LONGEST = 1.0, 30.0
_log = logging.getLogger("headrace.serving")


class Shadowing:
    """One version of one system, following the log.

    Args:
        system: The declaration.
        home: Where the log, the models and the tables are.
        number: The version.
    """

    def __init__(self, system: System, home: Home, number: int) -> None:
        self.system, self._home, self._number = system, home, number
        self._scorer: Scorer | None = None
        self._at: Follower | None = None

    def step(self) -> int:
        """Score the next part of the log; how many entries it had.

        Raises:
            HeadraceError: Something cannot be read or written; the same may be tried again.
        """
        ledger = self._home.ledger
        place = self._at or ledger.shadows.begin(self.system.name, self._number)
        entries = ledger.read(self.system.name, after=place.position, limit=PART)
        if not entries:
            self._at = place
            return 0
        if self._scorer is None:
            self._scorer = scorer_of(self.system, self._home, self._number)
        scores = self._scorer.score(place.position, entries)
        failed = sum(FAILED in msgspec.json.decode(score.answer) for score in scores)
        count = sum(entry.model_version == self._number for _, entry in entries)
        now = place._replace(
            position=entries[-1][0],
            scored=place.scored + len(scores) - failed,
            failed=place.failed + failed,
            own=place.own + count,
        )
        self._at = None  # unless it is known
        if ledger.shadows.go_on(self.system.name, place, now, scores):
            self._at = now
        return len(entries)


@dataclass(frozen=True)
class ShadowJob:
    """What a process is to follow; it is handed to it.

    Attributes:
        handed: The systems, and the settings of the home.
        wanted: Versions by the name of their system.
        known: The ledger that it must be.
    """

    handed: Handover
    wanted: Mapping[str, tuple[int, ...]]
    known: LedgerIdentity | None = None


def begin(job: ShadowJob, home: Home) -> None:
    """Have every version begin with what is logged next. Where the ledger is away, it begins when that is back."""
    with contextlib.suppress(HeadraceError):
        for name, numbers in job.wanted.items():
            for number in numbers:
                home.ledger.shadows.begin(name, number)


def follow(job: ShadowJob, stop: threading.Event) -> None:
    """Score what is logged until told to stop. What goes wrong is logged, and tried again."""
    home = job.handed.home(make=False, known=job.known)
    systems = [system for system in job.handed.systems if isinstance(system, System)]
    followers = [Shadowing(system, home, number) for system in systems for number in job.wanted.get(system.name, ())]
    due = dict.fromkeys(range(len(followers)), 0.0)
    problems: dict[int, str] = {}
    while not stop.is_set():
        for place, follower in enumerate(followers):
            if time.monotonic() < due[place]:
                continue
            try:
                moved = follower.step()
                problems.pop(place, None)
                due[place] = time.monotonic() + (PAUSE if moved else IDLE)
            except (HeadraceError, OSError) as error:
                if problems.get(place) != str(error):
                    _log.warning("%s: a version beside cannot score: %s", follower.system.name, error)
                problems[place] = str(error)
                due[place] = time.monotonic() + TROUBLED
        stop.wait(max(0.0, min(due.values()) - time.monotonic()))


class Keeper:
    """Keeps the process that follows the log running beside a server: one that dies is followed by another.

    Args:
        job: What it is handed.
    """

    def __init__(self, job: ShadowJob) -> None:
        self._job, self._stop = job, threading.Event()
        self._thread = threading.Thread(target=self._keep, name="headrace-shadows", daemon=True)

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def close(self, timeout: float = 10.0) -> None:
        """End it; what it has not scored, the next one will."""
        self._stop.set()
        self._thread.join(timeout)

    def _keep(self) -> None:
        pause, executor = _FIRST, executor_of(self._job.handed.settings.executor)
        while not self._stop.is_set():
            process, began = executor.start(_work, self._job, 0), time.monotonic()
            while process.alive and not self._stop.wait(0.2):
                pass
            if self._stop.is_set():
                process.stop()
                process.wait(5)
                if process.alive:
                    process.kill()
                return
            pause = _FIRST if time.monotonic() - began > _LONGEST else min(pause * 2, _LONGEST)
            _log.warning("the process that scores beside ended with %s; the next begins in %g s", process.code, pause)
            self._stop.wait(pause)


def _work(job: ShadowJob, number: int, stop: threading.Event) -> None:
    """What the process runs: nicer than the server."""
    logging.config.dictConfig(LOGGING)
    os.nice(_NICE)
    follow(job, stop)
