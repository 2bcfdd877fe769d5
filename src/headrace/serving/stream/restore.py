"""The state of a partition, put together again from its changelog."""

from __future__ import annotations

import time
from collections.abc import Iterable

from headrace.serving.stream.engine import Engine
from headrace.sources.broker import BEGINNING, Broker
from headrace.sources.topics import Topics


def restore(engine: Engine, broker: Broker, topics: Topics, partitions: Iterable[int]) -> int:
    """Drop what is remembered of some partitions and restore it as committed; returns the number of series.

    To be called after the committed offsets of those partitions were read, and were stable: then every transaction that
    those offsets rest on has written its records, and whether they count is waited for.

    Raises:
        StreamError: The changelog cannot be read whole.
    """
    wanted = list(partitions)
    for partition in wanted:
        engine.drop(partition)
    count = 0
    for partition in wanted:
        read = broker.read(topics.state, {partition: BEGINNING})
        count += engine.changelog.restore(engine.rings, partition, ((m.key(), m.value()) for m in read))
    engine.rings.used[engine.rings.used == 0] = time.time()
    return count
