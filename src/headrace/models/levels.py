"""Steps of level: once one is plain, what was before it is read as if it had been on the new level.

After a step the same phase of earlier seasons has the right shape at the wrong height, and so has whatever was learnt
from it. From the history alone, without a model or a clock: means of *blocks* (about a quarter of a short season) are
compared with those a short and a long season before; what counts is the smaller of both changes, and nothing where they
disagree. A short season of blocks that all changed to one side *confirms* a step if the least of them changed by
`RECORD` times as much as in any such season of the `BEFORE` long ones before, and by `FLOOR` times the mean.
From then on forecasts read a history whose values before it are moved, by a ratio or a difference, whichever fits
better, towards the level of what came since. How far is a matter of trust: it grows with the share of the change that
one number explains, with its size beside what is usual, and with time.

What goes back, as after a holiday, is dropped as soon as a short season is nearer to the old level, and everything
nearly `KEPT` long seasons later, when little of what is read is older. A lone season says too little of what is usual:
such series have no steps. Nor has a model that forecast worse with them in the time held back at its fit: where weather
comes and goes, a step does not last.

What an origin sees depends on nothing after it, and on complete blocks alone, which begin at fixed times. Forecasts
that read moved values have rows of the history of their own, as in `models.glitches`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd, inf

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array, History
from headrace.features.matrix import Examples
from headrace.models.member import Frame

BLOCKS = 4
"""Blocks of a short season at least: fewer say nothing of when, more are noise."""
RECORD = 2.0
BEFORE = 2
FLOOR = 4.0
"""Where no season of blocks had changed to one side there is no record to beat."""
KEPT = 2
BACK = 0.5
"""A step has gone back where the newest short season lies nearer to the old level than so much of its first change."""
EXPLAINED = 2
"""Power of the explained share of the change: weather and holidays change one block more than another."""
USUAL = 8.0
"""Squared changes, in units of the usual ones between seasons, are trusted by half at this."""
LEAST = 0.1
"""With less trust nothing is moved."""

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Shift:
    """What is done with the values before a step.

    Attributes:
        at: Position of the first value on the new level.
        ratio: What they are multiplied by.
        difference: What is added to them.
        least: They do not become less than this.
    """

    at: int
    ratio: float
    difference: float
    least: float

    def apply(self, values: Array) -> None:
        """Move one series in place."""
        values[: self.at] = np.maximum(values[: self.at] * self.ratio + self.difference, self.least)


def block(frame: Frame) -> int:
    """Steps of a block, of which both seasons are multiples; 0 where there are no steps of level."""
    short, long = frame.short // frame.step, frame.long // frame.step
    both = gcd(short, long)
    return max((d for d in range(1, short // BLOCKS + 1) if both % d == 0), default=0) if short < long else 0


def moved(history: History, frame: Frame, examples: Examples) -> tuple[History, Examples]:
    """What forecasts read after steps of level.

    Args:
        history: Without glitches. For exact answers it reaches five long seasons, a short one and a block back.
        frame: The target and its seasons.
        examples: What to forecast.

    Returns:
        The history, with more rows where there were steps, and the examples by the rows that they read.
    """
    size = block(frame)
    if not size or not len(examples):
        return history, examples
    levels = _Levels(history, frame, size)
    asked, of = np.unique(levels.code(examples.series, levels.newest(examples.origin)), return_inverse=True)
    shifts = levels.shifts(asked)
    if not shifts:
        return history, examples
    place = asked // levels.width
    rows = np.concatenate([np.arange(history.series), place[list(shifts)]])
    values = {name: column[rows] for name, column in history.values.items()}
    for row, (which, shift) in enumerate(shifts.items(), history.series):
        place[which] = row
        shift.apply(values[frame.target][row])
    read = Examples(place[of], examples.origin, examples.ahead)
    return replace(history, keys=history.keys[rows], values=values), read


class _Levels:
    """Means of the blocks of some series, and the steps in them."""

    def __init__(self, history: History, frame: Frame, size: int) -> None:
        self._values = history.values[frame.target]
        self._size, self._first = size, -history.first % size
        self._short, self._long = (season // frame.step // size for season in (frame.short, frame.long))
        self._means = _means(self._values[:, self._first :], size)
        self.width = self._means.shape[1] + 1
        """More than there are blocks, and as many as they can be asked for: none is known yet, or all are."""
        steps = self.code(*_confirmed(self._means, self._short, self._long))
        first = np.diff(steps, prepend=-self.width) > self._short  # the others speak of the same step
        first |= np.diff(steps // self.width, prepend=-1) > 0
        self._steps = steps[first]

    def code(self, series: Ints, newest: Ints) -> Ints:
        """One number for a series and its newest block."""
        found: Ints = series * self.width + newest + 1
        return found

    def newest(self, origin: Ints) -> Ints:
        """The newest block that is complete at an origin; -1 where there is none."""
        found: Ints = np.maximum((origin + 1 - self._first) // self._size, 0) - 1
        return found

    def shifts(self, asked: Ints) -> dict[int, Shift]:
        """By places among some codes: what is done for those that know a step."""
        if not self._steps.size:
            return {}
        place = np.searchsorted(self._steps, asked, side="right") - 1
        step = self._steps[np.maximum(place, 0)]
        age = asked - step
        near = (place >= 0) & (step // self.width == asked // self.width) & (age < KEPT * self._long - self._short)
        found = {}
        for which in np.flatnonzero(near).tolist():
            row, newest = divmod(int(asked[which]), self.width)
            shift = self._shift(row, newest - 1 - int(age[which]), newest - 1)
            if shift is not None:
                found[which] = shift
        return found

    def _shift(self, row: int, confirmed: int, newest: int) -> Shift | None:
        """What the blocks from a step on, up to the newest, make of it; nothing if it has gone back."""
        short, long, means = self._short, self._long, self._means[row]
        begin = confirmed - short + 1
        block = np.arange(max(begin, newest - long + 1), newest + 1)
        usual = _usual(means, block - -(-(block - begin + 1) // long) * long, long)
        change = means[block] - usual
        known = ~np.isnan(change)
        if known[-short:].sum() * 2 < short:
            return None
        sure = np.arange(begin, confirmed + 1)
        first = _mean(means[sure] - _usual(means, sure - long, long))
        if not _mean(change[-short:]) * np.sign(first) >= BACK * abs(first):
            return None
        before = np.arange(begin - long, begin)
        noise = _mean((means[before] - _usual(means, before - long, long)) ** 2)
        ratio, difference, explained = _fit(means[block][known], usual[known])
        seasons = (newest - begin + 1) / short
        size = _mean(change) ** 2 * seasons
        trust = explained ** (EXPLAINED / seasons) * size / (size + USUAL * noise)
        if not trust > LEAST:
            return None
        return self._placed(row, (begin, newest), 1 + trust * (ratio - 1), trust * difference)

    def _placed(self, row: int, blocks: tuple[int, int], ratio: float, difference: float) -> Shift:
        """The change of a level, where it fits best among the steps around its first block."""
        values, season = self._values[row], self._long * self._size
        begin, end = (self._first + block * self._size for block in (blocks[0], blocks[1] + 1))
        around = np.arange(max(begin - self._size, season), begin + self._size)
        before = values[around - season]
        change = values[around] - before
        gain = np.abs(change) - np.abs(change - (ratio - 1) * before - difference)
        gain = np.where(np.isnan(gain), 0.0, gain)
        at = int(around[0] + np.argmin(np.cumsum(gain) - gain))
        least = float(np.fmin.reduce(values[max(at - season, 0) : end]))
        return Shift(at, ratio, difference, least if least >= 0 else -inf)


def _means(values: Array, size: int) -> Array:
    """The mean of every whole block; NaN where half of it or more is not known."""
    count = values.shape[1] // size
    some = values[:, : count * size].reshape(values.shape[0], count, size)
    known = ~np.isnan(some)
    number = known.sum(axis=2)
    total = np.where(known, some, 0.0).sum(axis=2)
    return np.where(number * 2 > size, total / np.maximum(number, 1), np.nan)


def _confirmed(means: Array, short: int, long: int) -> tuple[Ints, Ints]:
    """Rows and blocks, in order, of what confirms a step."""
    count = means.shape[1] - long - short + 1
    if count < 1:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    now, least = means[:, long:], []
    day, week = now - means[:, long - short : -short], now - means[:, :-long]
    sides = np.minimum(day, week), np.minimum(-day, -week)  # NaN stays
    for change in sides:
        low = change[:, :count]
        for back in range(1, short):
            low = np.minimum(low, change[:, back : back + count])
        least.append(low)
    known = ~np.isnan(least[0])
    size = np.where(known, np.maximum(np.maximum(*least), 0.0), 0.0)
    row, at = np.nonzero(size > 0)
    before = at[:, None] - np.arange(BEFORE * long - 1, short - 1, -1)
    inside, before = before >= 0, np.maximum(before, 0)
    enough = (inside & known[row[:, None], before]).sum(axis=1) * 2 >= before.shape[1]
    record = np.where(inside, size[row[:, None], before], 0.0).max(axis=1)
    some = np.fmax(np.fmax(*sides), 0.0)[:, short - 1 :]
    usual = np.where(inside, some[row[:, None], before], 0.0).sum(axis=1) / before.shape[1]
    sure = enough & (size[row, at] > np.maximum(RECORD * record, FLOOR * usual))
    return row[sure], at[sure] + long + short - 1


def _usual(means: Array, block: Ints, long: int) -> Array:
    """The mean of blocks and of those a long season before; of one where the other is not known."""
    both = np.array([np.where(b >= 0, means[np.maximum(b, 0)], np.nan) for b in (block, block - long)])
    found: Array = np.where(np.isnan(both[1]), both[0], np.where(np.isnan(both[0]), both[1], (both[0] + both[1]) / 2))
    return found


def _fit(now: Array, usual: Array) -> tuple[float, float, float]:
    """Ratio and difference of which one is the better fit of the change, and what share of it that explains."""
    change = now - usual
    difference, ratio = float(change.mean()), 1.0
    left, total = float(((change - difference) ** 2).sum()), float((change**2).sum())
    if now.min() >= 0 and usual.min() >= 0 and usual.sum() > 0:
        by = float(now.sum() / usual.sum())
        other = float(((now - by * usual) ** 2).sum())
        if other < left:
            left, ratio, difference = other, by, 0.0
    return ratio, difference, max(1 - left / total, 0.0) if total > 0 else 0.0


def _mean(values: Array) -> float:
    """Of the known ones; NaN where there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
