"""Answers events while it logs them: what the ledger's writer writes to, in place of the ledger itself.

An answer depends on all events of its series before it, in whatever process they came. So the log is read to its end,
the events are answered and their answers logged in one transaction, which no other writer comes between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from headrace.errors import HeadraceError, KeyConflictError, LateEventError, NotFoundError, StoreError
from headrace.home import Home
from headrace.ledger import Entry
from headrace.lineage import PINNED, Pins
from headrace.serving.engine.engine import AnsweringModel
from headrace.serving.engine.rings import Keys
from headrace.serving.posted.state import Numbered, SeriesState, series_text
from headrace.sources.events import EVER, EventDecoder, EventShape, known_at
from headrace.system import System
from headrace.tasks.forecast.predictor import Predictor
from headrace.tracing import Span

_CHOSEN = "idempotency:"
"""What the keys of entries begin with that came with a key of the client's choice."""
_BEHIND = 1.0
"""Seconds after which what others logged is read before the transaction, where it keeps nobody waiting."""
_IDLE = 60.0
"""Seconds between two looks for series that have gone silent."""

Judged = list[Entry | HeadraceError]
Asked = dict[tuple[str, str], tuple[Keys, int, int]]
"""By key and digest of an event: its series, its step, and when it becomes known by its own time."""


