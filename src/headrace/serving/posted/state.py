"""What is remembered of the series whose events are posted: the stream's own engine, kept up with the ledger's log.

A series is brought into memory when an event of it comes. Its state then follows from what the tables know and from its
entries in the log, and moves on by entries of the log alone, whichever process wrote them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from headrace.errors import StreamError
from headrace.home import Home
from headrace.ledger import Entry
from headrace.serving.posted.place import exported
from headrace.serving.stream.batch import Message
from headrace.serving.stream.engine import Champion, Engine
from headrace.serving.stream.rings import Ints, Keys
from headrace.serving.stream.seeding import Seeded, Seeding
from headrace.sources.events import NEVER, EventDecoder
from headrace.system import System

Numbered = tuple[int, Entry]
EVER = 2**53
"""A time of arrival, in milliseconds, before which no event lies: what was accepted once is not early any more."""
_PAGE = 200
"""Entries of a series that are read at once."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def series_text(keys: Keys) -> str:
    """A series as the ledger names it."""
    return json.dumps(list(keys), ensure_ascii=False)


class State:
    """The state of one system's series in this process. Not for several threads at once.

    Attributes:
        position: The sequence number of the system's log up to which the series in memory have come.
    """

    def __init__(self, system: System, home: Home, champion: Champion) -> None:
        shape = system.event_shape(home.grid(system))
        self._system, self._home, self._shape = system, home, shape
        self._decode = EventDecoder(shape)
        self._seeding = Seeding(system.name, home, shape)
        accept = system.stream.unknown == "accept"
        self._engine = Engine(system.name, shape, champion, "", seed=self._seeding, accept_unknown=accept)
        self._planted: set[Keys] = set()
        self.position = home.ledger.last(system.name)

    def use(self, champion: Champion) -> None:
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
            self._replay([each for each in newer if (0, self._keys(_said(each[1]))) in self._engine.rings.index])
            self.position = newer[-1][0]

    def load(self, wanted: Iterable[Keys]) -> None:
        """Bring series that are not in memory to the position.

        Raises:
            StoreError: The tables cannot be read.
            LedgerError: The log cannot be read.
        """
        missing = [each for each in dict.fromkeys(wanted) if (0, each) not in self._engine.rings.index]
        if missing:
            done = exported(self._system.name, self._home)
            tails = {series: list(self._tail(series, done)) for series in missing}
            self._replay(sorted((each for tail in tails.values() for each in tail), key=itemgetter(0)))
            new = [series for series, tail in tails.items() if not tail]
            self._engine.plant(0, new)
            self._planted.update(new)

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
        done = self._engine.answer([Message(0, i, None, event, EVER) for i, event in enumerate(events)], keyless=True)
        for _, reason in (*done.dead, *done.late):
            raise StreamError(f"an event is refused that was found good: {reason}", where=self._system.name)
        by_place = {message.offset: answer for message, answer in done.outputs}
        return [by_place[i] for i in range(len(events))]

    def _tail(self, series: Keys, done: int) -> Iterator[Numbered]:
        """The entries that a series' state follows from, the newest first.

        They go back to one that came in order, so that the tables as of its known time are the state before it, and
        that is in the tables already, or twice as old as what is remembered: then the state before is of no account.
        """
        name, until, oldest = series_text(series), self.position, None
        while page := self._home.ledger.events(self._system.name, name, until=until, limit=_PAGE):
            for number, entry in page:
                yield number, entry
                origin, in_order = self._came(entry)
                oldest = origin - 2 * self._engine.rings.length if oldest is None else oldest
                if in_order and (number <= done or origin <= oldest):
                    return
            until = page[-1][0] - 1

    def _came(self, entry: Entry) -> tuple[int, bool]:
        """Where the prediction after an event began, and whether it came in order: became known by its own time."""
        event, said = self._decode([entry.inputs], [EVER]), _said(entry)
        origin = self._shape.grid.slot_at(_micros(said["origin"]))
        return origin, event.at.tolist() == [_micros(said["as_of"])]

    def _replay(self, log: Sequence[Numbered]) -> None:
        """What entries did to the state. What they said is known, but their intervals may be an earlier model's."""
        size = self._system.stream.batch
        first = {self._keys(said): _micros(said["as_of"]) for said in (_said(entry) for _, entry in reversed(log))}
        self._engine.seed = partial(self._before, first)
        try:
            for begin in range(0, len(log), size):
                messages = [Message(0, n, None, entry.inputs, EVER) for n, entry in log[begin : begin + size]]
                self._engine.answer(messages, keyless=True)
        finally:
            self._engine.seed = self._seeding
        rings = self._engine.rings
        last = {self._keys(said): said for said in (_said(entry) for _, entry in log)}
        for series, said in last.items():
            row, steps = rings.index.get((0, series)), said["predictions"]
            if row is not None and len(steps) == rings.horizon:
                for bound in ("lower", "upper"):
                    getattr(rings, bound)[row] = [np.nan if (x := step[bound]) is None else x for step in steps]

    def _before(self, first: dict[Keys, int], keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Seeded:
        """What the tables know from before the first entries of series became known, which the log says."""
        return self._seeding.replayed(keys, slots, np.array([first[each] for each in keys], dtype=np.int64), length)

    def _keys(self, said: dict[str, Any]) -> Keys:
        return tuple(said[name] for name in self._shape.keys)


def _said(entry: Entry) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(entry.answer)
    return said


def _micros(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
