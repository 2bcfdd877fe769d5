"""``local``: processes of this machine. They die with the one that started them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace import tracing
from headrace.errors import HeadraceError, UsageError
from headrace.executors.base import Entry

T = TypeVar("T")
R = TypeVar("R")

_WAITING = 2
"""Tasks per process that are handed out before their turn."""


_PR_SET_PDEATHSIG = 1


class LocalExecutor:
    """Processes of this machine."""

    def pool(self, count: int) -> LocalPool:
        """Processes for tasks; with a count of 1, this process.

        Raises:
            UsageError: The count is less than 1.
        """
        return LocalPool(count)

    def pool_with_this(self, count: int) -> LocalPool:
        """The same, of which this process is one: it does tasks while the others do theirs.

        Raises:
            UsageError: The count is less than 1.
        """
        return LocalPool(count, here=True)

    def start(self, entry: Entry, handed: Any, number: int) -> LocalProcess:
        """Start a process that runs until it is told to end."""
        context = get_context("spawn")
        parent_end, child_end = context.Pipe(duplex=False)
        process = context.Process(target=_live, args=(entry, handed, number, os.getpid(), child_end))
        process.start()
        child_end.close()
        return LocalProcess(process, parent_end)


class LocalProcess:
    """A process that runs until it is told to end.

    Args:
        process: The process.
        answers: Where it says what its entry returned.
    """

    def __init__(self, process: BaseProcess, answers: Connection) -> None:
        self._process, self._answers = process, answers
        self._packed = b""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        self._read()
        return self._process.is_alive()

    @property
    def code(self) -> int | None:
        """How it ended; minus the number of a signal that killed it."""
        return self._process.exitcode

    def result(self) -> Any | None:
        """What its entry returned; None where it ended without."""
        self._read()
        return pickle.loads(self._packed) if self._packed else None  # noqa: S301  # by the process that was started here

    def stop(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now (SIGKILL)."""
        self._process.kill()

    def wait(self, seconds: float) -> None:
        """Return when it has ended, or after so many seconds."""
        until = time.monotonic() + seconds
        if not self._packed:
            wait_for([self._process.sentinel, self._answers], seconds)
            self._read()
        self._process.join(max(until - time.monotonic(), 0))

    def _read(self) -> None:
        """Take what its entry returned as soon as it comes: more than the pipe holds keeps it from ending."""
        with contextlib.suppress(EOFError, OSError):  # it ended without, or in the middle of saying it
            if not self._packed and self._answers.poll():
                self._packed = self._answers.recv_bytes()


