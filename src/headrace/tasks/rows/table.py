"""The features of training rows, wherever they are: learners are fitted on some rows, and asked for others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.features.ngrams import Ngrams
from headrace.features.view import Features
from headrace.models.base import Fitted, Learner, Training
from headrace.models.encoding import Array, Encoded, Encoder, EncoderFit
from headrace.models.ngrams import Counts, NgramWeights
from headrace.models.reading import fitted

if TYPE_CHECKING:
    import polars as pl

Indices = NDArray[np.intp]
_COUNTED_ONCE = 20_000
"""Rows up to which the counts of n-grams are kept for all folds: some 10 KB each."""


class Asked(NamedTuple):
    """What learners are asked for; see `headrace.models.base.Training`.

    Attributes:
        target: Of all rows of the table: shape (rows,).
        output: The kind of output.
        classes: How many classes there are.
    """

    target: Array
    output: str
    classes: int


class FittedTable(NamedTuple):
    """Fitted learners, and what made floats of the rows that they were fitted on."""

    encoder: Encoder
    learners: tuple[Fitted, ...]


class RowTable(ABC):
    """The features of training rows, in order."""

    @abstractmethod
    def select(self, names: Sequence[str]) -> pl.DataFrame:
        """Some features of all rows."""

    @abstractmethod
    def fitted(self, learners: Sequence[Learner], asked: Asked, rows: Indices, seed: int) -> FittedTable:
        """Learners, fitted on some rows.

        Args:
            learners: One at least.
            asked: What they are asked for.
            rows: Rising places of rows.
            seed: Of all that is random.
        """

    @abstractmethod
    def scores(self, learnt: FittedTable, rows: Indices) -> list[Array]:
        """The scores of some rows by every learner.

        Args:
            learnt: What `fitted` gave.
            rows: Rising places of rows; one at least.
        """


@dataclass(frozen=True)
class FrameTable(RowTable):
    """A table in memory.

    Attributes:
        features: The definitions.
        frame: Their values, one column a feature.
    """

    features: Features
    frame: pl.DataFrame

    def select(self, names: Sequence[str]) -> pl.DataFrame:
        """See `RowTable`."""
        return self.frame.select(names)

    def fitted(self, learners: Sequence[Learner], asked: Asked, rows: Indices, seed: int) -> FittedTable:
        """See `RowTable`."""
        target = asked.target[rows]
        frame, counts = self.frame[rows], self._counts(rows)
        fit = EncoderFit(self.features)
        fit.add(frame, target, counts)
        encoder = fit.encoder(target)
        encoded = self._counted(Encoded(encoder, encoder.training_matrix(frame), frame), counts)
        encoded.blocks.update(fit.blocks(encoder))
        training = Training(encoded, encoded.encoder, target, asked.output, asked.classes, seed)
        return FittedTable(encoded.encoder, tuple(fitted(learner, training) for learner in learners))

    def scores(self, learnt: FittedTable, rows: Indices) -> list[Array]:
        """See `RowTable`."""
        encoded = self._counted(learnt.encoder.of_frame(self.frame[rows]), self._counts(rows))
        return [learner.scores(encoded) for learner in learnt.learners]

    @cached_property
    def _counts_of_all(self) -> dict[str, Counts]:
        """How often rows have their n-grams, by feature: no fold hashes the texts again."""
        if self.frame.height > _COUNTED_ONCE:
            return {}
        grams = ((name, self.features[name]) for name in self.frame.columns)
        counts = {name: NgramWeights.counted(one, self.frame[name]) for name, one in grams if isinstance(one, Ngrams)}
        return {name: count for name, count in counts.items() if count is not None}

    def _counts(self, rows: Indices) -> dict[str, Counts]:
        """Those of some rows."""
        inside = np.zeros(self.frame.height, dtype=bool)
        inside[rows] = True
        return {name: counts.taken(inside) for name, counts in self._counts_of_all.items()}

    def _counted(self, encoded: Encoded, counts: Mapping[str, Counts]) -> Encoded:
        names = encoded.encoder.names
        return replace(encoded, counted=lambda place: counts.get(names[place]))
