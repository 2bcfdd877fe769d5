"""Brings what went over the topics into the tables: events as facts, answers as predictions.

Then training, monitoring, `trace` and `replay` work for streamed predictions as for those of the batch door. Everything
may be repeated: facts and predictions that are there already are not added again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from headrace.home import Home
from headrace.lineage import digest_of
from headrace.pipelines import ingest
from headrace.serving.messages.said import AnswerReader
from headrace.serving.messages.written import reading
from headrace.serving.stream.outcomes import done_by
from headrace.serving.stream.stored_shadows import Beside, StoredShadows
from headrace.sources.broker import Broker
from headrace.sources.kafka import TopicPosition
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.forecast.answers import StoredAnswers, answer_of
from headrace.tasks.rows.answers import RowAnswer, StoredRows

_CHUNK = 2_000
"""Answers that are stored at once."""

T = TypeVar("T")
Said_contra = TypeVar("Said_contra", contravariant=True)


class _AnswerStore(Protocol[Said_contra]):
    """Stores answers of one kind, and counts."""

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of them."""

    def add(self, answers: Iterable[Said_contra]) -> None:
        """Store what is not there yet."""


def archive(system: System, home: Home, broker: Broker, now: datetime) -> dict[str, Any]:
    """Archive what came since the last time; returns ``events predictions differing foreign``, of rows ``repeated``.

    With ``shadows{added differing refused foreign waiting}`` where versions score beside: what they said goes to a
    table of its own, beside the prediction that was answered, and `waiting` counts what has no answer beside it yet.

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
    topics = system.topics
    answered = done_by(broker, topics)  # before their answers are read, so that those are there
    broker = reading(system, home, broker, topics.predictions)
    counts: dict[str, Any] = {}
    if task_of(system).stateful:
        counts["events"] = _facts(system, home, broker, now)
        counts |= _UnarchivedPredictions(
            system, home, broker, topics.predictions, answer_of, StoredAnswers(system, home)
        ).store()
    else:
        rows = StoredRows(system, home)
        counts |= _UnarchivedPredictions(system, home, broker, topics.predictions, RowAnswer.of, rows).store()
    if topics.shadows in broker.partitions():
        shadows = StoredShadows(system, home)
        shadowed: _UnarchivedPredictions[Beside] = _UnarchivedPredictions(
            system, home, broker, topics.shadows, shadows.read, shadows
        )
        counts["shadows"] = shadowed.store(shadows.said, answered.waits)
    return counts


def _facts(system: System, home: Home, broker: Broker, now: datetime) -> int:
    source, added = f"kafka://{broker.bootstrap}/{system.topics.events}", 0
    while True:
        records = ingest.read(system, home, source=source, as_of=now, now=now)
        if not records.frame.height:
            records.stored(0)
            return added
        added += ingest.validate(system, home, records, as_of=now, now=now).added


class _UnarchivedPredictions(Generic[T]):
    """The answers on the output topic that are not in the tables yet.

    Args:
        system: The declaration.
        home: Where the tables are.
        broker: The cluster.
        topic: The output topic.
        read: The answer of a message, and of what was said in it; None for what somebody else put there.
        stored: Stores answers, and counts.
    """

    def __init__(
        self,
        system: System,
        home: Home,
        broker: Broker,
        topic: str,
        read: Callable[[Any, dict[str, Any]], T | None],
        stored: _AnswerStore[T],
    ) -> None:
        self._broker, self._topic = broker, topic
        name = f"answers-{topic}-{digest_of(broker.bootstrap, 8)}.json"
        self._path: Path = home.path / "cache" / system.name / name
        self._read, self._stored, self._foreign = read, stored, 0
        self._said: Callable[[Any], dict[str, Any] | None] = AnswerReader(system)

    def store(
        self,
        said: Callable[[Any], dict[str, Any] | None] | None = None,
        waits: Callable[[Any], bool] | None = None,
    ) -> dict[str, int]:
        """Store what came; returns the counts.

        Args:
            said: Reads what was said in a message; None: it is an answer.
            waits: Whether a message is to come again the next time, and all after it on its partition; None: none does.
        """
        self._said, waiting, held = said or self._said, 0, set[int]()
        place, log = TopicPosition.load(self._path), self._broker.log(self._topic)
        batch: list[Any] = []
        for message in self._broker.read(self._topic, place.resume(log)) if log is not None else ():
            if waits is not None and (message.partition() in held or waits(message)):
                held.add(message.partition())
                waiting += 1
                continue
            batch.append(message)
            if len(batch) == _CHUNK:
                self._add(batch, place)
                batch = []
        self._add(batch, place)
        more = {} if waits is None else {"waiting": waiting}
        return {**self._stored.counts, "foreign": self._foreign, **more}

    def _add(self, messages: Sequence[Any], place: TopicPosition) -> None:
        if not messages:
            return
        answers = []
        for message in messages:
            document = self._said(message)
            answer = None if document is None else self._read(message, document)
            if answer is None:
                self._foreign += 1
            else:
                answers.append(answer)
            place.offsets[message.partition()] = message.offset() + 1
        self._stored.add(answers)
        place.save(self._path)
