"""``kafka://HOST:PORT/TOPIC``: predictions on a topic, each once to those who read committed.

How far a source came is told in a header of the last record that a transaction puts on each partition: so the topic
itself says it, and nothing can be committed without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, admin

from headrace.errors import (
    BrokerUnavailableError,
    SinkError,
    SinkMovedError,
    SinkUnavailableError,
    StreamError,
    UsageError,
)
from headrace.lineage import digest_of
from headrace.sinks.address import Address
from headrace.sinks.base import Begun, Position, Prediction, PredictionLayout, Sent, SinkContext, written
from headrace.sources.broker import Broker, id_of
from headrace.sources.patience import Patience
from headrace.sources.topics import LARGEST

HEADER = "headrace_position"
_LAST = 100
"""Records of a partition that are looked at first, from its end."""
_encode = msgspec.json.Encoder().encode


class TopicSink:
    """Sends predictions in transactions.

    Args:
        broker: The cluster.
        topic: Its name.
        layout: What predictions look like.
        place: What is known here.
        target: The URI as it may be shown.
    """

    def __init__(self, broker: Broker, topic: str, layout: PredictionLayout, place: SinkContext, target: str) -> None:
        self.target = target
        self._broker, self._topic, self._place = broker, topic, place
        self._name = f"{layout.system}|{layout.source}"
        self._identity = f"headrace.{layout.system}.sink.{digest_of([layout.source, topic], 12)}"
        self._producer: Any = None
        self._admin: Any = None
        self._id: str | None = None
        self._number = self._partitions = 0
        self._at: Position | None = None

    def begin(self) -> Begun:
        """End what an earlier process had open, and look for the newest position on the topic."""
        self.close()
        with self._failures():
            self._partitions = self._broker.partitions().get(self._topic, 0) or self._make()
            self._admin = self._broker.admin()
            self._id = id_of(self._admin, self._topic)()
            self._producer = Producer(
                self._broker.settings(
                    transactional_id=self._identity,
                    transaction_timeout_ms=int(max(self._place.timeout, 10.0) * 1000),
                    linger_ms=1,
                    message_max_bytes=LARGEST,
                    compression_type="lz4",
                )
            )
            self._producer.init_transactions(self._place.timeout)
            self._number, self._at = max(self._told(), default=(0, None), key=lambda record: record[0])
        return Begun(self._at)

    def send(self, predictions: Sequence[Prediction], before: Position | None, after: Position) -> Sent:
        """One transaction."""
        producer, number = self._producer, self._number + 1
        body = written({"sink": self._name, "number": number, "position": after}).encode()
        places = [_partition(prediction.key, self._partitions) for prediction in predictions]
        last = {partition: place for place, partition in enumerate(places)}
        if before != self._at:
            raise SinkMovedError("the topic is at another position", where=self.target)
        with self._failures():
            if id_of(self._admin, self._topic)() != self._id:
                raise SinkMovedError("the topic is another one than before", where=self.target)
            producer.begin_transaction()
            for place, (prediction, partition) in enumerate(zip(predictions, places, strict=True)):
                headers = list(prediction.headers)
                if last[partition] == place:
                    headers.append((HEADER, body))
                key = prediction.key.encode() or None
                producer.produce(self._topic, _encode(prediction.document), key, partition, headers=headers)
                if place % 1000 == 999:
                    producer.poll(0)
            producer.commit_transaction(self._place.timeout)
        self._number, self._at = number, after
        return Sent(passed=len(predictions))

    def close(self) -> None:
        """Let go of the connection; an open transaction is ended by the next `begin`, or by the cluster."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()

    def _make(self) -> int:
        if not self._place.partitions:
            hint = "ask for it: stream.topics.create is off"
            raise SinkError("there is no such topic", where=self.target, hint=hint)
        make: Any = admin
        client = self._broker.admin()  # the request ends with it
        futures = client.create_topics([make.NewTopic(self._topic, self._place.partitions, -1)])
        try:
            futures[self._topic].result(self._place.timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process was quicker
                raise
        return self._place.partitions

    def _told(self) -> Iterator[tuple[int, Position]]:
        """The newest position that each partition tells of, with the number of its transaction."""
        for partition, end in self._broker.ends(self._topic, list(range(self._partitions))).items():
            step, until = _LAST, end
            while until > 0:
                begin = max(until - step, 0)
                read = self._broker.read(self._topic, {partition: begin}, until={partition: until})
                records = [record for record in map(self._position, read) if record is not None]
                if records:
                    yield max(records, key=lambda record: record[0])
                    break
                until, step = begin, step * 10

    def _position(self, message: Any) -> tuple[int, Position] | None:
        for name, value in message.headers() or ():
            if name == HEADER:
                try:
                    document = json.loads(value)
                    if document["sink"] == self._name:
                        return int(document["number"]), document["position"]
                except (ValueError, TypeError, KeyError):  # somebody else's header of that name
                    continue
        return None

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Whether what was sent counts is seen by the next `begin`."""
        try:
            yield
        except BrokerUnavailableError as error:
            raise SinkUnavailableError(error.message, where=self.target) from error
        except StreamError as error:
            raise SinkError(error.message, where=self.target, hint=error.hint) from error
        except BufferError as error:
            raise SinkUnavailableError(str(error), where=self.target) from error
        except KafkaException as error:
            cause = error.args[0]
            if cause.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):  # noqa: SLF001 - its public name
                hint = "let one of them end: only one keeps the order"
                raise SinkError("another process passes on to this topic", where=self.target, hint=hint) from error
            if cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise SinkError(cause.str(), where=self.target, hint="raise max.message.bytes of the topic") from error
            failure = self._broker.unreachable(error)
            kind = SinkUnavailableError if isinstance(failure, BrokerUnavailableError) else SinkError
            raise kind(failure.message, where=self.target, hint=failure.hint) from error


@lru_cache(maxsize=50_000)
def _partition(key: str, count: int) -> int:
    """Where Java's clients, too, put a key; what has no key is put on the first partition."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % count if key else 0


def murmur2(data: bytes) -> int:
    """As Kafka's clients in Java hash keys: 32 bits.

    >>> murmur2(b"21") - 2**32, murmur2(b"foobar") - 2**32
    (-973932308, -790332482)
    """
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    end = len(data) & ~3
    for index in range(0, end, 4):
        k = int.from_bytes(data[index : index + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = h * m & mask ^ k
    rest = data[end:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def open_sink(address: Address, layout: PredictionLayout, place: SinkContext) -> TopicSink:
    """The topic of a cluster.

    Raises:
        UsageError: No cluster or no topic is named.
    """
    topic = address.path.strip("/")
    if not address.parts.netloc or not topic or "/" in topic:
        raise UsageError("names no topic", where=address.shown, hint="write kafka://HOST:PORT/TOPIC")
    if "@" in address.parts.netloc:
        hint = "logins of clusters are in HEADRACE_KAFKA"
        raise UsageError("has a login, which no client of Kafka reads there", where=address.shown, hint=hint)
    options: Mapping[str, str] = place.kafka
    broker = Broker(address.parts.netloc, options, Patience(place.timeout, place.stop))
    return TopicSink(broker, topic, layout, place, address.shown)
