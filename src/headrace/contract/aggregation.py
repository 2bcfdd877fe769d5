"""How the values that the events of one step bring become the value of that step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["sum", "mean", "last", "first", "min", "max", "count"]
Empty = Literal["missing", "zero"]

CHOOSING = frozenset({"first", "last"})
"""Kinds that choose one event of a step rather than put all together: what it says holds as soon as it is known."""


@dataclass(frozen=True)
class Aggregate:
    """How one column is aggregated.

    Attributes:
        kind: What is made of a step's values, missing ones left out; ``first`` and ``last`` go by event time.
        empty: What a step without any value is, once it is over and the series has begun.
    """

    kind: Kind
    empty: Empty = "missing"

    @property
    def fills(self) -> bool:
        """Whether an empty step is zero."""
        return self.empty == "zero"


def waits(aggregates: Iterable[Aggregate]) -> bool:
    """Whether the value of a step counts only once the step is over: until then it is a part of what it will be."""
    return any(aggregate.kind not in CHOOSING for aggregate in aggregates)
