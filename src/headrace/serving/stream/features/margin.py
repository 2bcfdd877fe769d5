"""How long after its stamp a row is to be known: longer than its transaction takes from there on."""

from __future__ import annotations

LEAST, MOST = 0.05, 1.0
"""Seconds between which it lies."""
_MANY = 100
"""Events from which on a transaction tells what one of them costs."""


class Margin:
    """Learns from what transactions took: what each of their events costs, and what they cost beside.

    Attributes:
        seconds: The margin of the transaction under way.
    """

    def __init__(self) -> None:
        self.seconds, self._event, self._rest = LEAST, 0.0, 2 * LEAST

    def begin(self, events: int) -> None:
        """A transaction of so many events begins."""
        self.seconds = min(max(self._rest, LEAST) + 2 * self._event * events, MOST)

    def failed(self) -> None:
        """It would have come too late."""
        self._rest = min(2 * max(self._rest, LEAST), MOST)

    def took(self, seconds: float, events: int) -> None:
        """It took so long from its stamp on."""
        if events >= _MANY:
            self._event = max(0.9 * self._event, seconds / events)
        self._rest = max(0.97 * self._rest, 3 * (seconds - self._event * events))

    def is_short(self, spent: float) -> bool:
        """Whether too little is left of it to commit."""
        return spent > self.seconds / 2 and self.seconds < MOST
