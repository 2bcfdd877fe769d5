"""``kafka://HOST:PORT/TOPIC``: the events of a topic as facts, each with the time at which the stream knew it.

Bad events and those that came too late are no facts: the stream door sets them apart on topics of their own. Where a
read ended is written down once its rows are stored. A read that is repeated, because the process died in between, gives
the same rows with the same known times, and the table adds nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace.contract import KNOWN_AT, KnownTimes
from headrace.contract.apart import called
from headrace.errors import SourceError, UsageError
from headrace.files import write_whole
from headrace.lineage import digest_of
from headrace.sources.base import Reader, Records, Since, Source, SourceContext, require_zone
from headrace.sources.broker import Broker, TopicLog
from headrace.sources.events import NEVER, NONE, EventDecoder, EventFacts, Events, EventShape, Leap, known_at, leap_of
from headrace.sources.keys import agrees, note, text_of
from headrace.sources.messages.base import header
from headrace.sources.messages.opening import Opener, as_it_is
from headrace.sources.repeats import RESENT, Ids, KeptId, NamedEvent, Once, Repeats
from headrace.sources.stamps import Clock, received
from headrace.sources.topics import Topics

MOST = 500_000
"""Events of one read: bounds memory. What is left comes with the next one."""
_FAR = 2**53
_TWICE = NamedEvent("", "")
"""An event that does not count, by its id."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class EventTopic:
    """What a system knows of its topic.

    Attributes:
        shape: What its events look like.
        options: Settings of the client, such as how to log in.
        clock: By what an event is in the future.
        topics: Of the system.
        moves: Whether events are sent to the partition of their series, rather than refused elsewhere.
        opener: Opens the messages that events come in.
        once: How events that were sent twice are told; None: they are not.
    """

    shape: EventShape
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    clock: Clock = "message"
    topics: Topics | None = None
    moves: bool = False
    opener: Opener | None = None
    once: Once | None = None


@dataclass
class TopicPosition:
    """Where a read of a topic ended.

    Attributes:
        offsets: The next event of each partition.
        series: Newest step and clock of each partition's series, by partition and keys as JSON.
        letters: The next letter of each partition of the dead letters.
        early: Partition and offset of events to come that a worker set apart as in the future, by its clock.
        topic: Id of the topic, which one of its name that is made later does not have; None where it is not known.
        leaps: Of series whose last events lay too far after them, by partition and keys.
        ids: What is remembered of ids of events, by partition and name.
    """

    offsets: dict[int, int] = field(default_factory=dict)
    series: dict[str, tuple[int, int]] = field(default_factory=dict)
    letters: dict[int, int] = field(default_factory=dict)
    early: set[tuple[int, int]] = field(default_factory=set)
    topic: str | None = None
    leaps: dict[str, Leap] = field(default_factory=dict)
    ids: dict[int, dict[str, KeptId]] = field(default_factory=dict)

    def resume(self, log: TopicLog) -> dict[int, int]:
        """Where to go on with each partition of the topic as it is: with the first event of one that was made anew."""
        if None not in (self.topic, log.id) and self.topic != log.id:
            self.offsets.clear()
            self.early.clear()
        self.topic = log.id or self.topic
        begin = {partition: self.offsets.get(partition, 0) for partition in log.ends}
        return {partition: offset if offset <= log.ends[partition] else 0 for partition, offset in begin.items()}

    @classmethod
    def load(cls, path: Path | None) -> TopicPosition:
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
            ids = {
                int(p): {n: KeptId(*fields) for n, fields in kept_ids.items()}
                for p, kept_ids in data.get("ids", {}).items()
            }
            leaps = {name: Leap(*leap) for name, leap in data.get("leaps", {}).items()}
            return cls(offsets, series, letters, early, data.get("topic"), leaps, ids)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"it does not hold what was written to it ({error})"
            hint = "delete it: the topic is then read from its beginning, and what is stored is not stored again"
            raise SourceError(reason, where=str(path), hint=hint) from error

    def save(self, path: Path | None) -> None:
        """Write it, whole or not at all."""
        if path is None:
            return
        early = sorted(place for place in self.early if place[1] >= self.offsets.get(place[0], 0))
        document: dict[str, Any] = {"offsets": self.offsets, "series": self.series, "letters": self.letters}
        document |= {"early": early, "topic": self.topic, "leaps": self.leaps, "ids": self.ids}
        write_whole(path, json.dumps(document).encode())


