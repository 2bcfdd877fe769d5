"""How long answers took: a histogram for each system, window of time and serving process, written when it is over."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from headrace.ledger.database import Database
from headrace.ledger.tables import latencies

WINDOW = timedelta(minutes=5)
"""The length of a window; they begin at multiples of it since 1970, UTC."""
KEPT = timedelta(days=90)
"""Older windows are deleted when new ones are written."""
_DECADE = 20
"""Bins of one decade: a quantile is off by 6 % at most."""
BOUNDS = tuple(10 ** (place / _DECADE - 5) for place in range(7 * _DECADE + 1))
"""Upper ends of the bins, in seconds: from 10 us to 100 s; what took longer is in one bin more."""


class LatencyWindow(NamedTuple):
    """Answers of one window.

    Attributes:
        system: Name of the system.
        begin: When the window began, UTC.
        server: The process that answered, by an id of its own.
        counts: Answers by the place of their bin in `BOUNDS`.
    """

    system: str
    begin: datetime
    server: str
    counts: Mapping[int, int]


def bin_of(seconds: float) -> int:
    """The place of a latency's bin.

    >>> BOUNDS[bin_of(0.0019)] >= 0.0019 > BOUNDS[bin_of(0.0019) - 1], bin_of(1e9) == len(BOUNDS)
    (True, True)
    """
    return bisect_left(BOUNDS, seconds)


def quantile(counts: Mapping[int, int], share: float) -> float:
    """The latency in seconds that a share of answers stays within: the middle of a bin, on a scale of logarithms.

    >>> round(quantile({bin_of(0.010): 90, bin_of(0.5): 10}, 0.95), 2), quantile({}, 0.5)
    (0.47, nan)
    """
    total = sum(counts.values())
    reached = 0
    for place in sorted(counts):
        reached += counts[place]
        if total and reached >= share * total:
            bound = BOUNDS[min(place, len(BOUNDS) - 1)]
            return bound if place in (0, len(BOUNDS)) else math.sqrt(bound * BOUNDS[place - 1])
    return math.nan


class Latencies:
    """The windows of all systems. Errors are those of the ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, windows: Sequence[LatencyWindow], now: datetime) -> None:
        """Keep windows, durably, each once however often it is put; what is older than `KEPT` goes.

        Args:
            windows: Those that are over.
            now: The clock's time, UTC.
        """
        rows = [{**window._asdict(), "counts": json.dumps(dict(window.counts))} for window in windows]
        key = (latencies.c.system, latencies.c.begin, latencies.c.server)

        def work(connection: Connection) -> None:
            for window in windows:
                same = [column == value for column, value in zip(key, window, strict=False)]
                connection.execute(delete(latencies).where(*same))
            connection.execute(delete(latencies).where(latencies.c.begin < now - KEPT))
            connection.execute(insert(latencies), rows)

        if rows:
            self._database.write(work)

    def read(self, system: str, since: datetime, until: datetime) -> list[LatencyWindow]:
        """Windows that began from one time to before another (UTC), oldest first."""
        where = (latencies.c.system == system, latencies.c.begin >= since, latencies.c.begin < until)
        query = select(*(latencies.c[name] for name in LatencyWindow._fields)).where(*where)
        query = query.order_by(latencies.c.begin, latencies.c.server)

        def work(connection: Connection) -> list[LatencyWindow]:
            return [
                LatencyWindow(system, begin, server, {int(place): count for place, count in json.loads(counts).items()})
                for system, begin, server, counts in connection.execute(query)
            ]

        return self._database.read(work)
