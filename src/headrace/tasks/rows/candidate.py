"""A version that scores logged requests again: beside the one that answered, or in the place of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.errors import HeadraceError, ModelError
from headrace.home import Home
from headrace.identity import decoded, inputs_of
from headrace.ledger import Entry
from headrace.system import System
from headrace.tasks.rows.lookups import VERSIONS, Lookups
from headrace.tasks.rows.predictor import RowPredictor

if TYPE_CHECKING:
    from headrace.registry import ModelVersion


@dataclass(frozen=True)
class Scored:
    """What a version says to one logged request.

    Attributes:
        answer: The prediction; None where there is none.
        inputs: What it was made from, where that is not what was logged.
        error: Why it could not be said.
    """

    answer: Mapping[str, Any] | None = None
    inputs: bytes | None = None
    error: str | None = None


class Candidate:
    """One version of a system that scores rows, for requests of the past.

    Args:
        system: The declaration.
        home: Where the model and the tables are.
        version: Which.

    Raises:
        ModelError: It predicts another target.
        HeadraceError: It cannot be loaded.
    """

    def __init__(self, system: System, home: Home, version: ModelVersion) -> None:
        self.version, self.predictor = version, RowPredictor.load(home.registry.fetch(version))
        model = self.predictor.model
        if model.target != system.target:
            message = f"version {version.version} predicts {model.target}, not {system.target}"
            raise ModelError(message, where=system.name)
        self._system = system
        self._lookups = Lookups.of(model.features, system, home)
        # What it reads, and the rest of the contract, which tells equal rows from others.
        contract = {column.name: column.type for column in system.contract.columns if column.name != system.target}
        self._types: Mapping[str, str] = {**contract, **model.types}

    def score(self, entries: Sequence[Entry]) -> list[Scored]:
        """What it says to requests, in order, by their logged inputs.

        What it looks up is what the request was told, where it was told that; else what was known when it was asked.

        Raises:
            StoreError: What was known then cannot be read.
        """
        rows = [decoded(entry.inputs.decode(), self._types) for entry in entries]
        inputs: list[bytes | None] = [None] * len(rows)
        if self._lookups:
            for row, entry in zip(rows, entries, strict=True):
                row[VERSIONS] = msgspec.json.decode(entry.inputs).get(VERSIONS)
            self._lookups.fill_past(rows, [entry.created_at for entry in entries])
            inputs = [inputs_of(row, self._system.target) for row in rows]
        return list(map(_with_inputs, self._said(rows), inputs))

    def _said(self, rows: Sequence[Mapping[str, Any]]) -> list[Scored]:
        if not rows:
            return []
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        try:
            return list(map(Scored, self.predictor.answers(columns)))
        except (HeadraceError, ArithmeticError, ValueError) as error:
            if len(rows) == 1:
                return [Scored(error=str(error))]
            return [self._said([row])[0] for row in rows]  # one of them has no features: the others have


def _with_inputs(score: Scored, inputs: bytes | None) -> Scored:
    return score if inputs is None else Scored(score.answer, inputs, score.error)


def until(entries: Sequence[tuple[int, Entry]], end: datetime | None) -> list[tuple[int, Entry]]:
    """Those of entries that were asked for before a time, UTC."""
    return list(entries) if end is None else [entry for entry in entries if entry[1].created_at < end]
