"""What is remembered of every series: its newest values on the grid, as one dense array for all of them.

A value of step s (steps since 1970) lies at column s modulo the length. What is older than the length, and every step
without a value, reads NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.anomalies import AnomalyWatch, States
from headrace.models.feedback import Shape
from headrace.serving.engine.checks import CheckRings
from headrace.sources.events import NEVER

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Sums = NDArray[np.uint64]
Keys = tuple[Any, ...]
Series = tuple[int, Keys]
"""A partition, and the values of the key columns."""
BLOCK = 32
"""Steps of one record of the changelog."""
_ARRAYS = ("newest", "clock", "origin", "value", "lower", "upper", "watched", "used", "sums")
"""Arrays with an element, or a line, of each row."""


class Rings:
    """State of the series of some partitions.

    Args:
        columns: Values per step.
        length: Steps that are remembered.
        horizon: Steps of an interval.
        checks: Checks per series.
        watch: How values are judged by the forecasts before them.
        fills: Columns in which a step without a value is zero once the series has begun.

    Attributes:
        length: Steps that are remembered.
        index: Row of every series.
        values: Shape (columns, rows, length).
        newest: Newest step per row.
        clock: When the row's last event became known, microseconds since 1970.
        origin: Step from which the row was last predicted.
        value, lower, upper: That prediction with its interval, shape (rows, horizon).
        watched: What is remembered of how values were judged, one element a row.
        used: Clock time of the row's last event, seconds.
        sums: Checksum of the row's record in each of its turns, 0 where there is none; shape (rows, turns).
        checks: What was said lately, where the model learns from it.
    """

    def __init__(
        self, columns: int, length: int, checks: Shape, watch: AnomalyWatch, *, fills: NDArray[np.bool_] | None = None
    ) -> None:
        horizon, self.watch = checks.horizon, watch
        self.length, self.horizon = length, horizon
        self._fills = np.zeros(columns, dtype=bool) if fills is None else fills
        self.index: dict[Series, int] = {}
        self._names: list[Series | None] = []
        self._free: list[int] = []
        self.values: Floats = np.full((columns, 0, length), np.nan)
        self.newest: Ints = np.empty(0, dtype=np.int64)
        self.clock: Ints = np.empty(0, dtype=np.int64)
        self.origin: Ints = np.empty(0, dtype=np.int64)
        self.value: Floats = np.empty((0, horizon))
        self.lower: Floats = np.empty((0, horizon))
        self.upper: Floats = np.empty((0, horizon))
        self.watched: States = watch.unknown(0)
        self.used: Floats = np.empty(0)
        self.sums: Sums = np.empty((0, length // BLOCK + 2), dtype=np.uint64)
        self.checks = CheckRings(checks)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, free rows included."""
        return sum(int(getattr(self, name).nbytes) for name in ("values", *_ARRAYS)) + self.checks.nbytes

    def remember(self, checks: Shape) -> None:
        """Remember such checks from now on, and none of those of the model before."""
        self.checks = CheckRings(checks)
        self.checks.grow(len(self._names))

    def name(self, row: int) -> Series:
        """Which series a row holds."""
        found = self._names[row]
        assert found is not None
        return found

    def add(self, partition: int, keys: Keys) -> int:
        """A new, empty row."""
        if not self._free:
            self._grow()
        row = self._free.pop()
        self.index[partition, keys] = row
        self._names[row] = (partition, keys)
        return row

    def remove(self, series: Series) -> None:
        """Forget a series."""
        row = self.index.pop(series)
        self._names[row] = None
        self._clear(row)
        self._free.append(row)

    def drop(self, partition: int) -> None:
        """Forget all series of a partition."""
        for series in [series for series in self.index if series[0] == partition]:
            self.remove(series)

    def state(self, row: int) -> bytes:
        """All that is remembered of a series, for `put` of rings of the same shape."""
        head = np.array([self.newest[row], self.clock[row], self.origin[row]])
        return head.tobytes() + b"".join(part.tobytes() for part in self._parts(row))

    def put(self, row: int, state: bytes) -> None:
        """Remember of a series what `state` gave."""
        self.newest[row], self.clock[row], self.origin[row] = np.frombuffer(state, dtype=np.int64, count=3)
        position = 24
        for part in self._parts(row):
            part[...] = np.frombuffer(state, part.dtype, part.size, position).reshape(part.shape)
            position += part.nbytes

    def _parts(self, row: int) -> tuple[NDArray[Any], ...]:
        prediction = (self.value[row], self.lower[row], self.upper[row])
        return self.values[:, row], *prediction, self.sums[row], self.watched[row : row + 1]

    def window(self, rows: Ints, lo: int, hi: int) -> Floats:
        """Steps lo to hi - 1 of the rows, shape (columns, rows, hi - lo), NaN where nothing is remembered."""
        part = self.values[:, rows[:, None], np.arange(lo, hi) % self.length]
        newest = self.newest[rows][:, None]
        # Columns before all rows' last, and after all rows' first, hold what is asked for.
        for begin, end in ((lo, min(int(newest.max()) - self.length + 1, hi)), (max(int(newest.min()) + 1, lo), hi)):
            if begin < end:
                steps = np.arange(begin, end)
                outside = (steps > newest) | (steps <= newest - self.length)
                part[:, :, begin - lo : end - lo][:, outside] = np.nan
        return part

    def cells(self, rows: Ints, steps: Ints) -> Floats:
        """Values of rows at steps, shape (columns, n), NaN where nothing is remembered."""
        newest = self.newest[rows]
        values = self.values[:, rows, steps % self.length]
        values[:, (steps > newest) | (steps <= newest - self.length)] = np.nan
        return values

    def write(self, rows: Ints, steps: Ints, values: Floats) -> None:
        """Values (columns, n) of rows at steps; of several for one step the last counts.

        A step after a row's newest moves it on: what lies between is NaN, or zero in a column that fills.
        """
        unique, inverse = np.unique(rows, return_inverse=True)
        before = self.newest[unique]
        after = before.copy()
        np.maximum.at(after, inverse, steps)
        self._skip(unique, before, after)
        self.newest[unique] = after
        is_kept = steps > after[inverse] - self.length
        self.values[:, rows[is_kept], steps[is_kept] % self.length] = values[:, is_kept]
        if self._fills.any():
            self._begin_earlier(np.unique(rows[is_kept & (steps < before[inverse])]))

    def _begin_earlier(self, rows: Ints) -> None:
        """Fill after the first value of rows: one that came late may lie before what was the first."""
        for row in rows.tolist():
            places = (self.newest[row] - self.length + 1 + np.arange(self.length)) % self.length
            for column in np.flatnonzero(self._fills):
                values = self.values[column, row, places]
                values[np.isnan(values) & np.logical_or.accumulate(~np.isnan(values))] = 0.0
                self.values[column, row, places] = values

    def _skip(self, rows: Ints, before: Ints, after: Ints) -> None:
        """Make the steps after `before`, up to `after`, empty: what they hold is a length older."""
        counts = np.minimum(after - np.maximum(before, after - self.length), self.length)
        row_index = np.repeat(rows, counts)
        offsets_back = np.arange(row_index.size) - np.repeat(np.cumsum(counts) - counts, counts)
        places = (np.repeat(after, counts) - offsets_back) % self.length
        self.values[:, row_index, places] = np.nan
        begun = np.repeat(before > 0, counts)
        for column in np.flatnonzero(self._fills):
            self.values[column, row_index[begun], places[begun]] = 0.0

    def _clear(self, row: int) -> None:
        self.values[:, row] = np.nan
        self.newest[row] = self.clock[row] = self.origin[row] = NEVER
        self.value[row] = self.lower[row] = self.upper[row] = np.nan
        self.watched[row : row + 1] = self.watch.unknown(1)
        self.used[row] = 0.0
        self.sums[row] = 0
        self.checks.forget(row)

    def _grow(self) -> None:
        old, new = len(self._names), max(64, 2 * len(self._names))
        for name in ("values", *_ARRAYS):
            array = getattr(self, name)
            axis = 1 if name == "values" else 0
            shape = list(array.shape)
            shape[axis] = new
            grown = np.empty(shape, dtype=array.dtype)
            grown[(slice(None),) * axis + (slice(0, old),)] = array
            setattr(self, name, grown)
        self.checks.grow(new)
        self._names += [None] * (new - old)
        for row in range(old, new):
            self._clear(row)
        self._free += range(new - 1, old - 1, -1)