@dataclass(frozen=True)
class TopicReader:
    """Reads the events of one topic that came since the last read."""

    source: Source
    broker: Broker
    topic: str
    of: EventTopic
    path: Path | None

    def read(
        self, *, as_of: datetime, now: datetime, since: Since | None = None, first: datetime | None = None
    ) -> Records:
        """Events that are known at ``as_of``: on each partition those before the first that is not.

        Raises:
            StreamError: The cluster cannot be reached, or there is no such topic.
        """
        require_zone(as_of=as_of, now=now)
        place = TopicPosition.load(self.path)
        log = self._log()
        begin = place.resume(log)
        self._note_early(place)
        facts = _PartitionFacts(
            self.of, place, self._homes(), (as_of - _EPOCH) // _MICROSECOND, keyless=len(log.ends) == 1
        )
        batch: list[Any] = []
        for message in self.broker.read(self.topic, begin):
            batch.append(message)
            if len(batch) == 10_000:
                facts.add(batch)
                batch = []
                if facts.full:
                    break
        facts.add(batch)
        known = KnownTimes(column=KNOWN_AT)
        origin = f"kafka://{self.broker.bootstrap}/{self.topic}"
        return Records(facts.rows.frame(), origin, known, lambda pending: place.save(self.path), streamed=True)

    def _note_early(self, place: TopicPosition) -> None:
        """Note which events a worker set apart as in the future, by a clock that stands nowhere on the topic."""
        topics = self.of.topics
        count = (
            None if topics is None or topics.events != self.topic else self.broker.partitions().get(topics.dead_letters)
        )
        if topics is None or count is None:
            return
        for letter in self.broker.read(topics.dead_letters, {p: place.letters.get(p, 0) for p in range(count)}):
            headers = dict(letter.headers() or [])
            if headers.get("early") == b"true":
                place.early.add((int(headers["source_partition"]), int(headers["source_offset"])))
            place.letters[letter.partition()] = letter.offset() + 1

    def _homes(self) -> dict[str, int] | None:
        """The partition of each series, as the workers wrote it down; None if none did."""
        topics = self.of.topics
        if topics is None or topics.events != self.topic or topics.series not in self.broker.partitions():
            return None
        homes: dict[str, int] = {}
        for message in self.broker.read(topics.series, {0: 0}):
            note(homes, message)
        return homes

    def _log(self) -> TopicLog:
        log = self.broker.log(self.topic)
        if log is None:
            raise UsageError(
                f"there is no topic {self.topic}",
                where=self.broker.bootstrap,
                hint="`headrace stream` and `headrace produce` make it",
            )
        return log


class _PartitionFacts:
    """Rows of events, and how far each partition was read."""

    def __init__(
        self, of: EventTopic, place: TopicPosition, homes: dict[str, int] | None, as_of: int, *, keyless: bool
    ) -> None:
        shape = of.shape
        self._homes, self._moves = None if keyless else homes, of.moves
        self._names = [called(name) for name in shape.keys]
        self._shape, self._place, self._as_of, self._keyless = shape, place, as_of, keyless
        self._clock = of.clock
        self._decode = EventDecoder(shape, of.opener)
        self._key = as_it_is if of.opener is None else of.opener.key
        self._ids = None if of.once is None else Ids(of.once.event_id, self._decode.fields)
        self._repeats = Repeats(1 if of.once is None else of.once.most, place.ids)
        self.rows = EventFacts(shape, self._decode)
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
            if i is not None and not self._take(events, i, message):
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

    def _take(self, events: Events, i: int, message: Any) -> bool:
        """Take an event, unless it does not count; False: it is not known yet."""
        place, partition, slot = self._place, message.partition(), int(events.slot[i])
        named = self._named(events, i, message)
        if named is _TWICE:
            return True
        series = json.dumps([partition, *events.keys[i]])
        newest, clock = place.series.get(series, (NEVER, NEVER))
        wrong, leap = leap_of(newest, slot, place.leaps.get(series, NONE), self._shape)
        known = known_at(newest, clock, slot, int(events.at[i]), self._shape) if wrong is None else wrong
        if isinstance(known, int) and known > self._as_of:
            return False
        if leap == NONE:
            place.leaps.pop(series, None)
        else:
            place.leaps[series] = leap
        if named is not None:
            self._repeats.put(partition, named)
        if isinstance(known, str):
            if named is not None:
                self._repeats.set_apart(partition, named.name)
            return True
        place.series[series] = max(newest, slot), known
        self.rows.add(events, i, known)
        return True

    def _named(self, events: Events, i: int, message: Any) -> NamedEvent | None:
        """An event with an id as it is remembered; `_TWICE`: it does not count, by its id."""
        if self._ids is None:
            return None
        headers = message.headers() or ()
        named = self._ids(events, i, message.value(), headers)
        resent = header(headers, RESENT) is not None
        if isinstance(named, str) or self._repeats.judge(message.partition(), named, resent=resent) is not None:
            return _TWICE
        return named


def open_reader(source: Source, rest: str, context: SourceContext) -> Reader:
    """A reader of the topic ``rest``: ``//HOST:PORT/TOPIC``.

    Raises:
        UsageError: The URI has another form, or nothing says what the events look like.
    """
    bootstrap, _, topic = rest.removeprefix("//").partition("/")
    if not bootstrap or not topic or not rest.startswith("//"):
        raise UsageError("is not a topic", where=f"kafka:{rest}", hint="write it as kafka://HOST:PORT/TOPIC")
    if context.stream is None:
        raise UsageError("only a system that forecasts reads events", where=f"kafka:{rest}")
    events: EventTopic = context.stream()
    cache = context.cache
    path = cache / f"kafka-{topic}-{digest_of(bootstrap, 8)}.json" if cache is not None else None
    return TopicReader(source, Broker(bootstrap, events.options), topic, events, path)
