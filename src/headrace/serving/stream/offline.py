"""What is done to a stream's state while no worker has it: making it anew."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from headrace.errors import StreamError
from headrace.home import Home
from headrace.serving.engine.batch import Answered, MessageBatch
from headrace.serving.engine.changelog import Change
from headrace.serving.engine.positions import PartitionPosition
from headrace.serving.messages.written import reading
from headrace.serving.stream.champions import answering
from headrace.serving.stream.engines import engine_of, placed
from headrace.serving.stream.outcomes import is_of, newest
from headrace.serving.stream.rebuild import Rebuild
from headrace.serving.stream.restore import StoredState, found
from headrace.serving.stream.resume import known_by, other_events
from headrace.serving.stream.sender import Aborted, Sender
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.patience import TIMEOUT
from headrace.system import System


class Offline:
    """The state of a system's stream, for one who is no worker.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        shadow: Of this version, which scores beside; None: of what answers.

    Raises:
        NotFoundError: There is no model.
        StreamError: Workers are live, the input topic is gone, or the cluster failed.
    """

    def __init__(self, system: System, home: Home, broker: Broker, shadow: int | None = None) -> None:
        self.topics = system.topics.of_shadow(shadow)
        self.broker = broker = reading(system, home, broker, system.topics.predictions)
        refuse_while_live(broker, self.topics.group)
        partitions = broker.ensure(self.topics, system.topics.partitions if system.keys else 1)
        log = broker.log(self.topics.events)
        assert log is not None, "it was made"
        self.log: TopicLog = log
        champion = answering(system, home, datetime.now(UTC), shadow)
        self.engine, self.again = engine_of(system, home, broker, self.topics, champion, partitions=partitions)
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

        requests = [TopicPartition(self.topics.events, p) for p in self.log.ends]
        offsets = self.broker.patiently(lambda: self._group.committed(requests, timeout=TIMEOUT), self.topics.events)
        return {partition.partition: partition.offset for partition in offsets}

    def found(self, partition: int) -> StoredState:
        """What the state topic has of a partition."""
        return found(self.engine.changelog, self.broker, self.topics.state, partition)

    def write(self, changes: Sequence[Change], offsets: Mapping[int, int]) -> None:
        """Write records of the state, and the group's offsets, in one transaction.

        Raises:
            StreamError: It did not happen; a worker that was started meanwhile is a reason.
        """
        try:
            self._sender.send(Answered(MessageBatch.of([]), changes=list(changes)), offsets, self._group_metadata())
            self._sender.settle()
        except Aborted as aborted:
            hint = "was a worker started meanwhile? Stop it, and do this again"
            raise StreamError(f"the state was not written: {aborted}", where=self.topics.state, hint=hint) from aborted

    def _group_metadata(self) -> Any:
        return self._group.consumer_group_metadata()

    def position(self, state: StoredState, committed: int, *, tables: bool = False) -> PartitionPosition:
        """How far a partition has come: by its state, or else by its outcomes or its group.

        Args:
            state: Of the partition, as it was found.
            committed: The group's offset; negative where there is none.
            tables: Where the topic was made anew since, go on with its first event.

        Raises:
            StreamError: The outcomes are of a log that the topic does not have any more.
        """
        if state.whole and state.position is not None:
            return state.position
        partition, log = state.partition, self.log
        where, last = f"{self.topics.events}[{partition}]", newest(self.broker, self.topics, partition)
        if self.topics.shadow is not None and state.fresh and last is None and committed < 0:
            hint = f"its first worker begins it: headrace stream {self.topics.arguments}"
            raise StreamError("the shadow has not begun", where=f"{self.topics.state}[{partition}]", hint=hint)
        known = state.position or PartitionPosition(log.id, last.log if last else 1, 0)
        is_anew = None not in (known.topic, log.id) and known.topic != log.id
        if last is not None and (state.position is None or (is_anew and last.log > known.log)):
            is_anew = not is_of(self.broker, log, self.topics, partition, last, self.again.columns)
        if not is_anew:
            return replace(known_by(last, known, committed), topic=log.id)
        if not tables:
            raise other_events(last if state.position is None else None, where, self.topics.arguments)
        return PartitionPosition(log.id, max(known.log, last.log if last else 0) + 1, log.begins.get(partition, 0))


def rebuild(
    system: System, home: Home, broker: Broker, *, tables: bool = False, shadow: int | None = None
) -> dict[str, Any]:
    """Make the state of all partitions anew; returns ``partitions[{partition offset events series records}]``.

    May be repeated, and broken off: until a partition's last record is written its state counts as damaged.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        tables: Begin with what the tables know where the log has lost its beginning.
        shadow: Of this version, which scores beside.

    Raises:
        NotFoundError: There is no model.
        StreamError: Workers are live, the log does not have the events any more, or the cluster failed.
    """
    results = []
    with Offline(system, home, broker, shadow) as offline:
        committed = offline.committed()
        for partition in sorted(offline.log.ends):
            state = offline.found(partition)
            position = offline.position(state, committed.get(partition, -1), tables=tables)
            making = Rebuild(offline.engine, offline.broker, offline.topics, offline.log, offline.again)
            events = making.state(partition, position, tables=tables)
            series = offline.engine.count(partition)
            for changes, last in making.records(partition, position, state.keys):
                position = last or position
                offline.write(changes, {partition: position.offset})
            result = {"partition": partition, "offset": position.offset, "events": events, "series": series}
            results.append(
                {**result, "records": position.state.records, "was": "whole" if state.whole else state.damage}
            )
    return {"system": offline.topics.stream, "partitions": results}


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
