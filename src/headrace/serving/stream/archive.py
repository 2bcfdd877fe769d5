"""Brings what went over the topics into the tables: events as facts, answers as predictions.

Then training, monitoring, `trace` and `replay` work for streamed predictions as for those of the batch door. Everything
may be repeated: facts and predictions that are there already are not added again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headrace.home import Home
from headrace.lineage import digest_of
from headrace.pipelines import feature
from headrace.serving.stream.stored import StoredAnswers
from headrace.sources.broker import Broker
from headrace.sources.kafka import Place
from headrace.system import System

_CHUNK = 2_000
"""Answers that are stored at once."""
_SAID = frozenset({"event_id", "as_of", "origin", "predictions", "pins", "model_version"})


def archive(system: System, home: Home, broker: Broker, now: datetime) -> dict[str, Any]:
    """Archive what came since the last time; returns ``events predictions differing foreign``.

    Every answer is computed again from the archived facts on the way: `differing` counts those that are not equal.
    `foreign` counts messages that no worker wrote; they stay on the topic alone.

    Args:
        system: The declaration.
        home: Where the tables are.
        broker: The cluster.
        now: Events that become known later wait for the next time.

    Raises:
        StreamError: The cluster failed.
        StoreError: A table could not be written.
    """
    topics, added = system.topics, 0
    source = f"kafka://{broker.bootstrap}/{topics.events}"
    while True:
        records = feature.read(system, home, source=source, as_of=now, now=now)
        if not records.frame.height:
            records.stored()
            break
        added += feature.validate(system, home, records, as_of=now, now=now).added
    stored = _Answers(system, home, broker, topics.predictions).store()
    return {"events": added, **stored}


class _Answers:
    """The answers on the output topic that are not in the tables yet."""

    def __init__(self, system: System, home: Home, broker: Broker, topic: str) -> None:
        self._broker, self._topic = broker, topic
        name = f"answers-{topic}-{digest_of(broker.bootstrap, 8)}.json"
        self._path: Path = home.path / "cache" / system.name / name
        self._stored, self._foreign = StoredAnswers(system, home), 0

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
            said = _answer_of(message.value())
            if said is None:
                self._foreign += 1
            else:
                answers.append((said, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)))
            place.offsets[message.partition()] = message.offset() + 1
        self._stored.add(answers)
        place.save(self._path)


def _answer_of(body: bytes | None) -> dict[str, Any] | None:
    """What a worker said; None for what somebody else put on the topic."""
    try:
        said = json.loads(body or b"")
    except ValueError:
        return None
    return said if isinstance(said, dict) and said.keys() >= _SAID else None
