"""Processes that do tasks side by side, and die with the one that started them."""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Self, TypeVar

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
            _check(task)
            pending.add(self._pool.submit(function, task))
            done = {each for each in pending if each.done()}
            if len(pending) >= self._count * _WAITING:
                done, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending -= done
            yield from map(_result, done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from map(_result, done)


def _check(task: object) -> None:
    try:
        pickle.dumps(task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        hint = "use --workers 1, or declare the system in importable modules only"
        raise UsageError(f"the system cannot be sent to other processes: {error}", hint=hint) from error


def _result(future: Future[R]) -> R:
    try:
        return future.result()
    except BrokenProcessPool as error:
        hint = "out of memory? try fewer --workers; repeating goes on from where it was"
        raise HeadraceError("a worker process died", hint=hint) from error


def _begin(parent: int, threads: int) -> None:
    """In a new process: as many threads as are its share, and an end when the parent is gone."""
    os.environ.setdefault("POLARS_MAX_THREADS", str(threads))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
