"""How often wrong tokens may be tried, at the log-in or at the API: by one address, and by all together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

INSIDE = "headrace.inside"
"""The ASGI extension of a request that the process makes itself, for a viewer whose log-ins are counted already."""
ADDRESSES = 1024
"""Addresses that are remembered, those that failed last."""
LONGEST = 64
"""Characters of an address that are looked at."""


@dataclass
class Bucket:
    """Tries that may be made: `most` at once, and one more every `seconds`."""

    most: int
    seconds: float
    spent: float = 0.0
    at: float = -math.inf

    def wait(self, now: float) -> float:
        """Seconds until the next try may be made."""
        self.spent, self.at = max(0.0, self.spent - (now - self.at) / self.seconds), now
        return max(0.0, (self.spent + 1 - self.most) * self.seconds)


class TokenTries:
    """Counts tries of tokens that fail, in one process.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._total = Bucket(100, 1.0)
        self._addresses: dict[str, Bucket] = {}

    def begin(self, address: str) -> int:
        """Count a try before it is known whether it fails, so that many at once are counted too.

        Returns:
            Seconds to wait, rounded up; 0: it may be made.
        """
        name, now = _network(address), self._clock()
        bucket = self._addresses.pop(name, None) or Bucket(10, 30.0)
        self._addresses[name] = bucket  # the last one
        while len(self._addresses) > ADDRESSES:
            del self._addresses[next(iter(self._addresses))]
        wait = math.ceil(max(bucket.wait(now), self._total.wait(now)))
        if not wait:
            bucket.spent += 1
            self._total.spent += 1
        return wait

    def forgive(self, address: str) -> None:
        """Take back a try that did not fail."""
        for bucket in (self._total, self._addresses.get(_network(address))):
            if bucket is not None:
                bucket.spent = max(0.0, bucket.spent - 1)


def _network(address: str) -> str:
    """What one client has of addresses: a whole network of version 6. Of other texts the rest is cut off.

    >>> _network("10.0.0.7"), _network("2001:db8::7")
    ('10.0.0.7', '2001:db8::/64')
    """
    try:
        version = ip_address(address.partition("%")[0]).version
    except ValueError:  # a socket of this machine has none
        return address[:LONGEST]
    return address if version == 4 else str(ip_network(f"{address.partition('%')[0]}/64", strict=False))
