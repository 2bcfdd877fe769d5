"""From rows to answers: everything about a micro-batch of a system that scores rows, but Kafka itself.

A row becomes known when it came, by the broker's stamp. Its answer has the id and the numbers that the other doors give
to the same row at that time. The same key again gets the answer that it got before; another row under it is set apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from headrace.contract.apart import called
from headrace.errors import BrokerUnavailableError, HeadraceError, StoreError
from headrace.lineage import Pins, iso, row_prediction_id
from headrace.lookup import Lookups
from headrace.pipelines.row_inference import key_text, row_cause
from headrace.row_predictor import PROBABILITY, RowPredictor, digest_of_row, inputs_of, with_features
from headrace.serving.stream.answers import short
from headrace.serving.stream.batch import Answered, Batch, Message
from headrace.serving.stream.changelog import Change, Record
from headrace.serving.stream.memory import Kept, Memory
from headrace.serving.stream.positions import source_of
from headrace.serving.stream.row_events import Row, RowEvents
from headrace.sources.keys import agrees
from headrace.sources.messages.opening import Opener
from headrace.system import System

INPUTS, DIGEST = "inputs", "row_digest"
"""Headers of an answer: what it was made from as JSON, with what was looked up; and the digest of the row."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class RowChampion:
    """The model that answers.

    Attributes:
        predictor: What predicts.
        pins: Its versions; `as_of` and `data_version` are not used.
        lookups: What its features look up online; None where they look up nothing.
    """

    predictor: RowPredictor
    pins: Pins
    lookups: Lookups | None = None


class _Asked(NamedTuple):
    """A good row of a batch: the place of its message, its key and digest, when it came, its columns, and as JSON."""

    place: int
    key: str
    digest: str
    at: datetime
    row: Row
    inputs: bytes


class _Said(NamedTuple):
    """The prediction for a row, and what it was made from."""

    label: Any
    probability: float
    inputs: bytes


