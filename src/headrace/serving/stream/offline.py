"""What is done to a stream's state while no worker has it: making it anew."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headrace.errors import StreamError
from headrace.home import Home
from headrace.serving.stream.batch import Answered, Batch
from headrace.serving.stream.champions import answering
from headrace.serving.stream.changelog import Change
from headrace.serving.stream.engines import engine_of, placed
from headrace.serving.stream.outcomes import Outcome, newest
from headrace.serving.stream.positions import Position
from headrace.serving.stream.rebuild import Rebuild
from headrace.serving.stream.restore import Found, found
from headrace.serving.stream.sender import Aborted, Sender
from headrace.sources.broker import Broker, Log
from headrace.sources.patience import TIMEOUT
from headrace.system import System


class Offline:
    """The state of a system's stream, for one who is no worker.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.

    Raises:
        NotFoundError: There is no model.
        StreamError: Workers are live, the input topic is gone, or the cluster failed.
    """

    def __init__(self, system: System, home: Home, broker: Broker) -> None:
        self.topics, self.broker = system.topics, broker
        refuse_while_live(broker, self.topics.group)
        partitions = broker.ensure(self.topics, system.topics.partitions if system.keys else 1)
        log = broker.log(self.topics.events)
        assert log is not None, "it was made"
        self.log: Log = log
        who = answering(system, home, datetime.now(UTC))
        self.engine, self.again = engine_of(system, home, broker, self.topics, who, partitions=partitions)
        self._homes = placed(self.engine, system, broker, self.topics) if partitions > 1 else None

    def __enter__(self) -> Offline:
        from confluent_kafka import Consumer

        settings = self.broker.settings(group_id=self.topics.group, enable_auto_commit=False)
        self._group = Consumer(settings)
        identity = f"{self.topics.group}.offline"
        self._sender = Sender(self.broker, self.topics, identity, threading.Event())
        return self

    def __exit__(self, *_: object) -> None:
        self._sender.close()
        self._group.close()
        if self._homes is not None:
            self._homes.close()
        self.engine.close()

    def committed(self) -> dict[int, int]:
        """The group's offsets; negative where there is none."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(self.topics.events, p) for p in self.log.ends]
        there = self.broker.patiently(lambda: self._group.committed(asked, timeout=TIMEOUT), self.topics.events)
        return {each.partition: each.offset for each in there}

    def found(self, partition: int) -> Found:
        """What the state topic has of a partition."""
        return found(self.engine.changelog, self.broker, self.topics.state, partition)

    def write(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> None:
        """Write records of the state, and the group's offsets, in one transaction.

        Raises:
            StreamError: It did not happen; a worker that was started meanwhile is a reason.
        """
        try:
            self._sender.send(Answered(Batch.of([]), changes=list(changes)), offsets, self._group_metadata())
            self._sender.settle()
        except Aborted as aborted:
            hint = "was a worker started meanwhile? Stop it, and do this again"
            raise StreamError(f"the state was not written: {aborted}", where=self.topics.state, hint=hint) from aborted

    def _group_metadata(self) -> Any:
        return self._group.consumer_group_metadata()

    def position(self, state: Found, committed: int) -> Position:
        """How far a partition has come: by its state, or else by its outcomes or its group.

        Raises:
            StreamError: The outcomes are of a log that the topic does not have any more.
        """
        if state.whole and state.position is not None:
            return state.position
        outcome = newest(self.broker, self.topics, state.partition)
        known = state.position or Position(self.log.id, outcome.log if outcome else 1, 0)
        known = replace(known, topic=known.topic or self.log.id)
        if outcome is None or outcome.log < known.log:
            return replace(known, offset=max(known.offset, committed, 0))
        if state.position is None and committed < 0 and not self._is_of(outcome, state.partition):
            raise StreamError(
                f"the newest outcome is of offset {outcome.offset}, where the topic now has another event or none",
                where=f"{self.topics.events}[{state.partition}]",
                hint=f"the topic was made anew: make {self.topics.predictions} anew too, or give it another name",
            )
        return replace(known, log=outcome.log, offset=outcome.offset + 1)

    def _is_of(self, outcome: Outcome, partition: int) -> bool:
        """Whether the event of an outcome is the one that the topic has there: by its key and what it observed."""
        topic, until = self.topics.events, {partition: outcome.offset + 1}
        events = list(self.broker.read(topic, {partition: outcome.offset}, until=until))
        if [event.offset() for event in events] != [outcome.offset]:
            return False
        name = f"{topic}-{partition}-{outcome.offset}".encode()
        end = self.broker.ends(self.topics.predictions, [partition])[partition]
        begin = {partition: max(end - 20_000, 0)}
        for answer in self.broker.read(self.topics.predictions, begin):
            if name in (answer.value() or b""):
                said, event = json.loads(answer.value()), json.loads(events[0].value())
                return bool(answer.key() == events[0].key() and said.get("observed") in event.values())
        return True  # a letter, which has no more than the place


def rebuild(system: System, home: Home, broker: Broker, *, tables: bool = False) -> dict[str, Any]:
    """Make the state of all partitions anew; returns ``partitions[{partition offset events series records}]``.

    May be repeated, and broken off: until a partition's last record is written its state counts as damaged.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        tables: Begin with what the tables know where the log has lost its beginning.

    Raises:
        NotFoundError: There is no model.
        StreamError: Workers are live, the log does not have the events any more, or the cluster failed.
    """
    done = []
    with Offline(system, home, broker) as offline:
        committed = offline.committed()
        for partition in sorted(offline.log.ends):
            state = offline.found(partition)
            position = offline.position(state, committed.get(partition, -1))
            making = Rebuild(offline.engine, broker, offline.topics, offline.log, offline.again)
            events = making.state(partition, position, tables=tables)
            series = offline.engine.count(partition)
            for changes, last in making.records(partition, position, state.keys):
                position = last or position
                offline.write(changes, {partition: position.offset})
            made = {"partition": partition, "offset": position.offset, "events": events, "series": series}
            done.append({**made, "records": position.state.records, "was": "whole" if state.whole else state.damage})
    return {"system": system.name, "partitions": done}


def refuse_while_live(broker: Broker, group: str) -> None:
    """Nothing, if the group has no members.

    Raises:
        StreamError: It has.
    """
    client = broker.admin()

    def ask() -> int:
        return len(client.describe_consumer_groups([group], request_timeout=TIMEOUT / 3)[group].result().members)

    members = broker.patiently(ask, group, client)
    if members:
        raise StreamError(
            f"{members} worker{'s are' if members > 1 else ' is'} live",
            where=group,
            hint="stop the workers; one that was stopped counts as live for 10 s more",
        )
