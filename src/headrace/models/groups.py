"""The fitted means of a `TargetMean` feature: sums and counts of every group, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.features.group import MISSING, TargetMean

Sums = Mapping[str, tuple[float, int]]
_NOBODY = (0.0, 0)
_UNKNOWN, _NO_KEY = 0, 1


@dataclass(frozen=True)
class GroupMeans:
    """Means of groups, each drawn towards the next broader one.

    Attributes:
        expression: The feature.
        overall: Mean target of all training rows.
        sums: Per level, the own one first, the sum and count of the target of every group.
    """

    expression: TargetMean
    overall: float
    sums: tuple[Sums, ...]

    @classmethod
    def fit(cls, expression: TargetMean, keys: Sequence[str], target: NDArray[np.float64]) -> GroupMeans:
        """Sum up the training rows: `keys` as the feature gives them."""
        sums: list[dict[str, tuple[float, int]]] = [{} for _ in expression.levels]
        for text, value in zip(keys, target.tolist(), strict=True):
            for level, key in zip(sums, expression.keys_of(text), strict=True):
                if key is not None:
                    total, count = level.get(key, _NOBODY)
                    level[key] = (total + value, count + 1)
        return cls(expression, float(target.mean()), tuple(sums))

    def mean(self, text: str) -> float:
        """The mean for a row that was not trained on."""
        return self._mean(self.expression.keys_of(text), None)

    def means(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The means for many rows: the very numbers that `mean` gives, shape (rows,)."""
        found = np.full(len(texts), self.overall)
        by_level = list(zip(*map(self.expression.parts_of, texts), strict=True))
        for place in range(len(by_level) - 1, -1, -1):
            (slots, totals, counts), prior = self._slots[place], self._priors[place]
            slot = np.fromiter(map(slots.get, by_level[place], repeat(_UNKNOWN)), np.intp, len(texts))
            weight = counts[slot] + prior
            with np.errstate(all="ignore"):
                drawn = (totals[slot] + prior * found) / weight
            found = np.where((slot != _NO_KEY) & (weight > 0), drawn, found)
        return found

    @cached_property
    def _slots(self) -> list[tuple[dict[str, int], NDArray[np.float64], NDArray[np.float64]]]:
        """Per level the place of every group in its sums and counts. The first two are no group's."""
        made = []
        for level in self.sums:
            slots = {MISSING: _NO_KEY} | {key: place for place, key in enumerate(level, 2)}
            sums = np.array([_NOBODY, _NOBODY, *level.values()])
            made.append((slots, np.ascontiguousarray(sums[:, 0]), np.ascontiguousarray(sums[:, 1])))
        return made

    def left_out(self, keys: Sequence[str], target: NDArray[np.float64]) -> list[float]:
        """The means of the training rows, each without its own target, but for the broadest level."""
        pairs = zip(keys, target.tolist(), strict=True)
        return [self._mean(self.expression.keys_of(text), value) for text, value in pairs]

    @cached_property
    def _priors(self) -> tuple[float, ...]:
        return tuple(level.prior for level in self.expression.levels)

    def _mean(self, keys: Sequence[str | None], own: float | None) -> float:
        found, last, priors = self.overall, len(self.sums) - 1, self._priors
        for place in range(last, -1, -1):
            key = keys[place]
            if key is None:
                continue
            total, count = self.sums[place].get(key, _NOBODY)
            if own is not None and (place < last or last == 0):
                total, count = total - own, count - 1
            prior = priors[place]
            if count + prior > 0:  # without a prior, an unknown group says nothing
                found = (total + prior * found) / (count + prior)
        return found

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"overall": self.overall, "sums": [dict(level) for level in self.sums]}

    @classmethod
    def from_dict(cls, expression: TargetMean, data: Mapping[str, Any]) -> GroupMeans:
        """What `as_dict` described."""
        sums = tuple({key: (total, count) for key, (total, count) in level.items()} for level in data["sums"])
        return cls(expression, data["overall"], sums)
