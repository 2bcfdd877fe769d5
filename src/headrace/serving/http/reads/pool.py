"""Reads in bounds: few processes, few that wait, a time-out for each, and one read for all who ask the same."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

from headrace.errors import (
    ArtefactError,
    ExplainError,
    FeatureError,
    HeadraceError,
    NotFoundError,
    ReplayError,
    UsageError,
)
from headrace.executors import Handover, Running
from headrace.executors.local import LocalExecutor
from headrace.home import Home
from headrace.ledger import LedgerIdentity
from headrace.serving.http.problem import Problem, busy, unforeseen
from headrace.serving.http.reads.reader import Read, ReadHome, ReadJob, body_of, run
from headrace.system import System

WAITING = 64
"""Reads that may wait for their turn (503 beyond)."""
FRESH = 2.0
"""Seconds for which a read answers all who ask the same."""
_HELD = 16 * 2**20
"""Bytes of answers that are held for that."""
_THREADS = 2
"""Threads, where no process reads."""
_log = logging.getLogger("headrace.serving")


class ReadReply(NamedTuple):
    """What a read answered: JSON, and the digest of it."""

    body: bytes
    digest: str


class LateReadError(Exception):
    """A read took too long."""


class _ReaderProcess:
    """One process, or none yet. Used by one thread at a time."""

    def __init__(self, packed: bytes, known: LedgerIdentity | None) -> None:
        self._packed, self._known = packed, known
        self._process: Running | None = None
        self._pipe: Any = None

    def ask(self, question: bytes, seconds: float) -> tuple[Any, ...]:
        """Its answer.

        Raises:
            LateReadError: None within so many seconds; the process is gone.
            EOFError, OSError: The process died over it.
        """
        if self._process is None or not self._process.alive:
            self._start()
        self._pipe.send_bytes(question)
        if not self._pipe.poll(seconds):
            self.close()
            raise LateReadError
        answer: tuple[Any, ...] = self._pipe.recv()
        return answer

    def _start(self) -> None:
        self.close()
        near_end, far_end = get_context("spawn").Pipe()
        self._process = LocalExecutor().start(run, ReadJob(self._packed, self._known, far_end), 0)
        far_end.close()
        self._pipe = near_end

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(5)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None


class Reads:
    """Answers reads.

    Args:
        systems: What is served.
        home: Where everything is.
        readers: Processes that read; 0: threads of this one.
        seconds: That a read may take, with its wait (503 after).
        known: The ledger that it must be.
    """

    def __init__(
        self,
        systems: Sequence[System],
        home: Home,
        *,
        readers: int,
        seconds: float,
        known: LedgerIdentity | None = None,
    ) -> None:
        self._place = ReadHome(home, {system.name: system for system in systems})
        self._seconds, self._waiting, self._closed = seconds, 0, False
        self._folder = home.path
        self._was_there = self._folder.exists()
        self._handed, self._known, self._readers = Handover.of(home.settings, *systems), known, readers
        self._free: list[_ReaderProcess] = []
        self._made = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(readers or _THREADS, thread_name_prefix="headrace-reads")
        self._turns = asyncio.Semaphore(readers or _THREADS)
        self._pending: dict[tuple[str, str], asyncio.Future[ReadReply]] = {}
        self._held: dict[tuple[str, str], tuple[float, ReadReply]] = {}

    async def read(self, function: Read, **arguments: Any) -> ReadReply:
        """What a function of a module answers, given a `ReadHome` and these arguments, which are JSON-ready.

        Who asks the same within `FRESH` seconds, or meanwhile, gets the same.

        Raises:
            Problem: 404, 409, 422: as the function failed; 503: too many wait, it takes too long, or what is to be read
                cannot be.
        """
        name = f"{function.__module__}:{function.__qualname__}", json.dumps(arguments, sort_keys=True, default=str)
        held = self._held.get(name)
        if held is not None and time.monotonic() - held[0] < FRESH:
            return held[1]
        pending = self._pending.get(name)
        if pending is None:
            pending = self._pending[name] = asyncio.ensure_future(self._once(function, arguments))
            pending.add_done_callback(lambda future: self._over(name, future))
        return await asyncio.shield(pending)

    async def do(self, function: Read, **arguments: Any) -> ReadReply:
        """As `read`, of what changes something: each is done, and what was held before is forgotten."""
        try:
            return await self._once(function, arguments)
        finally:
            self.forget()

    def forget(self) -> None:
        """Forget what is held: something changed."""
        self._held.clear()

    def close(self) -> None:
        """End what is under way, and read nothing more."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for reader in self._free:
                reader.close()
            self._free.clear()

    def _over(self, name: tuple[str, str], future: asyncio.Future[ReadReply]) -> None:
        if self._pending.get(name) is future:
            del self._pending[name]
        if future.cancelled() or future.exception() is not None:
            return
        self._held.pop(name, None)
        self._held[name] = (time.monotonic(), future.result())
        size = sum(len(reply.body) for _, reply in self._held.values())
        while size > _HELD or len(self._held) > _HELD // 2**14:
            size -= len(self._held.pop(next(iter(self._held)))[1].body)

    async def _once(self, function: Read, arguments: Mapping[str, Any]) -> ReadReply:
        if self._closed:
            raise busy("the server ends")
        if self._waiting >= WAITING:
            raise busy(f"{self._waiting} reads wait, no more may")
        self._refuse_gone()
        began = time.monotonic()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._turns.acquire()
        except TimeoutError as error:
            raise busy(f"its turn did not come within {self._seconds:g} s", 5) from error
        finally:
            self._waiting -= 1
        work = self._asked if self._readers else self._here
        left = max(self._seconds - (time.monotonic() - began), 0.1)
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, function, dict(arguments), left)
        future.add_done_callback(lambda _: self._turns.release())
        try:
            return await asyncio.wait_for(asyncio.shield(future), left + 5)
        except HeadraceError as error:
            raise problem_of(error) from error
        except (LateReadError, TimeoutError) as error:
            text = f"it takes longer than {self._seconds:g} s to read; ask for less, or raise --read-timeout"
            raise busy(text, 5) from error

    def _refuse_gone(self) -> None:
        """Refuse to read a home that was there before: what is in it would seem never to have been.

        Raises:
            Problem: 503.
        """
        there = self._folder.exists()
        if self._was_there and not there:
            raise busy("the folder of the home is gone; is its disk away?", 5)
        self._was_there = there

    def _here(self, function: Read, arguments: Mapping[str, Any], seconds: float) -> ReadReply:
        return ReadReply(*body_of(function, self._place, arguments))

    def _asked(self, function: Read, arguments: Mapping[str, Any], seconds: float) -> ReadReply:
        """By a process; one that died, or ended meanwhile, is followed by another, once."""
        question, end = pickle.dumps((function, arguments)), time.monotonic() + seconds
        for last in (False, True):
            reader = self._reader()
            try:
                good, *rest = reader.ask(question, max(end - time.monotonic(), 0.1))
            except (EOFError, OSError) as error:
                reader.close()
                if last:
                    raise HeadraceError("the process that reads died") from error
                continue
            finally:
                with self._lock:
                    self._free.append(reader)
                    if self._closed:
                        reader.close()
            if good:
                return ReadReply(*rest)
            if isinstance(rest[0], HeadraceError):
                raise rest[0]
            _log.error("a read failed in an unforeseen way: %s", rest[0])
            raise unforeseen()
        raise AssertionError("one of the two returned or raised")

    def _reader(self) -> _ReaderProcess:
        with self._lock:
            return self._free.pop() if self._free else _ReaderProcess(pickle.dumps(self._handed), self._known)


def problem_of(error: HeadraceError) -> Problem:
    """What a request is told of an error: 503 only where asking again may help."""
    statuses: Sequence[tuple[Any, int]] = (
        (NotFoundError, 404),
        ((UsageError, ExplainError, FeatureError), 422),
        ((ReplayError, ArtefactError), 409),
    )
    status = next((status for kinds, status in statuses if isinstance(error, kinds)), error.http_status)
    if status == 503:
        return busy(error.message, 5).by(error)
    where = (
        []
        if error.where is None or status != 422
        else [{"loc": ["query", error.where.lstrip("-")], "msg": error.message}]
    )
    return Problem(status, error.message, errors=where).by(error)
