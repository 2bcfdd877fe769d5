"""Processes that do tasks side by side, and die with the one that started them."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self, TypeVar

from headrace.errors import HeadraceError, UsageError

T = TypeVar("T")
R = TypeVar("R")

_WAITING = 2
"""Tasks per process that are handed out before their turn."""


class Workers:
    """A pool of processes; with one worker, this process.

    Processes are started afresh (spawned), because polars and OpenMP do not survive a fork.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise UsageError(f"{count} workers do nothing", where="--workers")
        self._count = count
        self._pool: ProcessPoolExecutor | None = None
        self._before = frozenset(active_children())
        self._processes: set[BaseProcess] = set()

    def __enter__(self) -> Self:
        if self._count > 1:
            share = max((os.cpu_count() or 1) // self._count, 1)
            self._pool = ProcessPoolExecutor(
                self._count, get_context("spawn"), initializer=_begin, initargs=(os.getpid(), share)
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T]) -> Iterator[R]:
        """Results as they come, in any order. Tasks are drawn as they are needed, so drawing one may take its time.

        Raises:
            HeadraceError: A task failed, or a process was killed; results of other tasks may be lost.
        """
        if self._pool is None:
            yield from map(function, tasks)
            return
        pending: set[Future[R]] = set()
        for task in tasks:
            packed = _packed(function, task)
            try:
                pending.add(self._pool.submit(_do, packed))
            except BrokenProcessPool as error:  # one died that had no task of this turn
                raise self._death() from error
            self._processes |= {each for each in active_children() if each not in self._before}
            done = {each for each in pending if each.done()}
            if len(pending) >= self._count * _WAITING:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending -= done
            yield from map(self._result, done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from map(self._result, done)

    def _result(self, future: Future[R]) -> R:
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise self._death() from error

    def _death(self) -> HeadraceError:
        assert self._pool is not None
        self._pool.shutdown()  # by then it is known how each ended
        return _died([each.exitcode for each in self._processes])


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
    first = next((each for each in statuses if each not in (None, 0, -signal.SIGTERM)), None)
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

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
