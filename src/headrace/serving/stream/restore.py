"""The state of a partition, put together again from its changelog."""

from __future__ import annotations

import time
from collections.abc import Iterable

from headrace.serving.stream.engine import Engine
from headrace.sources.broker import BEGINNING, Broker, Topics


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
    records: dict[int, list[tuple[bytes, bytes]]] = {partition: [] for partition in wanted}
    for message in broker.read(topics.state, dict.fromkeys(wanted, BEGINNING)):
        records[message.partition()].append((message.key(), message.value()))
    count = sum(engine.changelog.restore(engine.rings, partition, found) for partition, found in records.items())
    engine.rings.used[engine.rings.used == 0] = time.time()
    return count
