"""What is remembered of the series' newest checks, for forecasts that learn from their errors (`models.feedback`).

It is no state of its own: all of it follows from the values that are remembered and the model. So it is neither in the
changelog nor on disk; a series that comes back computes it again with its first event.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headrace.models.feedback import Checks, Shape
from headrace.sources.events import NEVER

Ints = NDArray[np.int64]


class CheckRings:
    """The newest checks of every row of the rings.

    Attributes:
        shape: What is remembered of a row; no checks where the model learns nothing.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._step: Ints = np.empty((0, shape.checks), dtype=np.int64)
        self._said = self._empty(0)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return self._step.nbytes + sum(part.nbytes for part in self._said.parts)

    def grow(self, rows: int) -> None:
        """Have room for so many rows; what is new is empty."""
        old, more = self._step.shape[0], max(rows - self._step.shape[0], 0)
        self._step = np.concatenate([self._step, np.full((more, self.shape.checks), NEVER)])
        grown = self._empty(old + more)
        for larger, part in zip(grown.parts, self._said.parts, strict=True):
            larger[:old] = part
        self._said = grown

    def _empty(self, rows: int) -> Checks:
        count, candidates, horizon, state = self.shape
        shapes = ((candidates, horizon), (horizon,), (state,))
        return Checks(*(np.empty((rows, count, *shape)) for shape in shapes))

    def forget(self, row: int | slice = slice(None)) -> None:
        """Remember nothing of a row, or of all."""
        self._step[row] = NEVER

    def correct(self, rows: Ints, steps: Ints) -> None:
        """Values at these steps change: what was said from there on, and factors from there on, no longer hold."""
        for row, step in zip(rows.tolist(), steps.tolist(), strict=True):
            self._step[row, self._step[row] >= step] = NEVER

    def recall(self, rows: Ints, steps: Ints) -> tuple[NDArray[np.bool_], Checks]:
        """Which of these are remembered, and what was said from them; NaN for the others."""
        place = self._place(steps)
        known = self._step[rows, place] == steps
        parts = [part[rows, place] for part in self._said.parts]
        if not known.all():
            for part in parts:
                part[~known] = np.nan
        return known, Checks(*parts)

    def keep(self, rows: Ints, steps: Ints, said: Checks) -> None:
        """Remember what was said; of several in one place the last, which is the newest."""
        place = self._place(steps)
        self._step[rows, place] = steps
        for part, other in zip(self._said.parts, said.parts, strict=True):
            part[rows, place] = other

    def _place(self, steps: Ints) -> Ints:
        return steps // self.shape.horizon % max(self.shape.checks, 1)


class RememberedChecks:
    """The checks of some views of rows, as a model asks for them.

    Args:
        rings: All rows.
        rows: Row of every view.
        last: Whether a view is its row's last: what others said holds for themselves alone.
        begin: Step of the views' first column.
    """

    def __init__(self, rings: CheckRings, rows: Ints, last: NDArray[np.bool_], begin: int) -> None:
        self._rings, self._rows, self._last, self._begin = rings, rows, last, begin

    def recall(self, series: Ints, check: Ints) -> tuple[NDArray[np.bool_], Checks]:
        """As `Memory.recall`."""
        return self._rings.recall(self._rows[series], check + self._begin)

    def keep(self, series: Ints, check: Ints, said: Checks) -> None:
        """As `Memory.keep`."""
        values = self._last[series]
        rows, steps = self._rows[series[values]], check[values] + self._begin
        self._rings.keep(rows, steps, Checks(*(part[values] for part in said.parts)))
