"""The partitions that a worker has: how far each has come, and how it goes on with one that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import BrokerUnavailableError
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.engine.changelog import Change
from headrace.serving.engine.positions import POSITION, PartitionPosition, Total
from headrace.serving.stream.base import StreamEngine
from headrace.serving.stream.outcomes import is_of, newest
from headrace.serving.stream.rebuild import Rebuild, Remake
from headrace.serving.stream.restore import StoredState, restore
from headrace.serving.stream.restore import found as read
from headrace.serving.stream.resume import Now, Resumed, resumed
from headrace.serving.stream.telemetry import WorkerTelemetry
from headrace.serving.stream.validate import cut_off, ended
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.topics import Topics

Write = Callable[[Sequence[Change], Mapping[int, int]], bool]
"""Writes records, and offsets of the group, in one transaction; False: it did not happen, and all is read anew."""


@dataclass(frozen=True)
class Begin:
    """Where a partition begins of which nothing is known.

    Attributes:
        position: The first event.
        base: A whole state of the events before it; None: it is made of those events, and of what the tables know.
    """

    position: PartitionPosition
    base: StoredState | None = None


@dataclass
class Partitions:
    """The partitions of one worker.

    Attributes:
        engine: Has their state.
        broker: The cluster.
        topics: Of the system.
        telemetry: Counts what was lost.
        log: Where to tell.
        write: Writes outside of a batch.
        again: What a lost state is made of.
        begins: Tells where to begin with a partition of which nothing is known; None: with its first events.
    """

    engine: StreamEngine
    broker: Broker
    topics: Topics
    telemetry: WorkerTelemetry
    log: Any
    write: Write
    again: Remake
    begins: Callable[[int, TopicLog], Begin] | None = None

    def __post_init__(self) -> None:
        self.at: dict[int, PartitionPosition] = {}
        self.topic: str | None = None
        """The id of the input topic that is read."""
        self._noting: set[int] = set()
        self.cut: dict[int, int] = {}
        """Where logs ended that were found to be shorter than the position."""

    @property
    def astray(self) -> set[int]:
        """Partitions whose positions are of a topic that is no more: they have to be taken up again."""
        return {partition for partition, position in self.at.items() if position.topic != self.topic}

    def drop(self, partition: int) -> None:
        """A partition is no longer this worker's."""
        self.engine.drop(partition)
        self.at.pop(partition, None)
        self.cut.pop(partition, None)

    def cut_off(self, partition: int, said: str) -> None:
        """The client found that the log is not what it was at a position; of one that was cut it says where it ends."""
        end = ended(said)
        if end is not None:
            self.cut[partition] = end
        elif partition in self.at:
            log = self.broker.log(self.topics.events)
            self.cut[partition] = log.ends.get(partition, 0) if log else 0

    def moved(self, batch: MessageBatch) -> list[Change]:
        """The records of the positions after a batch that was answered."""
        changes: list[Change] = []
        for partition, end in batch.ends.items():
            before, state = self.at[partition], self.engine.changelog.totals.get(partition, Total())
            epoch = batch.epochs.get(partition, -1)
            now = self.at[partition] = PartitionPosition(before.topic, before.log, end, epoch, before.partitions, state)
            changes.append((partition, POSITION, now.encode(partition)))
        return changes

    def take_up(self, committed: Mapping[int, int]) -> dict[int, PartitionPosition]:
        """Restore the state of partitions, given their group's offsets (negative: none); returns where they go on.

        Raises:
            BrokerUnavailableError: The input topic is gone.
            StreamError: The cluster failed, or what there is does not say where they go on.
            StoreError: The tables cannot be read.
        """
        log = self.broker.log(self.topics.events)
        if log is None:
            raise BrokerUnavailableError("the input topic is gone", where=self.topics.events)  # until it is made again
        self.topic = log.id
        states = {p: read(self.engine.changelog, self.broker, self.topics.state, p) for p in committed}
        known = {p: state.position for p, state in states.items() if state.position and state.position.topic == log.id}
        self.cut = cut_off(self.broker, self.topics.events, known) | self.cut
        positions = {
            partition: self._take_up(states.pop(partition), offset, log) for partition, offset in committed.items()
        }
        notes = {
            p: position for p, position in positions.items() if p in self._noting or committed[p] != position.offset
        }
        self._noting.clear()
        if notes:  # where they go on is not what was written
            records = [(partition, POSITION, position.encode(partition)) for partition, position in notes.items()]
            self.write(records, {partition: position.offset for partition, position in notes.items()})
        return positions

    def _take_up(self, state: StoredState, committed: int, log: TopicLog) -> PartitionPosition:
        partition = state.partition
        begin = Begin(PartitionPosition(log.id, 1, 0))
        if self.begins is not None and state.fresh:
            begin = self.begins(partition, log)
        now = Now(
            arguments=self.topics.arguments,
            topic=self.topics.events,
            log=log,
            committed=committed if committed > 0 else None,
            fresh=begin.position,
            cut=self.cut.pop(partition, None),
            answered=lambda: newest(self.broker, self.topics, partition),
            is_of=lambda newest: is_of(self.broker, log, self.topics, partition, newest, self.again.columns),
        )
        resumption = resumed(state, now)
        for line, values in resumption.said:
            self.log.warning(line, **values)
        if resumption.lost:
            self.telemetry.lost_events(resumption.lost)
        self.engine.follow(partition, resumption.position.log)
        if resumption.rebuild:
            resumption.position = self._rebuilt(state, resumption, log, begin.base)
        else:
            restore(self.engine, state)
            total = self.engine.changelog.totals.get(partition, Total())
            resumption.position = resumption.position.with_state(total)
            if resumption.position != state.position:
                self._noting.add(partition)
        self.at[partition] = resumption.position
        return resumption.position

    def _rebuilt(
        self, state: StoredState, resumption: Resumed, log: TopicLog, base: StoredState | None
    ) -> PartitionPosition:
        rebuild = Rebuild(self.engine, self.broker, self.topics, log, self.again, self.telemetry.turn)
        tables = self.begins is not None and state.fresh
        events = rebuild.state(state.partition, resumption.position, tables=tables, base=base)
        position = resumption.position
        for changes, last in rebuild.records(state.partition, position, state.keys):
            position = last or position
            if not self.write(changes, {state.partition: position.offset}):
                break
            self.telemetry.turn()
        document = {"partition": state.partition, "offset": position.offset, "events": events}
        if resumption.begins:
            self.log.info("begins, with a state of what came before", **document)
        else:
            self.log.warning("the state was made anew", **document)
        return position
