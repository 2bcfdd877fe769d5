"""Tells hooks of the runs of a backfill in the order of their times, whichever process was done first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime

from headrace.home import Home
from headrace.hooks import Calls, HookEvent
from headrace.pipelines.decisions import tell_decisions
from headrace.system import System


class InOrder:
    """Holds what has happened until all that comes before it has.

    Args:
        system: The declaration.
        home: Where the registry is.
        calls: The hooks.
    """

    def __init__(self, system: System, home: Home, calls: Calls) -> None:
        self._system, self._home, self._calls = system, home, calls
        self._waiting: deque[tuple[datetime, bool]] = deque()
        self._events: dict[datetime, HookEvent] = {}

    def expect(self, as_of: datetime, *, decision: bool = False) -> None:
        """Say what is to be told next: the run as of a time, or what the gate decided then."""
        if self._calls.heard:
            self._waiting.append((as_of, decision))

    def tell(self, events: Iterable[HookEvent]) -> None:
        """Runs are done: tell their events, and what waited for them.

        Raises:
            HookError: A hook failed, and hooks are strict.
        """
        if not self._calls.heard:
            return
        self._events |= {event.as_of: event for event in events}
        while self._waiting:
            as_of, decision = self._waiting[0]
            if not decision and as_of not in self._events:
                return
            self._waiting.popleft()
            if decision:
                tell_decisions(self._system, self._home, self._calls, until=as_of)
            else:
                self._calls(self._events.pop(as_of))
