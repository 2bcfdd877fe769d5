"""The state made anew from the log: of series by events, which are answered once more without sending anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from headrace.errors import StreamError
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.engine.changelog import Change
from headrace.serving.engine.engine import Engine, Seed
from headrace.serving.engine.positions import POSITION, PartitionPosition, Total
from headrace.serving.engine.rings import Ints, Keys
from headrace.serving.engine.seeding import Seeded
from headrace.serving.stream.base import StreamEngine
from headrace.serving.stream.outcomes import FirstKnown
from headrace.serving.stream.restore import StoredState, restore
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.stamps import Clock
from headrace.sources.topics import Topics

_BATCH = 16_000
"""Events that are answered at once, and records that are written in one transaction."""


class Remake(Protocol):
    """What a state is made of: events that are answered once more, or answers that were given."""

    @property
    def columns(self) -> Sequence[str]:
        """The key columns."""

    def state(
        self,
        making: Rebuild,
        partition: int,
        position: PartitionPosition,
        *,
        tables: bool = False,
        base: StoredState | None = None,
    ) -> int:
        """As `Rebuild.state`."""


@dataclass(frozen=True)
class Again:
    """How events of series are answered once more.

    Attributes:
        engine: What answers them.
        columns: The key columns.
        keyless: Whether messages without a key are fine.
        seed: What the tables knew of series before events that became known at some times.
        clock: By which events came.
    """

    engine: Engine
    columns: tuple[str, ...]
    keyless: bool
    seed: Seed
    clock: Clock = "auto"

    def of(self, broker: Broker, topics: Topics, partitions: Iterable[int]) -> Seed:
        """What the tables knew of a series before the first of its events that was answered.

        When that became known its answer says; without it, by its own time: then it came in order.

        Raises:
            StreamError: The cluster failed.
        """
        known = FirstKnown(broker, topics, self.columns)(partitions)

        def seed(keys: Sequence[Keys], slots: Ints, positions: Ints, length: int) -> Seeded:
            moments = [known.get(series, own_time) for series, own_time in zip(keys, positions.tolist(), strict=True)]
            return self.seed(keys, slots, np.array(moments, dtype=np.int64), length)

        return seed

    def state(
        self,
        making: Rebuild,
        partition: int,
        position: PartitionPosition,
        *,
        tables: bool = False,
        base: StoredState | None = None,
    ) -> int:
        """`Rebuild.state`, by the events."""
        topic, engine = making.topics.events, self.engine
        begin, end = making.log.begins.get(partition, 0), making.log.ends.get(partition, 0)
        where, first = f"{topic}[{partition}]", 0
        if base is not None and base.position is not None:
            first = base.position.offset
        if position.offset > end:
            text = f"the state goes up to offset {position.offset}, and the log ends at {end}"
            raise StreamError(text, where=where, hint="is it the topic that was read before?")
        is_anew = position.log > (1 if base is None or base.position is None else base.position.log)
        if (begin > first or is_anew) and position.offset > first and not tables:
            reason = f"the events before offset {begin} are gone" if begin else "events are of a topic that is no more"
            command = f"headrace stream rebuild {making.topics.arguments} --from-tables"
            hint = f"where the tables have them, after `headrace archive`: {command}"
            raise StreamError(f"the state cannot be made anew from the log: {reason}", where=where, hint=hint)
        making.begun(partition, position.log, base)
        begin = max(begin, first)
        count, seed, engine.seed = 0, engine.seed, self.of(making.broker, making.topics, [partition])
        try:
            for batch in _batches(making.broker.read(topic, {partition: begin}, until={partition: position.offset})):
                engine.answer(MessageBatch.taken(batch, self.clock), keyless=self.keyless)
                count += len(batch)
                making.turn()
        finally:
            engine.seed = seed
        return count


@dataclass(frozen=True)
class Rebuild:
    """What is needed to make the state of partitions anew.

    Attributes:
        engine: Takes the state in.
        broker: The cluster.
        topics: Of the system.
        log: The input topic as it is.
        again: What the state is made of.
        turn: Told after every batch.
    """

    engine: StreamEngine
    broker: Broker
    topics: Topics
    log: TopicLog
    again: Remake
    turn: Callable[[], None] = lambda: None

    def state(
        self, partition: int, position: PartitionPosition, *, tables: bool = False, base: StoredState | None = None
    ) -> int:
        """Make the state of a partition up to a position; returns of how many events, or answers, it was made.

        Args:
            partition: Its number.
            position: Up to where.
            tables: Go on with what is known where the log has lost its beginning.
            base: A whole state from before, to begin with.

        Raises:
            StreamError: The log does not have what it takes any more, or cannot be read.
            StoreError: The tables cannot be read.
        """
        return self.again.state(self, partition, position, tables=tables, base=base)

    def begun(self, partition: int, log: int, base: StoredState | None) -> None:
        """Begin a partition's state: with nothing, or with one from before."""
        self.engine.drop(partition)
        self.engine.follow(partition, log)
        if base is not None:
            restore(self.engine, base)

    def records(
        self, partition: int, position: PartitionPosition, before: Iterable[bytes]
    ) -> Iterator[tuple[list[Change], PartitionPosition | None]]:
        """What to write, in transactions: the last one has the position, and until it is written the state is damaged.

        Args:
            partition: Its number.
            position: Up to where the state goes.
            before: The keys of the records that are there.
        """
        removed, part = set(before), list[Change]()
        for changes in self.engine.written_anew(partition):
            removed -= {key for _, key, _ in changes}
            part += changes
            if len(part) >= _BATCH:
                yield part, None
                part = []
        part += [(partition, key, None) for key in sorted(removed)]
        final = position.with_state(self.engine.changelog.totals.get(partition, Total()))
        part.append((partition, POSITION, final.encode(partition)))
        yield part, final


def _batches(messages: Iterable[Any]) -> Iterator[list[Any]]:
    pending: list[Any] = []
    for message in messages:
        pending.append(message)
        if len(pending) == _BATCH:
            yield pending
            pending = []
    if pending:
        yield pending
