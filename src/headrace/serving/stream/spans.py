"""The spans of micro-batches: one of the consumer, linked to where its events come from, and of what it sends."""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace.serving.engine.batch import Answered, MessageBatch, trace_of
from headrace.sources.topics import Topics
from headrace.tracing import Span, TraceContext, Tracer, tracer

LINKS = 128
"""Events of a micro-batch that its span is linked to, at most: the first ones."""


class NoSpans:
    """None are wanted."""

    def answer(self, batch: MessageBatch, engine: Callable[[], Answered]) -> Answered:
        """The answers to a micro-batch."""
        return engine()


class BatchSpans(NoSpans):
    """Makes the spans of a worker's micro-batches.

    An answer to an event that stands in a recorded trace goes on in that trace, by a span of its own; all others go on
    from the one span of what the micro-batch sends.

    Args:
        tracer: Of this process.
        topics: What is read and written.
    """

    def __init__(self, tracer: Tracer, topics: Topics) -> None:
        self._tracer, self._topics = tracer, topics

    def answer(self, batch: MessageBatch, engine: Callable[[], Answered]) -> Answered:
        """The answers to a micro-batch, with their places in traces; `Answered.over` ends the spans."""
        places = {
            index: place
            for index, headers in enumerate(batch.headers)
            if headers and (place := trace_of(headers)) is not None
        }
        topics, began = self._topics, time.time_ns()
        span = self._tracer.begin(
            f"process {topics.events}",
            "CONSUMER",
            None,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": topics.events,
                "messaging.consumer.group.name": topics.group,
                "messaging.batch.message_count": len(batch),
            },
            links=list(dict.fromkeys(places.values()))[:LINKS],
            began=began,
        )
        try:
            answered = engine()
        except BaseException as error:
            span.end(type(error).__name__)
            raise
        span.child("predict", began, time.time_ns())
        sending = self._sending(span, answered, places)

        def over(text: str) -> None:
            for child in (*sending, span):
                child.end(text)

        answered.over = over
        return answered

    def _sending(self, span: Span, answered: Answered, places: dict[int, TraceContext]) -> list[Span]:
        """Begin the spans of what is sent, and have each answer tell of its own."""
        attributes = {
            "messaging.system": "kafka",
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": self._topics.predictions,
        }
        name, tracer = f"send {self._topics.predictions}", self._tracer
        count = {"messaging.batch.message_count": len(answered.places)}
        common = tracer.begin(name, "PRODUCER", span, attributes=attributes | count)
        sending, sent = [common], dict.fromkeys(answered.places, common.context)
        for place in answered.places:
            if place in places and places[place].flags & 1:
                message_span = tracer.begin(
                    name, "PRODUCER", places[place], attributes=attributes, links=[span.context]
                )
                sending.append(message_span)
                sent[place] = message_span.context
            elif place in places:
                sent[place] = places[place]
        answered.sent = sent
        return sending


def spans_of(topics: Topics) -> NoSpans:
    """What makes the spans of a worker that reads and writes these topics."""
    current = tracer()
    return NoSpans() if current is None else BatchSpans(current, topics)
