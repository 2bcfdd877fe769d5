"""Forecasts that learn from what came true since the fit, as a function of the model and the history alone.

The model also forecasts from its *checks*: every `horizon`-th step, counted from a fixed time. So every step has one
forecast from the check before it, and an error as soon as its value is known. The newest checks, oldest first, say whom
to listen to and how wide intervals are (`models.weights`). Errors from before the fit's end do not count: the model was
fitted on them.

Checks are fixed in time, so neighbouring origins share them: n origins of a series cost n / horizon more forecasts, and
those of the checks before the first. Whoever goes on in time (a stream) remembers them and pays for none.

What checks say together is computed at *bases*: every check of `STEPS` steps or more, of shorter ones every so many
that they have these steps. An origin goes on from the base before it with the few checks since: origins share that too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array
from headrace.grid.grid import MICROSECOND
from headrace.models.glitches import Glitches
from headrace.models.weights import STEPS, Rule

WINDOW = 7
"""Checks of `STEPS` steps or more to look back on; of shorter ones as many as have these steps."""
NONE = -1
"""In place of a check that does not count."""

Ints = NDArray[np.intp]


class Shape(NamedTuple):
    """What is remembered of a series: so many checks, and of each what so many candidates said, and a state."""

    checks: int
    candidates: int
    horizon: int
    state: int


NOTHING = Shape(0, 0, 0, 0)
"""Of a model that is not there yet."""


@dataclass(frozen=True)
class Checks:
    """Forecasts from checks, as arrays over them.

    Attributes:
        value: What the candidates said, shape (checks, candidates, horizon).
        half: Half widths before any factor, shape (checks, horizon).
        state: What the checks before made of the rule's state, shape (checks, size); NaN where it is not known.
    """

    value: Array
    half: Array
    state: Array

    @property
    def parts(self) -> tuple[Array, Array, Array]:
        """All arrays."""
        return self.value, self.half, self.state

    @classmethod
    def unknown(cls, count: int, shape: Shape) -> Checks:
        """Nothing but NaN."""
        return cls(
            np.full((count, shape.candidates, shape.horizon), np.nan),
            np.full((count, shape.horizon), np.nan),
            np.full((count, shape.state), np.nan),
        )


class Memory(Protocol):
    """Checks of before, so that none is computed twice. Series and positions are those of the history at hand."""

    def recall(self, series: Ints, check: Ints) -> tuple[NDArray[np.bool_], Checks]:
        """Which of these are remembered, and what was said from them; NaN for the others."""

    def keep(self, series: Ints, check: Ints, said: Checks) -> None:
        """Remember what was said, in ascending order of series and checks."""


def window(horizon: int) -> int:
    """How many checks before the newest base count for a forecast."""
    return WINDOW * between(horizon)


def between(horizon: int) -> int:
    """How many checks there are from one base to the next."""
    return -(-STEPS // horizon)


def shape_of(rule: Rule) -> Shape:
    """What is remembered of a series."""
    return Shape(window(rule.horizon) + between(rule.horizon), rule.candidates, rule.horizon, rule.size)


def reach(horizon: int) -> int:
    """How many steps before an origin the oldest check that counts may lie."""
    return (window(horizon) + between(horizon)) * horizon


class Feedback:
    """What some forecasts of one history learn: says which checks it needs, and is then told of them.

    Args:
        glitches: Of the series.
        asked: Series and origin of the forecasts.
        rule: What is made of the checks.
        beginning: Losses of the model's twin by row of the history; see `Rule.weights`.
        since: End of the fit: checks before it do not count.
        memory: Remembers checks from call to call.
    """

    def __init__(
        self,
        glitches: Glitches,
        asked: tuple[Ints, Ints],
        *,
        rule: Rule,
        beginning: Array,
        since: datetime,
        memory: Memory | None = None,
    ) -> None:
        series, origin = asked
        self._rule, self._beginning, self._memory = rule, beginning, memory
        self._glitches, history, horizon = glitches, glitches.history, rule.horizon
        first = max(history.position(since - MICROSECOND) + 1, 0)
        self._before, self._width = reach(horizon), history.length + reach(horizon)
        self._asked = self._code(series, origin)
        self._elapsed = (origin + history.first) % (horizon * between(horizon))
        self._base, self._of = np.unique(self._asked - self._elapsed, return_inverse=True)
        self._state = self._recall(self._base)[1].state
        self._new = np.flatnonzero(np.isnan(self._state[:, 0]))
        past = self._base[self._new, None] - horizon * np.arange(window(horizon), 0, -1)
        ahead = horizon * np.arange(between(horizon))
        after = np.where(ahead <= self._elapsed[:, None], (self._asked - self._elapsed)[:, None] + ahead, NONE)
        codes = [np.where(self._positions(codes_of) >= first, codes_of, NONE) for codes_of in (self._base, past, after)]
        needed = np.unique(np.concatenate([code.ravel() for code in codes]))
        self._needed = needed[needed != NONE]
        self._now, self._past, self._after = (
            np.where(c != NONE, np.searchsorted(self._needed, c), NONE) for c in codes
        )
        self._known, self._said = self._recall(self._needed)
        self._unknown = np.flatnonzero(~self._known)
        self._made, self._missing = self._sought(self._needed[self._unknown])

    def _sought(self, codes: Ints) -> tuple[Ints, Ints]:
        """Where checks stand among what is forecast (asked for, then missing), and which are missing."""
        codes_asked, place = np.unique(self._asked, return_index=True)
        place_of = np.minimum(np.searchsorted(codes_asked, codes), codes_asked.size - 1)
        lacks = codes_asked[place_of] != codes
        return np.where(lacks, self._asked.size - 1 + np.cumsum(lacks), place[place_of]), codes[lacks]

    @property
    def missing(self) -> tuple[Ints, Ints]:
        """Series and positions to forecast from beside those that were asked for."""
        return self._missing // self._width, self._positions(self._missing)

    def states(self, value: Array, half: Array) -> Array:
        """The rule's state at each forecast that was asked for, shape (n, size).

        Args:
            value: What the candidates say, of those that were asked for and then of the missing.
            half: Half widths before any factor.
        """
        self._said.value[self._unknown], self._said.half[self._unknown] = value[self._made], half[self._made]
        checks = _with_none(self._said)
        state, base = self._rule.first(self._new.size), self._base[self._new]
        if base.size:
            actual = self._came_true(base, self._past)
            for i, column in enumerate(self._past.T):
                state = self._moved(state, base // self._width, checks, column, actual[:, i])
        self._state[self._new] = state
        if self._memory is not None:
            self._keep(self._memory)
        state, actual = self._state[self._of], self._came_true(self._asked, self._after)
        steps = np.arange(self._rule.horizon)
        for i, column in enumerate(self._after.T):
            values = np.where(steps < (self._elapsed - i * self._rule.horizon)[:, None], actual[:, i], np.nan)
            state = self._moved(state, self._asked // self._width, checks, column, values)
        return state

    def _moved(self, state: Array, series: Ints, checks: Checks, index: Ints, actual: Array) -> Array:
        return self._rule.moved(state, self._beginning[series], checks.value[index], checks.half[index], actual)

    def _came_true(self, codes: Ints, checks: Ints) -> Array:
        """What came true of checks (places among the needed), as some series and positions know it, NaN for `NONE`.

        Args:
            codes: Series and positions, shape (n,).
            checks: Shape (n, m).

        Returns:
            Shape (n, m, horizon).
        """
        position = self._positions(codes)
        known, row = self._glitches.came_true(codes // self._width, position)
        begin = np.append(self._positions(self._needed), NONE)[checks]
        index = begin[:, :, None] + np.arange(1, self._rule.horizon + 1)
        inside = (checks != NONE)[:, :, None] & (index < known.shape[1])
        return np.where(inside, known[row[:, None, None], np.where(inside, index, 0)], np.nan)

    def _keep(self, memory: Memory) -> None:
        """Have the new remembered: forecasts, and states at the bases."""
        now, checks, changed = self._now[self._new], self._said, ~self._known
        counts = now != NONE
        checks.state[now[counts]] = self._state[self._new[counts]]
        changed[now[counts]] = True
        codes = self._needed[changed]
        memory.keep(codes // self._width, self._positions(codes), Checks(*(part[changed] for part in checks.parts)))

    def _recall(self, codes: Ints) -> tuple[NDArray[np.bool_], Checks]:
        if self._memory is None:
            return np.zeros(codes.size, dtype=bool), Checks.unknown(codes.size, shape_of(self._rule))
        return self._memory.recall(codes // self._width, self._positions(codes))

    def _code(self, series: Ints, position: Ints) -> Ints:
        """One number for a series and a position, which may lie before the history."""
        code: Ints = series * self._width + position + self._before
        return code

    def _positions(self, codes: Ints) -> Ints:
        positions: Ints = codes % self._width - self._before
        return positions


def _with_none(checks: Checks) -> Checks:
    """These and a last one that says nothing, for `NONE`."""
    return Checks(*(np.concatenate([part, np.full((1, *part.shape[1:]), np.nan)]) for part in checks.parts))
