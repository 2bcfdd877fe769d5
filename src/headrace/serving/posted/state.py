"""What is remembered of the series whose events are posted: the stream's own engine, kept up with the ledger's log.

A series is brought into memory when an event of it comes. Its state then follows from what the tables know and from its
entries in the log, and moves on by entries of the log alone, whichever process wrote them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from headrace.errors import StreamError
from headrace.home import Home
from headrace.ledger import Entry
from headrace.models.anomalies import AnomalyWatch
from headrace.serving.engine.batch import Answered, Message
from headrace.serving.engine.engine import AnsweringModel, Engine
from headrace.serving.engine.rings import Ints, Keys
from headrace.serving.engine.seeding import Seeded, Seeding
from headrace.sources.events import EVER, NEVER, EventDecoder
from headrace.system import System
from headrace.tasks.forecast.exported import exported

Numbered = tuple[int, Entry]
_PAGE = 200
"""Entries of a series that are read at once."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def series_text(keys: Keys) -> str:
    """A series as the ledger names it."""
    return json.dumps(list(keys), ensure_ascii=False)


class SeriesState:
    """The state of one system's series in this process. Not for several threads at once.

    Attributes:
        position: The sequence number of the system's log up to which the series in memory have come.
    """

    def __init__(self, system: System, home: Home, champion: AnsweringModel) -> None:
        shape = replace(system.event_shape(home.grid(system)), jump=None)  # by our own clock no event lies ahead
        self._system, self._home, self._shape = system, home, shape
        self._decode = EventDecoder(shape)
        self._seeding = Seeding(system.name, home, shape)
        accept = system.stream.unseen_series == "accept"
        self._engine = Engine(system.name, shape, champion, "", seed=self._seeding, accept_unseen=accept)
        watch = AnomalyWatch.of(shape.grid.step, shape.false_alarms)
        self._back = -(-watch.reach // (shape.grid.step // _MICROSECOND))
        self._planted: set[Keys] = set()
        self.position = home.ledger.last(system.name)

    def use(self, champion: AnsweringModel) -> None:
        """Answer with this model from now on."""
        self._engine.use(champion)

    def refused(self, series: Keys) -> str | None:
        """Why events of a series are not answered; None: they are. May be asked by any thread."""
        return self._engine.refused(series)

    def heard(self, series: Keys) -> tuple[int, int]:
        """The newest step of a series, and when its last event became known (microseconds since 1970)."""
        row = self._engine.rings.index.get((0, series))
        if row is None:
            return NEVER, NEVER
        return int(self._engine.rings.newest[row]), int(self._engine.rings.clock[row])

    def reset(self) -> None:
        """Forget all series: each comes back from the log with its next event."""
        self._engine.drop(0)

    def forget(self, idle: timedelta) -> None:
        """Forget series without an event for so long."""
        rings, before = self._engine.rings, time.time() - idle.total_seconds()
        for series in [series for series, row in rings.index.items() if rings.used[row] < before]:
            rings.remove(series)

    def follow(self, newer: Sequence[Numbered]) -> None:
        """Move on by what was logged since: entries after the position."""
        if newer:
            self._replay([entry for entry in newer if (0, self._keys(_said(entry[1]))) in self._engine.rings.index])
            self.position = newer[-1][0]

    def score(self, newer: Sequence[Numbered]) -> list[bytes | str]:
        """What this model says to entries after the position, each as of its own time, or why it says nothing.

        Whatever the tables and the log know by now, a series is what it was when the entry came; the state moves on.

        Raises:
            StoreError: The tables cannot be read.
            LedgerError: The log cannot be read.
        """
        if not newer:
            return []
        tails = self._tails(self._keys(_said(entry)) for _, entry in newer)
        self._replay(sorted((numbered for tail in tails.values() for numbered in tail), key=itemgetter(0)), is_own=True)
        answers: dict[int, bytes | str] = {}
        for moved in self._moved(newer):
            answers |= {message.offset: answer for message, answer in moved.outputs}
            answers |= {message.offset: str(reason) for message, reason in (*moved.dead, *moved.late)}
        self.position = newer[-1][0]
        return [answers[number] for number, _ in newer]

    def load(self, wanted: Iterable[Keys]) -> None:
        """Bring series that are not in memory to the position.

        Raises:
            StoreError: The tables cannot be read.
            LedgerError: The log cannot be read.
        """
        tails = self._tails(wanted)
        if tails:
            self._replay(sorted((numbered for tail in tails.values() for numbered in tail), key=itemgetter(0)))
            new = [series for series, tail in tails.items() if not tail]
            self._engine.plant(0, new)
            self._planted.update(new)

    def _tails(self, wanted_keys: Iterable[Keys]) -> dict[Keys, list[Numbered]]:
        """Of series that are not in memory, the entries that their state follows from."""
        missing = [key for key in dict.fromkeys(wanted_keys) if (0, key) not in self._engine.rings.index]
        if not missing:
            return {}
        count = exported(self._system.name, self._home)
        return {series: list(self._tail(series, count)) for series in missing}

    def settle(self) -> None:
        """Forget what the tables know of series that the log has no event of: they may know more by the next one."""
        for series in self._planted:
            row = self._engine.rings.index.get((0, series))
            if row is not None and self._engine.rings.origin[row] == NEVER:
                self._engine.rings.remove((0, series))
        self._planted.clear()

    def answer(self, events: Sequence[bytes]) -> list[bytes]:
        """The stream's answers to events that `sources.events` accepts, in their order; the state moves on.

        Raises:
            StreamError: An event was refused all the same.
        """
        outcome = self._engine.answer(
            [Message(0, i, None, event, EVER) for i, event in enumerate(events)], keyless=True
        )
        for _, reason in (*outcome.dead, *outcome.late):
            raise StreamError(f"an event is refused that was found good: {reason}", where=self._system.name)
        by_place = {message.offset: answer for message, answer in outcome.outputs}
        return [by_place[i] for i in range(len(events))]

    def _tail(self, series: Keys, count: int) -> Iterator[Numbered]:
        """The entries that a series' state follows from, the newest first.

        They go back to one that came in order, so that the tables as of its known time are the state before it, and
        that is in the tables already, or twice as old as what is remembered, and older than all that values are judged
        by: then the state before is of no account.
        """
        name, until, oldest = series_text(series), self.position, None
        while page := self._home.ledger.events(self._system.name, name, until=until, limit=_PAGE):
            for number, entry in page:
                yield number, entry
                origin, in_order = self._came(entry)
                oldest = origin - max(2 * self._engine.rings.length, self._back) if oldest is None else oldest
                if in_order and (number <= count or origin <= oldest):
                    return
            until = page[-1][0] - 1

    def _came(self, entry: Entry) -> tuple[int, bool]:
        """Where the prediction after an event began, and whether it came in order: became known by its own time."""
        event, answer = self._decode([entry.inputs], [EVER]), _said(entry)
        origin = self._shape.grid.slot_at(_micros(answer["origin"]))
        return origin, event.at.tolist() == [_micros(answer["as_of"])]

    def _replay(self, log: Sequence[Numbered], *, is_own: bool = False) -> None:
        """What entries did to the state. What they said is known, but their intervals may be an earlier model's.

        Where a version scores beside, `own`, what was said was not its own: what it would have said is remembered.
        """
        if is_own:
            for _ in self._moved(log):
                pass
            return
        self._engine.expected = {number: _expected(_said(entry)) for number, entry in log}
        try:
            for _ in self._moved(log):
                pass
        finally:
            self._engine.expected = None
        rings = self._engine.rings
        last = {self._keys(answer): answer for answer in (_said(entry) for _, entry in log)}
        for series, answer in last.items():
            row, steps = rings.index.get((0, series)), answer["predictions"]
            if row is not None and len(steps) == rings.horizon:
                for bound in ("value", "lower", "upper"):
                    getattr(rings, bound)[row] = [np.nan if (x := step[bound]) is None else x for step in steps]

    def _moved(self, log: Sequence[Numbered]) -> Iterator[Answered]:
        """What the engine says to entries, in parts; series that are new begin with what was known before them."""
        size = self._system.stream.batch
        first = {
            self._keys(answer): _micros(answer["as_of"]) for answer in (_said(entry) for _, entry in reversed(log))
        }
        self._engine.seed = partial(self._before, first)
        try:
            for begin in range(0, len(log), size):
                messages = [Message(0, n, None, entry.inputs, EVER) for n, entry in log[begin : begin + size]]
                yield self._engine.answer(messages, keyless=True)
        finally:
            self._engine.seed = self._seeding

    def _before(self, first: dict[Keys, int], keys: Sequence[Keys], slots: Ints, times: Ints, length: int) -> Seeded:
        """What the tables know from before the first entries of series became known, which the log says."""
        return self._seeding.replayed(keys, slots, np.array([first[key] for key in keys], dtype=np.int64), length)

    def _keys(self, document: dict[str, Any]) -> Keys:
        return tuple(document[name] for name in self._shape.keys)


def _said(entry: Entry) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.json.decode(entry.answer)
    return document


def _expected(answer: Mapping[str, Any]) -> list[float]:
    """What was expected of an event, as its answer says: value, lower and upper; NaN where that is not said."""
    expected = answer.get("expected") or {}
    return [np.nan if (x := expected.get(name)) is None else x for name in ("value", "lower", "upper")]


def _micros(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
