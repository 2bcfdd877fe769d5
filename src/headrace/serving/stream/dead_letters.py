"""Events that were set apart: what they are and why, and sending them again after a fix, each once."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.errors import NotFoundError, StreamError, UsageError
from headrace.lineage import iso
from headrace.sources.broker import Broker
from headrace.sources.patience import TIMEOUT
from headrace.sources.topics import LARGEST, Topics

_CHUNK = 500
"""Letters that are settled in one transaction."""
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d[\d:.,TZ+-]*")
"""What differs from letter to letter in reasons of one kind."""


@dataclass(frozen=True)
class Choice:
    """Some of the letters.

    Attributes:
        reason: A part of their reasons, in any case.
        since: None was set apart earlier.
        before: None was set apart at that time or later.
        places: Partitions and offsets; None for all.
    """

    reason: str | None = None
    since: datetime | None = None
    before: datetime | None = None
    places: frozenset[tuple[int, int]] | None = None

    def takes(self, message: Any) -> bool:
        """Whether a letter is among them."""
        if self.places is not None and (message.partition(), message.offset()) not in self.places:
            return False
        if self.reason is not None and self.reason.casefold() not in _reason(message).casefold():
            return False
        moment = _at(message)
        return (self.since is None or moment >= self.since) and (self.before is None or moment < self.before)


@dataclass(frozen=True)
class Mended:
    """What letters say instead, when they are sent again.

    Attributes:
        columns: Values over those of every body, by name.
        bodies: Whole bodies, by partition and offset.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    bodies: Mapping[tuple[int, int], bytes | None] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Mended:
        """Bodies from a file of lines as `dead-letters --json` lists them: ``partition offset value``.

        Raises:
            UsageError: A line is no such object.
        """
        bodies: dict[tuple[int, int], bytes | None] = {}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                document = json.loads(line)
                value = document["value"]
                text = value if isinstance(value, str) or value is None else json.dumps(value, ensure_ascii=False)
                bodies[int(document["partition"]), int(document["offset"])] = None if text is None else text.encode()
            except (ValueError, KeyError, TypeError) as error:
                hint = 'write lines of {"partition": 0, "offset": 7, "value": {...}}, as dead-letters --json lists them'
                raise UsageError("is no dead letter", where=f"{path}:{number}", hint=hint) from error
        return cls(bodies=bodies)

    def body(self, message: Any) -> bytes | None:
        """What a letter says now.

        Raises:
            StreamError: Columns are to be changed of what is no JSON object.
        """
        value: bytes | None = self.bodies.get((message.partition(), message.offset()), message.value())
        if not self.columns:
            return value
        try:
            document = json.loads((value or b"").removeprefix(b"\xef\xbb\xbf"))
        except ValueError:
            document = None
        if not isinstance(document, dict):
            where = f"{message.topic()}-{message.partition()}-{message.offset()}"
            raise StreamError("is no JSON object: no column of it can be set", where=where, hint="mend it with --from")
        return json.dumps({**document, **self.columns}, ensure_ascii=False).encode()


def dead_letters(broker: Broker, topics: Topics, *, late: bool = False, everything: bool = False) -> Iterator[Any]:
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
    headers = _headers(message)
    value = message.value()
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "at": iso(_at(message)),
        "reason": headers.get("reason", ""),
        "source": "-".join(headers.get(f"source_{part}", "?") for part in ("topic", "partition", "offset")),
        "key": None if message.key() is None else message.key().decode(errors="replace"),
        "bytes": None if value is None else len(value),
        "value": None if value is None else value.decode(errors="replace"),
    }


def one(broker: Broker, topics: Topics, place: tuple[int, int], *, late: bool = False) -> dict[str, Any]:
    """A letter by its partition and offset: as `described`, with its `headers`, and whether it was `settled`.

    Raises:
        NotFoundError: There is no such topic, or no such letter on it.
        StreamError: The cluster failed.
    """
    topic, (partition, offset) = topics.late if late else topics.dead_letters, place
    begin = _begin(broker, topics, topic)
    first, end = {partition: offset}, {partition: offset + 1}
    messages = broker.read(topic, first, until=end) if partition in begin else iter(())
    message = next((message for message in messages if message.offset() == offset), None)
    if message is None:
        hint = "`headrace dead-letters list --all` has all of them"
        raise NotFoundError(f"there is no message {partition}-{offset}", where=topic, hint=hint)
    return {**described(message), "headers": _headers(message), "settled": offset < begin[partition]}


