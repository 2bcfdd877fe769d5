"""A version that scores the events beside the one that answers: where it begins, and what it may know of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.serving.engine.engine import Engine
from headrace.serving.engine.positions import PartitionPosition, Total
from headrace.serving.engine.rings import Ints, Keys
from headrace.serving.engine.seeding import Seeded, Seeding
from headrace.serving.stream.base import StreamEngine
from headrace.serving.stream.champions import champion
from headrace.serving.stream.outcomes import FirstKnown
from headrace.serving.stream.partitions import Begin
from headrace.serving.stream.restore import StoredState, as_committed, found_of
from headrace.sources.broker import Broker, TopicLog
from headrace.system import System

_TRIES = 3
"""Reads of a state that workers write meanwhile, of which one has to be whole."""


def begins_at(offsets: Mapping[int, int], log: TopicLog, partition: int) -> Begin:
    """Begin with an event of a partition, and with a state that is made of those before it."""
    return Begin(PartitionPosition(log.id, 1, offsets.get(partition, 0)))


class BesideChampion:
    """Begins each partition where the stream that answers is at that time, with its state.

    Args:
        system: The declaration.
        home: Where models are.
        broker: The cluster.
        engine: Of the version that begins.
    """

    def __init__(self, system: System, home: Home, broker: Broker, engine: StreamEngine) -> None:
        self._system, self._home, self._broker, self._engine = system, home, broker, engine

    def __call__(self, partition: int, log: TopicLog) -> Begin:
        """Where to begin with a partition. With its first event where nothing was answered yet.

        Raises:
            StreamError: The cluster failed.
        """
        state = self._state(partition)
        known = None if state is None else state.position
        if known is None:
            return Begin(PartitionPosition(log.id, 1, 0))
        if None not in (known.topic, log.id) and known.topic != log.id:  # it will read the topic that was made anew
            return Begin(PartitionPosition(log.id, known.log + 1, 0))
        position = replace(known, topic=log.id, state=Total())
        return Begin(position, state if state is not None and state.whole and self._reaches() else None)

    def _state(self, partition: int) -> StoredState | None:
        """The state of the stream that answers."""
        topic, result = self._system.topics.state, None
        if partition >= self._broker.partitions().get(topic, 0):
            return None
        for _ in range(_TRIES):
            records = as_committed(self._broker, topic, partition)
            result = found_of(self._engine.changelog, partition, records, topic)
            if result.whole:
                break
        return result

    def _reaches(self) -> bool:
        """Whether that state holds all that this version looks back at. What was answered to rows is no state of it."""
        if not isinstance(self._engine, Engine):
            return False
        try:
            other = champion(self._system, self._home, datetime.now(UTC))
        except HeadraceError:  # it cannot be told: the events can
            return False
        return self._engine.champion.predictor.model.lookback <= other.predictor.model.lookback


class AsAnswered:
    """What the tables knew of a series before its first event on the stream: by now they may have later ones.

    An event that came in order became known by its own time. Of one that did not, the answer to it says when.

    Args:
        seeding: Reads the tables.
        answers: When the first events became known, by the stream that answers.
    """

    def __init__(self, seeding: Seeding, answers: FirstKnown) -> None:
        self._seeding, self._answers = seeding, answers

    def __call__(self, keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Seeded:
        """As `Seeding.replayed`."""
        doubtful = self._seeding.clock(keys) >= at
        if doubtful.any():
            known = self._answers()
            moments = [
                known.get(series, own_time) if odd else own_time
                for series, own_time, odd in zip(keys, at, doubtful, strict=True)
            ]
            at = np.array(moments, dtype=np.int64)
        return self._seeding.replayed(keys, slots, at, length)
