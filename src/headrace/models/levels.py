"""Steps of level: once one is plain, what was before it is read as if it had been on the new level.

After a step the same phase of earlier seasons has the right shape at the wrong height, and so has whatever was learnt
from it. From the history alone, without a model or a clock: means of *blocks* (about a quarter of a short season) are
compared with those a short and a long season before; what counts is the smaller of both changes, and nothing where they
disagree. A short season of blocks that all changed to one side *confirms* a step if the least of them changed by
`RECORD` times as much as in any such season of the `BEFORE` long ones before, and as `FLOOR` times the mean; one block
or two do if they changed by `SOON` times as much. How many times more than that is how *clear* a step is.

From then on forecasts read a history whose values before it are moved, by a ratio or a difference, whichever fits
better, towards the level of what came since. How far is a matter of trust: it grows with the share of the change that
one number explains, with its size beside what is usual, and with time.

What goes back, as after a holiday, is dropped as soon as a short season is nearer to the old level, and everything
nearly `KEPT` long seasons later, when little of what is read is older. A lone season says too little of what is usual:
such series have no steps. A model that forecast worse with them in the time held back at its fit waits for a season of
change; if it had still forecast worse, for one that is `WARY` times as clear as any that misled it: where weather comes
and goes, a step does not last.

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
SOON = 6.0
"""As `RECORD`, of two blocks and of one."""
WAITS = 1.1
"""Who asks for steps that are so clear waits for a season of change."""
WARY = 2.0
FLOOR = 2.0
"""Where nothing had changed to one side there is no record to beat but so many times the mean."""
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
    common = gcd(short, long)
    return max((d for d in range(1, short // BLOCKS + 1) if common % d == 0), default=0) if short < long else 0


def moved(history: History, frame: Frame, examples: Examples, clear: float = 1.0) -> tuple[History, Examples]:
    """What forecasts read after steps of level.

    Args:
        history: Without glitches. For exact answers it reaches five long seasons, a short one and a block back.
        frame: The target and its seasons.
        examples: What to forecast.
        clear: Steps are at least so clear; from `WAITS` on, all blocks of a season have to change.

    Returns:
        The history, with more rows where there were steps, and the examples by the rows that they read.
    """
    size = block(frame)
    if not size or not len(examples) or clear == inf:
        return history, examples
    levels = _Levels(history, frame, size, clear, examples.origin)
    unique, group = np.unique(levels.code(examples.series, levels.newest(examples.origin)), return_inverse=True)
    shifts = levels.shifts(unique)
    if not shifts:
        return history, examples
    place = unique // levels.width
    rows = np.concatenate([np.arange(history.series), place[list(shifts)]])
    values = {name: column[rows] for name, column in history.values.items()}
    for row, (row_index, shift) in enumerate(shifts.items(), history.series):
        place[row_index] = row
        shift.apply(values[frame.target][row])
    read = Examples(place[group], examples.origin, examples.ahead)
    return replace(history, keys=history.keys[rows], values=values), read


def clearness(history: History, series: Ints, frame: Frame, origin: Ints, clear: float) -> Array:
    """How clear the step is that each forecast goes by, where it is at least so clear; 0 where there is none."""
    levels_of, size = np.zeros(series.size), block(frame)
    if size and series.size and clear < inf:
        levels = _Levels(history, frame, size, clear, origin)
        unique, group = np.unique(levels.code(series, levels.newest(origin)), return_inverse=True)
        shifts = list(levels.shifts(unique))
        levels_of[:] = np.bincount(shifts, levels.clear(unique[shifts]), unique.size)[group]
    return levels_of


class _Levels:
    """Means of the blocks of some series, and the steps in them that are so clear, as far as origins know them."""

    def __init__(self, history: History, frame: Frame, size: int, clear: float, origin: Ints) -> None:
        self._values = history.values[frame.target]
        self._size, self._first = size, -history.first % size
        self._short, self._long = (season // frame.step // size for season in (frame.short, frame.long))
        self._means = _means(self._values[:, self._first :], size)
        self.width = self._means.shape[1] + 1
        """More than there are blocks, and as many as they can be asked for: none is known yet, or all are."""
        oldest = max(int(self.newest(origin).min()) - KEPT * self._long, 0)
        row, block, blocks, by = _confirmed(self._means, (self._short, self._long), clear, oldest)
        steps = self.code(row, block)
        first = np.diff(steps, prepend=-self.width) > self._short  # the others speak of the same step
        first |= np.diff(steps // self.width, prepend=-1) > 0
        self._steps, self._blocks, self._clear = steps[first], blocks[first], by[first]

    def code(self, series: Ints, newest: Ints) -> Ints:
        """One number for a series and its newest block."""
        codes: Ints = series * self.width + newest + 1
        return codes

    def newest(self, origin: Ints) -> Ints:
        """The newest block that is complete at an origin; -1 where there is none."""
        blocks: Ints = np.maximum((origin + 1 - self._first) // self._size, 0) - 1
        return blocks

    def clear(self, asked: Ints) -> Array:
        """How clear the newest steps are that some codes know."""
        found: Array = self._clear[np.searchsorted(self._steps, asked, side="right") - 1]
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
        for index in np.flatnonzero(near).tolist():
            row, newest = divmod(int(asked[index]), self.width)
            shift = self._shift(row, (newest - 1 - int(age[index]), int(self._blocks[place[index]])), newest - 1)
            if shift is not None:
                found[index] = shift
        return found

    def _shift(self, row: int, confirmed: tuple[int, int], newest: int) -> Shift | None:
        """What the blocks from a step on, up to the newest, make of it; nothing if it has gone back."""
        short, long, means = self._short, self._long, self._means[row]
        begin = confirmed[0] - confirmed[1] + 1
        block = np.arange(max(begin, newest - long + 1), newest + 1)
        usual = _usual(means, block - -(-(block - begin + 1) // long) * long, long)
        change = means[block] - usual
        known = ~np.isnan(change)
        if known[-short:].sum() * 2 < known[-short:].size:
            return None
        sure = np.arange(begin, confirmed[0] + 1)
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
        position = int(around[0] + np.argmin(np.cumsum(gain) - gain))
        least = float(np.fmin.reduce(values[max(position - season, 0) : end]))
        return Shift(position, ratio, difference, least if least >= 0 else -inf)


def _means(values: Array, size: int) -> Array:
    """The mean of every whole block; NaN where half of it or more is not known."""
    count = values.shape[1] // size
    blocks = values[:, : count * size].reshape(values.shape[0], count, size)
    means: Array = blocks.sum(axis=2) / size
    gaps = np.isnan(means)
    if gaps.any():
        part = blocks[gaps]
        known = ~np.isnan(part)
        number = known.sum(axis=1)
        total = np.where(known, part, 0.0).sum(axis=1)
        means[gaps] = np.where(number * 2 > size, total / np.maximum(number, 1), np.nan)
    return means


def _confirmed(means: Array, seasons: tuple[int, int], clear: float, oldest: int) -> tuple[Ints, Ints, Ints, Array]:
    """Rows, blocks, how many blocks of change and how clear it is, in order, of what confirms a step from one on."""
    changes, shifts = _changes(means, *seasons), []
    for blocks, by in ((seasons[0], RECORD), *(((2, SOON), (1, SOON)) if clear < WAITS else ())):
        row, block, times = _of_blocks(changes, seasons, blocks, by * clear, oldest)
        sure = times > by * clear
        shifts.append((row[sure], block[sure], np.full(int(sure.sum()), blocks), times[sure] / by))
    row, block, blocks, times = (np.concatenate(column) for column in zip(*shifts, strict=True))
    order = np.lexsort((-blocks, block, row))
    return row[order], block[order], blocks[order], times[order]


def _changes(means: Array, short: int, long: int) -> tuple[Array, Array]:
    """How much every block from the long season's end on lies above, and below, those a short and a long one before.

    The smaller of both changes; NaN where either is not known.
    """
    now = means[:, long:]
    day, week = now - means[:, long - short : means.shape[1] - short], now - means[:, : max(means.shape[1] - long, 0)]
    return np.minimum(day, week), np.minimum(-day, -week)


def _of_blocks(
    sides: tuple[Array, Array], seasons: tuple[int, int], blocks: int, by: float, oldest: int
) -> tuple[Ints, Ints, Array]:
    """Where so many blocks changed to one side, the least `by` times the record: rows, last blocks, how many times."""
    (short, long), least = seasons, []
    count = sides[0].shape[1] - blocks + 1
    if count < 1:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp), np.empty(0)
    for change in sides:
        low = change[:, :count]
        for index in range(1, blocks):
            low = np.minimum(low, change[:, index : index + count])
        least.append(low)
    size = np.fmax(np.fmax(*least), 0.0)
    row, position = _above(size, by, (short, BEFORE * long), range(max(oldest - long - blocks + 1, 0), count, long))
    if not row.size:
        return row, position, np.empty(0)
    before = position[:, None] - np.arange(short, BEFORE * long)
    inside, before = before >= 0, np.maximum(before, 0)
    enough = (inside & ~np.isnan(least[0][row[:, None], before])).sum(axis=1) * 2 >= before.shape[1]
    row, position, inside, before = row[enough], position[enough], inside[enough], before[enough]
    record = np.where(inside, size[row[:, None], before], 0.0).max(axis=1)
    sizes = np.fmax(np.fmax(*(change[row[:, None], before + blocks - 1] for change in sides)), 0.0)
    usual = np.where(inside, sizes, 0.0).sum(axis=1) / before.shape[1]
    with np.errstate(divide="ignore"):
        times = size[row, position] / np.maximum(record, FLOOR * usual)
    return row, position + long + blocks - 1, times


def _above(size: Array, by: float, reach: tuple[int, int], begins: range) -> tuple[Ints, Ints]:
    """Rows and places of what may be `by` times what lies so far back: of that what a long season has in common."""
    parts = [(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp))]
    for begin in begins:
        end = min(begin + begins.step, size.shape[1])
        common = size[:, max(end - reach[1], 0) : max(begin - reach[0] + 1, 0)].max(axis=1, initial=0.0)
        row, position = np.nonzero(size[:, begin:end] > by * common[:, None])
        parts.append((row, position + begin))
    row, position = (np.concatenate(column) for column in zip(*parts, strict=True))
    return row, position


def _usual(means: Array, block: Ints, long: int) -> Array:
    """The mean of blocks and of those a long season before; of one where the other is not known."""
    means_of = np.array([np.where(b >= 0, means[np.maximum(b, 0)], np.nan) for b in (block, block - long)])
    change: Array = np.where(
        np.isnan(means_of[1]),
        means_of[0],
        np.where(np.isnan(means_of[0]), means_of[1], (means_of[0] + means_of[1]) / 2),
    )
    return change


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
