"""Isolated absurd values: stored and answered as they are, but no forecast is made from them.

From the history alone, without a model or a clock. A day (another time where seasons are longer or shorter, see `_day`)
is judged by the seven before it: the medians of their greatest and of their least values are usual bounds, and a value
beyond them by more than `FAR` times their distance is *odd*. An odd value with at most one other odd value of its side
within `NEAR` steps of it is a *glitch*: features, levels and scales read the value a season before in its place, and
nothing is learnt from it. Values too high and too low count apart: no -9999 speaks for a 5e9. The third odd value
confirms all three: from its time on they are read as they are, so a new level speaks for itself.

That is so where they differ, as values on a level do. The same value to the last bit is what a device sends in place of
one: -9999, however often, counts once, and each repetition as little as `_repeats` says. So a level that is really flat
is confirmed too, after a short season and two or three values, and by the 35th of them at the latest. Nor does such a
value become usual by coming every day, where it lies below zero and all else above.

What an origin sees depends on nothing after it. So where a new level was confirmed, earlier origins keep a view of
their own: `cleaned` gives a history with a row for every view, and says which row each forecast reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array, History
from headrace.models.member import Frame

DAY = timedelta(days=1)
DAYS = 7
"""Days to judge by."""
LEAST = 3
"""With fewer of them known nothing is odd."""
FAR = 5.0
"""Of 61,000 values of nine streams 2 that are right are taken for glitches; with 3 it were 13, and with 10 every eighth
value times 100 would pass."""
FAR_AT_REST = 50.0
"""In place of `FAR` where most values are one and the same, such as zero: there, a value is large by nature."""
FAR_IF_FEW = 500.0
"""In place of either where most values are missing: their bounds say little."""
FLAT = 0.1
"""Bounds lie at least this share of the series' size apart: a flat series may have its first step."""
BELOW = 0.25
"""Of series that were above zero for seven days, a value is odd that lies so much of that distance below zero;
not where most of their values are missing, as of sales with a return in between."""
NEAR = 36
CONFIRMED = 3
"""Different odd values of a side that make a level."""

Ints = NDArray[np.intp]


def cleaned(history: History, frame: Frame, series: Ints, origin: Ints) -> tuple[History, Ints]:
    """As `Glitches.cleaned`, for one look at a history."""
    return Glitches(history, frame).cleaned(series, origin)


