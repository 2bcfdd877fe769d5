"""How a version scores entries of the log beside what was answered: rows by their inputs, events by their series."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from headrace.home import Home
from headrace.ledger import Entry
from headrace.ledger.shadows import Shadow
from headrace.lineage import PINNED, ROLE, SHADOW, Pins, row_cause, row_prediction_id
from headrace.registry import ModelVersion
from headrace.serving.engine.engine import AnsweringModel
from headrace.serving.posted.log import told_of
from headrace.serving.posted.state import SeriesState
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.forecast.predictor import Predictor
from headrace.tasks.rows.candidate import Candidate

Numbered = tuple[int, Entry]
FAILED = "error"
_IDLE = 60.0
"""Seconds between two looks for series that have gone silent."""
_encode = msgspec.json.Encoder().encode


class Scorer(Protocol):
    """One version that scores what was logged."""

    def score(self, position: int, entries: Sequence[Numbered]) -> list[Shadow]:
        """What it says to entries, in order, without those that it answered itself.

        Args:
            position: What was logged up to this sequence number is done.
            entries: All that was logged after that, up to some entry.

        Raises:
            HeadraceError: Something cannot be read; the same may be tried again.
        """


def scorer_of(system: System, home: Home, number: int) -> Scorer:
    """What scores for a version.

    Raises:
        HeadraceError: The version cannot be loaded, or its pins not be stored.
    """
    version = home.registry.get(system.name, number)
    return (EventScorer if task_of(system).stateful else RowScorer)(system, home, version)


class _Named:
    """What both have: pins, and ids for what was said."""

    def __init__(self, system: System, home: Home, version: ModelVersion) -> None:
        self.system, self.number = system, version.version
        self.pins = Pins.of(version, version.as_of, system.folder)
        self.pinned = home.ledger.pin({name: getattr(self.pins, name) for name in PINNED} | {ROLE: SHADOW})
        self._cause = f"{SHADOW}|{row_cause(system.name, self.pins)}"

    def id_of(self, entry: Entry) -> str:
        return row_prediction_id(f"{self._cause}|{entry.digest}", entry.key, entry.created_at)

    def shadow(self, number: int, name: str, told: Mapping[str, Any], inputs: bytes | None = None) -> Shadow:
        answer = _encode({"id": name, **told, "model_version": self.number})
        return Shadow(number, name, inputs, answer, self.pinned)


class RowScorer:
    """A version of a system of rows."""

    def __init__(self, system: System, home: Home, version: ModelVersion) -> None:
        self._candidate, self._named = Candidate(system, home, version), _Named(system, home, version)

    def score(self, position: int, entries: Sequence[Numbered]) -> list[Shadow]:
        """See `Scorer`."""
        named = self._named
        rest = [entry for entry in entries if entry[1].model_version != named.number]
        scores = []
        scored = self._candidate.score([entry for _, entry in rest])
        for (number, entry), said in zip(rest, scored, strict=True):
            answer = {FAILED: said.error} if said.answer is None else said.answer
            scores.append(named.shadow(number, named.id_of(entry), answer, said.inputs))
        return scores


class EventScorer:
    """A version of a system that answers events: a state of its own, moved on by every entry of the log."""

    def __init__(self, system: System, home: Home, version: ModelVersion) -> None:
        self._named, self._shape = _Named(system, home, version), system.event_shape(home.grid(system))
        champion = AnsweringModel(Predictor.load(home.registry.fetch(version)), self._named.pins)
        self._state, self._looked = SeriesState(system, home, champion), time.monotonic()

    def score(self, position: int, entries: Sequence[Numbered]) -> list[Shadow]:
        """See `Scorer`."""
        idle, now = self._named.system.stream.idle, time.monotonic()
        if idle is not None and now - self._looked > _IDLE:
            self._looked = now
            self._state.forget(idle)
        if self._state.position != position:  # it begins, or what it did was not stored
            self._state.reset()
            self._state.position = position
        named, scores = self._named, []
        for (number, entry), said in zip(entries, self._state.score(entries), strict=True):
            if entry.model_version == named.number:
                continue
            if isinstance(said, str):
                scores.append(named.shadow(number, named.id_of(entry), {FAILED: said}))
                continue
            answer = told_of(msgspec.json.decode(said), entry, self._shape)
            scores.append(named.shadow(number, answer.pop("id"), answer))
        return scores
