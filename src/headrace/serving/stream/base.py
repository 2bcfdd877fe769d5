"""What a worker asks of an engine: whether events are of series or are rows, the worker is the same.

`engine.Engine` answers events of series, `rows.RowEngine` answers rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from headrace.serving.engine.batch import Answered, Message, MessageBatch
from headrace.serving.engine.changelog import Change, DamagedRecord, StateRecord
from headrace.serving.engine.positions import Total


class StateRecords(Protocol):
    """How a state is written as records of a compacted topic.

    Attributes:
        totals: What the records of each partition come to.
    """

    totals: dict[int, Total]

    def checked(self, live: Mapping[bytes, bytes]) -> tuple[list[StateRecord], list[DamagedRecord]]:
        """The good and the bad of the records of a partition, each key's last one, in their order.

        Raises:
            StreamError: They are whole, and were written for another declaration.
        """


class StreamEngine(Protocol):
    """State and model of the partitions that a worker has."""

    @property
    def changelog(self) -> StateRecords:
        """How its state is written."""

    def use(self, champion: Any) -> bool:
        """Called between two batches: answer with this model from now on. True: the state was thrown away, and has to
        be restored."""

    def answer(self, messages: MessageBatch | Sequence[Message], keyless: bool = False) -> Answered:
        """Answer a micro-batch and move the state on; called for each partition in the order of its log.

        The same state and the same messages must give the same records. Where they cannot be sent, the state is
        dropped and restored.

        Raises:
            BrokerUnavailableError: A service that it needs is away: the batch is to come again later.
        """

    def drop(self, partition: int) -> None:
        """Forget all state of a partition; called when it is taken away, and before it is restored."""

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic, of which there may have been several."""

    def restore(self, partition: int, records: Iterable[StateRecord]) -> int:
        """Put in the good records of a partition, in their order; returns how many things are remembered of it."""

    def written_anew(self, partition: int) -> Iterator[list[Change]]:
        """All records of a partition's state, as if none had been written before, in parts."""

    def count(self, partition: int) -> int:
        """How many series or keys of a partition are remembered."""

    def size(self) -> tuple[int, int]:
        """How many are remembered of all partitions, and the bytes that they take."""

    def evict(self, before: float) -> int:
        """Called now and then: what was not used since a clock time (seconds) may leave the memory, not the state."""

    def close(self) -> None:
        """Let go of files."""
