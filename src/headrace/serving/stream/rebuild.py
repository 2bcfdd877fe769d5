"""The state made anew from the log: the events that it was made of are answered once more, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.errors import StreamError
from headrace.serving.stream.batch import Batch
from headrace.serving.stream.changelog import Change
from headrace.serving.stream.engine import Engine, Seed
from headrace.serving.stream.outcomes import first_known
from headrace.serving.stream.positions import POSITION, Position
from headrace.serving.stream.restore import Found, restore
from headrace.serving.stream.rings import Ints, Keys
from headrace.serving.stream.seeding import Seeded
from headrace.sources.broker import Broker, Log
from headrace.sources.stamps import Clock
from headrace.sources.topics import Topics

_BATCH = 16_000
"""Events that are answered at once, and records that are written in one transaction."""


@dataclass(frozen=True)
class Again:
    """How events are answered once more.

    Attributes:
        columns: The key columns.
        keyless: Whether messages without a key are fine.
        seed: What the tables knew of series before events that became known at some times.
        clock: By which events came.
    """

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
        known: dict[Keys, int] = {}
        for partition in partitions:
            known |= first_known(broker, topics, partition, self.columns)

        def seed(keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Seeded:
            when = [known.get(each, own) for each, own in zip(keys, at.tolist(), strict=True)]
            return self.seed(keys, slots, np.array(when, dtype=np.int64), length)

        return seed


@dataclass(frozen=True)
class Rebuild:
    """What is needed to make the state of partitions anew.

    Attributes:
        engine: Takes the state in.
        broker: The cluster.
        topics: Of the system.
        log: The input topic as it is.
        again: How events are answered.
        turn: Told after every batch.
    """

    engine: Engine
    broker: Broker
    topics: Topics
    log: Log
    again: Again
    turn: Callable[[], None] = lambda: None

    def state(self, partition: int, position: Position, *, tables: bool = False, base: Found | None = None) -> int:
        """Make the state of a partition up to a position; returns the number of events that were answered for it.

        Args:
            partition: Its number.
            position: Up to where.
            tables: Begin with what the tables know where the log has lost its beginning.
            base: A whole state from before, to begin with.

        Raises:
            StreamError: The log does not have the events any more, or cannot be read.
            StoreError: The tables cannot be read.
        """
        topic, begin, end = self.topics.events, *self._bounds(partition)
        where, first = f"{topic}[{partition}]", 0
        if base is not None and base.position is not None:
            first = base.position.offset
        if position.offset > end:
            text = f"the state goes up to offset {position.offset}, and the log ends at {end}"
            raise StreamError(text, where=where, hint="is it the topic that was read before?")
        anew = position.log > (1 if base is None or base.position is None else base.position.log)
        if (begin > first or anew) and position.offset > first and not tables:
            gone = f"the events before offset {begin} are gone" if begin else "events are of a topic that is no more"
            raise StreamError(f"the state cannot be made anew from the log: {gone}", where=where, hint=_HINT)
        self.engine.drop(partition)
        self.engine.follow(partition, position.log)
        if base is not None:
            restore(self.engine, base)
        begin = max(begin, first)
        count, seed, self.engine.seed = 0, self.engine.seed, self.again.of(self.broker, self.topics, [partition])
        try:
            for some in _batches(self.broker.read(topic, {partition: begin}, until={partition: position.offset})):
                self.engine.answer(Batch.taken(some, self.again.clock), keyless=self.again.keyless)
                count += len(some)
                self.turn()
        finally:
            self.engine.seed = seed
        return count

    def _bounds(self, partition: int) -> tuple[int, int]:
        return self.log.begins.get(partition, 0), self.log.ends.get(partition, 0)

    def records(
        self, partition: int, position: Position, before: Iterable[bytes]
    ) -> Iterator[tuple[list[Change], Position | None]]:
        """What to write, in transactions: the last one has the position, and until it is written the state is damaged.

        Args:
            partition: Its number.
            position: Up to where the state goes.
            before: The keys of the records that are there.
        """
        gone, part = set(before), list[Change]()
        for changes in self.engine.written_anew(partition):
            gone -= {key for _, key, _ in changes}
            part += changes
            if len(part) >= _BATCH:
                yield part, None
                part = []
        part += [(partition, key, None) for key in sorted(gone)]
        total = self.engine.changelog.totals.get(partition)
        done = position if total is None else position.with_state(total)
        part.append((partition, POSITION, done.encode(partition)))
        yield part, done


_HINT = "where the tables have them, after `headrace archive`: headrace stream rebuild SYSTEM --from-tables"


def _batches(messages: Iterable[Any]) -> Iterator[list[Any]]:
    some: list[Any] = []
    for message in messages:
        some.append(message)
        if len(some) == _BATCH:
            yield some
            some = []
    if some:
        yield some
