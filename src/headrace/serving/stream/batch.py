"""A micro-batch: messages as they came, and the records that they gave."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from headrace.sources.messages.base import Headers, header
from headrace.sources.messages.declared import TRACEPARENT, TRACING
from headrace.sources.stamps import Clock, received

_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?").fullmatch
_LONGEST, _MOST = 4_096, 16
"""Bytes of a header, and headers, that go on: an answer must fit into its topic."""


class Message(NamedTuple):
    """One message as it came; `timestamp` is when the broker got it, milliseconds since 1970."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers | None = None

    def named(self) -> dict[str, object]:
        """What a log line says of it: where it is, and the trace that it belongs to, if a header tells one."""
        said: dict[str, object] = {"partition": self.partition, "offset": self.offset}
        found = _TRACE(header(self.headers or (), TRACEPARENT) or "")
        return said if found is None else {**said, "trace.id": found[1], "span.id": found[2]}


@dataclass(frozen=True)
class Batch:
    """Messages in columns, in the order of their offsets within each partition: no message costs an object."""

    partition: Sequence[int]
    offset: Sequence[int]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    timestamp: Sequence[int]
    received: Sequence[int] = field(default=(), kw_only=True)
    """When each came, by the clock that counts; the stamps where there is none."""
    epochs: Mapping[int, int] = field(default_factory=dict, kw_only=True)
    """Of each partition, the leader that the last message was read from."""
    headers: Sequence[Headers | None] = field(default=(), kw_only=True)
    """Of each message; empty where no message has any."""

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Batch:
        """The same as columns."""
        columns: Sequence[Sequence[Any]] = list(zip(*messages, strict=True)) or [()] * 6
        *said, headers = columns
        return cls(*said, headers=headers if any(headers) else ())

    @classmethod
    def taken(cls, messages: Sequence[Any], clock: Clock = "auto") -> Batch:
        """Messages of the client, that came by a clock."""
        stamps = [m.timestamp() for m in messages]
        partition = [m.partition() for m in messages]
        back = partition[::-1]
        last = {each: messages[-1 - back.index(each)] for each in set(partition)}
        headers = [m.headers() for m in messages]
        return cls(
            partition,
            [m.offset() for m in messages],
            [m.key() for m in messages],
            [m.value() for m in messages],
            [at for _, at in stamps],
            received=received(stamps, clock, int(time.time() * 1000)),
            epochs={each: -1 if (epoch := m.leader_epoch()) is None else epoch for each, m in last.items()},
            headers=headers if any(headers) else (),
        )

    def without(self, partitions: Set[int]) -> Batch:
        """The messages of other partitions."""
        kept = [place for place, partition in enumerate(self.partition) if partition not in partitions]
        epochs = {partition: epoch for partition, epoch in self.epochs.items() if partition not in partitions}
        came = [self.received[place] for place in kept]
        return replace(Batch.of([self[place] for place in kept]), received=came, epochs=epochs)

    def __len__(self) -> int:
        return len(self.offset)

    def __getitem__(self, place: int) -> Message:
        return Message(
            *(self.partition[place], self.offset[place], self.key[place], self.value[place], self.timestamp[place]),
            headers=self.headers[place] if self.headers else None,
        )

    @property
    def begins(self) -> dict[int, int]:
        """The offset of the first message of each partition."""
        return dict(zip(reversed(self.partition), reversed(self.offset), strict=True))

    @property
    def ends(self) -> dict[int, int]:
        """The offset after the last message of each partition."""
        return {partition: last + 1 for partition, last in zip(self.partition, self.offset, strict=True)}


@dataclass
class Answered:
    """The records of a micro-batch.

    Attributes:
        batch: The messages.
        places: Which of them are answered.
        answers: The answer of each.
        changes: Partition, key and value for the changelog.
        dead: Messages that are bad, with the reason.
        late: Messages that came too late, with the reason.
        moved: Messages of series of other partitions, with that partition.
        anomalies: Answers whose observation lay outside its interval.
        logs: Of each partition, which of the logs of its topic's name the messages are of; the first, if not said.
        ignored: Messages that are no events, with what they are.
        repeated: Answers that were given to the same row before.
        beside: Headers of answers, by place of their message.
        passed: Names of headers that go on from a message to its answer, in lower case.
    """

    batch: Batch
    places: list[int] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    changes: list[tuple[int, bytes, bytes | None]] = field(default_factory=list)
    dead: list[tuple[Message, str]] = field(default_factory=list)
    late: list[tuple[Message, str]] = field(default_factory=list)
    moved: list[tuple[Message, int]] = field(default_factory=list)
    anomalies: int = 0
    logs: Mapping[int, int] = field(default_factory=dict)
    ignored: list[tuple[Message, str]] = field(default_factory=list)
    passed: frozenset[str] = frozenset(TRACING)
    repeated: int = 0
    beside: dict[int, list[Any]] = field(default_factory=dict)

    def going_on(self) -> dict[int, list[Any]]:
        """By place of a message, the headers of its answer: those of its own that go on, and those beside."""
        going = {place: self._going(headers) for place, headers in enumerate(self.batch.headers) if headers}
        going |= {place: [*going.get(place, ()), *headers] for place, headers in self.beside.items()}
        return {place: headers for place, headers in going.items() if headers}

    def _going(self, headers: Headers) -> list[Any]:
        named = [each for each in headers if each[0].lower() in self.passed]
        return [each for each in named if len(each[1] or b"") <= _LONGEST][:_MOST]

    @property
    def outputs(self) -> list[tuple[Message, bytes]]:
        """Message and answer."""
        return [(self.batch[place], answer) for place, answer in zip(self.places, self.answers, strict=True)]
