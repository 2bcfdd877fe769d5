"""What a search for better settings asks of a task: the loss of a configuration, and two of them on unseen data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.system import System

Report = Callable[[int, float], None]
"""Told the number of a fold, from 0, and the mean loss up to it. It may raise, which ends the trial."""
BLOCKS = 50
"""Of so many parts, one after the other is left out, to see how much the difference of two losses changes."""


@dataclass(frozen=True)
class UnseenComparison:
    """Two configurations on the data that no trial saw.

    Attributes:
        measure: The loss; less is better.
        present: Of the present configuration.
        tuned: Of the best one of the search.
        error: The standard error of the difference, by the jackknife over blocks; None where it cannot be told.
        blocks: How many blocks there were.
        count: How much they were compared on.
        unit: Of what, such as ``rows``.
    """

    measure: str
    present: float
    tuned: float
    error: float | None
    blocks: int
    count: int
    unit: str

    @property
    def difference(self) -> float:
        """The tuned one's loss less the present one's: negative where it is better."""
        return self.tuned - self.present

    @property
    def wins(self) -> bool:
        """Whether the tuned one is better."""
        return self.difference < 0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "difference": self.difference}


@dataclass(frozen=True)
class UnseenLosses:
    """The losses of several fits on the same unseen data, and what they are without one block after the other.

    Attributes:
        measure: The loss; less is better.
        unit: What it is over, such as ``rows``.
        count: How many.
        values: Of every fit.
        without: Of every block that is left out, of every fit: shape (blocks, fits).
    """

    measure: str
    unit: str
    count: int
    values: tuple[float, ...]
    without: NDArray[np.float64]

    @classmethod
    def of(
        cls, losses: Callable[[NDArray[np.bool_]], Sequence[float]], blocks: NDArray[np.intp], measure: str, unit: str
    ) -> UnseenLosses:
        """From the losses on parts of the unseen data.

        Args:
            losses: Of every fit on the places that are true.
            blocks: The block of every place, from 0: what depends on one another is in one block.
            measure: What the loss is called.
            unit: What a place is.
        """
        count = int(blocks.max()) + 1
        values = tuple(float(value) for value in losses(np.ones(blocks.size, dtype=bool)))
        partial = [losses(blocks != block) for block in range(count)] if count > 1 else []
        without = np.array(partial, dtype=np.float64).reshape(-1, len(values))
        return cls(measure, unit, blocks.size, values, without)

    def error(self, fit: int, other: int | None = None) -> float | None:
        """The standard error of a fit's loss, or of its difference to another's, by the jackknife over blocks.

        None where it cannot be told.

        >>> losses = UnseenLosses("rmse", "rows", 4, (2.0, 1.0), np.array([[2.5, 1.5], [1.5, 0.5]]))
        >>> losses.error(0), losses.error(0, 1)  # what both have in common does not count in the difference
        (0.5, 0.0)
        """
        partial = self.without[:, fit] - (0.0 if other is None else self.without[:, other])
        count = partial.size
        if count < 2 or not np.isfinite(partial).all():
            return None
        return sqrt((count - 1) / count * float(((partial - partial.mean()) ** 2).sum()))


class Objective(ABC):
    """A task's data, parted into what trials see and what they never see. Made once in each process that does trials.

    Attributes:
        measure: What the loss is called, such as ``log_loss``; less is better.
        folds: How often a trial reports.
        seen: What trials see, in words, such as ``712 rows``.
        learnt: What it is counted in: ``rows``, or ``steps`` of every series.
    """

    measure: str
    folds: int
    seen: str
    learnt: str

    @abstractmethod
    def loss(self, system: System, report: Report) -> float:
        """The loss of a configuration on what trials see.

        Args:
            system: The declaration with the trial's values.
            report: To be called after each fold; what it raises must pass.

        Raises:
            HeadraceError: The configuration cannot be fitted: the trial fails, and others go on.
        """

    @abstractmethod
    def size(self, share: float = 1.0) -> int:
        """How much of what trials see a share of it is, in `learnt`."""

    @abstractmethod
    def unseen(self, system: System, share: float = 1.0) -> Any:
        """A configuration, fitted on what trials see, on the data that they never see: what `judged` needs of it.

        It can be pickled: the configurations that are compared are fitted side by side, in processes of their own.

        Args:
            system: The declaration.
            share: So much of it is learnt from; a smaller share is a part of a larger one.

        Raises:
            NotEnoughDataError: That is too little.
        """

    @abstractmethod
    def judged(self, parts: Sequence[Any]) -> UnseenLosses:
        """The losses of several fits, by what `unseen` gave of each."""

    def compare(self, parts: Sequence[Any]) -> UnseenComparison:
        """The present and the tuned configuration, by what `unseen` gave of each."""
        losses = self.judged(parts)
        present, tuned = losses.values
        blocks = max(losses.without.shape[0], 1)
        return UnseenComparison(losses.measure, present, tuned, losses.error(1, 0), blocks, losses.count, losses.unit)
