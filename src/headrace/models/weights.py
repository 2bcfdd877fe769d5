"""Who is listened to and how wide intervals are: a rule that goes through past forecasts, oldest first.

The candidates are the members of a model, each by itself, and forecasts that need no model. Of every candidate and
bucket of steps ahead (1; 2 and 3; to half of the horizon; the rest) the rule keeps a discounted mean of
(error / half width) ** 1.5, which lies between absolute and squared errors. A candidate's weight is what it has from
the beginning, times (least mean / its own) ** `POWER`. The means begin with those of the model's twin, on time that the
twin had not seen, counted as `ANCHOR` forecasts that are never discounted. So weights are moved by what came true
since, and with nothing told they are those that would have been best for the twin.

Half widths are multiplied by a factor. Several begin at 1, and after every forecast each is multiplied by
exp(rate * (missed - expected) / steps), where `missed` errors were above the half width times that factor: adaptive
conformal inference (Gibbs & Candès 2021) on the logarithm of the width, at several rates. Each is judged by its pinball
loss, and they are averaged by the same rule as the candidates (Zaffran et al. 2022 aggregate them alike).

Every forecast of the past is mixed by the weights of its own time, so widths are measured on errors as they were made.
All arithmetic is of single rows: the numbers do not depend on what else is computed at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array

NAIVE = 0.05
"""Weight that each forecast without a model begins with; members share the rest."""
POWER = 6
ANCHOR = 1.5
DISCOUNT = 0.75
"""Of what is known, with every forecast of `STEPS` steps or more."""
STEPS = 12
CAP = 10.0
"""An error counts as at most so many half widths: one absurd value decides nothing."""
RATES = (0.5, 1.5, 4.5)
"""A forecast without a hit widens a half width of 90 % to 1.6, 3.9 and 57 times itself; one without a miss narrows it
to 95, 86 and 64 %."""
WIDEST = 10.0
"""Factors lie between this and its reciprocal."""
FADING = 0.9
"""Of the losses of factors, with every forecast of `STEPS` steps or more."""
LOSS = 0.1
"""Loss that every factor begins with: about what a right one loses in a forecast."""
JUDGED = 8
"""As `POWER`, of factors."""


@dataclass(frozen=True)
class Rule:
    """The rule for forecasts of some steps ahead. States are arrays of shape (n, `size`).

    Attributes:
        horizon: Steps ahead.
        coverage: Nominal coverage.
        members: How many candidates are members of a model; they come first.
        naive: How many need no model.
    """

    horizon: int
    coverage: float
    members: int
    naive: int

    @property
    def candidates(self) -> int:
        """How many there are."""
        return self.members + self.naive

    @cached_property
    def _begins(self) -> NDArray[np.intp]:
        """First step of every bucket, counted from 0."""
        return np.array(sorted({b for b in (0, 1, 3, max(self.horizon // 2, 3)) if b < self.horizon}))

    @cached_property
    def _bucket(self) -> NDArray[np.intp]:
        """The bucket of every step."""
        return np.searchsorted(self._begins, np.arange(self.horizon), side="right") - 1

    @property
    def buckets(self) -> int:
        """How many there are."""
        return int(self._begins.size)

    @property
    def size(self) -> int:
        """Numbers of a state: sums by candidate and bucket, counts by bucket, factors and their losses."""
        return self.buckets * (self.candidates + 1) + 2 * len(RATES)

    @property
    def _several(self) -> int:
        """How many forecasts count as one because they are short."""
        return -(-STEPS // self.horizon)

    def first(self, n: int) -> Array:
        """States of which nothing is known yet."""
        state = np.zeros((n, self.size))
        state[:, -2 * len(RATES) : -len(RATES)] = 1.0
        state[:, -len(RATES) :] = LOSS
        return state

    def losses(self, value: Array, half: Array, actual: Array) -> tuple[Array, Array]:
        """Sums of losses by candidate and bucket, and how many each are of, in forecasts.

        Args:
            value: What the candidates said, shape (n, candidates, horizon).
            half: Half widths, shape (n, horizon).
            actual: What came true, shape (n, horizon), NaN where it is not known.

        Returns:
            Shapes (n, candidates, buckets) and (n, buckets). A candidate that said nothing was as wrong as can be.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            error = np.abs(value - actual[:, None]) / half[:, None]
        known = np.isfinite(actual) & np.isfinite(half)
        error = np.where(error < CAP, error, CAP)
        error = np.where(known[:, None], error * np.sqrt(error), 0.0)
        steps = np.diff(np.append(self._begins, self.horizon))
        sums = np.add.reduceat(error, self._begins, axis=2) / steps
        return sums, np.add.reduceat(known.astype(np.float64), self._begins, axis=1) / steps

    def weights(self, state: Array, beginning: Array) -> Array:
        """Weights of candidates by bucket, shape (n, candidates, buckets); what they add up to does not matter.

        Args:
            state: Shape (n, size).
            beginning: Losses of the twin, shape (n, candidates, buckets).
        """
        sums, count = self._known(state)
        loss = (ANCHOR * beginning + sums) / (ANCHOR + count)[:, None]
        prior = np.array([(1 - NAIVE * self.naive) / self.members] * self.members + [NAIVE] * self.naive)
        return prior[:, None] * _power(loss.min(axis=1, keepdims=True), loss, POWER)

    def mixed(self, weights: Array, value: Array) -> tuple[Array, Array]:
        """The mean of what the candidates say, and the members' share of it: shape (n, horizon) each."""
        total, weight, members = (np.zeros((value.shape[0], self.horizon)) for _ in range(3))
        for k in range(self.candidates):
            known = np.isfinite(value[:, k])
            mixed_weights = np.where(known, weights[:, k, self._bucket], 0.0)
            total += np.where(known, value[:, k], 0.0) * mixed_weights
            weight += mixed_weights
            members += mixed_weights if k < self.members else 0.0
        with np.errstate(invalid="ignore"):
            return total / weight, members / weight

    def shares(self, weights: Array, value: Array) -> Array:
        """How much of the mean each candidate has said, shape (n, candidates, horizon): 0 of what has no value.

        Args:
            weights: As of `mixed`.
            value: What the candidates said, shape (n, candidates, horizon).
        """
        known = np.where(np.isfinite(value), weights[:, :, self._bucket], 0.0)
        with np.errstate(invalid="ignore"):
            return np.asarray(known / known.sum(axis=1, keepdims=True))

    def factor(self, state: Array) -> Array:
        """What half widths are multiplied by, shape (n,)."""
        factors, losses = state[:, -2 * len(RATES) : -len(RATES)], state[:, -len(RATES) :]
        weights = _power(losses.min(axis=1, keepdims=True), losses, JUDGED)
        total, weight = np.zeros(len(state)), np.zeros(len(state))
        for r in range(len(RATES)):
            total += weights[:, r] * factors[:, r]
            weight += weights[:, r]
        return total / weight

    def moved(self, state: Array, beginning: Array, value: Array, half: Array, actual: Array) -> Array:
        """States after one more forecast each, of which something may have come true; see `losses`."""
        mixed, _ = self.mixed(self.weights(state, beginning), value)
        sums, count = self._known(state)
        more, known = self.losses(value, half, actual)
        fade = DISCOUNT ** (1 / self._several)
        sums, count = fade * sums + more / self._several, fade * count + known / self._several
        flat = sums.reshape(len(state), self.candidates * self.buckets)
        state_parts = np.concatenate([flat, count, *self._widths(state, mixed, half, actual)], axis=1)
        return np.where(np.any(known > 0, axis=1, keepdims=True), state_parts, state)

    def _widths(self, state: Array, mixed: Array, half: Array, actual: Array) -> tuple[Array, Array]:
        """Factors and their losses after one more forecast."""
        factors, losses = state[:, -2 * len(RATES) : -len(RATES)], state[:, -len(RATES) :]
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.abs(actual - mixed) / half
        known: NDArray[np.bool_] = np.isfinite(actual) & np.isfinite(half) & np.isfinite(mixed)
        over = np.minimum(score, CAP)[:, None] - factors[:, :, None]
        missed: NDArray[np.bool_] = known[:, None] & (over > 0)
        steps = self.horizon * self._several
        pinball = np.where(over > 0, self.coverage * over, (self.coverage - 1) * over)
        lost = np.add.reduce(np.where(known[:, None], pinball, 0.0), axis=2) / steps
        moves = _moves(self.horizon, steps, self.coverage)
        by = moves[np.arange(len(RATES)), missed.sum(axis=2), known.sum(axis=1)[:, None]]
        fade = FADING ** (1 / self._several)
        return np.clip(factors * by, 1 / WIDEST, WIDEST), fade * losses + lost

    def _known(self, state: Array) -> tuple[Array, Array]:
        shape = (len(state), self.candidates, self.buckets)
        end = self.candidates * self.buckets
        return state[:, :end].reshape(shape), state[:, end : end + self.buckets]


def _power(least: Array, weights: Array, power: int) -> Array:
    """(least / own) ** power by multiplications alone: powers of arrays may differ in the last bit from array to array.

    1 where both are nothing.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(weights > 0, least / weights, 1.0)
    result = ratio
    for _ in range(power - 1):
        result = result * ratio
    return result


@lru_cache(maxsize=16)
def _moves(horizon: int, steps: int, coverage: float) -> Array:
    """What factors are multiplied by: by rate, how many errors were missed, and how many were known.

    A table, because exponentials of arrays may differ in the last bit from array to array.
    """
    rows = range(horizon + 1)
    return np.array(
        [[[exp(rate * (m - (1 - coverage) * known) / steps) for known in rows] for m in rows] for rate in RATES]
    )
