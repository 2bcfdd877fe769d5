"""Time-outs that cost a call next to nothing: one task looks after all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

EVERY = 0.25
"""Seconds between two looks; a time-out is late by at most so much."""


class Deadlines(Generic[T]):
    """The deadlines of what is under way. `asyncio.timeout` sets and clears a timer of the loop for each."""

    def __init__(self) -> None:
        self._open: dict[T, tuple[float, Callable[[T], None]]] = {}

    def within(self, seconds: float, item: T, late: Callable[[T], None]) -> None:
        """Have `late` called with an item that is not done in so many seconds. A deadline that it has already stays."""
        self._open.setdefault(item, (time.perf_counter() + seconds, late))

    def done(self, item: T) -> bool:
        """Whether the item is done in time, which can be said once: its deadline is off."""
        return self._open.pop(item, None) is not None

    async def watch(self) -> None:
        """Call what is late, until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            now = time.perf_counter()
            for item, (start, late) in list(self._open.items()):
                if start < now and self.done(item):
                    late(item)
