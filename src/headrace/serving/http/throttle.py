"""How often and how many at a time: limits of each token, or of all requests where there are no tokens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from headrace.serving.http.access import Access, Grants
from headrace.serving.http.options import Options
from headrace.serving.http.problem import Problem

_FREE = frozenset(("/health", "/ready", "/metrics"))
"""Routes by which a server is watched."""


@dataclass
class _Limit:
    """Of one token: `rate` requests a second, saved up for a second at most, and `concurrent` at a time."""

    rate: float | None
    concurrent: int | None
    saved: float = 0.0
    at: float = -math.inf
    open: int = 0

    def enter(self, now: float) -> None:
        """Take one request.

        Raises:
            Problem: 429.
        """
        if self.concurrent is not None and self.open >= self.concurrent:
            raise _too_many(f"more than {self.concurrent} requests at a time", 1)
        if self.rate is not None:
            limit = max(1.0, self.rate)
            self.saved, self.at = min(limit, self.saved + (now - self.at) * self.rate), now
            if self.saved < 1:
                raise _too_many(f"more than {self.rate:g} requests a second", math.ceil((1 - self.saved) / self.rate))
            self.saved -= 1
        self.open += 1


class Throttle:
    """Counts the requests of each token.

    Args:
        access: Knows the tokens.
        options: The limits of those that have none of their own.
        clock: Seconds that only grow.
    """

    def __init__(self, access: Access, options: Options, clock: Callable[[], float] = time.monotonic) -> None:
        self._access, self._clock = access, clock
        self._limits: dict[Grants | None, _Limit] = {}
        for grants in access.grants or (None,):
            rate = options.rate if grants is None or grants.rate is None else grants.rate
            limit = options.concurrent if grants is None or grants.concurrent is None else grants.concurrent
            if rate is not None or limit is not None:
                self._limits[grants] = _Limit(rate, limit)

    def __bool__(self) -> bool:
        """Whether there is any limit."""
        return bool(self._limits)

    @contextmanager
    def request(self, path: str, headers: Mapping[bytes, bytes]) -> Iterator[None]:
        """Count a request until the end of the block. Who has no known token is refused for that, later.

        Raises:
            Problem: 429: there are too many.
        """
        limit = None
        if path not in _FREE:
            limit = self._limits.get(self._access.known(headers.get(b"authorization", b"")))
        if limit is None:
            yield
            return
        limit.enter(self._clock())
        try:
            yield
        finally:
            limit.open -= 1


def _too_many(subject: str, seconds: int) -> Problem:
    return Problem(429, f"{subject}; that is the limit", headers=[(b"retry-after", str(seconds).encode())])
