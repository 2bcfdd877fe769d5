"""Anomalies: values that were forecast worse than any in the last days, at a declared rate of false alarms.

A value is judged once, when it is first known, by the newest forecast of it from before:

- its *residual* is its distance from the forecast in units of the usual half width: the upper quartile of the daily
  mean half widths of the last `WIDTHS` days. Today's width is no measure, as it grows with what is unusual;
- its *degree* is |residual| / 5, plus the distance of the mean of the newest `MEAN` residuals from zero, in units of
  what chance would give it, / 10: one part sees a single value that is far off, the other a level or a drift;
- it is a *record* if its degree is above `FLOOR` and above those of the memory before; and an *anomaly* if there was no
  record in the day before: what goes on growing is one anomaly.

Of equal days each has the same chance to hold the record. So with a memory of 14 days a record that means nothing
comes about once in two weeks at most, whatever the residuals are distributed like: the memory is the declared rate.
While less than the memory is known, a record must lie above the others by more, as `_margins` says. And one absurd
value raises the bar to no more than `RAISED` times of what it was: what comes after it is seen.

All of it follows from a bounded past (`AnomalyWatch.reach`) and from forecasts that were made. So a stream that
remembers, one that is made anew, and the batch side, which has forecasts and truths in tables, say the same. Residuals
and degrees are whole numbers of 1 / `UNIT`, so that sums have no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import Array

DAY = timedelta(days=1)
WEEK = timedelta(days=7)
WIDTHS = 14
"""Days whose half widths say what is usual. 7 and 28 are worse by 4 and 2 points of NAB's score."""
MEAN = 9
"""Newest residuals whose mean is looked at; between 9 and 20 they do about the same."""
NEAR, FAR = 5.0, 10.0
"""What the two parts of a degree are divided by."""
CHANCE = MEAN**0.5 * 1.645 / FAR
"""Degree of a mean of 1: half widths of 90 % are 1.645 standard deviations."""
FLOOR = 0.8
"""A degree at or below it is no anomaly: four usual half widths, if nothing went before."""
CLIPPED = 8.0
"""A residual counts as at most so much in means: one absurd value is no level."""
RAISED = 3.0
TAIL = 6.0
"""How quickly large degrees get rare: by the power that says by how much a record must lie above a few others."""
LARGEST = 1000.0
"""Of residuals; also of one where no width is usual, because all forecasts were certain."""
LONGER = 1.1
"""A memory is so many times as long as the rate asks for: more records come while it fills."""
MOST = 32
"""Numbers that a memory is kept in."""
FEWEST = 14
"""Of a series with steps of more than a day."""
GLITCH = 3.0
"""A value within so many usual half widths of its forecast is no glitch, whatever it looks like beside its history."""
UNIT = 10_000
NEVER = np.iinfo(np.int64).min // 2
_MICROSECOND = timedelta(microseconds=1)

Ints = NDArray[np.int64]
States = NDArray[np.void]
"""One element a series: what is remembered of it, as `AnomalyWatch.dtype` has it."""


class Judgement(NamedTuple):
    """What is said of values, in the order in which they were given.

    Attributes:
        residual: In whole numbers of 1 / `UNIT`.
        degree: The same.
        anomaly: Whether it is one.
    """

    residual: Ints
    degree: Ints
    anomaly: NDArray[np.bool_]

    @property
    def far(self) -> NDArray[np.bool_]:
        """Which values lie so far off that they may be glitches."""
        is_far: NDArray[np.bool_] = np.abs(self.residual) > GLITCH * UNIT
        return is_far


class WatchedValues(NamedTuple):
    """Values beside what was forecast of them, each an array over them.

    Attributes:
        row: Place of the series' state; ascending.
        time: When the step begins, microseconds since 1970; ascending within a series.
        actual: The value.
        value, lower, upper: The newest forecast of it from before, and its interval.
    """

    row: Ints
    time: Ints
    actual: Array
    value: Array
    lower: Array
    upper: Array


