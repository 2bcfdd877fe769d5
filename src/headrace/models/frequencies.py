"""The fitted counts of a `Frequency` feature."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

_NAN = float("nan")


@dataclass(frozen=True)
class Frequencies:
    """How often the training rows have each value.

    Attributes:
        counts: By value.
    """

    counts: Mapping[str, int]

    @classmethod
    def fit(cls, values: Iterable[str | None]) -> Frequencies:
        """Count the values of the training rows."""
        return cls.of_counts(Counter(value for value in values if value is not None))

    @classmethod
    def of_counts(cls, counts: Mapping[str, int]) -> Frequencies:
        """Values and how many rows have each, in any order."""
        return cls({value: counts[value] for value in sorted(counts)})

    def of(self, value: str | None) -> float:
        """ln(1 + count) of a value; 0 of one that no row had, NaN of a missing one."""
        return _NAN if value is None else self._logarithms.get(value, 0.0)

    def of_values(self, values: Iterable[str | None]) -> NDArray[np.float64]:
        """`of` many values: shape (values,)."""
        return np.fromiter(map(self.of, values), np.float64)

    def left_out(self, values: Iterable[str | None]) -> NDArray[np.float64]:
        """`of_values` of the training rows, each of which does not count itself."""
        counts = self.counts
        return np.array([_NAN if value is None else math.log(counts[value]) for value in values])

    @cached_property
    def _logarithms(self) -> dict[str, float]:
        return {value: math.log(1 + count) for value, count in self.counts.items()}
