"""Whether logs still have what was read: the cluster is asked by the leader's epoch of the last event.

A client of its own asks, because one that knows the leaders already does not ask again where it begins to read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

from headrace.serving.engine.positions import PartitionPosition
from headrace.sources.broker import Broker

_LIMIT = 5.0
"""Seconds that the cluster has; without an answer the offsets alone speak."""
_ENDED = re.compile(r"broker end offset is (\d+)")


def ended(detail: str) -> int | None:
    """Where a log was cut off, by what the client says; None where it says of none."""
    match = _ENDED.search(detail)
    return int(match[1]) if match else None


def cut_off(broker: Broker, topic: str, positions: Mapping[int, PartitionPosition]) -> dict[int, int]:
    """Where logs end that were cut off below their positions, though they may have grown past them again."""
    from confluent_kafka import Consumer

    left = {partition for partition, position in positions.items() if position.epoch >= 0 and position.offset > 0}
    if not left:
        return {}
    consumer: Any = Consumer(
        broker.settings(
            group_id="headrace-reader",
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="error",
            fetch_wait_max_ms=10,
        )
    )
    ends: dict[int, int] = {}
    until = time.monotonic() + _LIMIT
    try:
        consumer.assign([positions[partition].begin(topic, partition) for partition in sorted(left)])
        while left and time.monotonic() < until:
            for message in consumer.consume(1, timeout=0.1):
                partition, error = message.partition(), message.error()
                end = ended(error.str()) if error is not None else None
                if end is not None:
                    ends[partition] = end
                if partition is not None and partition in left:
                    left.discard(partition)
                    consumer.incremental_unassign([positions[partition].begin(topic, partition)])
    finally:
        consumer.close()
    return ends
