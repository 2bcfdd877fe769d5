"""Intervals that widen where the model missed lately and narrow where it did not, as a function of the history alone.

The model also forecasts from its *checks*: every `horizon`-th step, counted from a fixed time. So every step has one
forecast from the check before it, and an error as soon as its value is known. A factor of the half width begins at 1
and goes through the errors of the newest `WINDOW` checks, oldest first: after each check it is multiplied by
exp(`RATE` * (missed - expected) / horizon), where `missed` errors were above the half width times the factor. This is
adaptive conformal inference (Gibbs & Candès 2021, "Adaptive conformal inference under distribution shift") on the
logarithm of the width. Errors from before the fit's end do not count: the model was fitted on them.

Checks are fixed in time, so neighbouring origins share them: n origins of a series cost n / horizon + `WINDOW` more
forecasts at the most, and whoever goes on in time (a stream) remembers them and pays for none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from math import exp
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array, History

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW = 24
"""Checks to look back on: 12, 24, 48 or all since the fit differ little."""
RATE = 1.2
"""A horizon without a hit triples a half width of 90 %, one without a miss takes a tenth off. Chosen on windows before
the reported ones; see docs/decisions.md."""
WIDEST = 10.0
"""Factors lie between this and its reciprocal."""

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Checks:
    """Forecasts from checks, as arrays over them.

    Attributes:
        value: Point forecasts, shape (checks, horizon).
        half: Half widths before any factor, shape (checks, horizon).
        factor: The factor at the check, shape (checks,); NaN where it is not known.
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


def reach(horizon: int) -> int:
    """How many steps before an origin the oldest check that counts may lie."""
    return (WINDOW + 1) * horizon


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
        self._actual, self._horizon, self._interval, self._memory = history.values[target], horizon, interval, memory
        self._first = max(-((history.start - since) // history.step), 0)
        self._before, self._width = reach(horizon), history.length + reach(horizon)
        self._asked = self._code(series, origin)
        self._elapsed = (origin + (history.start - EPOCH) // history.step) % horizon
        check = origin - self._elapsed
        self._counts = check >= self._first
        newest, self._newest_of = np.unique(self._code(series, check)[self._counts], return_inverse=True)
        factor = self._recall(newest)[1].factor
        self._unsettled = newest[np.isnan(factor)]
        past = self._unsettled[:, None] - horizon * np.arange(WINDOW, 0, -1)
        self._past_counts = self._positions(past) >= self._first
        self._needed = np.unique(np.concatenate([newest, past[self._past_counts]]))
        self._newest, self._past = (np.searchsorted(self._needed, code) for code in (newest, past))
        self._known, self._said = self._recall(self._needed)
        self._missing = np.setdiff1d(self._needed[~self._known], self._asked)

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
        said, known = self._said, self._known
        codes, place = np.unique(np.concatenate([self._asked, self._missing]), return_index=True)
        new = place[np.searchsorted(codes, self._needed[~known])]
        said.value[~known], said.half[~known] = value[new], half[new]
        errors = self._errors(said)
        unsettled = np.searchsorted(self._needed, self._unsettled)
        said.factor[unsettled] = self._settled(errors, said.half)
        if self._memory is not None:
            known[unsettled] = False
            changed = np.flatnonzero(~known)
            part = Checks(said.value[changed], said.half[changed], said.factor[changed])
            codes = self._needed[changed]
            self._memory.keep(codes // self._width, self._positions(codes), part)
        factors = np.ones(self._asked.size)
        now = self._newest[self._newest_of]
        seen = np.arange(1, self._horizon + 1) <= self._elapsed[self._counts, None]
        factors[self._counts] = self._moved(said.factor[now], np.where(seen, errors[now], np.nan), said.half[now])
        return factors

    def _settled(self, errors: Array, half: Array) -> Array:
        """Factors at checks, from those before."""
        factor = np.ones(self._unsettled.size)
        for place, counts in zip(self._past.T, self._past_counts.T, strict=True):
            at = place[counts]
            factor[counts] = self._moved(factor[counts], errors[at], half[at])
        return factor

    def _moved(self, factor: Array, errors: Array, half: Array) -> Array:
        """Factors after some more errors, shape (n, horizon), NaN where not known."""
        missed = (errors > half * factor[:, None]).sum(axis=1)
        known = np.isfinite(errors).sum(axis=1)
        moved: Array = np.clip(factor * _moves(self._horizon, self._interval)[missed, known], 1 / WIDEST, WIDEST)
        return moved

    def _errors(self, said: Checks) -> Array:
        """Absolute errors of the needed checks, NaN where a value, or what was said of it, is not known."""
        at = self._positions(self._needed)[:, None] + np.arange(1, self._horizon + 1)
        inside = at < self._actual.shape[1]
        series = np.broadcast_to((self._needed // self._width)[:, None], at.shape)
        actual = np.full(at.shape, np.nan)
        actual[inside] = self._actual[series[inside], at[inside]]
        errors: Array = np.abs(actual - said.value)
        errors[~np.isfinite(said.half)] = np.nan
        return errors

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


@lru_cache(maxsize=16)
def _moves(horizon: int, interval: float) -> Array:
    """What factors are multiplied by, by how many errors were missed and how many were known.

    A table, because exponentials of arrays may differ in the last bit from array to array.
    """
    rows = range(horizon + 1)
    return np.array([[exp(RATE * (missed - (1 - interval) * known) / horizon) for known in rows] for missed in rows])
