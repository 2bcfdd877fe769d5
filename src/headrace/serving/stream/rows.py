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
from headrace.identity import digest_of_row, inputs_of, key_text, with_features
from headrace.lineage import DIGEST, INPUTS, ROLE, Pins, iso, row_cause, row_prediction_id
from headrace.serving.engine.answers import short
from headrace.serving.engine.batch import Answered, Message, MessageBatch
from headrace.serving.engine.changelog import Change, StateRecord
from headrace.serving.engine.positions import source_of
from headrace.serving.stream.memory import KeptAnswer, KeyMemory
from headrace.serving.stream.row_events import Row, RowEvents
from headrace.sources.keys import agrees
from headrace.sources.messages.opening import Opener
from headrace.system import System
from headrace.tasks.rows.lookups import Lookups
from headrace.tasks.rows.predictor import RowPredictor

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
        role: What the version is to its answers; None: it answers.
    """

    predictor: RowPredictor
    pins: Pins
    lookups: Lookups | None = None
    role: str | None = None


class _KeyedRow(NamedTuple):
    """A good row of a batch: the place of its message, its key and digest, when it came, its columns, and as JSON."""

    place: int
    key: str
    digest: str
    at: datetime
    row: Row
    inputs: bytes


class _RowScore(NamedTuple):
    """The prediction for a row, and what it was made from."""

    answer: dict[str, Any]
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

    def __init__(
        self,
        system: System,
        name: str,
        topic: str,
        champion: RowChampion,
        opener: Opener,
    ) -> None:
        self._system, self._name, self._topic = system, name, topic
        self._decode, self._opener = RowEvents(system, opener), opener
        self._columns = tuple(map(called, system.keys))
        self.changelog = KeyMemory(system.stream.remembered)
        self._logs: dict[int, int] = {}
        self.use(champion)

    def use(self, champion: RowChampion) -> bool:
        """Answer new keys with this model from now on; what was answered stays."""
        self.champion = champion
        self._cause = row_cause(self._name, champion.pins)
        self._version = {"model_version": champion.pins.model_version, "pins": short(champion.pins)}
        if champion.role is not None:
            self._version[ROLE] = champion.role
        return False

    def answer(self, messages: MessageBatch | Sequence[Message], keyless: bool = False) -> Answered:
        """Answer a micro-batch, and move the state on.

        Args:
            messages: In the order of their offsets within each partition.
            keyless: Whether messages without a key are fine, because there is one partition only.

        Raises:
            BrokerUnavailableError: The stored features cannot be looked up now.
        """
        batch = messages if isinstance(messages, MessageBatch) else MessageBatch.of(messages)
        answered = Answered(batch, logs=self._logs, passed=self._opener.passed)
        batch_rows = self._decode(batch.value, batch.headers)
        answered.dead += [(batch[place], reason) for place, reason in batch_rows.bad]
        answered.ignored += [(batch[place], reason) for place, reason in batch_rows.ignored]
        keyed_rows = []
        for keyed in self._asked(batch, batch_rows.places, batch_rows.rows):
            wrong = None if keyless else self._misplaced(batch.key[keyed.place], keyed)
            if wrong is None:
                keyed_rows.append(keyed)
            else:
                answered.dead.append((batch[keyed.place], wrong))
        fresh = [keyed for keyed in keyed_rows if self.changelog.get(batch.partition[keyed.place], keyed.key) is None]
        scores = dict(zip([keyed.place for keyed in fresh], self._say(fresh), strict=True))
        for keyed in keyed_rows:  # in their order: a key may be there twice
            self._settle(answered, keyed, scores.get(keyed.place))
        return answered

    def _asked(self, batch: MessageBatch, places: Sequence[int], rows: Sequence[Row]) -> Iterator[_KeyedRow]:
        came, target = batch.received or batch.timestamp, self._system.target
        for place, row in zip(places, rows, strict=True):
            moment = _EPOCH + came[place] * _MILLISECOND
            inputs = inputs_of(row, target)
            yield _KeyedRow(place, key_text(self._system.keys, row), digest_of_row(inputs), moment, row, inputs)

    def _misplaced(self, key: bytes | None, keyed: _KeyedRow) -> str | None:
        """Why a row may lie elsewhere than others of its key; None: it does not."""
        if key is None:
            return "the message has no key: rows of one key could lie on several partitions"
        if agrees(self._opener.key(key), self._columns, [keyed.row[name] for name in self._system.keys]):
            return None
        return f"the message's key {key[:80].decode(errors='backslashreplace')!r} is not that of its row, {keyed.key}"

    def _settle(self, answered: Answered, keyed: _KeyedRow, score: _RowScore | str | None) -> None:
        """Answer one row, or set it apart."""
        batch, place = answered.batch, keyed.place
        partition = batch.partition[place]
        kept_answer = self.changelog.get(partition, keyed.key)
        if kept_answer is not None and kept_answer.digest != keyed.digest:
            answered.dead.append((batch[place], f"conflict: another row was answered under the key {keyed.key}"))
            return
        repeated = kept_answer is not None
        if kept_answer is None:
            if not isinstance(score, _RowScore):
                answered.dead.append((batch[place], score or "is not answered"))
                return
            kept_answer = KeptAnswer(keyed.digest, self._body(keyed, score))
            answered.changes += self.changelog.put(partition, keyed.key, kept_answer)
            answered.beside[place] = [(INPUTS, score.inputs), (DIGEST, keyed.digest.encode())]
        source = source_of(self._topic, self._logs.get(partition, 1))
        event = f"{source}-{partition}-{batch.offset[place]}".encode()
        answered.places.append(place)
        answered.answers.append(
            b'%b,"event_id":"%b"%b}' % (kept_answer.answer, event, b',"repeated":true' if repeated else b"")
        )
        answered.repeated += repeated

    def _body(self, keyed: _KeyedRow, score: _RowScore) -> bytes:
        """An answer without its end, which says what event it is for."""
        name = row_prediction_id(f"{self._cause}|{keyed.digest}", keyed.key, keyed.at)
        key_values = {name: keyed.row[name] for name in self._system.keys}
        key_values |= {"prediction_id": name, "as_of": iso(keyed.at)}
        return _encode({**key_values, **score.answer, **self._version})[:-1]

    def _say(self, keyed_rows: Sequence[_KeyedRow]) -> list[_RowScore | str]:
        """The prediction for each row, or why there is none."""
        if not keyed_rows:
            return []
        self._look_up(keyed_rows)
        try:
            return list(self._predicted(keyed_rows))
        except (HeadraceError, ArithmeticError, ValueError) as error:
            if len(keyed_rows) == 1:
                return [f"a feature cannot be computed for this: {error}"]
        return [score for one in keyed_rows for score in self._say_again(one)]  # whose fault it is

    def _say_again(self, keyed: _KeyedRow) -> list[_RowScore | str]:
        try:
            return list(self._predicted([keyed]))
        except (HeadraceError, ArithmeticError, ValueError) as error:
            return [f"a feature cannot be computed for this: {error}"]

    def _look_up(self, keyed_rows: Sequence[_KeyedRow]) -> None:
        lookups = self.champion.lookups
        if lookups is None:
            return
        try:
            lookups.fill_each([keyed.row for keyed in keyed_rows], [keyed.at for keyed in keyed_rows])
        except StoreError as error:
            text, hint = f"the stored features cannot be looked up: {error.message}", "the worker waits for them"
            raise BrokerUnavailableError(text, where=error.where, hint=hint) from error

    def _predicted(self, keyed_rows: Sequence[_KeyedRow]) -> Iterator[_RowScore]:
        predictor = self.champion.predictor
        rows = [keyed.row for keyed in keyed_rows]
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        answers = predictor.answers(columns)
        if self.champion.lookups is None:
            inputs = [keyed.inputs for keyed in keyed_rows]
        else:  # they have what was looked up
            inputs = [inputs_of(row, self._system.target) for row in rows]
        if self._system.log_features:
            inputs = list(map(with_features, inputs, predictor.features(columns)))
        return map(_RowScore, answers, inputs)

    # The state.

    def learn(self, partition: int, key: str, kept: KeptAnswer) -> None:
        """Take in what was answered before, in the order of the answers."""
        if self.changelog.get(partition, key) is None:
            self.changelog.put(partition, key, kept)

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic, of which there may have been several."""
        self._logs[partition] = log

    def drop(self, partition: int) -> None:
        """Forget all keys of a partition."""
        self.changelog.drop(partition)

    def restore(self, partition: int, records: Iterable[StateRecord]) -> int:
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
