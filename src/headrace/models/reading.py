"""A learner that reads some of the features: it is fitted on these, and asked for these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from headrace.models.base import Fitted, Learner, Training
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.parts import TrainingParts


@dataclass(frozen=True)
class ReadingSome(Fitted):
    """A fitted learner that reads some of the features of an encoder.

    Attributes:
        learner: What reads them.
        encoder: Of all features.
        names: Those that it reads, in the order of the encoder.
    """

    learner: Fitted
    encoder: Encoder
    names: tuple[str, ...]

    @cached_property
    def _own(self) -> Encoder:
        return self.encoder.some(self.names)

    @cached_property
    def _places(self) -> tuple[int, ...]:
        return tuple(map(self.encoder.names.index, self.names))

    def __reduce__(self) -> tuple[Any, ...]:
        return ReadingSome, (self.learner, self.encoder, self.names)

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        return self.learner.scores(rows.some(self._own))

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`."""
        places = self._places
        return self.learner.score([encoded[i] for i in places], [features[i] for i in places], self._own)

    def contributions(self, rows: Encoded) -> Contributions | None:
        """See `Fitted`: a feature that is not read adds nothing."""
        own = self.learner.contributions(rows.some(self._own))
        if own is None:
            return None
        parts = np.zeros((len(rows), len(self.encoder.names), own.parts.shape[2]))
        parts[:, self._places] = own.parts
        return Contributions(own.base, parts)

    def of_ngrams(self, row: Encoded, place: int) -> Array | None:
        """See `Fitted`."""
        if place not in self._places:
            return None
        return self.learner.of_ngrams(row.some(self._own), self._places.index(place))

    @property
    def single(self) -> bool:
        """See `Fitted`."""
        return self.learner.single

    def save(self, path: Path) -> None:
        """See `Fitted`; which features it reads is written beside it."""
        self.learner.save(path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote is a file of the learner: read that.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("load the learner, and say what it reads: reading_some")


def fitted(learner: Learner, training: Training) -> Fitted:
    """The learner, fitted on the features that it reads.

    Raises:
        HeadraceError: It cannot be fitted.
    """
    if learner.features is None:
        return learner.fit(training)
    names = tuple(name for name in training.encoder.names if name in learner.features)
    own = training.encoder.some(names)
    part = replace(training, rows=training.rows.some(own), encoder=own)
    return ReadingSome(learner.fit(part), training.encoder, names)


def fitted_in_parts(learner: Learner, training: TrainingParts) -> Fitted:
    """The learner, fitted on the features that it reads, part by part.

    Raises:
        HeadraceError: It cannot be fitted.
    """
    if learner.features is None:
        return learner.fit_parts(training)
    names = tuple(name for name in training.encoder.names if name in learner.features)
    own, parts = training.encoder.some(names), training.parts
    part = replace(
        training, rows=training.rows.some(own), encoder=own, parts=lambda: (one.some(own) for one in parts())
    )
    return ReadingSome(learner.fit_parts(part), training.encoder, names)


def reading_some(learner: Fitted, encoder: Encoder, names: Sequence[str] | None) -> Fitted:
    """What was read from a file, reading what it read before.

    Args:
        learner: Of a file.
        encoder: Of all features.
        names: Those that it reads; None for all.
    """
    return learner if names is None else ReadingSome(learner, encoder, tuple(names))


def names_read(learner: Fitted) -> list[str] | None:
    """The features that a fitted learner reads; None for all."""
    return list(learner.names) if isinstance(learner, ReadingSome) else None
