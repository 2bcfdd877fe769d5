"""When a message came: by the broker's stamp, or, where its producer stamped it, by the clock of who reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Clock = Literal["auto", "message", "worker"]
"""``auto``: the broker's stamp, or the worker's clock where the topic has the producers' own stamps; ``message``: the
stamp, whoever's it is; ``worker``: the worker's clock."""
BY_BROKER = 2
"""Kind of a stamp (`confluent_kafka.TIMESTAMP_LOG_APPEND_TIME`)."""


def received(stamps: Sequence[tuple[int, int]], clock: Clock, now: int) -> list[int]:
    """When each message came, milliseconds since 1970.

    A producer's clock may be a year behind or ahead: by its stamps no event, or every event, would be in the future.

    Args:
        stamps: Kind and time of each.
        clock: Whose clock counts.
        now: What the reader's says.

    >>> received([(2, 5), (1, 7)], "auto", 100)
    [5, 100]
    """
    if clock == "message":
        return [time for _, time in stamps]
    if clock == "worker":
        return [now] * len(stamps)
    return [time if kind == BY_BROKER else now for kind, time in stamps]
