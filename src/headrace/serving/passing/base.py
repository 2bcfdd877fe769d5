"""What a source of predictions to pass on must do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from headrace.sinks.base import Position, Prediction


@dataclass(frozen=True)
class PassedBatch:
    """Predictions that are passed on at once.

    Attributes:
        predictions: In the order of each key; there may be none.
        after: Where the source goes on.
        counts: What else was read on the way, and is not passed on, by its kind.
    """

    predictions: Sequence[Prediction]
    after: Position
    counts: Counter[str] = field(default_factory=Counter)


class Predictions(Protocol):
    """Predictions in an order that stays: what is after a position is the same at every try, and more may follow."""

    def read(self, position: Position | None) -> Iterator[PassedBatch]:
        """All from a position on to what is there now; None: from the beginning."""
