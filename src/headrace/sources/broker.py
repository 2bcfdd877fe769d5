"""A Kafka cluster: where it is, how to log in, and which topics a system has. Imports its library lazily."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headrace.errors import BrokerUnavailableError, StreamError
from headrace.sources.patience import TIMEOUT, Patience
from headrace.sources.topics import Topics, WantedTopic

T = TypeVar("T")

BEGINNING = -2
Opened = Callable[[bytes, Any], bytes]
"""Value and headers of a message to what is read of it."""


@dataclass(frozen=True)
class TopicLog:
    """A topic as it is now.

    Attributes:
        id: Its id, which a topic of its name that is made later does not have; None where the cluster gives none.
        begins: The first offset that each partition still has.
        ends: The offset after the last record of each partition.
    """

    id: str | None
    begins: Mapping[int, int]
    ends: Mapping[int, int]


class _OpenedMessage:
    """A message of the client with another value."""

    def __init__(self, message: Any, opened: Opened) -> None:
        self._message, value = message, message.value()
        self._value = None if value is None else opened(value, message.headers() or ())

    def value(self) -> bytes | None:
        """What is read of it."""
        return self._value

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


@dataclass(frozen=True)
class Broker:
    """How to reach a cluster.

    Attributes:
        bootstrap: ``HOST:PORT``, several with commas.
        options: More of librdkafka's settings, such as ``security.protocol`` and ``sasl.password``. Never shown.
        patience: How long each request is tried again for while the cluster does not answer.
        limit: Seconds that the cluster has to answer a question.
        heard: The last trouble that a client told of.
        opened: By topic, what makes JSON of values that are written in another format, when they are read here.
    """

    bootstrap: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    patience: Patience = field(default_factory=Patience, repr=False, compare=False)
    limit: float = TIMEOUT / 3
    heard: list[Any] = field(default_factory=list, repr=False, compare=False)
    opened: Mapping[str, Opened] = field(default_factory=dict, repr=False, compare=False)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Settings of a client; underscores in names stand for points."""
        common = {"bootstrap.servers": self.bootstrap, "client.id": "headrace", "log_level": 2}
        return {**common, **self.options, **{_property(name): value for name, value in more.items()}}

    def ensure(self, topics: Topics, partitions: int) -> int:
        """Create what is missing of a system's topics; returns the number of partitions of its events.

        Raises:
            StreamError: The cluster cannot be reached, refuses, or the state has more partitions than the events; or
                topics are missing that are not to be made.
        """
        counts = self.partitions()
        count = counts.get(topics.events, partitions)
        missing = [topic for topic in topics.wanted(count) if topic.name not in counts]
        if missing and not topics.create:
            raise _to_be_made(missing, topics, "stream.topics.create is off")
        self._create(missing, topics)
        self._same_partitions({**counts, **{topic.name: topic.partitions for topic in missing}}, topics)
        return count

    def partitions(self) -> dict[str, int]:
        """Number of partitions by topic.

        Raises:
            StreamError: The cluster cannot be reached.
        """
        client = self.admin()
        listed = self.patiently(lambda: client.list_topics(timeout=self.limit).topics, client=client)
        return {name: len(topic.partitions) for name, topic in listed.items() if topic.error is None}

    def copies(self) -> tuple[int, dict[str, int]]:
        """How many brokers the cluster has, and the copies of each topic: the fewest of a partition.

        Raises:
            StreamError: The cluster cannot be reached.
        """
        client = self.admin()
        metadata = self.patiently(lambda: client.list_topics(timeout=self.limit), client=client)
        topics = {name: topic for name, topic in metadata.topics.items() if topic.error is None and topic.partitions}
        copies = {name: min(len(p.replicas) for p in topic.partitions.values()) for name, topic in topics.items()}
        return len(metadata.brokers), copies

    def configs(self, names: list[str]) -> dict[str, dict[str, str]]:
        """All settings of topics.

        Raises:
            StreamError: The cluster cannot be reached, or shows nobody here the settings.
        """
        from confluent_kafka import admin

        make: Any = admin
        if not names:
            return {}
        client = self.admin()

        def ask() -> dict[str, dict[str, str]]:
            resources = [make.ConfigResource(make.RESOURCE_TOPIC, name) for name in names]
            answers = client.describe_configs(resources, request_timeout=self.limit)
            return {
                resource.name: {n: c.value for n, c in future.result().items()} for resource, future in answers.items()
            }

        return self.patiently(ask, client=client)

    def log(self, topic: str) -> TopicLog | None:
        """A topic as it is now; None if it is not there.

        Raises:
            StreamError: The cluster cannot be reached.
        """
        count = self.partitions().get(topic)
        if count is None:
            return None
        partitions, client = list(range(count)), self.admin()
        named = self.patiently(lambda: id_of(client, topic)(), topic, client)  # noqa: PLW0108 - each try asks anew
        return TopicLog(named, self._offsets(topic, partitions, earliest=True), self.ends(topic, partitions))

    def ends(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """The offset after the last record of each partition, open transactions included.

        Raises:
            StreamError: The cluster cannot be reached, or there is no such topic.
        """
        return self._offsets(topic, partitions)

    def _offsets(self, topic: str, partitions: list[int], *, earliest: bool = False) -> dict[int, int]:
        from confluent_kafka import IsolationLevel, TopicPartition, admin

        specs: Any = admin
        spec = specs.OffsetSpec.earliest() if earliest else specs.OffsetSpec.latest()
        requests = {TopicPartition(topic, p): spec for p in partitions}
        client = self.admin()  # the request ends with it

        def ask() -> dict[int, int]:
            answers = client.list_offsets(
                requests, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=self.limit
            )
            return {partition.partition: future.result().offset for partition, future in answers.items()}

        return self.patiently(ask, topic, client)

    def read(
        self, topic: str, begin: Mapping[int, int], patience: float = 120.0, *, until: Mapping[int, int] | None = None
    ) -> Iterator[Any]:
        """All committed messages of partitions from given offsets to where they end now, each partition in its order.

        Waits for transactions that are open: whether their records count is known only then.

        Args:
            topic: Its name.
            begin: Partition to first offset; `BEGINNING` for the oldest.
            patience: Seconds without any record after which it gives up.
            until: Where to stop before that.

        Raises:
            StreamError: The cluster failed, or a transaction stayed open.
        """
        from confluent_kafka import Consumer

        ends = {p: min(end, (until or {}).get(p, end)) for p, end in self.ends(topic, list(begin)).items()}
        left = {p: end for p, end in ends.items() if end > max(begin[p], 0)}
        if not left:
            return
        consumer: Any = Consumer(
            self.settings(
                group_id=f"headrace-reader-{topic}",
                enable_auto_commit=False,
                isolation_level="read_committed",
                enable_partition_eof=True,
                auto_offset_reset="earliest",
                fetch_queue_backoff_ms=10,
                fetch_wait_max_ms=10,
            )
        )
        read, opened = (
            self._read_to(consumer, topic, {p: begin[p] for p in left}, left, patience),
            self.opened.get(topic),
        )
        try:
            yield from read if opened is None else (_OpenedMessage(message, opened) for message in read)
        finally:
            consumer.close()

    def _read_to(
        self, consumer: Any, topic: str, begin: Mapping[int, int], left: dict[int, int], patience: float
    ) -> Iterator[Any]:
        from confluent_kafka import KafkaError, TopicPartition

        # Not the beginning by name: that takes half a second. Where offset 0 is gone, the oldest one is taken.
        consumer.assign([TopicPartition(topic, p, max(offset, 0)) for p, offset in begin.items()])
        waited = time.monotonic()
        while left:
            for message in consumer.consume(10_000, timeout=0.05):
                error, partition = message.error(), message.partition()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    if message.offset() >= left.get(partition, 0):
                        left.pop(partition, None)
                elif error is not None and not error.retriable():
                    raise _failure(error, f"{topic}[{partition}]")
                elif partition in left:
                    waited = time.monotonic()
                    if message.offset() < left[partition]:
                        yield message
                    if message.offset() + 1 >= left[partition]:
                        left.pop(partition)
            if time.monotonic() - waited > patience:
                raise BrokerUnavailableError(
                    f"no record for {patience:g} s before the end was reached",
                    where=f"{topic}{sorted(left)}",
                    hint="a transaction may be open; it ends by itself after transaction.timeout.ms",
                )

    def patiently(self, ask: Callable[[], T], topic: str | None = None, client: Any = None) -> T:
        """What a request gives, tried again for a while: a broker may be starting, or a partition changing its leader.

        Args:
            ask: Makes the request.
            topic: What it is about.
            client: Who makes it, if that one tells of trouble.

        Raises:
            BrokerUnavailableError: It failed all the while.
            StreamError: The cluster refuses.
        """
        from confluent_kafka import KafkaException

        patience = self.patience.part()
        while True:
            try:
                return ask()
            except KafkaException as error:
                if client is not None:
                    client.poll(0)  # what it heard meanwhile
                failure = self.unreachable(error, topic)
                if not isinstance(failure, BrokerUnavailableError):
                    raise failure from error
                patience.wait(failure)

    def unreachable(self, error: Exception, topic: str | None = None) -> StreamError:
        """The typed error of a request that failed."""
        cause = error.args[0] if error.args else error
        where = f"{self.bootstrap}/{topic}" if topic else self.bootstrap
        event = self.heard.pop() if self.heard else None
        if event is not None and _refuses(event):
            return _failure(event, where)
        if hasattr(cause, "str"):
            return _failure(cause, where, "" if event is None else f" ({event.str()})")
        return BrokerUnavailableError(str(cause), where=where, hint="is it running?")

    def _hear(self, error: Any) -> None:
        """Keep what a client says beside its answers: the last word, a refusal before all."""
        from confluent_kafka import KafkaError

        if error.code() != KafkaError._ALL_BROKERS_DOWN and not (self.heard and _refuses(self.heard[0])):  # noqa: SLF001 - public
            self.heard[:] = [error]

    def admin(self) -> Any:
        """A client for requests about topics and groups."""
        from confluent_kafka.admin import AdminClient

        return AdminClient(self.settings(socket_timeout_ms=int(TIMEOUT * 1000), error_cb=self._hear))

    def _create(self, missing: list[WantedTopic], topics: Topics) -> None:
        from confluent_kafka import KafkaError, KafkaException, admin

        if not missing:
            return
        make: Any = admin
        new = [make.NewTopic(t.name, t.partitions, t.replication or -1, config=dict(t.config)) for t in missing]
        client = self.admin()  # the requests end with it
        for name, future in client.create_topics(new, request_timeout=TIMEOUT).items():
            try:
                future.result()
            except KafkaException as error:
                code = error.args[0].code()
                if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                    raise _to_be_made(missing, topics, "the cluster lets nobody here make them") from error
                if code != KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was quicker
                    raise self.unreachable(error, name) from error

    def _same_partitions(self, counts: Mapping[str, int], topics: Topics) -> None:
        """Give the state and the answers as many partitions as the events have."""
        count = counts[topics.events]
        named = {"state": topics.state, "predictions": topics.output}
        for name in [name for kind, name in named.items() if kind in topics.kinds]:
            if counts[name] > count:
                raise StreamError(
                    f"has {counts[name]} partitions, {topics.events} has {count}",
                    where=name,
                    hint=f"give {topics.events} {counts[name]} partitions: there is state of those that are missing",
                )
            if counts[name] < count and not topics.create:
                text = f"has {counts[name]} partitions, {topics.events} has {count}; stream.topics.create is off"
                raise StreamError(text, where=name, hint=f"ask for {count} partitions of it")
            if counts[name] < count:
                self._grow(name, count)

    def _grow(self, topic: str, partitions: int) -> None:
        from confluent_kafka import KafkaException, admin

        make: Any = admin
        client = self.admin()
        try:
            requests = [make.NewPartitions(topic, partitions)]
            client.create_partitions(requests, request_timeout=TIMEOUT)[topic].result()
        except KafkaException as error:
            if self.partitions().get(topic) != partitions:  # another worker was quicker
                raise self.unreachable(error, topic) from error


def _failure(error: Any, where: str, more: str = "") -> StreamError:
    """The typed error of one of the client's."""
    refused = _refuses(error)
    if refused is not None:
        return StreamError(error.str(), where=where, hint=refused)
    return BrokerUnavailableError(f"{error.str()}{more}", where=where, hint="is it running?")


def _refuses(error: Any) -> str | None:
    """What to do about an error that no patience helps against; None: it may pass."""
    from confluent_kafka import KafkaError

    names = ("TOPIC", "GROUP", "CLUSTER", "TRANSACTIONAL_ID")
    if error.code() in [getattr(KafkaError, f"{name}_AUTHORIZATION_FAILED") for name in names]:
        return "ask for the right; docs/guides/streaming.md lists what the stream needs"
    if error.code() in (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED):  # noqa: SLF001 - public
        return "how to log in is in HEADRACE_KAFKA"
    return None


def _to_be_made(missing: list[WantedTopic], topics: Topics, reason: str) -> StreamError:
    lines = "".join(f"\n    {topic.line()}" for topic in missing)
    are = "a topic is" if len(missing) == 1 else f"{len(missing)} topics are"
    return StreamError(
        f"{are} missing, and {reason}; ask for:{lines}",
        where=topics.system,
        hint=f"headrace stream topics {topics.arguments} --commands prints them as commands of kafka-topics.sh",
    )


def id_of(client: Any, topic: str) -> Callable[[], str | None]:
    """Ask for the id of a topic; what is returned waits for it. None where the cluster gives none.

    The topic that is made after another was deleted has its name, and another id.

    Raises:
        KafkaException: When it is waited for: the cluster cannot be reached, or there is no such topic.
    """
    from confluent_kafka import TopicCollection

    future = client.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT / 3)[topic]

    def told() -> str | None:
        topic_id = future.result().topic_id
        return None if topic_id is None or not topic_id.get_most_significant_bits() else str(topic_id)

    return told


def _property(name: str) -> str:
    return name if name.endswith("_cb") else name.replace("_", ".")
