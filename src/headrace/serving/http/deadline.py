"""Time-outs that cost a request next to nothing: one task looks after all of them."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

EVERY = 0.25
"""Seconds between two looks; a time-out is late by at most so much."""


class Deadlines:
    """The deadlines of what is under way. `asyncio.timeout` sets and clears a timer of the loop for each."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()

    def within(self, seconds: float) -> Deadline:
        """A block that must end within so many seconds; else it raises `TimeoutError`."""
        return Deadline(self._open, seconds)

    async def watch(self) -> None:
        """Cancel what is late, until cancelled itself."""
        while True:
            await asyncio.sleep(EVERY)
            now = time.monotonic()
            for each in [each for each in self._open if each.at < now]:
                each.expire()


class Deadline:
    """One block with a time-out, in one task."""

    __slots__ = ("_expired", "_open", "_seconds", "_task", "at")

    def __init__(self, among: set[Deadline], seconds: float) -> None:
        self._open, self._seconds, self._expired = among, seconds, False
        self._task: asyncio.Task[object] | None = None
        self.at = 0.0

    def __enter__(self) -> None:
        self._task, self.at = asyncio.current_task(), time.monotonic() + self._seconds
        self._open.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._open.discard(self)
        if self._expired and kind is asyncio.CancelledError and self._task is not None and not self._task.uncancel():
            raise TimeoutError from error

    def expire(self) -> None:
        """The time is up."""
        if not self._expired and self._task is not None:
            self._expired = True
            self._task.cancel()