class Glitches:
    """The glitches of a history, looked for once.

    Args:
        history: All values as they came. For exact answers it reaches `margin` further back than is read.
        frame: The target and its seasons.
    """

    def __init__(self, history: History, frame: Frame) -> None:
        self.history, self.frame = history, frame
        self._odd = _odd(history, frame)

    def cleaned(self, series: Ints, origin: Ints) -> tuple[History, Ints]:
        """What the forecasts (series[i], origin[i]) may read of the target: glitches as the value a season before.

        Args:
            series: Rows of the history.
            origin: Grid positions.

        Returns:
            A history with one row a series and view, and the row that each forecast reads, all in order of the series.
        """
        history, frame, odd = self.history, self.frame, self._odd
        if not odd.size:
            return history, series
        rows_of, upto, row = _views(odd, history.series, series, origin)
        values = {name: column[rows_of] for name, column in history.values.items()}
        _read_over(values[frame.target], _glitches(odd, rows_of, upto), frame.short // frame.step)
        return replace(history, keys=history.keys[rows_of], values=values), row

    def at(self, series: Ints, origin: Ints) -> NDArray[np.bool_] | None:
        """Whether the newest value of the forecasts (series[i], origin[i]) is a glitch to them; None: of none."""
        odd = self._odd
        if not odd.size:
            return None
        place = np.maximum(odd.before(series, origin) - 1, 0)
        matches = (odd.series[place] == series) & (odd.at[place] == origin)
        is_glitch: NDArray[np.bool_] = matches & (odd.isolated[place] | (odd.confirmed[place] > origin))
        return is_glitch

    def came_true(self, series: Ints, origin: Ints) -> tuple[Array, Ints]:
        """What came true of the target, as (series[i], origin[i]) know it: without glitches.

        Returns:
            Values with one row a series and view, NaN where nothing is known, and the row of each.
        """
        odd, values = self._odd, self.history.values[self.frame.target]
        if not odd.size:
            return values, series
        of, upto, row = _views(odd, self.history.series, series, origin)
        values = values[of]
        values[_glitches(odd, of, upto)] = np.nan
        return values, row


def without(history: History, frame: Frame, end: int) -> Array:
    """The target up to a grid position, with what is known as a glitch then missing: shape (series, end + 1)."""
    values = history.values[frame.target][:, : end + 1]
    odd = _odd(replace(history, values={frame.target: values}), frame)
    if odd.isolated.any():
        values = values.copy()
        values[odd.series[odd.isolated], odd.at[odd.isolated]] = np.nan
    return values


def margin(frame: Frame) -> int:
    """How many steps before those that are read a history must reach: what they, and a season before, are judged by."""
    return frame.short // frame.step + NEAR + (DAYS + 1) * _day(frame)


@dataclass(frozen=True)
class _Odd:
    """Odd values in order of their series and positions, as arrays over them.

    Attributes:
        series: Row of the history.
        at: Grid position.
        isolated: Whether it is a glitch, by all that is known.
        confirmed: Position of the value that confirmed it, itself where that was before; past every position where
            there is none.
        width: More than any position plus `NEAR`: series do not meet.
    """

    series: Ints
    at: Ints
    isolated: NDArray[np.bool_]
    confirmed: Ints
    width: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.at.size

    @classmethod
    def of(cls, place: tuple[Ints, Ints], value: Array, above: NDArray[np.bool_], length: int, repeats: int) -> _Odd:
        """Tell glitches from the rest: those `above` and those below speak for themselves.

        Args:
            place: Series and positions of odd values.
            value: What they are.
            above: Whether they are too high.
            length: Of the history.
            repeats: So many repetitions of a value count as one more value.
        """
        series, position = place
        width = length + NEAR + 1
        order = np.lexsort((position, series, above))
        side = np.where(above, (series.max(initial=0) + 1) * width, 0)
        code = (side + series * width + position)[order]
        n, first = np.arange(code.size), np.searchsorted(code, code - NEAR)
        within = first[:, None] + np.arange((CONFIRMED - 1) * repeats + 1)
        new = _same_before(value[order], code // width)[np.minimum(within, n.size - 1)] < first[:, None]
        silent = (np.where(new, repeats, 1).cumsum(axis=1) < CONFIRMED * repeats).sum(axis=1)
        known = np.append(code, np.iinfo(np.int64).max)[np.minimum(np.maximum(first + silent, n), n.size)]
        confirmed, since = np.empty(code.size, dtype=bool), np.empty_like(position)
        confirmed[order] = known <= code + NEAR
        since[order] = known - code
        return cls(series, position, ~confirmed, np.where(confirmed, position + since, width), width)

    def before(self, series: Ints, origin: Ints) -> Ints:
        """How many odd values, of all series up to this one, lie up to these origins."""
        index: Ints = np.searchsorted(self.series * self.width + self.at, series * self.width + origin, side="right")
        return index

    def confirmed_later(self, series: Ints, origin: Ints) -> NDArray[np.bool_]:
        """Whether an origin saw a glitch in what was confirmed after it."""
        waits = np.flatnonzero(~self.isolated & (self.confirmed > self.at))
        begin, end = (self.series[waits] * self.width + position[waits] for position in (self.at, self.confirmed))
        positions = series * self.width + origin
        open_, closed = (np.searchsorted(np.sort(edge), positions, side="right") for edge in (begin, end))
        return open_ > closed

    def glitches(self, upto: Ints, which: Ints) -> NDArray[np.bool_]:
        """Whether odd values are glitches to a view that knows the first `upto` of all, its own series' among them."""
        unknown = self.confirmed[which] > np.where(
            upto < self.size, self.at[np.minimum(upto, self.size) - 1], self.width
        )
        return self.isolated[which] | ((which < upto) & unknown & (upto < self.size))


def _views(odd: _Odd, count: int, series: Ints, origin: Ints) -> tuple[Ints, Ints, Ints]:
    """Series of every view and how many odd values it knows, and which view each (series[i], origin[i]) has."""
    indices = np.arange(count)
    upto = np.where(odd.confirmed_later(series, origin), odd.before(series, origin), odd.size)
    codes = np.r_[series, indices] * (odd.size + 1) + np.r_[upto, np.full_like(indices, odd.size)]
    views, row = np.unique(codes, return_inverse=True)
    return views // (odd.size + 1), views % (odd.size + 1), row[: series.size]


def _glitches(odd: _Odd, group: Ints, upto: Ints) -> tuple[Ints, Ints]:
    """View and position of every view's glitches."""
    first, last = (np.searchsorted(odd.series, group, side=side) for side in ("left", "right"))
    count = last - first
    row = np.repeat(np.arange(group.size), count)
    index = np.arange(row.size) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
    glitch = odd.glitches(upto[row], index)
    return row[glitch], odd.at[index[glitch]]


def _read_over(values: Array, glitches: tuple[Ints, Ints], season: int) -> None:
    """Put the value a season before in the place of glitches; nothing where that is one itself."""
    row, position = glitches
    values[row, position] = np.nan
    values[row, position] = np.where(position >= season, values[row, np.maximum(position - season, 0)], np.nan)


def _odd(history: History, frame: Frame) -> _Odd:
    """All odd values of a history."""
    values, day = history.values[frame.target], _day(frame)
    first = -history.first % day
    begins = np.unique(np.r_[0, np.arange(first, values.shape[1], day)])
    greatest, least = (extreme.reduceat(values, begins, axis=1) for extreme in (np.fmax, np.fmin))
    usual = _before(least).copy()
    _forget_words(usual, values, begins, (least, greatest))
    low, high = _median(usual), _median(_before(greatest))
    distance = np.maximum(high - low, FLAT * np.maximum(np.abs(low), np.abs(high)))
    distance[distance == 0] = np.nan  # nothing but zeros says nothing about size
    with np.errstate(invalid="ignore"):
        positive, under = np.fmin.reduce(usual, axis=2) > 0, -distance * BELOW
        negative = positive & (least < under)
        series, group = np.nonzero((greatest > high + FAR * distance) | (least < low - FAR * distance) | negative)
    if not series.size:
        return _Odd.of((series, group), values[series, group], negative[series, group], values.shape[1], 1)
    far = _far(values, series, (begins[np.maximum(group - DAYS, 0)], begins[group]))
    positive = positive[series, group] & (far < FAR_IF_FEW)
    far *= distance[series, group]
    index = begins[group][:, None] + np.arange(day)
    inside = index < np.append(begins, values.shape[1])[group + 1][:, None]
    value = values[series[:, None], np.minimum(index, values.shape[1] - 1)]
    lower = low[series, group] - far
    lower = np.where(positive, np.maximum(lower, under[series, group]), lower)
    above, below = value > (high[series, group] + far)[:, None], value < lower[:, None]
    rows, place = np.nonzero(inside & (above | below))
    glitches = series[rows], index[rows, place]
    return _Odd.of(glitches, values[glitches], above[rows, place], values.shape[1], _repeats(frame))


def _same_before(value: Array, group: Ints) -> Ints:
    """Place of the newest equal value before each, in its group; -1 where there is none."""
    order = np.lexsort((np.arange(value.size), value, group))
    repeated = (np.diff(value[order]) == 0) & (np.diff(group[order]) == 0)
    index = np.full(value.size, -1)
    index[order[1:][repeated]] = order[:-1][repeated]
    return index


def _repeats(frame: Frame) -> int:
    """How many repetitions of an odd value count as one more: a flat level takes twice as many, and one value."""
    return min(frame.short // frame.step // 2 + 1, (NEAR - 1) // 2)


def _far(values: Array, series: Ints, between: tuple[Ints, Ints]) -> Array:
    """How far values of series must lie beyond their bounds to be odd, by those between positions (not the second)."""
    begin, end = between
    index = begin[:, None] + np.arange(int((end - begin).max(initial=0)))
    values_at = np.where(index < end[:, None], values[series[:, None], np.minimum(index, values.shape[1] - 1)], np.nan)
    values_at.sort(axis=1)
    known = (~np.isnan(values_at)).sum(axis=1)
    usual = np.take_along_axis(values_at, np.maximum(known - 1, 0)[:, None] // 2, axis=1)
    resting = (values_at == usual).sum(axis=1) * 2 > known
    return np.where(known * 2 < end - begin, FAR_IF_FEW, np.where(resting, FAR_AT_REST, FAR))


def _forget_words(usual: Array, values: Array, begins: Ints, ends: tuple[Array, Array]) -> None:
    """Take what a device says in place of a value out of the least values of the days before each, in place.

    One and the same value far below zero, on two of the days or more, and nothing else below zero on them: else a
    meter that says -9999 on four days of a week would have made that usual.

    Args:
        usual: As of `_before`.
        values: All.
        begins: First positions of the days.
        ends: Least and greatest values of the days.
    """
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((ends[0] < 0).sum(axis=1) > 1)
        if not rows.size:
            return
        least, greatest = (end[rows] for end in ends)
        group = np.repeat(np.arange(begins.size), np.diff(np.append(begins, values.shape[1])))
        rest = np.where(values[rows] == least[:, group], np.nan, values[rows])
        second = np.fmin.reduceat(rest, begins, axis=1)
        distance = np.maximum(greatest - second, FLAT * greatest)
        word = (least < 0) & (second >= 0) & (distance > 0) & (second - least > FAR * distance)
        days = _before(np.where(word, least, np.nan))
        repeated = days == np.fmin.reduce(usual[rows], axis=2)[:, :, None]
    repeated &= repeated.sum(axis=2, keepdims=True) > 1
    usual[rows] = np.where(repeated, _before(second), usual[rows])


def _median(days: Array) -> Array:
    """The median of the known ones of the days before each; NaN with fewer than `LEAST`."""
    ordered = np.sort(days, axis=2)  # NaN comes last
    known = (~np.isnan(ordered)).sum(axis=2, keepdims=True)
    middle = np.concatenate([np.maximum(known - 1, 0) // 2, known // 2], axis=2)
    below, above = np.moveaxis(np.take_along_axis(ordered, np.minimum(middle, DAYS - 1), axis=2), 2, 0)
    return np.where(known[:, :, 0] >= LEAST, (below + above) / 2, np.nan)


def _before(daily: Array) -> Array:
    """The `DAYS` days before each, shape (series, days, DAYS), NaN before the first."""
    padded = np.concatenate([np.full((daily.shape[0], DAYS), np.nan), daily[:, :-1]], axis=1)
    return np.lib.stride_tricks.sliding_window_view(padded, DAYS, axis=1)


def _day(frame: Frame) -> int:
    """Steps of a day; of the shorter season where that is longer, and of the longer one where that is shorter.

    `NEAR` steps are enough for the latter: series whose seasons are minutes need not remember days of minutes.
    """
    day = min(DAY // frame.step, max(frame.long // frame.step, NEAR))
    return max(day, frame.short // frame.step, 1)
