"""The fitted means of a `TargetMean` feature: sums and counts of every group, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.features.group import MISSING, TargetMean
from headrace.features.hashing import mix

Sums = Mapping[str, tuple[float, int]]
_NOBODY = (0.0, 0)
_UNKNOWN, _NO_KEY = 0, 1
FOLDS = 10
"""Of the training rows, for the means that they have themselves."""


@dataclass(frozen=True)
class GroupMeans:
    """Means of groups, each drawn towards the next broader one.

    Attributes:
        expression: The feature.
        overall: Mean target of all training rows.
        sums: Per level, the own one first, the sum and count of the target of every group.
        folds: The same by group and fold, for `held_out`; nothing in a model that was read.
    """

    expression: TargetMean
    overall: float
    sums: tuple[Sums, ...]
    folds: tuple[Mapping[tuple[str, int], tuple[float, int]], ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def fit(cls, expression: TargetMean, keys: Sequence[str], target: NDArray[np.float64]) -> GroupMeans:
        """Sum up the training rows: `keys` as the feature gives them."""
        sums = GroupSums(expression)
        sums.add(keys, target)
        return sums.means(float(target.mean()))

    def mean(self, text: str) -> float:
        """The mean for a row that was not trained on."""
        mean, keys, priors = self.overall, self.expression.keys_of(text), self._priors
        for place in range(len(self.sums) - 1, -1, -1):
            key = keys[place]
            if key is None:
                continue
            total, count = self.sums[place].get(key, _NOBODY)
            prior = priors[place]
            if count + prior > 0:  # without a prior, an unknown group says nothing
                mean = (total + prior * mean) / (count + prior)
        return mean

    def known(self, text: str) -> bool | None:
        """Whether some training row had this narrowest key; None for a row that has none."""
        key = self.expression.keys_of(text)[0]
        return None if key is None else key in self.sums[0]

    def means(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The means for many rows: the very numbers that `mean` gives, shape (rows,)."""
        return self._means(texts, None)

    def held_out(self, keys: Sequence[str], first: int = 0) -> NDArray[np.float64]:
        """The means of the training rows, each without its own fold's targets, but for the broadest of several levels.

        A row that is left out alone shifts the mean of its group by its own target, which trees read back from the
        shifts between the rows of a group. Rows of a fold have the same mean.

        Args:
            keys: Of rows of the fit.
            first: The number of the first of these among all rows of the fit.

        Returns:
            Shape (rows,).
        """
        return self._means(keys, _folds(first, len(keys)).tolist())

    def _means(self, texts: Sequence[str], folds: Sequence[int] | None) -> NDArray[np.float64]:
        found, last = np.full(len(texts), self.overall), len(self.sums) - 1
        by_level = list(zip(*map(self.expression.parts_of, texts), strict=True))
        for place in range(len(by_level) - 1, -1, -1):
            (slots, totals, counts), prior = self._slots[place], self._priors[place]
            slot = np.fromiter(map(slots.get, by_level[place], repeat(_UNKNOWN)), np.intp, len(texts))
            total, count = totals[slot], counts[slot]
            if folds is not None and (place < last or last == 0):
                own = map(self.folds[place].get, zip(by_level[place], folds, strict=True), repeat(_NOBODY))
                own_total, own_count = np.array(list(own)).T
                count = count - own_count
                # of a group that is all in one fold nothing may be left, not even how its sum was rounded
                total = np.where(count > 0, total - own_total, 0.0)
            weight = count + prior
            with np.errstate(all="ignore"):
                drawn = (total + prior * found) / weight
            found = np.where((slot != _NO_KEY) & (weight > 0), drawn, found)
        return found

    @cached_property
    def _slots(self) -> list[tuple[dict[str, int], NDArray[np.float64], NDArray[np.float64]]]:
        """Per level the place of every group in its sums and counts. The first two are no group's."""
        levels = []
        for level in self.sums:
            slots = {MISSING: _NO_KEY} | {key: place for place, key in enumerate(level, 2)}
            sums = np.array([_NOBODY, _NOBODY, *level.values()])
            levels.append((slots, np.ascontiguousarray(sums[:, 0]), np.ascontiguousarray(sums[:, 1])))
        return levels

    @cached_property
    def _priors(self) -> tuple[float, ...]:
        return tuple(level.prior for level in self.expression.levels)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"overall": self.overall, "sums": [dict(level) for level in self.sums]}

    @classmethod
    def from_dict(cls, expression: TargetMean, data: Mapping[str, Any]) -> GroupMeans:
        """What `as_dict` described."""
        sums = tuple({key: (total, count) for key, (total, count) in level.items()} for level in data["sums"])
        return cls(expression, data["overall"], sums)


class GroupSums:
    """Sums and counts of groups in the making: rows come part by part, in order.

    Args:
        expression: The feature.
    """

    def __init__(self, expression: TargetMean) -> None:
        self._expression, self._rows = expression, 0
        self._sums: list[dict[tuple[str, int], tuple[float, int]]] = [{} for _ in expression.levels]

    def add(self, keys: Sequence[str], target: NDArray[np.float64]) -> None:
        """Further training rows: `keys` as the feature gives them."""
        folds = _folds(self._rows, len(keys)).tolist()
        self._rows += len(keys)
        for text, value, fold in zip(keys, target.tolist(), folds, strict=True):
            for level, key in zip(self._sums, self._expression.keys_of(text), strict=True):
                if key is not None:
                    total, count = level.get((key, fold), _NOBODY)
                    level[key, fold] = (total + value, count + 1)

    def means(self, overall: float) -> GroupMeans:
        """The means of all rows, whose mean target is `overall`."""
        sums: list[dict[str, tuple[float, int]]] = [{} for _ in self._sums]
        for level, folds in zip(sums, self._sums, strict=True):
            for (key, _), (total, count) in folds.items():
                before, rows = level.get(key, _NOBODY)
                level[key] = (before + total, rows + count)
        return GroupMeans(self._expression, overall, tuple(sums), tuple(self._sums))


def _folds(first: int, count: int) -> NDArray[np.intp]:
    """The folds of so many training rows from a number on: at random, each by its number alone."""
    return (mix(np.arange(first, first + count, dtype=np.uint64)) % np.uint64(FOLDS)).astype(np.intp)