def kinds(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many letters there are for reasons of each kind, the most frequent first; what differs is left out."""
    counted: Counter[str] = Counter()
    newest: dict[str, str] = {}
    for row in found:
        kind = _PARTICULAR.sub("…", row["reason"])
        counted[kind] += 1
        newest[kind] = max(newest.get(kind, ""), row["at"])
    return [{"count": n, "reason": kind, "newest": newest[kind]} for kind, n in counted.most_common()]


@dataclass
class Settled:
    """What became of letters: `resent` to the events' topic, `expired`, or `kept` because they were not chosen."""

    resent: int = 0
    expired: int = 0
    kept: int = 0


def settle(
    broker: Broker,
    topics: Topics,
    choice: Choice,
    mended: Mended | None,
    *,
    late: bool = False,
    expire: bool = False,
) -> Settled:
    """Send chosen letters to the events' topic again, or let them go; the others are put at the end of their topic.

    All of it and the note of how far this came are one transaction, so a letter is settled once, however often this
    breaks off. What is still bad comes back as a new letter.

    Args:
        broker: The cluster.
        topics: Of the system.
        choice: Which letters.
        mended: What they say instead; None: what they said.
        late: Letters of late events.
        expire: Do not send them.

    Raises:
        NotFoundError: There is no such topic.
        StreamError: The cluster failed, or a body cannot be mended.
    """
    from confluent_kafka import Consumer, KafkaException, Producer

    topic = topics.late if late else topics.dead_letters
    waiting = list(dead_letters(broker, topics, late=late))
    last = max((i for i, message in enumerate(waiting) if choice.takes(message)), default=-1)
    settled = Settled(kept=len(waiting) - 1 - last)
    group = Consumer(broker.settings(group_id=_group(topics), enable_auto_commit=False))
    name = f"{_group(topics)}.{'late' if late else 'dead'}"
    producer = Producer(broker.settings(transactional_id=name, message_max_bytes=LARGEST))
    try:
        producer.init_transactions(TIMEOUT)
        for begin in range(0, last + 1, _CHUNK):
            part = waiting[begin : min(begin + _CHUNK, last + 1)]
            sent = [
                (message, (mended or Mended()).body(message))
                for message in part
                if choice.takes(message) and not expire
            ]
            _commit(producer, group, (topics.events, topic), part, choice, sent)
            chosen = sum(map(choice.takes, part))
            settled.kept += len(part) - chosen
            settled.resent, settled.expired = settled.resent + len(sent), settled.expired + chosen * expire
    except KafkaException as error:
        raise StreamError(f"{error.args[0].str()}; {settled.resent} were sent again before", where=topic) from error
    finally:
        group.close()
    return settled


def _commit(
    producer: Any,
    group: Any,
    topics: tuple[str, str],
    part: list[Any],
    choice: Choice,
    sent: list[tuple[Any, bytes | None]],
) -> None:
    """Settle some letters, in one transaction."""
    from confluent_kafka import TopicPartition

    (events, topic), ends = topics, dict[int, int]()
    producer.begin_transaction()
    for message, value in sent:
        cause = f"{topic}-{message.partition()}-{message.offset()}"
        headers = [*as_it_came(message.headers() or []), ("resent_from", cause.encode())]
        producer.produce(events, key=message.key(), value=value, headers=headers)
    for message in part:
        if not choice.takes(message):
            producer.produce(topic, key=message.key(), value=message.value(), headers=message.headers())
        ends[message.partition()] = message.offset() + 1
    offsets = [TopicPartition(topic, partition, offset) for partition, offset in ends.items()]
    producer.send_offsets_to_transaction(offsets, group.consumer_group_metadata(), TIMEOUT)
    producer.commit_transaction(TIMEOUT)


def as_it_came(headers: Sequence[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """A letter's headers without those that say why it is one: they come last, and begin with the reason."""
    first_own = max((place for place, (name, _) in enumerate(headers) if name == "reason"), default=len(headers))
    return [header for header in headers[:first_own] if header[0] != "resent_from"]


def _begin(broker: Broker, topics: Topics, topic: str) -> dict[int, int]:
    """The first letter of each partition that was not settled."""
    from confluent_kafka import Consumer, TopicPartition

    count = broker.partitions().get(topic)
    if count is None:
        raise NotFoundError(f"there is no topic {topic}", where=broker.bootstrap, hint="`headrace stream` makes it")
    group = Consumer(broker.settings(group_id=_group(topics), enable_auto_commit=False))
    try:
        requests = [TopicPartition(topic, p) for p in range(count)]
        committed = broker.patiently(lambda: group.committed(requests, timeout=TIMEOUT), topic)
    finally:
        group.close()
    return {partition.partition: max(partition.offset, 0) for partition in committed}


def _headers(message: Any) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in message.headers() or []}


def _reason(message: Any) -> str:
    return _headers(message).get("reason", "")


def _at(message: Any) -> datetime:
    return datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


def _group(topics: Topics) -> str:
    return f"{topics.group}.resend"
