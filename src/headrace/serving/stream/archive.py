"""Brings what went over the topics into the tables: events as facts, answers as predictions.

Then training, monitoring, `trace` and `replay` work for streamed predictions as for those of the batch door. Everything
may be repeated: facts and predictions that are there already are not added again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from headrace.home import Home
from headrace.lineage import digest_of
from headrace.pipelines import feature
from headrace.serving.stream.stored import Answer, StoredAnswers
from headrace.serving.stream.stored_rows import RowAnswer, StoredRows
from headrace.sources.broker import Broker
from headrace.sources.kafka import Place
from headrace.system import System

_CHUNK = 2_000
"""Answers that are stored at once."""
_SAID = frozenset({"event_id", "as_of", "origin", "predictions", "pins", "model_version"})

T = TypeVar("T")
Said_contra = TypeVar("Said_contra", contravariant=True)


class _Stored(Protocol[Said_contra]):
    """Stores answers of one kind, and counts."""

    counts: dict[str, int]

    def add(self, answers: Iterable[Said_contra]) -> None:
        """Store what is not there yet."""


def archive(system: System, home: Home, broker: Broker, now: datetime) -> dict[str, Any]:
    """Archive what came since the last time; returns ``events predictions differing foreign``, of rows ``repeated``.

    Every answer is computed again from the archived facts on the way: `differing` counts those that are not equal.
    `foreign` counts messages that no worker wrote; they stay on the topic alone. Rows are no facts: their answers are
    stored with the rows that they are for.

    Args:
        system: The declaration.
        home: Where the tables are.
        broker: The cluster.
        now: Events that become known later wait for the next time.

    Raises:
        StreamError: The cluster failed.
        StoreError: A table could not be written.
    """
    topic = system.topics.predictions
    if not system.forecasts:
        rows = StoredRows(system, home)
        return _Answers(system, home, broker, topic, RowAnswer.of, rows).store()
    added = _facts(system, home, broker, now)
    stored = _Answers(system, home, broker, topic, _answer_of, StoredAnswers(system, home)).store()
    return {"events": added, **stored}


def _facts(system: System, home: Home, broker: Broker, now: datetime) -> int:
    source, added = f"kafka://{broker.bootstrap}/{system.topics.events}", 0
    while True:
        records = feature.read(system, home, source=source, as_of=now, now=now)
        if not records.frame.height:
            records.stored()
            return added
        added += feature.validate(system, home, records, as_of=now, now=now).added


class _Answers(Generic[T]):
    """The answers on the output topic that are not in the tables yet.

    Args:
        system: The declaration.
        home: Where the tables are.
        broker: The cluster.
        topic: The output topic.
        read: What a worker said in a message; None for what somebody else put there.
        stored: Stores answers, and counts.
    """

    def __init__(
        self,
        system: System,
        home: Home,
        broker: Broker,
        topic: str,
        read: Callable[[Any], T | None],
        stored: _Stored[T],
    ) -> None:
        self._broker, self._topic = broker, topic
        name = f"answers-{topic}-{digest_of(broker.bootstrap, 8)}.json"
        self._path: Path = home.path / "cache" / system.name / name
        self._read, self._stored, self._foreign = read, stored, 0

    def store(self) -> dict[str, int]:
        place, log = Place.load(self._path), self._broker.log(self._topic)
        batch: list[Any] = []
        for message in self._broker.read(self._topic, place.resume(log)) if log is not None else ():
            batch.append(message)
            if len(batch) == _CHUNK:
                self._add(batch, place)
                batch = []
        self._add(batch, place)
        return {**self._stored.counts, "foreign": self._foreign}

    def _add(self, messages: Sequence[Any], place: Place) -> None:
        if not messages:
            return
        answers = []
        for message in messages:
            answer = self._read(message)
            if answer is None:
                self._foreign += 1
            else:
                answers.append(answer)
            place.offsets[message.partition()] = message.offset() + 1
        self._stored.add(answers)
        place.save(self._path)


def _answer_of(message: Any) -> Answer | None:
    """What a worker said, and when; None for what somebody else put on the topic."""
    try:
        said = json.loads(message.value() or b"")
    except ValueError:
        return None
    if not isinstance(said, dict) or not said.keys() >= _SAID:
        return None
    return said, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
