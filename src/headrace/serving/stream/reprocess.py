"""Events answered once more, on purpose: into topics and a group of another name, so that the first answers stay."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace.errors import StreamError, UsageError
from headrace.home import Home
from headrace.serving.stream.options import WorkerOptions
from headrace.serving.stream.worker import StreamWorker
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import Topics
from headrace.system import System


def into(topics: Topics, name: str) -> Topics:
    """The topics and the group of a second stream over the same events.

    Raises:
        UsageError: A topic cannot have such a name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", name):
        raise UsageError(f"{name!r} is no name", where="--into", hint="letters, digits, - and _")
    named = f"{topics.system}.{name}"
    shared = {"events": topics.events, "series": topics.series}
    return replace(topics, system=named, given=shared, group_given=f"{topics.group}.{name}")


def reprocess(
    system: System,
    home: Home,
    broker: Broker,
    begin: int | datetime,
    name: str,
    options: WorkerOptions,
    stop: threading.Event,
) -> dict[str, Any]:
    """Answer the events from an offset or a time on, up to where the log ends; what it returns a worker returns.

    The state at the beginning is made from the events before it. Where the topics of that name have a state already,
    the second stream goes on from there, and the beginning given is of no account.

    Args:
        system: The declaration.
        home: Where models and tables are.
        broker: The cluster.
        begin: An offset of every partition, or a time of arrival by the broker.
        name: Of the second stream.
        options: How its worker runs.
        stop: Ends it.

    Raises:
        NotFoundError: There is no model.
        StreamError: There is no such topic, its log has lost what the state is made of, or the cluster failed.
    """
    topics = into(system.topics, name)
    first = offsets_of(broker, topics.events, begin)
    worker = StreamWorker(system, home, broker, "reprocess", replace(options, topics=topics, begins=first))
    return {**worker.run(stop), "system": system.name, "from": first, "topic": topics.predictions}


def offsets_of(broker: Broker, topic: str, begin: int | datetime) -> dict[int, int]:
    """An offset of every partition, or the first event that came at a time or later, by partition.

    Raises:
        StreamError: There is no such topic, or the cluster failed.
    """
    log = broker.log(topic)
    if log is None:
        raise StreamError("there is no such topic", where=topic)
    if not isinstance(begin, datetime):
        return {p: min(max(begin, log.begins[p]), end) for p, end in log.ends.items()}
    offsets_found = _at(broker, topic, list(log.ends), begin)
    return {p: offset if offset >= 0 else log.ends[p] for p, offset in offsets_found.items()}


def _at(broker: Broker, topic: str, partitions: list[int], moment: datetime) -> dict[int, int]:
    """The first event that came at a time or later, by partition; negative where there is none."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(broker.settings(group_id="headrace-reader", enable_auto_commit=False))
    requests = [TopicPartition(topic, p, int(moment.timestamp() * 1000)) for p in partitions]
    try:
        offsets_found = broker.patiently(lambda: consumer.offsets_for_times(requests, timeout=TIMEOUT), topic)
    finally:
        consumer.close()
    return {partition.partition: partition.offset for partition in offsets_found}
