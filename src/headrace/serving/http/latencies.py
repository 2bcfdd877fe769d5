"""How long predictions took, counted by a serving process window by window, and kept in the ledger."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

from headrace.errors import LedgerError
from headrace.ledger.latencies import WINDOW, Latencies, LatencyWindow, bin_of

_WAITING = 1_000
"""Windows that wait for a ledger that cannot be reached; beyond that the oldest are given up."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger("headrace.serving")


class LatencyCounts:
    """The latencies of one process: noted one by one, counted every few seconds, stored when a window is over."""

    def __init__(self) -> None:
        self._server = uuid.uuid4().hex
        self._noted: dict[str, list[float]] = {}
        self._open: dict[tuple[str, datetime], Counter[int]] = {}

    def note(self, system: str, seconds: float) -> None:
        """Note one answer of a system that is served."""
        noted = self._noted.get(system)
        if noted is None:
            noted = self._noted.setdefault(system, [])
        noted.append(seconds)

    def fold(self, now: datetime) -> None:
        """Count what was noted since the last time into the window of `now` (UTC). Called from the event loop."""
        begin = _EPOCH + (now - _EPOCH) // WINDOW * WINDOW
        for system, noted in self._noted.items():
            seconds, noted[:] = noted[:], []
            if seconds:
                self._open.setdefault((system, begin), Counter()).update(map(bin_of, seconds))
        for key in list(self._open)[: max(len(self._open) - _WAITING, 0)]:
            del self._open[key]

    def over(self, now: datetime, *, every: bool = False) -> list[LatencyWindow]:
        """The windows that are over (UTC), or every one."""
        keys = [key for key in self._open if every or key[1] + WINDOW <= now]
        return [LatencyWindow(*key, self._server, dict(self._open[key])) for key in keys]

    def store(self, ledger: Callable[[], Latencies], windows: list[LatencyWindow], now: datetime) -> None:
        """Keep windows in the ledger; where it cannot be reached they wait. Called from a thread."""
        if not windows:
            return
        try:
            ledger().put(windows, now)
        except LedgerError as error:
            _log.warning("latencies of %d windows wait for the ledger: %s", len(windows), error.message)
            return
        for window in windows:
            self._open.pop((window.system, window.begin), None)