def _live(entry: Entry, handed: Any, number: int, parent: int, answers: Connection) -> None:
    """In a new process: run the entry until told to end, or until the parent is gone."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent tells this one
    if sys.platform == "linux":
        # Die at once with the parent: what starts next in its place then finds the name free.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()
    result = entry(handed, number, stop)
    tracing.close()  # what a process of a process registers for its end is not done
    with contextlib.suppress(BrokenPipeError):  # the parent is gone
        answers.send(result)


class LocalPool:
    """A pool of processes; with one worker, this process.

    Processes are started afresh (spawned), because polars and OpenMP do not survive a fork.

    Args:
        count: How many.
        here: Whether this process is one of them.
    """

    def __init__(self, count: int, *, here: bool = False) -> None:
        if count < 1:
            raise UsageError(f"{count} workers do nothing", where="--workers")
        self._count, self._here = count, here
        self._pool: ProcessPoolExecutor | None = None
        self._before = frozenset(active_children())
        self._processes: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        if self._count > 1:
            share = max((os.cpu_count() or 1) // self._count, 1)
            others = self._count - self._here
            self._pool = ProcessPoolExecutor(
                others, get_context("spawn"), initializer=_begin, initargs=(os.getpid(), share)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is KeyboardInterrupt:  # the terminal asks for an end now; what ran is lost, what is done is kept
            for process in active_children():
                if process not in self._before:
                    process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results as they come, in any order. Tasks are drawn as they are needed, so drawing one may take its time.

        Raises:
            HeadraceError: A task failed, or a process was killed; results of other tasks may be lost.
        """
        if self._pool is None:
            yield from map(function, tasks)
            return
        if self._here:
            yield from self._map_here(function, tasks)
            return
        pending: set[Future[R]] = set()
        for task in tasks:
            packed = _packed(function, task)
            try:
                pending.add(self._pool.submit(_do, packed))
            except BrokenProcessPool as error:  # one died that had no task of this turn
                raise self._death() from error
            self._processes |= {process for process in active_children() if process not in self._before}
            finished = {future for future in pending if future.done()}
            if len(pending) >= self._count * _WAITING:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending -= finished
            yield from map(self._result, finished)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from map(self._result, finished)

    def _map_here(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """`map`, where this process does tasks too: each of the others is handed its next one when it has done one,
        also while this one is busy."""
        assert self._pool is not None
        feed = _TaskFeed(self._pool, function, iter(tasks))
        for _ in range(self._count - 1):
            feed.hand_out()
            self._processes |= {process for process in active_children() if process not in self._before}
        while (task := feed.drawn()) is not _NOTHING:
            yield function(task)
            yield from map(self._result, feed.ended(wait=False))
        yield from map(self._result, feed.ended(wait=True))

    def _result(self, future: Future[R]) -> R:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._death() from error

    def _death(self) -> HeadraceError:
        assert self._pool is not None
        self._pool.shutdown()  # by then it is known how each ended
        return _died([process.exitcode for process in self._processes])


_NOTHING: Any = object()
"""No task is left."""


class _TaskFeed:
    """Hands tasks out to the processes of a pool, one after the other, by the pool's own thread.

    Args:
        pool: Of processes.
        function: What they do.
        tasks: With what; drawn by one thread at a time.
    """

    def __init__(self, pool: ProcessPoolExecutor, function: Callable[[Any], Any], tasks: Iterator[Any]) -> None:
        self._pool, self._function, self._tasks = pool, function, tasks
        self._lock, self._done, self._running = threading.Lock(), SimpleQueue[Future[Any]](), 0

    def drawn(self) -> Any:
        """The next task."""
        with self._lock:
            return next(self._tasks, _NOTHING)

    def hand_out(self) -> None:
        """Let a process do the next task; what goes wrong before it begins is an error of the task."""
        future = Future[Any]()
        try:
            task = self.drawn()
            if task is _NOTHING:
                return
            future = self._pool.submit(_do, _packed(self._function, task))
        except Exception as error:  # noqa: BLE001  # raised where results are read: here nobody would see it
            future.set_exception(error)
        with self._lock:
            self._running += 1
        future.add_done_callback(self._went_on)

    def _went_on(self, future: Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.hand_out()  # before this one is told: as long as it is not, others may come
        self._done.put(future)

    def ended(self, *, wait: bool) -> Iterator[Future[Any]]:
        """Tasks that were done since; all that are left, if they are waited for."""
        while (wait and self._running) or not self._done.empty():
            future = self._done.get()
            with self._lock:
                self._running -= 1
            yield future


def _packed(function: Callable[[T], R], task: T) -> bytes:
    try:
        return pickle.dumps((function, task))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        hint = "use --workers 1, or put what it is made of into system.py"
        raise UsageError(f"the system cannot be sent to other processes: {error}", hint=hint) from error


def _do(packed: bytes) -> Any:
    """In a process: unpacked here, so that what cannot be loaded is an error of the task and no death."""
    function, task = pickle.loads(packed)  # noqa: S301  # by the process that started this one
    return function(task)


def _died(statuses: Iterable[int | None]) -> HeadraceError:
    """The error of a pool whose process ended by itself; the others were then told to end (SIGTERM)."""
    again = "repeating goes on from where it was"
    first = next((status for status in statuses if status not in (None, 0, -signal.SIGTERM)), None)
    if first == -signal.SIGKILL:
        hint = f"out of memory? try fewer --workers; {again}"
        return HeadraceError("a worker process was killed (SIGKILL)", hint=hint)
    if first is not None and first < 0:
        name = signal.Signals(-first).name
        return HeadraceError(f"a worker process was ended by {name}", hint=f"--workers 1 tells where; {again}")
    return HeadraceError("a worker process ended by itself", hint=f"its last words are above; {again}")


def _begin(parent: int, threads: int) -> None:
    """In a new process: as many threads as are its share, and an end when the parent is gone."""
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent ends this one

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
