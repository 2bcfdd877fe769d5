"""What is remembered of a step besides its value, so that one more event can be put to it.

The value of a step is the events of the step put together in the order in which they became known, one by one. So it is
the same as `store.steps` makes of them, to the last bit, and nothing but the result has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.contract.aggregation import Aggregate

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class StatePart(NamedTuple):
    """One more column of the state, made of an aggregated column.

    Attributes:
        of: Number of that column.
        how: How its values, or with `time` their event times, are put together.
        time: Whether it is made of the times of the events that have a value, in microseconds after the step began.
    """

    of: int
    how: Aggregate
    time: bool = False


class Folding:
    """How the events of steps are put together; without aggregates an event takes the place of the one before.

    The state has the columns, then the `parts`.

    Args:
        columns: Number of columns.
        how: How each is aggregated; empty where they are not.
        carries: Whether an event without the target, the first column, leaves the one that is known.
    """

    def __init__(self, columns: int, how: Sequence[Aggregate], *, carries: bool = False) -> None:
        self.values, self.how, self._carries = columns, tuple(how), carries
        self.parts = [part for index, aggregate in enumerate(how) for part in _parts(index, aggregate)]
        self.columns = columns + len(self.parts)
        self.fills = np.array([bool(how) and how[index].fills for index in range(columns)] + [False] * len(self.parts))
        """Columns in which a step without a value is zero."""

    def running(self, cells: Ints, before: Floats, values: Floats, times: Ints) -> Floats:
        """The state of each event's step after it, shape (state columns, events).

        Args:
            cells: Which step of which series each event is about: equal numbers for equal ones.
            before: The state of that step before all of them, shape (state columns, events); NaN where there is none.
            values: The events' values, shape (columns, events), in the order in which they became known.
            times: Their times, microseconds after their steps began.
        """
        if not self.how:
            return self._carried(cells, before, values) if self._carries else values
        distinct, cell = np.unique(cells, return_inverse=True)
        first = np.full(distinct.size, cells.size)
        np.minimum.at(first, cell, np.arange(cells.size))
        state, result = before[:, first], np.empty((self.columns, cells.size))
        order = np.argsort(cell, kind="stable")
        begins = np.searchsorted(cell[order], np.arange(distinct.size))
        turn = np.empty(cells.size, dtype=np.int64)
        turn[order] = np.arange(cells.size) - begins[cell[order]]
        for index in range(int(turn.max()) + 1 if turn.size else 0):
            now = np.flatnonzero(turn == index)
            result[:, now] = state[:, cell[now]] = self._fold(state[:, cell[now]], values[:, now], times[now])
        return result

    def _carried(self, cells: Ints, before: Floats, values: Floats) -> Floats:
        """The values; where the target is missing, the one that the step had."""
        missing = np.isnan(values[0])
        if not missing.any():
            return values
        values, known = values.copy(), dict[int, float]()
        for place in np.flatnonzero(np.isin(cells, cells[missing])).tolist():
            cell = int(cells[place])
            if missing[place]:
                values[0, place] = known.get(cell, before[0, place])
            known[cell] = float(values[0, place])
        return values

    def _fold(self, state: Floats, values: Floats, positions: Ints) -> Floats:
        """One more event to each of some steps."""
        new = state.copy()
        of_column: dict[int, list[int]] = {}
        for place, part in enumerate(self.parts, self.values):
            x = values[part.of]
            present = np.where(np.isnan(x), np.nan, positions.astype(np.float64)) if part.time else x
            new[place] = _KINDS[part.how.kind](state[place], present)
            of_column.setdefault(part.of, []).append(place)
        for index, aggregate in enumerate(self.how):
            x, places = values[index], of_column.get(index, [])
            old = state[index] if not places else np.where(np.isnan(state[places[-1]]), np.nan, state[index])
            if aggregate.kind == "mean":
                value = new[places[0]] / new[places[1]]
            elif aggregate.kind in ("first", "last"):
                is_said = ~np.isnan(x) & (new[places[0]] == positions)
                takes = is_said if aggregate.kind == "last" else is_said & (new[places[0]] != state[places[0]])
                value = np.where(takes, x, old)
            else:
                value = _KINDS[aggregate.kind](old, x)
            new[index] = np.where(np.isnan(value), 0.0, value) if aggregate.fills else value
        return new

    def filled(self, window: Floats) -> Floats:
        """Values of steps in order, shape (columns or more, series, steps), zeros in place where a step is empty."""
        for index in np.flatnonzero(self.fills):
            column = window[index]
            column[np.isnan(column) & np.logical_or.accumulate(~np.isnan(column), axis=-1)] = 0.0
        return window


def _parts(index: int, aggregate: Aggregate) -> list[StatePart]:
    if aggregate.kind == "mean":
        return [StatePart(index, Aggregate("sum")), StatePart(index, Aggregate("count"))]
    if aggregate.kind in ("first", "last"):
        return [StatePart(index, Aggregate("min" if aggregate.kind == "first" else "max"), time=True)]
    # What is zero because nothing came must not count as the least or the greatest of what comes.
    return [StatePart(index, Aggregate("count"))] if aggregate.kind in ("min", "max") and aggregate.fills else []


def _sum(old: Floats, x: Floats) -> Floats:
    return np.where(np.isnan(x), old, np.where(np.isnan(old), x, old + x))


def _count(old: Floats, x: Floats) -> Floats:
    return np.where(np.isnan(x), old, np.where(np.isnan(old), 1.0, old + 1.0))


_KINDS: dict[str, Callable[[Floats, Floats], Floats]] = {
    "sum": _sum,
    "count": _count,
    "min": np.fmin,
    "max": np.fmax,
}
