"""What `doctor` says of a system's stream, in bounded time: the cluster, topics, positions, lag, unwise settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from headrace.errors import BrokerUnavailableError, HeadraceError, StreamError
from headrace.serving.engine.positions import POSITION, PartitionPosition
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.inspection import inspect
from headrace.sources.patience import Patience
from headrace.sources.topics import Topics
from headrace.system import System

SECONDS = 5.0
"""That the cluster has for an answer."""
_BACK = 2_000
"""Records of a partition's state, from its end, among which its position is looked for: every commit writes it."""
_SHOWN = 4


@dataclass(frozen=True)
class Examined:
    """One finding: `what` was looked at, its `status` (ok, warning, failed), and what was `said`."""

    what: str
    status: str
    said: str


def examine(systems: list[System], broker: Broker) -> list[Examined]:
    """Look at the streams of systems; nothing is made or changed.

    Args:
        systems: Whose streams.
        broker: The cluster.
    """
    broker = replace(broker, patience=Patience(SECONDS), limit=SECONDS)
    try:
        brokers, copies = broker.copies()
    except StreamError as error:
        return [Examined("Kafka", "failed", str(error))]
    count = f"{brokers} broker{'s' * (brokers != 1)}"
    findings = [Examined("Kafka", "ok", f"{broker.bootstrap} answers, {count}")]
    for system in systems:
        try:
            findings += _stream(system, broker, copies)
        except BrokerUnavailableError as error:  # it went away meanwhile: the others need not wait for it
            return [*findings, Examined(f"stream of {system.name}", "failed", str(error))]
    return findings


def partitions_of(system: System, broker: Broker) -> list[dict[str, Any]]:
    """Of each partition of a system's events ``partition first end committed lag``; none where there is no such topic.

    Raises:
        StreamError: The cluster cannot be reached.
    """
    from confluent_kafka import Consumer, TopicPartition

    log = broker.log(system.topics.events)
    if log is None:
        return []
    group = Consumer(broker.settings(group_id=system.topics.group, enable_auto_commit=False))
    try:
        requests = [TopicPartition(system.topics.events, number) for number in sorted(log.ends)]
        committed = broker.patiently(lambda: group.committed(requests, timeout=broker.limit), system.topics.events)
    finally:
        group.close()
    positions = {place.partition: max(place.offset, log.begins[place.partition]) for place in committed}
    return [
        {
            "partition": number,
            "first": log.begins[number],
            "end": end,
            "committed": positions[number],
            "lag": max(end - positions[number], 0),
        }
        for number, end in sorted(log.ends.items())
    ]


def _stream(system: System, broker: Broker, partitions: Mapping[str, int]) -> Iterator[Examined]:
    topics, label = system.topics, f"stream of {system.name}"
    topics_wanted = topics.wanted(1)
    missing = [topic.name for topic in topics_wanted if topic.name not in partitions]
    if len(missing) == len(topics_wanted):
        yield Examined(label, "ok", "no topics yet")
        return
    if missing:
        hint = "the stream makes them when it starts" if topics.create else f"headrace stream topics {system.name}"
        yield Examined(label, "warning", f"missing: {', '.join(missing)}; {hint}")
    try:
        log = broker.log(topics.events)
        if log is not None and topics.state in partitions:
            yield _positions(label, broker, topics, log)
        for finding in inspect(broker, topics):
            yield Examined(f"topic {finding.topic}", "warning", f"{finding.said}; {finding.hint}")
    except BrokerUnavailableError:
        raise
    except HeadraceError as error:
        yield Examined(label, "failed", str(error))


def _positions(label: str, broker: Broker, topics: Topics, log: TopicLog) -> Examined:
    """How far the workers have come, by the state, and what waits."""
    known = {partition: _position(broker, topics, partition) for partition in log.ends}
    positions = {
        p: position.offset for p, position in known.items() if position is not None and position.topic in (None, log.id)
    }
    fresh = [p for p, position in known.items() if position is None and log.ends[p] > log.begins[p]]
    remade = [p for p, position in known.items() if position is not None and p not in positions]
    waits = sum(max(end - positions.get(p, log.begins[p]), 0) for p, end in log.ends.items())
    lost = sum(max(log.begins[p] - offset, 0) for p, offset in positions.items())
    notes = [f"{len(log.ends)} partitions, at most {waits:,} events wait"]
    if fresh:
        notes.append(f"nothing answered yet on {_listed(fresh)}")
    if remade:
        notes.append(f"the topic was made anew since {_listed(remade)} were read, and will be read from its start")
    if lost:
        notes.append(f"{lost:,} offsets are gone that were not read")
    return Examined(label, "warning" if lost or remade else "ok", "; ".join(notes))


def _position(broker: Broker, topics: Topics, partition: int) -> PartitionPosition | None:
    """A partition's position, if it is near the end of its state, where every commit puts it."""
    end = broker.ends(topics.state, [partition])[partition]
    result: Any = None
    for message in broker.read(topics.state, {partition: max(end - _BACK, 0)}, patience=SECONDS):
        if message.key() == POSITION:
            result = message.value()
    return None if result is None else PartitionPosition.decode(result, partition)


def _listed(partitions: list[int]) -> str:
    shown = ", ".join(map(str, partitions[:_SHOWN]))
    return shown if len(partitions) <= _SHOWN else f"{shown} and {len(partitions) - _SHOWN} more"
