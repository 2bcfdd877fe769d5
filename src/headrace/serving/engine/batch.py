"""A micro-batch: messages as they came, and the records that they gave."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from headrace.sources.messages.base import Headers
from headrace.sources.messages.declared import TRACING
from headrace.sources.stamps import Clock, received
from headrace.tracing import TRACEPARENT, TRACESTATE, TraceContext, context_of

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
        document: dict[str, object] = {"partition": self.partition, "offset": self.offset}
        place = trace_of(self.headers) if self.headers else None
        return document if place is None else {**document, "trace.id": place.trace, "span.id": place.span}


def trace_of(headers: Headers) -> TraceContext | None:
    """The place in a trace that headers tell of: two of them, or one that is none, tell of nothing."""
    parents = [value for name, value in headers if name.lower() == TRACEPARENT]
    states = [value for name, value in headers if name.lower() == TRACESTATE and value]
    return context_of(parents[0], b",".join(states)) if len(parents) == 1 else None


def headers_of(place: TraceContext) -> list[tuple[str, bytes]]:
    """The headers that tell of a place in a trace."""
    parent = TRACEPARENT, place.parent.encode()
    return [parent, (TRACESTATE, place.state.encode())] if place.state else [parent]


@dataclass(frozen=True)
class MessageBatch:
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
    def of(cls, messages: Sequence[Message]) -> MessageBatch:
        """The same as columns."""
        columns: Sequence[Sequence[Any]] = list(zip(*messages, strict=True)) or [()] * 6
        *fields, headers = columns
        return cls(*fields, headers=headers if any(headers) else ())

    @classmethod
    def taken(cls, messages: Sequence[Any], clock: Clock = "auto") -> MessageBatch:
        """Messages of the client, that came by a clock."""
        stamps = [m.timestamp() for m in messages]
        partition = [m.partition() for m in messages]
        reversed_partitions = partition[::-1]
        last = {number: messages[-1 - reversed_partitions.index(number)] for number in set(partition)}
        headers = [m.headers() for m in messages]
        return cls(
            partition,
            [m.offset() for m in messages],
            [m.key() for m in messages],
            [m.value() for m in messages],
            [stamp for _, stamp in stamps],
            received=received(stamps, clock, int(time.time() * 1000)),
            epochs={message: -1 if (epoch := m.leader_epoch()) is None else epoch for message, m in last.items()},
            headers=headers if any(headers) else (),
        )

    def without(self, partitions: Set[int]) -> MessageBatch:
        """The messages of other partitions."""
        places_kept = [place for place, partition in enumerate(self.partition) if partition not in partitions]
        epochs = {partition: epoch for partition, epoch in self.epochs.items() if partition not in partitions}
        came = [self.received[place] for place in places_kept]
        return replace(MessageBatch.of([self[place] for place in places_kept]), received=came, epochs=epochs)

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
        anomalies: Answers whose observation is an anomaly.
        logs: Of each partition, which of the logs of its topic's name the messages are of; the first, if not said.
        ignored: Messages that are no events, with what they are.
        repeated: Answers that were given to the same row before.
        beside: Headers of answers, by place of their message.
        passed: Names of headers that go on from a message to its answer, in lower case.
        sent: Where the answers of these places stand in a trace; others stand where their messages do.
        over: Called once, when it is settled: with why it does not count, or with nothing.
    """

    batch: MessageBatch
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
    sent: Mapping[int, TraceContext] = field(default_factory=dict)
    over: Callable[[str], None] = lambda text: None

    def going_on(self) -> dict[int, list[Any]]:
        """By place of a message, the headers of its answer: those of its own that go on, and those beside."""
        going = {place: self._going(headers, place) for place, headers in enumerate(self.batch.headers) if headers}
        going |= {place: headers_of(stamp) for place, stamp in self.sent.items() if place not in going}
        going |= {place: [*going.get(place, ()), *headers] for place, headers in self.beside.items()}
        return {place: headers for place, headers in going.items() if headers}

    def _going(self, headers: Headers, place: int) -> list[Any]:
        named = [header for header in headers if header[0].lower() in self.passed]
        if any(name.lower() in TRACING for name, _ in named):
            named = [header for header in named if header[0].lower() not in TRACING]
            stamp = self.sent.get(place) or trace_of(headers)
        else:
            stamp = self.sent.get(place)
        going = headers_of(stamp) if stamp is not None else []
        return [*going, *(header for header in named if len(header[1] or b"") <= _LONGEST)][:_MOST]

    @property
    def outputs(self) -> list[tuple[Message, bytes]]:
        """Message and answer."""
        return [(self.batch[place], answer) for place, answer in zip(self.places, self.answers, strict=True)]
