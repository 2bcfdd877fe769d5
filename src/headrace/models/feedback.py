"""Intervals that widen where the model missed lately and narrow where it did not, as a function of the history alone.

The model also forecasts from its *checks*: every `horizon`-th step, counted from a fixed time. So every step has one
forecast from the check before it, and an error as soon as its value is known. A factor of the half width begins at 1
and goes through the newest `WINDOW` blocks of checks, oldest first: after each block it is multiplied by
exp(`RATE` * (missed - expected) / length), where `missed` errors were above the half width times the factor. This is
adaptive conformal inference (Gibbs & Candès 2021, "Adaptive conformal inference under distribution shift") on the
logarithm of the width. Errors from before the fit's end do not count: the model was fitted on them.

Checks are fixed in time, so neighbouring origins share them: n origins of a series cost n / horizon more forecasts, and
those of `WINDOW` blocks. Whoever goes on in time (a stream) remembers them and pays for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from math import exp
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array, History
from headrace.grid.grid import MICROSECOND

BLOCK = 12
"""Steps of a block at least: with fewer a factor would jump with every miss. A longer horizon is a block of its own."""
WINDOW = 24
"""Blocks to look back on: 12, 24, 48 or all since the fit differ little."""
RATE = 1.2
"""A block without a hit triples a half width of 90 %, one without a miss takes a tenth off. Chosen on windows before
the reported ones; see docs/decisions.md."""
WIDEST = 10.0
"""Factors lie between this and its reciprocal."""
NONE = -1
"""In place of a check that does not count."""

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Checks:
    """Forecasts from checks, as arrays over them.

    Attributes:
        value: Point forecasts, shape (checks, horizon).
        half: Half widths before any factor, shape (checks, horizon).
        factor: The factor at the check, if a block begins there, shape (checks,); NaN where it is not known.
    """

    value: Array
    half: Array
    factor: Array

    @classmethod
    def unknown(cls, count: int, horizon: int) -> Checks:
        """Nothing but NaN."""
        return cls(np.full((count, horizon), np.nan), np.full((count, horizon), np.nan), np.full(count, np.nan))


class Memory(Protocol):
    """Checks of before, so that none is computed twice. Series and positions are those of the history at hand."""

    def recall(self, series: Ints, check: Ints) -> tuple[NDArray[np.bool_], Checks]:
        """Which of these are remembered, and what was said from them; NaN for the others."""

    def keep(self, series: Ints, check: Ints, said: Checks) -> None:
        """Remember what was said, in ascending order of series and checks."""


def blocked(horizon: int) -> int:
    """Checks per block."""
    return -(-BLOCK // horizon)


def remembered(horizon: int) -> int:
    """How many checks of a series count for a forecast."""
    return (WINDOW + 1) * blocked(horizon)


def reach(horizon: int) -> int:
    """How many steps before an origin the oldest check that counts may lie."""
    return remembered(horizon) * horizon


class Feedback:
    """The factors of some forecasts of one history: says which checks it needs, and is then told of them.

    Args:
        history: The series.
        target: The column that is forecast.
        asked: Series and origin of the forecasts.
        horizon: Steps ahead.
        interval: Nominal coverage.
        since: End of the fit: checks before it do not count.
        memory: Remembers checks from call to call.
    """

    def __init__(
        self,
        history: History,
        target: str,
        asked: tuple[Ints, Ints],
        *,
        horizon: int,
        interval: float,
        since: datetime,
        memory: Memory | None = None,
    ) -> None:
        series, origin = asked
        self._actual, self._horizon, self._memory = history.values[target], horizon, memory
        self._first = max(history.position(since - MICROSECOND) + 1, 0)
        self._before, self._width = reach(horizon), history.length + reach(horizon)
        within = horizon * np.arange(blocked(horizon))
        length = horizon * within.size
        self._moves = _moves(length, interval)
        self._asked = self._code(series, origin)
        self._elapsed = (origin + history.first) % length
        begins, self._block = np.unique(self._asked - self._elapsed, return_inverse=True)
        come = np.zeros(begins.size, dtype=np.intp)
        np.maximum.at(come, self._block, self._elapsed)
        now = np.where(within <= come[:, None], begins[:, None] + within, NONE)
        self._factor = self._recall(begins)[1].factor
        self._new = np.flatnonzero(np.isnan(self._factor))
        past = (begins[self._new, None] - length * np.arange(WINDOW, 0, -1))[:, :, None] + within
        codes = [np.where(self._positions(each) >= self._first, each, NONE) for each in (now, past)]
        needed = np.concatenate([each.ravel() for each in codes])
        needed = needed[needed != NONE]
        self._needed = np.unique(needed) if past.size else needed  # those of now are in order
        self._now, self._past = (np.where(c != NONE, np.searchsorted(self._needed, c), NONE) for c in codes)
        self._known, self._said = self._recall(self._needed)
        self._unknown = np.flatnonzero(~self._known)
        self._made, self._missing = self._sought(self._needed[self._unknown])

    def _sought(self, codes: Ints) -> tuple[Ints, Ints]:
        """Where checks stand among what is forecast (asked for, then missing), and which are missing."""
        asked, place = np.unique(self._asked, return_index=True)
        at = np.minimum(np.searchsorted(asked, codes), asked.size - 1)
        lacks = asked[at] != codes
        return np.where(lacks, self._asked.size - 1 + np.cumsum(lacks), place[at]), codes[lacks]

    @property
    def missing(self) -> tuple[Ints, Ints]:
        """Series and positions to forecast from beside those that were asked for."""
        return self._missing // self._width, self._positions(self._missing)

    def factors(self, value: Array, half: Array) -> Array:
        """The factor of each forecast that was asked for.

        Args:
            value: Point forecasts of those that were asked for and then of the missing, shape (n, horizon).
            half: Their half widths.
        """
        self._said.value[self._unknown], self._said.half[self._unknown] = value[self._made], half[self._made]
        errors, halves = self._errors()
        factor = np.ones(self._new.size)
        for block in range(WINDOW):
            at = self._past[:, block]
            factor = self._moved(factor, _joined(errors, at), _joined(halves, at))
        self._factor[self._new] = factor
        if self._memory is not None:
            self._keep(self._memory)
        at = self._now[self._block]
        seen = np.where(np.arange(self._moves.shape[0] - 1) < self._elapsed[:, None], _joined(errors, at), np.nan)
        return self._moved(self._factor[self._block], seen, _joined(halves, at))

    def _moved(self, factor: Array, errors: Array, halves: Array) -> Array:
        """Factors after the errors of one more block, shape (n, steps), NaN where not known."""
        missed = (errors > halves * factor[:, None]).sum(axis=1)
        known = np.isfinite(errors).sum(axis=1)
        moved: Array = np.clip(factor * self._moves[missed, known], 1 / WIDEST, WIDEST)
        return moved

    def _errors(self) -> tuple[Array, Array]:
        """Absolute errors and half widths of the needed checks, and NaN for `NONE`; NaN where anything is not known."""
        at = self._positions(self._needed)[:, None] + np.arange(1, self._horizon + 1)
        series = np.broadcast_to((self._needed // self._width)[:, None], at.shape)
        inside = at < self._actual.shape[1]
        errors, halves = (np.full((at.shape[0] + 1, at.shape[1]), np.nan) for _ in range(2))
        errors[:-1][inside] = np.abs(self._actual[series[inside], at[inside]] - self._said.value[inside])
        halves[:-1] = self._said.half
        errors[~np.isfinite(halves)] = np.nan
        return errors, halves

    def _keep(self, memory: Memory) -> None:
        """Have the new remembered: forecasts, and the factors at the beginnings of blocks."""
        begins, said, changed = self._now[self._new, 0], self._said, ~self._known
        counts = begins != NONE
        said.factor[begins[counts]] = self._factor[self._new[counts]]
        changed[begins[counts]] = True
        codes = self._needed[changed]
        part = Checks(said.value[changed], said.half[changed], said.factor[changed])
        memory.keep(codes // self._width, self._positions(codes), part)

    def _recall(self, codes: Ints) -> tuple[NDArray[np.bool_], Checks]:
        if self._memory is None:
            return np.zeros(codes.size, dtype=bool), Checks.unknown(codes.size, self._horizon)
        return self._memory.recall(codes // self._width, self._positions(codes))

    def _code(self, series: Ints, position: Ints) -> Ints:
        """One number for a series and a position, which may lie before the history."""
        code: Ints = series * self._width + position + self._before
        return code

    def _positions(self, codes: Ints) -> Ints:
        positions: Ints = codes % self._width - self._before
        return positions


def _joined(values: Array, at: Ints) -> Array:
    """Values of the checks of blocks, side by side: shape (blocks, steps)."""
    return values[at].reshape(at.shape[0], at.shape[1] * values.shape[1])


@lru_cache(maxsize=16)
def _moves(length: int, interval: float) -> Array:
    """What factors are multiplied by, by how many errors of a block were missed and how many were known.

    A table, because exponentials of arrays may differ in the last bit from array to array.
    """
    rows = range(length + 1)
    return np.array([[exp(RATE * (missed - (1 - interval) * known) / length) for known in rows] for missed in rows])
