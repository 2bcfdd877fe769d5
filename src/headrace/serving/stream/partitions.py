"""The partitions that a worker has: how far each has come, and how it goes on with one that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.errors import StreamError
from headrace.serving.stream.base import StreamEngine
from headrace.serving.stream.batch import Batch
from headrace.serving.stream.changelog import Change
from headrace.serving.stream.outcomes import newest
from headrace.serving.stream.positions import POSITION, Position, Total
from headrace.serving.stream.rebuild import Rebuild, Remake
from headrace.serving.stream.restore import Found, restore
from headrace.serving.stream.restore import found as read
from headrace.serving.stream.resume import Now, Resumed, resumed
from headrace.serving.stream.telemetry import Telemetry
from headrace.serving.stream.validate import cut_off, ended
from headrace.sources.broker import Broker, Log
from headrace.sources.topics import Topics

Write = Callable[[Sequence[Change], Mapping[int, int]], bool]
"""Writes records, and offsets of the group, in one transaction; False: it did not happen, and all is read anew."""


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
        begins: Where to begin with partitions of which nothing is known; None: with their first events.
    """

    engine: StreamEngine
    broker: Broker
    topics: Topics
    telemetry: Telemetry
    log: Any
    write: Write
    again: Remake
    begins: Mapping[int, int] | None = None

    def __post_init__(self) -> None:
        self.at: dict[int, Position] = {}
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

    def moved(self, batch: Batch) -> list[Change]:
        """The records of the positions after a batch that was answered."""
        changes: list[Change] = []
        for partition, end in batch.ends.items():
            before, state = self.at[partition], self.engine.changelog.totals.get(partition, Total())
            epoch = batch.epochs.get(partition, -1)
            now = self.at[partition] = Position(before.topic, before.log, end, epoch, before.partitions, state)
            changes.append((partition, POSITION, now.encode(partition)))
        return changes

    def take_up(self, committed: Mapping[int, int]) -> dict[int, Position]:
        """Restore the state of partitions, given their group's offsets (negative: none); returns where they go on.

        Raises:
            StreamError: The cluster failed, or what there is does not say where they go on.
            StoreError: The tables cannot be read.
        """
        log = self.broker.log(self.topics.events)
        if log is None:
            raise StreamError("the input topic is gone", where=self.topics.events)
        self.topic = log.id
        states = {p: read(self.engine.changelog, self.broker, self.topics.state, p) for p in committed}
        known = {p: state.position for p, state in states.items() if state.position and state.position.topic == log.id}
        self.cut = cut_off(self.broker, self.topics.events, known) | self.cut
        found = {
            partition: self._take_up(states.pop(partition), offset, log) for partition, offset in committed.items()
        }
        notes = {p: at for p, at in found.items() if p in self._noting or committed[p] != at.offset}
        self._noting.clear()
        if notes:  # where they go on is not what was written
            records = [(partition, POSITION, at.encode(partition)) for partition, at in notes.items()]
            self.write(records, {partition: at.offset for partition, at in notes.items()})
        return found

    def _take_up(self, state: Found, committed: int, log: Log) -> Position:
        partition = state.partition
        now = Now(
            system=self.topics.system,
            topic=self.topics.events,
            log=log,
            committed=committed if committed > 0 else None,
            begin=0 if self.begins is None else self.begins.get(partition, 0),
            cut=self.cut.pop(partition, None),
            answered=lambda: newest(self.broker, self.topics, partition),
        )
        done = resumed(state, now)
        for line, values in done.said:
            self.log.warning(line, **values)
        if done.lost:
            self.telemetry.lost_events(done.lost)
        self.engine.follow(partition, done.position.log)
        if done.rebuild:
            done.position = self._rebuilt(state, done, log)
        else:
            restore(self.engine, state)
            total = self.engine.changelog.totals.get(partition, Total())
            done.position = done.position.with_state(total)
            if done.position != state.position:
                self._noting.add(partition)
        self.at[partition] = done.position
        return done.position

    def _rebuilt(self, state: Found, done: Resumed, log: Log) -> Position:
        rebuild = Rebuild(self.engine, self.broker, self.topics, log, self.again, self.telemetry.turn)
        events = rebuild.state(state.partition, done.position, tables=self.begins is not None)
        position = done.position
        for changes, last in rebuild.records(state.partition, position, state.keys):
            position = last or position
            if not self.write(changes, {state.partition: position.offset}):
                break
            self.telemetry.turn()
        self.log.warning("the state was made anew", partition=state.partition, events=events)
        return position
