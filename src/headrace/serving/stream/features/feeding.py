"""Puts a micro-batch of events into the online side: what is remembered, rows, positions, in one transaction.

A row is known from a moment on that lies a little after the transaction, by a `Margin`: no look-up before that moment
sees it, each one after does, and the table says the same of both. A transaction that would come too late for its own
moment is undone, and made once more with a later one.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from headrace.errors import OnlineUnavailableError, StoreError
from headrace.feature_system import EVENT, FeatureSystem
from headrace.serving.engine.batch import MessageBatch
from headrace.serving.engine.positions import source_of
from headrace.serving.stream.features.folding import Folded, Folds, GoodEvents, KeySteps
from headrace.serving.stream.features.margin import Margin
from headrace.sources.events import EventDecoder, Events
from headrace.store import FeatureGroup
from headrace.store.fed import pending_bad, pending_row, settle
from headrace.store.online.feeds import Feed, FeedPosition, RememberedKey, fact_of
from headrace.store.online.online import CLOCKS
from headrace.store.online.records import key_text

T = TypeVar("T")
_log = logging.getLogger(__name__)
_AHEAD = 1_000_000
"""Microseconds by which a row may be known later than now without a word."""
_CLOCKS = int(CLOCKS.total_seconds() * 1e6)


class Fed(NamedTuple):
    """What became of a batch.

    Attributes:
        rows: Rows of the group.
        late: Events that came too late.
        bad: Events that break the contract.
        ignored: Messages that are no events.
        quiet: Events whose rows the table had before.
        exposed: Whether the rows could be seen a moment later than they say.
        positions: How far the partitions came.
    """

    rows: int
    late: int
    bad: int
    ignored: int
    quiet: int
    exposed: bool
    positions: dict[int, FeedPosition]


class Elsewhere(Exception):
    """Another worker moved the partitions on: these are their positions."""

    def __init__(self, positions: Mapping[int, FeedPosition]) -> None:
        super().__init__("another worker moved the partitions on")
        self.positions = dict(positions)


class _TooSlow(Exception):
    """The transaction would come too late."""


@dataclass(frozen=True)
class _OpenedBatch:
    """A batch and its good events."""

    batch: MessageBatch
    events: Events
    told: GoodEvents


class Feeding:
    """Feeds one group.

    Args:
        system: The declaration.
        group: Its group, with an online side.
        topic: Name of the topic, for names of events.
        folds: Folds events.
        decode: Decodes events.
        clock: Gives the time, seconds since 1970.
    """

    def __init__(
        self,
        system: FeatureSystem,
        group: FeatureGroup,
        topic: str,
        folds: Folds,
        decode: EventDecoder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._system, self._group, self._topic = system, group, topic
        self._folds, self._decode, self._clock = folds, decode, clock
        self._margin = Margin()

    def __call__(self, batch: MessageBatch, at: Mapping[int, FeedPosition]) -> Fed:
        """Put in a batch, whose partitions are where `at` says.

        Raises:
            Elsewhere: They are not; nothing was put in.
            OnlineUnavailableError: The database is away; nothing was put in.
        """
        events = self._decode(batch.value, batch.received or batch.timestamp, batch.headers)
        count = len(self._system.keys)
        columns = [events.numbers(self._decode.fields[name]) for name in self._system.columns]
        good = GoodEvents([key_text(key, count) for key in events.keys], events.time, np.array(columns))
        opened = _OpenedBatch(batch, events, good)
        while True:
            self._margin.begin(len(good.key))
            stamps: list[float] = []
            try:
                fed = self.session(partial(self._put, opened=opened, at=at, stamps=stamps))
            except _TooSlow:
                self._margin.failed()
                continue
            spent = self._clock() - stamps[-1]
            self._margin.took(spent, len(good.key))
            return fed._replace(exposed=spent > self._margin.seconds)

    def positions(self) -> dict[int, FeedPosition]:
        """How far all partitions came, by what was put in."""
        return self.session(lambda feed: feed.positions())

    def session(self, work: Callable[[Feed], T]) -> T:
        """What `work` returns, in one transaction."""
        return self._group.online_side.session(self._group, lambda session, name: work(Feed(session, name)))

    def _put(self, feed: Feed, opened: _OpenedBatch, at: Mapping[int, FeedPosition], stamps: list[float]) -> Fed:
        batch, good = opened.batch, opened.told
        positions, partitions = feed.positions(), set(batch.partition)
        if any(positions.get(partition) != at[partition] for partition in partitions):
            raise Elsewhere(positions)
        names = sorted(set(good.key))
        before = feed.remembered(names) if names else {}
        memories = {
            key: KeySteps.decode(before[key].payload, self._folds.columns)
            if key in before
            else KeySteps.empty(self._folds.columns)
            for key in names
        }
        folded = self._folds(good, memories)
        stamps.append(self._clock())
        moment = int((stamps[-1] + self._margin.seconds) * 1e6)
        known = {key: key_state.known_at for key, key_state in before.items()}
        rows, quiet = self._rows(opened, folded, at, known, moment)
        pending = [pending_row(*row) for row in rows]
        pending += self._bad(opened, folded, at, moment)
        feed.put([fact_of(*row) for row in rows], pending, int(stamps[-1] * 1e6) - _CLOCKS, self._group.online)
        counted = {key: memory for key, memory in memories.items() if not memory.is_empty}
        feed.remember({key: RememberedKey(known.get(key, 0), memory.encode()) for key, memory in counted.items()})
        ends = {partition: at[partition]._replace(place=end) for partition, end in batch.ends.items()}
        feed.move(ends)
        if self._margin.is_short(self._clock() - stamps[-1]):
            raise _TooSlow
        counts = len(folded.late), len(opened.events.bad), len(opened.events.ignored)
        return Fed(len(rows), *counts, quiet, False, ends)

    def _rows(
        self,
        opened: _OpenedBatch,
        folded: Folded,
        positions: Mapping[int, FeedPosition],
        known: dict[str, int],
        moment: int,
    ) -> tuple[list[tuple[str, int, int, dict[str, Any]]], int]:
        """Key, event time, known time and values of each row, in the order of the events; and how many are there."""
        batch, events, names = opened.batch, opened.events, self._system.features.names
        values = [[None if math.isnan(v) else v for v in row] for row in folded.features.tolist()]
        turns = np.argsort(folded.place, kind="stable").tolist()
        rows, quiet = [], 0
        for turn in turns:
            i = int(folded.place[turn])
            place = events.place[i]
            partition, offset = batch.partition[place], batch.offset[place]
            if offset < positions[partition].quiet:
                quiet += 1
                continue
            key = opened.told.key[i]
            since = known[key] = max(moment, known.get(key, 0) + 1)
            row: dict[str, Any] = dict(zip(names, values[turn], strict=True))
            row[EVENT] = self._named(partition, offset, positions)
            rows.append((key, int(folded.time[turn]), since, row))
        self._warn_of_clocks(rows, moment)
        return rows, quiet

    def _warn_of_clocks(self, rows: Sequence[tuple[str, int, int, dict[str, Any]]], moment: int) -> None:
        """Say it where rows are known much later than now: known times of a key only grow."""
        ahead = [(since - moment, key) for key, _, since, _ in rows if since - moment > _AHEAD]
        if ahead:
            furthest, key = max(ahead)
            _log.warning(
                "%d rows of %s are not seen for up to %.0f s (key %s): a clock was ahead when earlier rows came",
                *(len(ahead), self._topic, furthest / 1e6, key),
            )

    def _bad(
        self, opened: _OpenedBatch, folded: Folded, positions: Mapping[int, FeedPosition], moment: int
    ) -> list[tuple[int, bytes]]:
        """What is set apart: events that break the contract, and late ones."""
        batch, events = opened.batch, opened.events
        rejected: list[tuple[int, int | None, str]] = [(place, None, str(reason)) for place, reason in events.bad]
        rejected += [(events.place[i], int(events.time[i]), reason) for i, reason in folded.late]
        changes_found = []
        for place, row_index, reason in rejected:
            name = self._named(batch.partition[place], batch.offset[place], positions)
            text = (batch.value[place] or b"").decode(errors="backslashreplace")
            changes_found.append(pending_bad(name, row_index, moment, text, reason, f"kafka:{self._topic}"))
        return changes_found

    def _named(self, partition: int, offset: int, positions: Mapping[int, FeedPosition]) -> str:
        return f"{source_of(self._topic, positions[partition].log)}-{partition}-{offset}"


def forget(group: FeatureGroup) -> None:
    """Forget where a group's partitions are and what is remembered of keys, to make it anew from the topic.

    What the table lacks goes there first, if it is whole; otherwise those rows are made anew, with a later known time.
    """
    try:
        settle(group)
    except OnlineUnavailableError:
        raise
    except StoreError as error:
        _log.warning("rows of %s/%s that the table lacks are made anew: %s", group.system, group.name, error.message)
    group.online_side.session(group, lambda session, name: Feed(session, name).forget())


def offsets_of(names: Sequence[str], topic: str) -> dict[tuple[int, int], int]:
    """The greatest offset of each log and partition among the names of events of a topic."""
    offsets_found: dict[tuple[int, int], int] = {}
    for name in names:
        source, partition, offset = name.rsplit("-", 2)
        base, _, log = source.partition("@")
        if base == topic:
            where = (int(log or 1), int(partition))
            offsets_found[where] = max(offsets_found.get(where, -1), int(offset))
    return offsets_found
