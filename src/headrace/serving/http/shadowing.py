"""Has versions score, beside, what the HTTP door has answered: by the ledger's log, in a process of its own.

The log is the queue: whatever is durable there is scored, once, however often this process is killed or how far behind
it is. Requests know nothing of it, and a machine that is busy with them lets it wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import logging.config
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import msgspec

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.ledger import Entry, Known
from headrace.ledger.shadows import Follower, Shadow
from headrace.lineage import PINNED, ROLE, SHADOW, row_prediction_id
from headrace.pipelines.candidate import Candidate, Scored
from headrace.pipelines.row_inference import row_cause
from headrace.row_predictor import PROBABILITY
from headrace.serving.http.champion import pins_of
from headrace.serving.http.telemetry import LOGGING
from headrace.settings import Settings
from headrace.system import System

PART = 500
"""Entries that are scored and stored at once. A commit keeps the answers' own waiting."""
PAUSE, IDLE, TROUBLED = 0.05, 0.5, 5.0
"""Seconds between two parts, until the next look at the log's end, and after a failure."""
_NICE = 10
_PR_SET_PDEATHSIG = 1
_FIRST, _LONGEST = 1.0, 30.0
_encode = msgspec.json.Encoder().encode
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
        self._candidate: Candidate | None = None
        self._pinned, self._cause = "", ""
        self._at: Follower | None = None

    def step(self) -> int:
        """Score the next part of the log; how many entries it had.

        Raises:
            HeadraceError: Something cannot be read or written; the same may be tried again.
        """
        ledger = self._home.ledger
        at = self._at or ledger.shadows.begin(self.system.name, self._number)
        entries = ledger.read(self.system.name, after=at.position, limit=PART)
        if not entries:
            self._at = at
            return 0
        others = [each for each in entries if each[1].model_version != self._number]
        said = self._scored(others)
        failed = sum(each.error is not None for each in said)
        now = at._replace(
            position=entries[-1][0],
            scored=at.scored + len(said) - failed,
            failed=at.failed + failed,
            own=at.own + len(entries) - len(others),
        )
        rows = [self._shadow(number, entry, each) for (number, entry), each in zip(others, said, strict=True)]
        self._at = None  # unless it is known
        if ledger.shadows.go_on(self.system.name, at, now, rows):
            self._at = now
        return len(entries)

    def _scored(self, entries: Sequence[tuple[int, Entry]]) -> list[Scored]:
        if self._candidate is None:
            version = self._home.registry.get(self.system.name, self._number)
            candidate = Candidate(self.system, self._home, version)
            pins = pins_of(self.system, version, version.as_of)
            record = {name: getattr(pins, name) for name in PINNED} | {ROLE: SHADOW}
            self._pinned = self._home.ledger.pin(record)
            self._cause = f"{SHADOW}|{row_cause(self.system.name, pins)}"
            self._candidate = candidate
        return self._candidate.score([entry for _, entry in entries])

    def _shadow(self, number: int, entry: Entry, said: Scored) -> Shadow:
        name = row_prediction_id(f"{self._cause}|{entry.digest}", entry.key, entry.created_at)
        told = {"error": said.error} if said.error else {self.system.target: said.label, PROBABILITY: said.probability}
        answer = _encode({"id": name, **told, "model_version": self._number})
        return Shadow(number, name, said.inputs, answer, self._pinned)


@dataclass(frozen=True)
class Job:
    """What a process is to follow; it is handed to it.

    Attributes:
        wanted: Versions by the name of their system.
        known: The ledger that it must be.
    """

    systems: tuple[System, ...]
    settings: Settings
    wanted: Mapping[str, tuple[int, ...]]
    known: Known | None = None


def begin(job: Job, home: Home) -> None:
    """Have every version begin with what is logged next. Where the ledger is away, it begins when that is back."""
    with contextlib.suppress(HeadraceError):
        for name, numbers in job.wanted.items():
            for number in numbers:
                home.ledger.shadows.begin(name, number)


def follow(job: Job, stop: threading.Event) -> None:
    """Score what is logged until told to stop. What goes wrong is logged, and tried again."""
    home = Home(job.settings, make=False, known=job.known)
    every = [Shadowing(system, home, number) for system in job.systems for number in job.wanted.get(system.name, ())]
    due = dict.fromkeys(range(len(every)), 0.0)
    told: dict[int, str] = {}
    while not stop.is_set():
        for place, each in enumerate(every):
            if time.monotonic() < due[place]:
                continue
            try:
                done = each.step()
                told.pop(place, None)
                due[place] = time.monotonic() + (PAUSE if done else IDLE)
            except (HeadraceError, OSError) as error:
                if told.get(place) != str(error):
                    _log.warning("%s: a version beside cannot score: %s", each.system.name, error)
                told[place] = str(error)
                due[place] = time.monotonic() + TROUBLED
        stop.wait(max(0.0, min(due.values()) - time.monotonic()))


class Keeper:
    """Keeps the process that follows the log running beside a server: one that dies is followed by another.

    Args:
        job: What it is handed.
    """

    def __init__(self, job: Job) -> None:
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
        pause = _FIRST
        while not self._stop.is_set():
            process = get_context("spawn").Process(target=_child, args=(self._job, os.getpid()), daemon=True)
            process.start()
            began = time.monotonic()
            while process.is_alive() and not self._stop.wait(0.2):
                pass
            if self._stop.is_set():
                process.terminate()
                process.join(5)
                if process.is_alive():
                    process.kill()
                return
            pause = _FIRST if time.monotonic() - began > _LONGEST else min(pause * 2, _LONGEST)
            _log.warning(
                "the process that scores beside ended with %s; the next begins in %g s", process.exitcode, pause
            )
            self._stop.wait(pause)


def _child(job: Job, parent: int) -> None:
    """The process: nicer than the server, and no longer there than it."""
    logging.config.dictConfig(LOGGING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(_NICE)
    if os.getppid() == parent:
        follow(job, stop)
