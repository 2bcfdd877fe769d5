"""The state of a partition as the state topic has it: read, checked against its position, and put together again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.errors import StreamError
from headrace.serving.engine.changelog import StateRecord, total_of
from headrace.serving.engine.positions import POSITION, PartitionPosition
from headrace.serving.stream.base import StateRecords, StreamEngine
from headrace.sources.broker import BEGINNING, Broker

_SHOWN = 5


@dataclass(frozen=True)
class Trouble:
    """A record that is not what a worker wrote."""

    offset: int
    key: bytes
    reason: str
    foreign: bool

    def __str__(self) -> str:
        return f"offset {self.offset}, key {self.key[:80].decode(errors='replace')!r}: {self.reason}"


@dataclass(frozen=True)
class StoredState:
    """What the state topic has of one partition.

    Attributes:
        partition: Its number.
        records: The good records, each key's last one, in their order.
        keys: Keys of all records that are there, the position's aside.
        position: Up to where they go; None where it is missing or damaged.
        troubles: What is no record of a worker.
    """

    partition: int
    records: list[StateRecord]
    keys: frozenset[bytes]
    position: PartitionPosition | None
    troubles: list[Trouble]

    @property
    def whole(self) -> bool:
        """Whether the records are all of those that the position goes with."""
        return self.position is not None and total_of(r.check for r in self.records) == self.position.state

    @property
    def fresh(self) -> bool:
        """Whether there never was a state."""
        return self.position is None and not self.keys and not self.troubles

    @property
    def unsealed(self) -> bool:
        """Whether it was written before there were positions, and nothing speaks against it."""
        sealed = not self.records or any(record.sealed for record in self.records)
        return self.position is None and not self.troubles and not sealed

    @property
    def damage(self) -> str:
        """What is wrong, for people."""
        wrong = [str(trouble) for trouble in self.troubles][:_SHOWN]
        if not wrong and not self.keys:
            return "the state is gone"
        if not wrong and self.position is None:
            return "the record that says how far the state goes is missing"
        if not wrong:
            return f"{len(self.records)} records are there, which are not the {self._expected} that were written"
        more = len(self.troubles) - len(wrong)
        return "; ".join(wrong) + (f"; and {more} more" if more else "")

    @property
    def _expected(self) -> int:
        return self.position.state.records if self.position else 0


def found(changelog: StateRecords, broker: Broker, topic: str, partition: int) -> StoredState:
    """Read what the state topic has of a partition.

    To be called after the committed offsets of the partition were read, and were stable: then every transaction that
    those offsets rest on has written its records, and whether they count is waited for.

    Raises:
        StreamError: The topic cannot be read whole, or was written for another declaration.
    """
    read = broker.read(topic, {partition: BEGINNING})
    return found_of(changelog, partition, ((m.key(), m.value(), m.offset()) for m in read), topic)


def found_of(
    changelog: StateRecords, partition: int, records: Iterable[tuple[bytes | None, bytes | None, int]], topic: str
) -> StoredState:
    """What records (key, value, offset), in their order, come to."""
    live: dict[bytes, bytes] = {}
    places_by_key: dict[bytes, int] = {}
    content: tuple[bytes, int] | None = None
    for key, value, offset in records:
        if key == POSITION:
            content = None if value is None else (value, offset)
        elif key is not None:
            live.pop(key, None)  # the order of the last ones counts
            if value is not None:
                live[key] = value
                places_by_key[key] = offset
    try:
        good, faults = changelog.checked(live)
    except StreamError as error:
        raise StreamError(error.message, where=f"{topic}[{partition}], {error.where}", hint=error.hint) from error
    troubles = [Trouble(places_by_key[fault.key], fault.key, fault.reason, fault.foreign) for fault in faults]
    position = None
    if content is not None:
        try:
            position = PartitionPosition.decode(content[0], partition)
        except StreamError as error:
            troubles.append(Trouble(content[1], POSITION, error.message, foreign=False))
    return StoredState(partition, good, frozenset(live), position, troubles)


def as_committed(broker: Broker, topic: str, partition: int) -> list[tuple[bytes, bytes | None, int]]:
    """Key, value and offset of the records up to the last position, while a worker may go on.

    What comes after it belongs to a transaction that was not read whole.

    Raises:
        StreamError: The topic cannot be read whole.
    """
    records = [(m.key() or b"", m.value(), m.offset()) for m in broker.read(topic, {partition: BEGINNING})]
    last = max((i for i, (key, _, _) in enumerate(records) if key == POSITION), default=-1)
    return records[: last + 1]


def restore(engine: StreamEngine, state: StoredState) -> int:
    """Drop what is remembered of a partition and put in what was found; returns how many series or keys there are."""
    engine.drop(state.partition)
    return engine.restore(state.partition, state.records)
