"""How far a partition has come, as a record of the state topic: what decides where a worker begins.

It is written with every change of the state, in the transaction of the answers. So state, outcomes and position agree
whatever becomes of the offsets of the consumer group.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING
from zlib import crc32

from headrace.errors import StreamError

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition

POSITION = b'"position"'
"""The key of the record. Keys of series are JSON arrays."""
_FORMAT = 1


@dataclass(frozen=True)
class Total:
    """What the records of a partition's state come to.

    Attributes:
        records: How many there are, of which each key counts once.
        digest: The sum of their checksums, modulo 2**64.
    """

    records: int = 0
    digest: int = 0

    def __add__(self, other: Total) -> Total:
        return Total(self.records + other.records, (self.digest + other.digest) % 2**64)


@dataclass(frozen=True)
class PartitionPosition:
    """How far one partition has come.

    Attributes:
        topic: Id of the input topic, which another topic of the name does not have; None where the cluster gives none.
        log: 1, and one more each time that the partition's offsets began to mean other events.
        offset: Of the next event.
        epoch: Of the leader that the last event was read from; -1 where that is not known.
        partitions: How many the input topic had.
        state: What the records of the state come to.
    """

    topic: str | None
    log: int
    offset: int
    epoch: int = -1
    partitions: int = 0
    state: Total = field(default_factory=Total)

    def begin(self, topic: str, partition: int) -> TopicPartition:
        """Where the client is to begin to read.

        With the leader's epoch it finds out whether the log was cut off, though it has grown again since.
        """
        from confluent_kafka import TopicPartition

        return TopicPartition(topic, partition, self.offset, "", self.epoch)

    def with_state(self, state: Total) -> PartitionPosition:
        """The same with another state."""
        return replace(self, state=state)

    def encode(self, partition: int) -> bytes:
        """The record's value."""
        document = {"format": _FORMAT, **asdict(self)}
        return json.dumps({**document, "check": _check(document, partition)}).encode()

    @classmethod
    def decode(cls, value: bytes, partition: int) -> PartitionPosition:
        """What `encode` wrote.

        Raises:
            StreamError: It was not, or it is damaged.
        """
        try:
            document = json.loads(value)
            check, form = document.pop("check"), document["format"]
            if form != _FORMAT:
                text = f"the position has format {form!r}, this version knows {_FORMAT}"
                raise StreamError(text, where=f"state of partition {partition}")
            if check != _check(document, partition):
                raise ValueError("its checksum is another")
            del document["format"]
            return cls(**{**document, "state": Total(**document["state"])})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StreamError(f"the position is damaged: {error}", where=f"state of partition {partition}") from error


def _check(document: dict[str, object], partition: int) -> int:
    return crc32(json.dumps([partition, document], sort_keys=True).encode())


def source_of(topic: str, log: int) -> str:
    """How events of a log are named: its topic, and which of the logs of that name it is where there were several."""
    return topic if log == 1 else f"{topic}@{log}"
