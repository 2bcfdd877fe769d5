"""How a worker runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.sources.topics import Topics


@dataclass(frozen=True)
class WorkerOptions:
    """How a worker runs.

    Attributes:
        partitions: Partitions of topics that are made; None: as the system declares.
        poll: Seconds that a batch may take before the group takes the worker's partitions away.
        session: Seconds without a sign of life after which the group counts it as dead.
        champions: Seconds between two looks for a new champion.
        idle: Stop after so many seconds without an event; None goes on.
        patience: Seconds for which a cluster that does not answer is waited for.
        topics: What is read and written; None: as the system declares.
        begins: Where to begin with partitions of which nothing is known; None: with their first events, and a version
            that scores beside where the one that answers is.
    """

    partitions: int | None = None
    poll: float = 300.0
    session: float = 10.0
    champions: float = 5.0
    idle: float | None = None
    patience: float = 600.0
    topics: Topics | None = None
    begins: Mapping[int, int] | None = None
