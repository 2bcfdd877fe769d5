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


def compared(
    losses: Callable[[NDArray[np.bool_]], tuple[float, float]], blocks: NDArray[np.intp], measure: str, unit: str
) -> UnseenComparison:
    """Two configurations by their losses on parts of the unseen data.

    Args:
        losses: The present one's and the tuned one's loss on the places that are true.
        blocks: The block of every place, from 0: what depends on one another is in one block.
        measure: What the loss is called.
        unit: What a place is.
    """
    count = int(blocks.max()) + 1
    present, tuned = losses(np.ones(blocks.size, dtype=bool))
    partial = np.array([np.subtract(*losses(blocks != block)[::-1]) for block in range(count)]) if count > 1 else None
    error = None
    if partial is not None and np.isfinite(partial).all():
        error = sqrt((count - 1) / count * float(((partial - partial.mean()) ** 2).sum()))
    return UnseenComparison(measure, float(present), float(tuned), error, count, blocks.size, unit)


class Objective(ABC):
    """A task's data, parted into what trials see and what they never see. Made once in each process that does trials.

    Attributes:
        measure: What the loss is called, such as ``log_loss``; less is better.
        folds: How often a trial reports.
        seen: What trials see, in words, such as ``712 rows``.
    """

    measure: str
    folds: int
    seen: str

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
    def unseen(self, system: System) -> Any:
        """A configuration, fitted on what trials see, on the data that they never see: what `compare` needs of it.

        It can be pickled: the configurations that are compared are fitted side by side, in processes of their own.
        """

    @abstractmethod
    def compare(self, parts: Sequence[Any]) -> UnseenComparison:
        """The present and the tuned configuration, by what `unseen` gave of each."""
