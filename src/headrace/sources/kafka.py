"""``kafka://HOST:PORT/TOPIC``: the events of a topic as facts, each with the time at which the stream knew it.

Bad events and those that came too late are no facts: the stream door sets them apart on topics of their own. Where a
read ended is written down once its rows are stored. A read that is repeated, because the process died in between, gives
the same rows with the same known times, and the table adds nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.contract import KNOWN_AT, Known
from headrace.contract.apart import called
from headrace.errors import SourceError, UsageError
from headrace.files import write_whole
from headrace.lineage import digest_of
from headrace.sources.base import Reader, Records, Since, Source, require_zone
from headrace.sources.broker import Broker, Log
from headrace.sources.events import NEVER, EventDecoder, Events, Facts, Shape, known_at
from headrace.sources.keys import agrees, note, text_of
from headrace.sources.messages.opening import Opener, as_it_is
from headrace.sources.stamps import Clock, received
from headrace.sources.topics import Topics

MOST = 500_000
"""Events of one read: bounds memory. What is left comes with the next one."""
_FAR = 2**53
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Stream:
    """What a system knows of its topic.

    Attributes:
        shape: What its events look like.
        options: Settings of the client, such as how to log in.
        clock: By what an event is in the future.
        topics: Of the system.
        moves: Whether events are sent to the partition of their series, rather than refused elsewhere.
        opener: Opens the messages that events come in.
    """

    shape: Shape
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = "message"
    topics: Topics | None = None
    moves: bool = False
    opener: Opener | None = None


@dataclass
class Place:
    """Where a read of a topic ended.

    Attributes:
        offsets: The next event of each partition.
        series: Newest step and clock of each partition's series, by partition and keys as JSON.
        letters: The next letter of each partition of the dead letters.
        early: Partition and offset of events to come that a worker set apart as in the future, by its clock.
        topic: Id of the topic, which one of its name that is made later does not have; None where it is not known.
    """

    offsets: dict[int, int] = field(default_factory=dict)
    series: dict[str, tuple[int, int]] = field(default_factory=dict)
    letters: dict[int, int] = field(default_factory=dict)
    early: set[tuple[int, int]] = field(default_factory=set)
    topic: str | None = None

    def resume(self, log: Log) -> dict[int, int]:
        """Where to go on with each partition of the topic as it is: with the first event of one that was made anew."""
        if None not in (self.topic, log.id) and self.topic != log.id:
            self.offsets.clear()
            self.early.clear()
        self.topic = log.id or self.topic
        begin = {partition: self.offsets.get(partition, 0) for partition in log.ends}
        return {partition: offset if offset <= log.ends[partition] else 0 for partition, offset in begin.items()}

    @classmethod
    def load(cls, path: Path | None) -> Place:
        """What `save` wrote; the beginning where there is nothing."""
        if path is None or not path.exists():
            return cls()
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            series = {name: (newest, clock) for name, (newest, clock) in data["series"].items()}
            offsets, letters = (
                {int(p): int(offset) for p, offset in data.get(name, {}).items()} for name in ("offsets", "letters")
            )
            early = {(int(p), int(offset)) for p, offset in data.get("early", ())}
            return cls(offsets, series, letters, early, data.get("topic"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"it does not hold what was written to it ({error})"
            hint = "delete it: the topic is then read from its beginning, and what is stored is not stored again"
            raise SourceError(said, where=str(path), hint=hint) from error

    def save(self, path: Path | None) -> None:
        """Write it, whole or not at all."""
        if path is None:
            return
        early = sorted(each for each in self.early if each[1] >= self.offsets.get(each[0], 0))
        said: dict[str, Any] = {"offsets": self.offsets, "series": self.series, "letters": self.letters}
        said |= {"early": early, "topic": self.topic}
        write_whole(path, json.dumps(said).encode())


@dataclass(frozen=True)
class TopicReader:
    """Reads the events of one topic that came since the last read."""

    source: Source
    broker: Broker
    topic: str
    of: Stream
    path: Path | None

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """Events that are known at ``as_of``: on each partition those before the first that is not.

        Raises:
            StreamError: The cluster cannot be reached, or there is no such topic.
        """
        require_zone(as_of=as_of, now=now)
        place = Place.load(self.path)
        log = self._log()
        begin = place.resume(log)
        self._note_early(place)
        facts = _Facts(self.of, place, self._homes(), (as_of - _EPOCH) // _MICROSECOND, keyless=len(log.ends) == 1)
        batch: list[Any] = []
        for message in self.broker.read(self.topic, begin):
            batch.append(message)
            if len(batch) == 10_000:
                facts.add(batch)
                batch = []
                if facts.full:
                    break
        facts.add(batch)
        known = Known(column=KNOWN_AT)
        origin = f"kafka://{self.broker.bootstrap}/{self.topic}"
        return Records(facts.rows.frame(), origin, known, lambda: place.save(self.path), placed=True)

    def _note_early(self, place: Place) -> None:
        """Note which events a worker set apart as in the future, by a clock that stands nowhere on the topic."""
        topics = self.of.topics
        count = (
            None if topics is None or topics.events != self.topic else self.broker.partitions().get(topics.dead_letters)
        )
        if topics is None or count is None:
            return
        for letter in self.broker.read(topics.dead_letters, {p: place.letters.get(p, 0) for p in range(count)}):
            said = dict(letter.headers() or [])
            if said.get("early") == b"true":
                place.early.add((int(said["source_partition"]), int(said["source_offset"])))
            place.letters[letter.partition()] = letter.offset() + 1

    def _homes(self) -> dict[str, int] | None:
        """The partition of each series, as the workers wrote it down; None if none did."""
        topics = self.of.topics
        if topics is None or topics.events != self.topic or topics.series not in self.broker.partitions():
            return None
        homes: dict[str, int] = {}
        for each in self.broker.read(topics.series, {0: 0}):
            note(homes, each)
        return homes

    def _log(self) -> Log:
        log = self.broker.log(self.topic)
        if log is None:
            raise UsageError(
                f"there is no topic {self.topic}",
                where=self.broker.bootstrap,
                hint="`headrace stream` and `headrace produce` make it",
            )
        return log


class _Facts:
    """Rows of events, and how far each partition was read."""

    def __init__(self, of: Stream, place: Place, homes: dict[str, int] | None, as_of: int, *, keyless: bool) -> None:
        shape = of.shape
        self._homes, self._moves = None if keyless else homes, of.moves
        self._names = [called(name) for name in shape.keys]
        self._shape, self._place, self._as_of, self._keyless = shape, place, as_of, keyless
        self._clock = of.clock
        self._decode = EventDecoder(shape, of.opener)
        self._key = as_it_is if of.opener is None else of.opener.key
        self.rows = Facts(shape, self._decode)
        self._waits: set[int] = set()

    @property
    def full(self) -> bool:
        """Whether there are as many rows as one read gives."""
        return len(self.rows) >= MOST

    def add(self, messages: list[Any]) -> None:
        """Take events in their order, up to the first of each partition that is not known yet."""
        # By the worker's clock none is refused here: the worker has said which it refused, others wait to be known.
        came = received([m.timestamp() for m in messages], self._clock, _FAR)
        events = self._decode([m.value() for m in messages], came, [m.headers() for m in messages])
        good = {
            place: i
            for i, place in enumerate(events.place)
            if (self._keyless or self._moves or messages[place].key() is not None)
            and (messages[place].partition(), messages[place].offset()) not in self._place.early
        }
        for place, message in enumerate(messages):
            partition = message.partition()
            if partition in self._waits:
                continue
            i = good.get(place)
            if i is not None and self._misplaced(message, events.keys[i]):
                i = None
            if i is not None and not self._take(events, i, partition):
                self._waits.add(partition)
                continue
            self._place.offsets[partition] = message.offset() + 1

    def _misplaced(self, message: Any, keys: tuple[Any, ...]) -> bool:
        """Whether a worker does not answer an event where it lies: it is set apart, or answered elsewhere."""
        if self._homes is None:
            return False
        home = self._homes.get(text_of(keys))
        if home is not None and home != message.partition():
            return True
        first = json.dumps([message.partition(), *keys]) not in self._place.series
        return first and not self._moves and not agrees(self._key(message.key()), self._names, keys)

    def _take(self, events: Events, i: int, partition: int) -> bool:
        series = json.dumps([partition, *events.keys[i]])
        newest, clock = self._place.series.get(series, (NEVER, NEVER))
        slot = int(events.slot[i])
        known = known_at(newest, clock, slot, int(events.at[i]), self._shape)
        if isinstance(known, str):
            return True
        if known > self._as_of:
            return False
        self._place.series[series] = max(newest, slot), known
        self.rows.add(events, i, known)
        return True


def open_reader(
    source: Source, rest: str, cache: Path | None = None, stream: Callable[[], Stream] | None = None
) -> Reader:
    """A reader of the topic ``rest``: ``//HOST:PORT/TOPIC``.

    Raises:
        UsageError: The URI has another form, or nothing says what the events look like.
    """
    bootstrap, _, topic = rest.removeprefix("//").partition("/")
    if not bootstrap or not topic or not rest.startswith("//"):
        raise UsageError("is not a topic", where=f"kafka:{rest}", hint="write it as kafka://HOST:PORT/TOPIC")
    if stream is None:
        raise UsageError("only a system that forecasts reads events", where=f"kafka:{rest}")
    of = stream()
    path = cache / f"kafka-{topic}-{digest_of(bootstrap, 8)}.json" if cache is not None else None
    return TopicReader(source, Broker(bootstrap, of.options), topic, of, path)
