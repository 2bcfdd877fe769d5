"""How long a cluster that does not answer is waited for, and who is told meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from headrace.errors import BrokerUnavailableError

TIMEOUT = 30.0
"""Seconds that the cluster has for one request."""
_FIRST, _LONGEST = 0.1, 2.0
"""Seconds between two tries."""


class Patience:
    """Time that may pass without success: every success begins it anew.

    Args:
        seconds: How long.
        stop: When it is set, there is none left.
        waiting: Told at every failure that is waited over, with its text.
        whole: The patience of which this is a part; what passes here, passes there.
    """

    def __init__(
        self,
        seconds: float = TIMEOUT,
        stop: threading.Event | None = None,
        waiting: Callable[[str], None] = lambda text: None,
        whole: Patience | None = None,
    ) -> None:
        self.seconds, self.stop = seconds, stop or threading.Event()
        self._waiting, self._whole = waiting, whole
        self._since: float | None = None
        self._pause = _FIRST

    def part(self) -> Patience:
        """For one request: its success does not begin the whole anew."""
        return Patience(self.seconds, self.stop, self._waiting, self)

    def rewarded(self) -> None:
        """There was a success."""
        self._since, self._pause = None, _FIRST

    def wait(self, error: BrokerUnavailableError) -> None:
        """Wait a little after a failure.

        Raises:
            BrokerUnavailableError: This one; no time is left, or it is to stop.
        """
        now = time.monotonic()
        if self.stop.is_set() or now - self.began(now) >= self.seconds:
            raise error
        self._waiting(error.message)
        self.stop.wait(self._pause)
        self._pause = min(self._pause * 2, _LONGEST)

    def began(self, now: float) -> float:
        """When the first failure was; it is written down."""
        wait = now if self._whole is None else self._whole.began(now)
        self._since = min(wait, now) if self._since is None else self._since
        return self._since
