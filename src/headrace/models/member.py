"""One booster of the forecaster: how values become what it learns, and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache

import numpy as np

from headrace.features.arrays import Array, Arrays, History
from headrace.features.expression import Expression
from headrace.features.history import (
    difference,
    lag,
    rolling_count,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    seasonal_lag,
)
from headrace.features.matrix import Evaluator, Examples
from headrace.features.row import Col, maximum
from headrace.features.view import Features

LEVEL = "level"
SEASON = "season"
LAST = "last"
FLOOR = 1e-3
"""A scale is at least this share of the series' size: a flat series does not blow up noise."""
STILL = 1e-6
"""A logarithm that changes by less has changed as much as the number itself."""
SPREAD = 0.25
"""The typical change from step to step counts as the scale unless the spread is over four times as large."""


@dataclass(frozen=True)
class Transform:
    """How a member sees the target: its logarithm or not, relative to an anchor, in units of a scale.

    Members that err differently make a better mean: one looks at differences from the series' level, the other at
    ratios to the last season.

    Attributes:
        log: Learn from logarithms; only where every value is above zero.
        anchor: What is taken off the target: `LEVEL` (mean of the last short season), `SEASON` (seasonal lag) or, for
            series that persist, `LAST` (newest value).
    """

    log: bool
    anchor: str

    @property
    def holds(self) -> bool:
        """Whether the member is for series that persist, and for no others."""
        return self.anchor == LAST

    def history(self, history: History, target: str) -> History:
        """The history as this member sees it."""
        if not self.log:
            return history
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(history.values[target] > 0, np.log(history.values[target]), np.nan)
        return replace(history, values=history.values | {target: values})


@dataclass(frozen=True)
class Frame:
    """The per-series expressions that scaling needs, for one target and its seasons."""

    target: str
    step: timedelta
    short: timedelta
    long: timedelta

    @property
    def level(self) -> Expression:
        """Mean of the newest season; of a longer time where that is empty."""
        return _level(self)

    @property
    def last(self) -> Expression:
        """The newest value; after a gap the mean of the newest few, or the level."""
        return _last(self)

    def centre(self, transform: Transform) -> Expression:
        """What a member's features are relative to."""
        return self.last if transform.holds else self.level

    def scale(self, transform: Transform) -> Expression:
        """How much the series moves; never zero while it has a value."""
        return _scale(self, transform)

    def anchor(self, transform: Transform) -> Expression:
        """What is taken off the target."""
        return self.centre(transform) if transform.anchor != SEASON else _season(self)

    def bound(self, features: Features, transform: Transform) -> Features:
        """The features as a member reads them. Bind once: their digests are known to the same objects only."""
        return features.bind(self.centre(transform), self.scale(transform))


# Made once per frame: an expression remembers its digest, and small histories are evaluated in less time than it takes.


@lru_cache(maxsize=64)
def _level(frame: Frame) -> Expression:
    y = frame.target
    month = rolling_mean(y, frame.long * 4)
    return rolling_mean(y, frame.short).fill(rolling_mean(y, frame.long)).fill(month)


@lru_cache(maxsize=64)
def _last(frame: Frame) -> Expression:
    return lag(frame.target, frame.step * 0).fill(rolling_mean(frame.target, frame.step * 4)).fill(frame.level)


@lru_cache(maxsize=64)
def _scale(frame: Frame, transform: Transform) -> Expression:
    spread = rolling_std(frame.target, frame.long)
    if transform.anchor != SEASON:
        change = rolling_mean(abs(difference(frame.target, frame.step)), frame.long)
        spread = maximum(change, spread * SPREAD)  # type: ignore[assignment]
    floor = abs(rolling_mean(frame.target, frame.long * 4)) * FLOOR + 1e-9
    return maximum(spread, floor)


@lru_cache(maxsize=64)
def _season(frame: Frame) -> Expression:
    return seasonal_lag(frame.target, frame.short).fill(seasonal_lag(frame.target, frame.long)).fill(frame.level)


@lru_cache(maxsize=64)
def _count(frame: Frame) -> Expression:
    return rolling_count(Col(frame.target), frame.long * 4)


@lru_cache(maxsize=64)
def _ends(frame: Frame) -> tuple[Expression, Expression]:
    lowest, highest = rolling_min(frame.target, frame.long * 4), rolling_max(frame.target, frame.long * 4)
    return lowest - (highest - lowest), highest + (highest - lowest)


def lookback(features: Features, short: timedelta, long: timedelta) -> timedelta:
    """How far before an origin a history must reach for every feature, scale and step of level to be exact."""
    span = max(features.lookback, long * 5) + short
    return span + short / 4 if short < long else span


class View:
    """One member's view of examples: the matrix it reads, and the way back from what it says."""

    def __init__(
        self, transform: Transform, frame: Frame, history: History, examples: Examples, arrays: Arrays | None = None
    ) -> None:
        self.transform, self._frame, self._examples = transform, frame, examples
        self._history = transform.history(history, frame.target)
        self._evaluator = Evaluator(self._history, examples, None if transform.log else arrays)
        self._anchor = self._evaluator.column(frame.anchor(transform))
        self._scale = self._evaluator.column(frame.scale(transform))

    def matrix(self, features: Features) -> Array:
        """Float64 of shape (examples, features), of features from `Frame.bound`."""
        return self._evaluator.matrix(features)

    def learn(self) -> Array:
        """The known targets in the member's units."""
        values = self._history.values[self._frame.target]
        target = values[self._examples.series, self._examples.target]
        return (target - self._anchor) / self._scale

    def restore(self, output: Array) -> Array:
        """The booster's output in the target's own unit."""
        values = self._anchor + output * self._scale
        return np.exp(values) if self.transform.log else values

    def restored_parts(self, parts: Array) -> tuple[Array, Array]:
        """Parts of the output, and what they add in the target's own unit to where the member starts.

        Of a member that learns logarithms the difference that all parts make is shared among them by their logarithms,
        which is what each adds on the straight way from none of them to all (logarithmic mean Divisia index).

        Args:
            parts: What adds up to the output, shape (examples, parts).

        Returns:
            Where the member starts, shape (examples,), and what the parts add to it.
        """
        parts = parts * self._scale[:, None]
        if not self.transform.log:
            return self._anchor, parts
        start, total = np.exp(self._anchor), parts.sum(axis=1)
        still = np.abs(total) < STILL
        growth = np.where(still, 1 + total / 2, np.expm1(total) / np.where(still, 1.0, total))
        return start, parts * (start * growth)[:, None]


def spread(frame: Frame, history: History, examples: Examples, arrays: Arrays | None = None) -> Array:
    """The scale in the target's own unit, by which the width of intervals goes."""
    return Evaluator(history, examples, arrays).column(frame.scale(Transform(log=False, anchor=LEVEL)))


def count(frame: Frame, history: History, examples: Examples, arrays: Arrays | None = None) -> Array:
    """How many values of the last four long seasons are known at the origin."""
    return Evaluator(history, examples, arrays).column(_count(frame))


def reachable(frame: Frame, history: History, examples: Examples, arrays: Arrays | None = None) -> tuple[Array, Array]:
    """Least and largest value that a forecast may have: the range of the last four long seasons, and once more beyond.

    A scale that is too small or too large for a moment, as in a flat stretch, cannot then ruin a forecast.
    """
    evaluator = Evaluator(history, examples, arrays)
    least, largest = (evaluator.column(end) for end in _ends(frame))
    return least, largest
