"""What an encoder learns of one feature, from rows that come part by part: where they are parted changes no bit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headrace.features.group import TargetMean
from headrace.models.frequencies import Frequencies
from headrace.models.groups import GroupSums
from headrace.models.ngrams import Counts, NgramFit

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]
NAN = float("nan")


class ColumnFit(ABC):
    """One feature in the making."""

    @abstractmethod
    def add(self, values: pl.Series, target: Array) -> None:
        """Further training rows, in order."""

    @abstractmethod
    def typical(self, overall: float | None) -> float | str | None:
        """What is usual of all rows; None where no row has a value.

        Args:
            overall: The mean target of all rows; None where there is no row.
        """


class TextFit(ColumnFit):
    """A text: nothing is learnt, and no word is usual."""

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`."""

    def typical(self, overall: float | None) -> str:
        """See `ColumnFit`."""
        return ""


class NgramsFit(TextFit):
    """N-grams, or what was counted of them.

    Args:
        fit: What learns their weights.
    """

    def __init__(self, fit: NgramFit) -> None:
        self.fit, self.counts = fit, list[Counts]()

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`. What was counted is kept."""
        counts = self.fit.add(values)
        if counts is not None:
            self.counts.append(counts)


class NumberFit(ColumnFit):
    """Numbers and truths: 8 bytes a row are kept, for their median."""

    def __init__(self) -> None:
        self._parts: list[Array] = []

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`."""
        self._parts.append(numbers(values))

    def typical(self, overall: float | None) -> float | None:
        """See `ColumnFit`: the median."""
        every = np.concatenate(self._parts) if self._parts else np.empty(0)
        known = every[~np.isnan(every)]
        return float(np.median(known)) if known.size else None


class LevelFit(ColumnFit):
    """Categories."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`."""
        counts = values.alias("level").drop_nulls().value_counts(name="rows")
        self._counts.update(dict(counts.iter_rows()))

    def levels(self) -> dict[str, float]:
        """The code of every category."""
        return {level: float(place) for place, level in enumerate(sorted(self._counts))}

    def typical(self, overall: float | None) -> str | None:
        """See `ColumnFit`: the most frequent; of several the first in order."""
        return min(self._counts, key=lambda level: (-self._counts[level], level), default=None)


class GroupFit(ColumnFit):
    """Means of the target by group.

    Args:
        expression: The feature.
    """

    def __init__(self, expression: TargetMean) -> None:
        self.sums = GroupSums(expression)

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`."""
        self.sums.add(values.to_list(), target)

    def typical(self, overall: float | None) -> float | None:
        """See `ColumnFit`: the mean of all rows."""
        return overall


class FrequencyFit(ColumnFit):
    """How often there are values."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, values: pl.Series, target: Array) -> None:
        """See `ColumnFit`."""
        self._counts.update(value for value in values.to_list() if value is not None)

    def frequencies(self) -> Frequencies:
        """Of all rows."""
        return Frequencies.of_counts(self._counts)

    def typical(self, overall: float | None) -> float | None:
        """See `ColumnFit`: the median over the rows."""
        counts = np.array(list(self._counts.values()), dtype=np.int64)
        logarithms = self.frequencies().of_values(self._counts)
        return float(np.median(np.repeat(logarithms, counts))) if counts.size else None


def numbers(values: pl.Series) -> Array:
    """Numbers and truths as floats; NaN where one is missing or infinite."""
    import polars as pl

    return finite_ones(values.cast(pl.Float64).fill_null(NAN).to_numpy())


def finite_ones(values: Array) -> Array:
    """The values, NaN in the place of infinite ones."""
    return np.where(np.isfinite(values), values, NAN)
