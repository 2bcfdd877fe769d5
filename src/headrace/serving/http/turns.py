"""Turns of work that takes a while: few at once, few that wait, and none for a client that has gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool

from headrace.models.stopping import STOPPED
from headrace.serving.http.body import Receive
from headrace.serving.http.problem import Problem, busy

AT_ONCE = 2
"""Requests that are explained at once."""
WAITING = 8
"""Requests that wait for their turn."""
SECONDS = 10.0
"""Seconds in which a request has its turn and its explanation."""


class Stop:
    """Why the work of one request ends early, if it does.

    Args:
        seconds: That it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.problem: Problem | None = None
        self._seconds, self._end = seconds, time.monotonic() + seconds

    def __call__(self) -> None:
        """Called by the work.

        Raises:
            Problem: It must end: nobody waits for it any more, or it took too long.
        """
        if self.problem is not None:
            raise self.problem
        if time.monotonic() > self._end:
            raise busy(f"it takes longer than {self._seconds:g} s to explain; ask for fewer rows or shorter texts", 5)


class Turns:
    """Runs work in threads, in bounds.

    Args:
        at_once: Requests at once.
        waiting: Requests that wait (503 beyond).
        seconds: That each has, with its wait (503 after).
    """

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = WAITING, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._turns, self._most, self._waiting = asyncio.Semaphore(at_once), waiting, 0
        self._stops: set[Stop] = set()
        self._closed = False

    def refuse_full(self) -> None:
        """Refuse a request whose turn would not come.

        Raises:
            Problem: 503: too many wait, or the server ends.
        """
        if self._closed:
            raise _ended()
        if self._waiting >= self._most:
            raise busy(f"{self._waiting} requests wait to be explained, no more may", 5)

    async def run(self, receive: Receive, function: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
        """What a function returns that calls `refuse_stopped` between its steps.

        Args:
            receive: Of the request, whose body has come: tells that the client has gone.
            function: Called in a thread, once it is its turn.
            arguments: Of the function.
            more: Of the function, by name.

        Raises:
            Problem: 503: too many wait, it took too long, or the server ends. 400: the client has gone.
        """
        self.refuse_full()
        stop = Stop(self.seconds)
        self._stops.add(stop)
        watch = asyncio.create_task(_left(receive, stop))
        try:
            await self._turn()
            try:
                stop()
                STOPPED.set(stop)
                return await run_in_threadpool(function, *arguments, **more)
            finally:
                STOPPED.set(None)
                self._turns.release()
        finally:
            watch.cancel()
            self._stops.discard(stop)

    async def _turn(self) -> None:
        if self._turns.locked():
            self._waiting += 1
            try:
                async with asyncio.timeout(self.seconds):
                    await self._turns.acquire()
            except TimeoutError as error:
                raise busy(f"its turn did not come within {self.seconds:g} s", 5) from error
            finally:
                self._waiting -= 1
        else:
            await self._turns.acquire()

    def close(self) -> None:
        """End all that is under way and all that waits; take up nothing more."""
        self._closed = True
        for stop in self._stops:
            stop.problem = _ended()


def _ended() -> Problem:
    return busy("the server ends")


async def _left(receive: Receive, stop: Stop) -> None:
    """Wait for the client to go."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stop.problem = Problem(400, "the client went away before the answer", reason="disconnected")
