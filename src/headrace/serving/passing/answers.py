"""The answers on a stream's topic as a source of predictions to pass on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from headrace.errors import NotFoundError
from headrace.serving.messages.said import AnswerReader
from headrace.serving.passing.base import PassedBatch
from headrace.serving.passing.documents import Documents
from headrace.sinks.base import Position, Prediction
from headrace.sources.broker import Broker
from headrace.sources.kafka import TopicPosition
from headrace.sources.messages.declared import TRACING

MOST = 500
"""Predictions that are passed on at once."""


class TopicPredictions:
    """What workers answered, each prediction once: an answer that repeats another is none.

    Args:
        broker: The cluster.
        topic: Of the answers.
        said: Reads what a worker said in a message.
        documents: Makes predictions of it.
        since: None is from earlier than this.
    """

    def __init__(
        self, broker: Broker, topic: str, said: AnswerReader, documents: Documents, since: datetime | None
    ) -> None:
        self._broker, self._topic, self._said, self._documents, self._since = broker, topic, said, documents, since

    def read(self, position: Position | None) -> Iterator[PassedBatch]:
        """All from a position to where the topic ends now.

        Raises:
            NotFoundError: There is no such topic.
            StreamError: The cluster failed.
        """
        log = self._broker.log(self._topic)
        if log is None:
            hint = "`headrace stream` makes it"
            raise NotFoundError(f"there is no topic {self._topic}", where=self._broker.bootstrap, hint=hint)
        place = _place(position)
        known, begin = place.topic in (None, log.id), place.resume(log)
        counts = Counter[str]()
        if known:
            lost = {p: log.begins.get(p, 0) - offset for p, offset in place.offsets.items() if p in log.begins}
            counts += Counter(expired=sum(max(count, 0) for count in lost.values()))  # none where there is none
        place.offsets = begin
        predictions: list[Prediction] = []
        for message in self._broker.read(self._topic, begin):
            self._take(message, predictions, counts)
            place.offsets[message.partition()] = message.offset() + 1
            if len(predictions) == MOST:
                yield PassedBatch(predictions, _position(place), counts)
                predictions, counts = [], Counter()
        if predictions or counts:
            yield PassedBatch(predictions, _position(place), counts)

    def _take(self, message: Any, predictions: list[Prediction], counts: Counter[str]) -> None:
        answer = self._said(message)
        if answer is None:
            counts["foreign"] += 1
        elif answer.get("repeated") is True:
            counts["repeated"] += 1
        elif self._since is not None and datetime.fromisoformat(answer["as_of"]) < self._since:
            counts["earlier"] += 1
        else:
            headers = [header for header in message.headers() or () if header[0] in TRACING]
            predictions.append(self._documents.of(answer, headers))


def _place(position: Position | None) -> TopicPosition:
    if position is None:
        return TopicPosition()
    return TopicPosition({int(p): offset for p, offset in position["offsets"].items()}, topic=position["topic"])


def _position(place: TopicPosition) -> Position:
    return {"topic": place.topic, "offsets": {str(p): offset for p, offset in sorted(place.offsets.items())}}