class RowEngine:
    """Answers rows of the partitions that this worker has.

    Args:
        system: The declaration.
        name: Of the stream; the system's, but for one that answers events once more.
        topic: Name of the input topic, for ids of events.
        champion: The model.
        opener: Opens the messages that rows come in.
    """

    def __init__(self, system: System, name: str, topic: str, champion: RowChampion, opener: Opener) -> None:
        self._system, self._name, self._topic = system, name, topic
        self._decode, self._opener = RowEvents(system, opener), opener
        self._columns = tuple(map(called, system.keys))
        self.changelog = Memory(system.stream.remembered)
        self._logs: dict[int, int] = {}
        self.use(champion)

    def use(self, champion: RowChampion) -> bool:
        """Answer new keys with this model from now on; what was answered stays."""
        self.champion = champion
        self._cause = row_cause(self._name, champion.pins)
        self._version = {"model_version": champion.pins.model_version, "pins": short(champion.pins)}
        return False

    def answer(self, messages: Batch | Sequence[Message], keyless: bool = False) -> Answered:
        """Answer a micro-batch, and move the state on.

        Args:
            messages: In the order of their offsets within each partition.
            keyless: Whether messages without a key are fine, because there is one partition only.

        Raises:
            BrokerUnavailableError: The stored features cannot be looked up now.
        """
        batch = messages if isinstance(messages, Batch) else Batch.of(messages)
        answered = Answered(batch, logs=self._logs, passed=self._opener.passed)
        found = self._decode(batch.value, batch.headers)
        answered.dead += [(batch[place], reason) for place, reason in found.bad]
        answered.ignored += [(batch[place], what) for place, what in found.ignored]
        asked = []
        for each in self._asked(batch, found.places, found.rows):
            wrong = None if keyless else self._misplaced(batch.key[each.place], each)
            if wrong is None:
                asked.append(each)
            else:
                answered.dead.append((batch[each.place], wrong))
        fresh = [each for each in asked if self.changelog.get(batch.partition[each.place], each.key) is None]
        said = dict(zip([each.place for each in fresh], self._say(fresh), strict=True))
        for each in asked:  # in their order: a key may be there twice
            self._settle(answered, each, said.get(each.place))
        return answered

    def _asked(self, batch: Batch, places: Sequence[int], rows: Sequence[Row]) -> Iterator[_Asked]:
        came, target = batch.received or batch.timestamp, self._system.target
        for place, row in zip(places, rows, strict=True):
            at = _EPOCH + came[place] * _MILLISECOND
            inputs = inputs_of(row, target)
            yield _Asked(place, key_text(self._system, row), digest_of_row(inputs), at, row, inputs)

    def _misplaced(self, key: bytes | None, asked: _Asked) -> str | None:
        """Why a row may lie elsewhere than others of its key; None: it does not."""
        if key is None:
            return "the message has no key: rows of one key could lie on several partitions"
        if agrees(self._opener.key(key), self._columns, [asked.row[name] for name in self._system.keys]):
            return None
        return f"the message's key {key[:80].decode(errors='backslashreplace')!r} is not that of its row, {asked.key}"

    def _settle(self, answered: Answered, asked: _Asked, said: _Said | str | None) -> None:
        """Answer one row, or set it apart."""
        batch, place = answered.batch, asked.place
        partition = batch.partition[place]
        kept = self.changelog.get(partition, asked.key)
        if kept is not None and kept.digest != asked.digest:
            answered.dead.append((batch[place], f"conflict: another row was answered under the key {asked.key}"))
            return
        repeated = kept is not None
        if kept is None:
            if not isinstance(said, _Said):
                answered.dead.append((batch[place], said or "is not answered"))
                return
            kept = Kept(asked.digest, self._body(asked, said))
            answered.changes += self.changelog.put(partition, asked.key, kept)
            answered.beside[place] = [(INPUTS, said.inputs), (DIGEST, asked.digest.encode())]
        source = source_of(self._topic, self._logs.get(partition, 1))
        event = f"{source}-{partition}-{batch.offset[place]}".encode()
        answered.places.append(place)
        answered.answers.append(
            b'%b,"event_id":"%b"%b}' % (kept.answer, event, b',"repeated":true' if repeated else b"")
        )
        answered.repeated += repeated

    def _body(self, asked: _Asked, said: _Said) -> bytes:
        """An answer without its end, which says what event it is for."""
        name = row_prediction_id(f"{self._cause}|{asked.digest}", asked.key, asked.at)
        about = {name: asked.row[name] for name in self._system.keys}
        about |= {"prediction_id": name, "as_of": iso(asked.at)}
        return _encode({**about, self._system.target: said.label, PROBABILITY: said.probability, **self._version})[:-1]

    def _say(self, asked: Sequence[_Asked]) -> list[_Said | str]:
        """The prediction for each row, or why there is none."""
        if not asked:
            return []
        self._look_up(asked)
        try:
            return list(self._predicted(asked))
        except (HeadraceError, ArithmeticError, ValueError) as error:
            if len(asked) == 1:
                return [f"a feature cannot be computed for this: {error}"]
        return [each for one in asked for each in self._say_again(one)]  # whose fault it is

    def _say_again(self, asked: _Asked) -> list[_Said | str]:
        try:
            return list(self._predicted([asked]))
        except (HeadraceError, ArithmeticError, ValueError) as error:
            return [f"a feature cannot be computed for this: {error}"]

    def _look_up(self, asked: Sequence[_Asked]) -> None:
        lookups = self.champion.lookups
        if lookups is None:
            return
        try:
            lookups.fill_each([each.row for each in asked], [each.at for each in asked])
        except StoreError as error:
            text, hint = f"the stored features cannot be looked up: {error.message}", "the worker waits for them"
            raise BrokerUnavailableError(text, where=error.where, hint=hint) from error

    def _predicted(self, asked: Sequence[_Asked]) -> Iterator[_Said]:
        predictor = self.champion.predictor
        rows = [each.row for each in asked]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        labels, probabilities = predictor.answers(columns)
        if self.champion.lookups is None:
            inputs = [each.inputs for each in asked]
        else:  # they have what was looked up
            inputs = [inputs_of(row, self._system.target) for row in rows]
        if self._system.log_features:
            inputs = list(map(with_features, inputs, predictor.features(columns)))
        return map(_Said, labels, probabilities, inputs)

    # The state.

    def learn(self, partition: int, key: str, kept: Kept) -> None:
        """Take in what was answered before, in the order of the answers."""
        if self.changelog.get(partition, key) is None:
            self.changelog.put(partition, key, kept)

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic, of which there may have been several."""
        self._logs[partition] = log

    def drop(self, partition: int) -> None:
        """Forget all keys of a partition."""
        self.changelog.drop(partition)

    def restore(self, partition: int, records: Iterable[Record]) -> int:
        """Put in the good records of a partition; returns how many keys are remembered of it."""
        return self.changelog.restore(partition, records)

    def written_anew(self, partition: int) -> Iterator[list[Change]]:
        """All records of a partition's state, as if none had been written before, in parts."""
        yield from self.changelog.written_anew(partition)

    def count(self, partition: int) -> int:
        """How many keys of a partition are remembered."""
        return self.changelog.count(partition)

    def size(self) -> tuple[int, int]:
        """How many keys are remembered, and about how many bytes they take."""
        return self.changelog.size()

    def evict(self, before: float) -> int:
        """Keys go by their number, not by a clock: none goes here."""
        return 0

    def close(self) -> None:
        """There are no files."""
