"""Events that were set apart: what they are and why, and sending them again after a fix, each once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace.errors import NotFoundError, StreamError
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import LARGEST, Topics

_CHUNK = 500
"""Letters that are sent again in one transaction."""
_SHOWN = 200


def letters(broker: Broker, topics: Topics, *, late: bool = False, everything: bool = False) -> Iterator[Any]:
    """Messages on the dead-letter topic, or that of late events, that were not sent again yet, or all of them.

    Raises:
        NotFoundError: There is no such topic.
        StreamError: The cluster failed.
    """
    topic = topics.late if late else topics.dead_letters
    begin = _begin(broker, topics, topic)
    yield from broker.read(topic, dict.fromkeys(begin, 0) if everything else begin)


def described(message: Any) -> dict[str, Any]:
    """A letter for people and programs."""
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}
    value = message.value()
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "reason": headers.get("reason", ""),
        "source": "-".join(headers.get(f"source_{part}", "?") for part in ("topic", "partition", "offset")),
        "key": None if message.key() is None else message.key().decode(errors="replace"),
        "bytes": None if value is None else len(value),
        "value": None if value is None else value[:_SHOWN].decode(errors="replace"),
    }


def resend(broker: Broker, topics: Topics, *, late: bool = False) -> int:
    """Send what was set apart to the events' topic again, as it came; returns how many.

    Sending and the note of what was sent are one transaction, so a letter is sent again once, however often this breaks
    off. What is still bad comes back as a new letter.

    Raises:
        NotFoundError: There is no such topic.
        StreamError: The cluster failed.
    """
    from confluent_kafka import Consumer, KafkaException, Producer

    topic = topics.late if late else topics.dead_letters
    group = Consumer(broker.settings(group_id=_group(topics), enable_auto_commit=False))
    name = f"{_group(topics)}.{'late' if late else 'dead'}"
    producer = Producer(broker.settings(transactional_id=name, message_max_bytes=LARGEST))
    sent, batch = 0, []
    try:
        producer.init_transactions(TIMEOUT)
        for message in letters(broker, topics, late=late):
            batch.append(message)
            if len(batch) == _CHUNK:
                sent += _send(producer, group, topics, topic, batch)
                batch = []
        return sent + _send(producer, group, topics, topic, batch)
    except KafkaException as error:
        raise StreamError(f"{error.args[0].str()}; {sent} were sent again before", where=topic) from error
    finally:
        group.close()


def _send(producer: Any, group: Any, topics: Topics, topic: str, batch: list[Any]) -> int:
    from confluent_kafka import TopicPartition

    if not batch:
        return 0
    producer.begin_transaction()
    ends: dict[int, int] = {}
    for message in batch:
        cause = f"{topic}-{message.partition()}-{message.offset()}"
        headers = {"resent_from": cause.encode()}
        producer.produce(topics.events, key=message.key(), value=message.value(), headers=headers)
        ends[message.partition()] = message.offset() + 1
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in ends.items()]
    producer.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), TIMEOUT)
    producer.commit_transaction(TIMEOUT)
    return len(batch)


def _begin(broker: Broker, topics: Topics, topic: str) -> dict[int, int]:
    """The first letter of each partition that was not sent again."""
    from confluent_kafka import Consumer, TopicPartition

    count = broker.partitions().get(topic)
    if count is None:
        raise NotFoundError(f"there is no topic {topic}", where=broker.bootstrap, hint="`headrace stream` makes it")
    group = Consumer(broker.settings(group_id=_group(topics), enable_auto_commit=False))
    try:
        asked = [TopicPartition(topic, p) for p in range(count)]
        found = broker.patiently(lambda: group.committed(asked, timeout=TIMEOUT), topic)
    finally:
        group.close()
    return {each.partition: max(each.offset, 0) for each in found}


def _group(topics: Topics) -> str:
    return f"{topics.group}.resend"