@dataclass(frozen=True)
class AnomalyWatch:
    """How series of one step are watched.

    Attributes:
        day: Microseconds of a day; of a step where that is longer.
        bucket: Microseconds of one number of the memory: whole days.
        memory: So many such numbers before the present one.
    """

    day: int
    bucket: int
    memory: int

    @classmethod
    def of(cls, step: timedelta, false_alarms: float) -> AnomalyWatch:
        """The watch that keeps a declared rate.

        Args:
            step: Of the series; a nominal one of months.
            false_alarms: Anomalies a week and series that mean nothing, at most.

        >>> AnomalyWatch.of(timedelta(minutes=5), 0.5).memory
        16
        """
        day = max(DAY, step) // _MICROSECOND
        days = max(-(-LONGER * (WEEK // _MICROSECOND) // (false_alarms * day)), 1)
        bucket = -(-days // MOST)
        memory = -(-days // bucket)
        return cls(day, int(bucket) * day, int(memory if step <= DAY else max(memory, FEWEST)))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """What is remembered of a series, in words of 8 bytes.

        `shape` says for which watch; `last` and `record` are the times of the newest value and of the newest record;
        `sum` and `count` are of today's half widths, `widths` the means of the days before, by their number modulo
        `WIDTHS`; `highest` has the memory, by the bucket's number modulo `memory` + 1, -1 where there is nothing.
        """
        words = -(-(self.memory + 1 + MEAN - 1) // 2) * 2 - (MEAN - 1)
        fields = [("shape", "<i8"), ("last", "<i8"), ("record", "<i8"), ("sum", "<f8"), ("count", "<f8")]
        arrays = [("widths", "<f8", (WIDTHS,)), ("recent", "<i4", (MEAN - 1,)), ("highest", "<i4", (words,))]
        return np.dtype([*fields, *arrays])

    @property
    def gap(self) -> int:
        """After so many microseconds without a value the mean of residuals begins anew."""
        return 2 * self.day

    @property
    def reach(self) -> int:
        """How many microseconds before a value those lie, at most, that have a part in what is said of it."""
        return (self.memory + 1) * self.bucket + MEAN * self.gap + (WIDTHS + 1) * self.day

    def unknown(self, count: int) -> States:
        """States of series of which nothing is known."""
        states = np.zeros(count, dtype=self.dtype)
        states["shape"] = self._shape
        states["last"] = states["record"] = NEVER
        states["widths"] = np.nan
        states["highest"] = -1
        return states

    @cached_property
    def _shape(self) -> int:
        return (self.bucket // self.day) << 32 | self.memory << 16 | WIDTHS << 8 | MEAN

    def words(self, states: States) -> Array:
        """States as words of 8 bytes, shape (n, words), for a record."""
        return np.ascontiguousarray(states).view("<f8").reshape(len(states), -1)

    def states(self, words: Array) -> States:
        """The states that `words` gave; unknown ones where they are of another watch."""
        size = self.dtype.itemsize // 8
        if words.shape[1] != size:
            return self.unknown(len(words))
        states = np.ascontiguousarray(words).view(self.dtype).reshape(-1).copy()
        other = states["shape"] != self._shape
        states[other] = self.unknown(int(other.sum()))
        return states

    @cached_property
    def _margins(self) -> Array:
        """By how much a record must lie above so many numbers of the memory, the present one included."""
        known = range(self.memory + 2)
        return np.array([((self.memory + 1) / max(count, 1)) ** (1 / TAIL) for count in known])

    def judge(self, states: States, observed: WatchedValues) -> Judgement:
        """Judge values, and move the states on, in place. How values are split over calls changes nothing.

        Args:
            states: Of the series.
            observed: Values of the target, all of them finite, as are their forecasts; of a time after its state's.
        """
        if not observed.row.size:
            return Judgement(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, dtype=bool))
        rows, parts = _groups(observed.row)
        state = states[rows]
        residual = self._residuals(state, observed, parts)
        degree = self._degrees(state, observed, residual, parts)
        record = self._records(state, observed, degree, parts)
        anomaly = self._anomalies(state, observed, record, parts)
        state["last"] = observed.time[parts.end]
        states[rows] = state
        return Judgement(residual, degree, anomaly)

    def _residuals(self, state: States, observed: WatchedValues, parts: _SeriesParts) -> Ints:
        """Distances in usual half widths; today's and the days' widths move on."""
        begin, end, lane = parts.begin, parts.end, parts.lane
        half = (observed.upper - observed.lower) / 2
        day, last = observed.time // self.day, state["last"] // self.day
        cell, (first, number) = _cells(parts.series, day)
        # The days of every series as one row: those before its first, then all that pass.
        base = day[begin] - WIDTHS
        span = int((day[end] - base).max()) + 1
        means = np.full((begin.size, span), np.nan)
        before = base[:, None] + np.arange(WIDTHS)
        known = (before < last[:, None]) & (before >= last[:, None] - WIDTHS)
        means[:, :WIDTHS] = np.where(known, state["widths"][lane, before % WIDTHS], np.nan)
        row = parts.series[first]
        goes_on = number == last[row]
        # The day that the state left off in, where it is over.
        over = np.flatnonzero((last > NEVER // self.day) & (last < day[begin]) & (last >= base))
        means[over, last[over] - base[over]] = state["sum"][over] / state["count"][over]
        sums = _totals(cell, half, np.where(goes_on, state["sum"][row], 0.0))
        counts = np.bincount(cell, minlength=first.size) + np.where(goes_on, state["count"][row], 0.0)
        means[row, number - base[row]] = sums / counts
        usual = _usual(means, row, number - base[row])[cell]
        usual = np.where(np.isnan(usual), half, usual)
        error = observed.actual - observed.value
        with np.errstate(divide="ignore", invalid="ignore"):
            residual = np.where(error == 0, 0.0, error / usual)
        number = day[end][:, None] - np.arange(1, WIDTHS + 1)  # of the days before the newest, which goes on
        widths = np.empty(number.shape)
        widths[lane, number % WIDTHS] = means[lane, number - base[:, None]]
        state["widths"] = widths
        newest = cell[end]
        state["sum"], state["count"] = sums[newest], counts[newest]
        whole: Ints = np.rint(np.clip(residual, -LARGEST, LARGEST) * UNIT).astype(np.int64)
        return whole

    def _degrees(self, state: States, observed: WatchedValues, residual: Ints, parts: _SeriesParts) -> Ints:
        """Degrees of residuals, with those before them; the newest are kept."""
        begin, end = parts.begin, parts.end
        before = MEAN - 1
        clipped = np.clip(residual, -int(CLIPPED * UNIT), int(CLIPPED * UNIT))
        place = np.arange(residual.size) + (parts.series + 1) * before
        line = np.zeros(residual.size + begin.size * before, dtype=np.int64)
        line[place] = clipped
        heads = (begin + np.arange(begin.size) * before)[:, None] + np.arange(before)
        line[heads] = state["recent"]
        previous = _one_before(observed.time, 0)
        previous[begin] = state["last"]
        is_new = observed.time - previous > self.gap
        starts = np.where(is_new, place, -1)
        starts[begin] = np.where(is_new[begin], place[begin], heads[:, 0])
        start = np.maximum.accumulate(starts)
        window = place[:, None] - np.arange(MEAN)
        total = np.where(window >= start[:, None], line[window], 0).sum(axis=1)
        newest = place[end][:, None] - np.arange(before - 1, -1, -1)
        state["recent"] = np.where(newest >= start[end][:, None], line[newest], 0)
        degree: Ints = np.rint(np.abs(residual) / NEAR + np.abs(total) * (CHANCE / MEAN)).astype(np.int64)
        return degree

    def _records(self, state: States, observed: WatchedValues, degree: Ints, parts: _SeriesParts) -> NDArray[np.bool_]:
        """Which degrees are above all that are remembered; these are remembered as well."""
        size, memory = self.memory + 1, self.memory
        bucket, last = observed.time // self.bucket, state["last"] // self.bucket
        begin, lane, newest = parts.begin, parts.lane, bucket[parts.end]
        cell, (first, numbers) = _cells(parts.series, bucket)
        base = bucket[begin] - memory
        span = int((newest - base).max()) + 1
        highest = np.full((begin.size, span), -1, dtype=np.int64)
        number = base[:, None] + np.arange(size)
        stored = (number <= last[:, None]) & (number > last[:, None] - size)
        highest[:, :size] = np.where(stored, state["highest"][lane, number % size], -1)
        row = parts.series[first]
        column = numbers - base[row]
        largest = np.maximum.reduceat(degree, first)
        stood = highest[row, column]
        bar, known, cap = self._bars(highest, row, column, largest)
        running = np.minimum(_running(cell, degree), cap[cell])
        running = np.maximum(running, stood[cell])
        limit = self._margins[known][cell] * np.maximum(running, bar[cell])
        number = newest[:, None] - np.arange(size)
        rings = np.full(state["highest"].shape, -1, dtype=np.int64)
        rings[lane, number % size] = highest[lane, number - base[:, None]]
        state["highest"] = rings
        is_record: NDArray[np.bool_] = (degree > limit) & (degree > FLOOR * UNIT)
        return is_record

    def _bars(self, highest: Ints, row: Ints, column: Ints, largest: Ints) -> tuple[Ints, Ints, Ints]:
        """Of each bucket that passes the highest before it, how many are known, and what it may be raised to.

        `highest` is filled on the way: one bucket of all series after the other.
        """
        bar, known, cap = (np.empty(row.size, dtype=np.int64) for _ in range(3))
        order = np.argsort(column, kind="stable")
        bounds = [*np.flatnonzero(_changes(column[order])).tolist(), row.size]
        for begin, end in pairwise(bounds):
            now = order[begin:end]
            rows, place = row[now], int(column[order[begin]])
            before = highest[rows, max(place - self.memory, 0) : place]
            bar[now] = np.maximum(before.max(axis=1, initial=0), 0)
            known[now] = (before >= 0).sum(axis=1) + 1
            cap[now] = np.rint(RAISED * np.maximum(bar[now], FLOOR * UNIT))
            highest[rows, place] = np.maximum(highest[rows, place], np.minimum(largest[now], cap[now]))
        return bar, known, cap

    def _anomalies(
        self, state: States, observed: WatchedValues, record: NDArray[np.bool_], parts: _SeriesParts
    ) -> NDArray[np.bool_]:
        """Records without one in the day before."""
        begin, end, series = parts.begin, parts.end, parts.series
        place = np.arange(record.size)
        newest = np.maximum.accumulate(np.where(record, place, -1))
        before = _one_before(newest, -1)
        within = before >= begin[series]
        time = np.where(within, observed.time[np.maximum(before, 0)], state["record"][series])
        last = newest[end]
        state["record"] = np.where(last >= begin, observed.time[np.maximum(last, 0)], state["record"])
        is_anomaly: NDArray[np.bool_] = record & (observed.time - time >= self.day)
        return is_anomaly


class _SeriesParts(NamedTuple):
    """Where the values of each series lie among those of all.

    Attributes:
        begin: The first element of each series.
        end: The last one.
        series: Which series each element is of.
        lane: The numbers of the series as a column: for a place of each in arrays with a row for every series.
    """

    begin: Ints
    end: Ints
    series: Ints
    lane: Ints


def _groups(row: Ints) -> tuple[Ints, _SeriesParts]:
    """The different ones of ascending numbers, and where each lies."""
    begins = _changes(row)
    begin = np.flatnonzero(begins)
    end = np.empty_like(begin)
    end[:-1], end[-1] = begin[1:] - 1, row.size - 1
    return row[begin], _SeriesParts(begin, end, np.cumsum(begins) - 1, np.arange(begin.size)[:, None])


def _changes(numbers: Ints) -> NDArray[np.bool_]:
    """Which elements differ from the one before; the first does."""
    is_other = np.empty(numbers.size, dtype=bool)
    is_other[:1] = True
    np.not_equal(numbers[1:], numbers[:-1], out=is_other[1:])
    return is_other


def _one_before(numbers: Ints, first: int) -> Ints:
    """The element before each; one number before the first. (`np.r_` takes twenty times as long.)"""
    before = np.empty_like(numbers)
    before[:1], before[1:] = first, numbers[:-1]
    return before


def _cells(series: Ints, number: Ints) -> tuple[Ints, tuple[Ints, Ints]]:
    """Which stretch of one series and number each element is in; the first element of each stretch, and its number."""
    begins = _changes(series) | _changes(number)
    first = np.flatnonzero(begins)
    return np.cumsum(begins) - 1, (first, number[first])


def _totals(cell: Ints, values: Array, before: Array) -> Array:
    """Sums of stretches that begin with a number, added one after the other."""
    numbers = np.concatenate([np.arange(before.size), cell])
    weights = np.concatenate([before, values])
    return np.asarray(np.bincount(numbers, weights=weights, minlength=before.size), dtype=np.float64)


def _usual(means: Array, row: Ints, column: Ints) -> Array:
    """The upper quartile of the means of the days before each; NaN where none is known."""
    days = np.sort(means[row[:, None], column[:, None] - np.arange(1, WIDTHS + 1)], axis=1)
    known = (~np.isnan(days)).sum(axis=1)
    place = np.minimum(3 * known // 4, np.maximum(known - 1, 0))
    return np.asarray(days[np.arange(row.size), place], dtype=np.float64)


def _running(cell: Ints, degree: Ints) -> Ints:
    """The highest before each element in its stretch; -1 for the first."""
    codes = (cell << 32) + degree + 1
    highest = np.maximum.accumulate(codes)
    before = _one_before(highest, 0)
    return np.where(before >> 32 == cell, (before & 0xFFFFFFFF) - 1, -1)