class EventLog:
    """Events of one system, answered as the stream answers them, each durable before it is told.

    `open` and `write_groups` are for one thread at a time, `refused` for any.

    Args:
        system: The declaration.
        home: Where the ledger, the models and the tables are.
        champion: Says which version is to answer; None while there is none.

    Attributes:
        traced: The spans of requests under way, by the trace of their entries.
    """

    def __init__(self, system: System, home: Home, champion: Callable[[], Pins | None]) -> None:
        self._system, self._home, self._champion = system, home, champion
        self._shape = system.event_shape(home.grid(system))
        self._decode, self._encode = EventDecoder(self._shape), msgspec.json.Encoder().encode
        self._version, self._pinned = 0, ""
        self._state: SeriesState
        self._moved = False
        self.traced: dict[str, Span] = {}
        self._tables = ("", 0)
        self.look()
        self._followed = self._looked = time.monotonic()

    def open(self) -> None:
        """Have a model ready to answer.

        Raises:
            NotFoundError: There is none.
            HeadraceError: It cannot be loaded, or the ledger is away.
        """
        pins = self._champion()
        if pins is None:
            raise NotFoundError("there is no model", where=self._system.name)
        if pins.model_version == self._version:
            return
        model = self._home.registry.get(self._system.name, pins.model_version)
        champion = AnsweringModel(Predictor.load(self._home.registry.fetch(model)), pins)
        pinned = self._home.ledger.pin({name: getattr(pins, name) for name in PINNED})
        if self._version:
            self._state.use(champion)
        else:
            self._state = SeriesState(self._system, self._home, champion)
        self._version, self._pinned = pins.model_version, pinned

    def look(self) -> None:
        """See whether events could be answered now, whatever the ledger does. For any thread.

        Where the tables were replaced, by a backup say, the state follows from those that are there now.

        Raises:
            StoreError: The tables cannot be read, or are gone.
        """
        table = self._home.raw(self._system)
        state, now = self._tables, (table.id(), table.version())
        if state[0] and not now[0]:
            raise StoreError("the table is gone", where=table.uri, hint="put it back")
        if state[0] not in ("", now[0]) or now[1] < state[1]:
            self._moved = True
        self._tables = now

    def refused(self, series: Keys) -> str | None:
        """Why events of a series are not answered, whatever they hold; None: they are."""
        return self._state.refused(series)

    def write_groups(self, groups: Sequence[Sequence[Entry]]) -> list[Judged]:
        """Answer and log groups of events, all in one durable transaction, of each group all or nothing.

        Args:
            groups: Entries whose inputs are events that `sources.events` accepts; what is an answer's is empty yet.

        Returns:
            Per group and event the entry that its key stands for, or a `KeyConflictError` if that was another event,
            or a `LateEventError`. Where a group has an error, none of its events was logged.

        Raises:
            LedgerError: As `Ledger.write`; nothing was logged then.
            HeadraceError: The model or the tables cannot be read.
        """
        self.open()
        try:
            return self._written(groups)
        finally:
            self._state.settle()

    def _written(self, groups: Sequence[Sequence[Entry]]) -> list[Judged]:
        state, judged = self._state, [list[Entry | HeadraceError]()]
        requests = self._asked(entry for group in groups for entry in group)
        if self._moved:
            self._restart()
        self._catch_up(requests)

        def answered(newer: list[Numbered], standing: Callable[[Sequence[str]], Mapping[str, Entry]]) -> Any:
            if self._moved:  # called again: what it did before may not stand
                self._restart()
            self._moved = True
            state.follow(newer)
            series = [series_keys for series_keys, _, _ in requests.values()]
            state.load(series)
            judgements, fresh = self._judge(groups, requests, standing(list({key for key, _ in requests})))
            answers = {entry.key: entry for entry in self._answer(fresh)} if fresh else {}
            judged[:] = [[answers.get(e.key, e) if isinstance(e, Entry) else e for e in group] for group in judgements]
            return [(series_text(requests[e.key, e.digest][0]), e) for e in answers.values()]

        state.position = self._home.ledger.extend(self._system.name, state.position, answered)
        self._moved = False
        self._rest()
        return judged

    def _restart(self) -> None:
        """Go back to the log: what the state was moved on by since may not be in it."""
        self._state.reset()
        self._moved = False

    def _asked(self, entries: Iterable[Entry]) -> Asked:
        listed = list(entries)
        events = self._decode([entry.inputs for entry in listed], [EVER] * len(listed))
        named = [(listed[place].key, listed[place].digest) for place in events.place]
        parts = zip(named, events.keys, map(int, events.slot), map(int, events.at), strict=True)
        return {name: (series, slot, known_at) for name, series, slot, known_at in parts}

    def _catch_up(self, requests: Asked) -> None:
        """What can be done before the transaction, so that other writers wait less: reading."""
        state, now = self._state, time.monotonic()
        if now - self._followed > _BEHIND:
            while newer := self._home.ledger.read(self._system.name, after=state.position):
                state.follow(newer)
        self._followed = now
        state.load([series for series, _, _ in requests.values()])

    def _judge(
        self, groups: Sequence[Sequence[Entry]], requests: Asked, standing: Mapping[str, Entry]
    ) -> tuple[list[Judged], list[Entry]]:
        """What each event is answered with, still without the answers of new ones; and the new ones."""
        first, clocks = dict(standing), dict[Keys, tuple[int, int]]()
        fresh: list[Entry] = []
        results: list[Judged] = []
        for group in groups:
            entries, moved, judged = dict[str, Entry](), dict[Keys, tuple[int, int]](), list[Entry | HeadraceError]()
            for entry in group:
                stands = first.get(entry.key) or entries.get(entry.key)
                if stands is not None:
                    judged.append(self._standing(entry, stands))
                    continue
                series, slot, position = requests[entry.key, entry.digest]
                newest, clock = moved.get(series) or clocks.get(series) or self._state.heard(series)
                known = known_at(newest, clock, slot, position, self._shape)
                if isinstance(known, str):
                    judged.append(LateEventError(known, where=entry.key))
                    continue
                moved[series] = max(newest, slot), known
                entries[entry.key] = entry
                judged.append(entry)
            if not any(isinstance(outcome, HeadraceError) for outcome in judged):
                first |= entries
                clocks |= moved
                fresh += entries.values()
            results.append(judged)
        return results, fresh

    def _standing(self, entry: Entry, stands: Entry) -> Entry | KeyConflictError:
        """What an event is answered with whose key stands for an answer, or for an event of the same transaction."""
        if stands.digest != entry.digest:
            return _conflict(entry)
        if entry.strict and stands.model_version not in (0, self._version):
            other, hint = stands.model_version, "ask for no version to have it, or send a new key"
            conflict = KeyConflictError(f"the key stands for an answer of version {other}", where=entry.key, hint=hint)
            conflict.version = other
            return conflict
        return stands

    def _answer(self, fresh: Sequence[Entry]) -> list[Entry]:
        """New entries, with their answers; the state moves on."""
        began = time.time_ns()
        answers = self._state.answer([entry.inputs for entry in fresh])
        if self.traced:
            ended = time.time_ns()
            for trace in {entry.trace for entry in fresh}:
                if (span := self.traced.get(trace)) is not None:
                    span.child("predict", began, ended, headrace__together=len(fresh))
        return [self._answered(entry, msgspec.json.decode(body)) for entry, body in zip(fresh, answers, strict=True)]

    def _answered(self, entry: Entry, document: dict[str, Any]) -> Entry:
        told = told_of(document, entry, self._shape)
        version = document["model_version"]
        return entry._replace(id=told["id"], answer=self._encode(told), pins=self._pinned, model_version=version)

    def _rest(self) -> None:
        """Forget silent series, now and then."""
        now, idle = time.monotonic(), self._system.stream.idle
        if idle is not None and now - self._looked > _IDLE:
            self._looked = now
            self._state.forget(idle)


def told_of(said: Mapping[str, Any], entry: Entry, shape: EventShape) -> dict[str, Any]:
    """What the engine said to an event, as the HTTP door tells it: with `id` and `key`, its cause by its key."""
    keys = [said[name] for name in shape.keys]
    reply = {"id": said["prediction_id"], "key": keys[0] if len(keys) == 1 else keys, **said}
    return reply | {"event_id": entry.key.removeprefix(_CHOSEN)}


def _conflict(entry: Entry) -> KeyConflictError:
    return KeyConflictError(
        "the key stands for another event already",
        where=entry.key,
        hint="a correction of its value comes with an Idempotency-Key of its own",
    )
