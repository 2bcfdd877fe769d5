"""Series as dense arrays, and the history primitives over them: the form for forecasting and for streams.

A `History` holds every series on one regular grid: an array per column, of shape (series, steps), NaN where nothing
is known. `Arrays.array(expression, lo, hi)` evaluates an expression at origins lo to hi - 1 (positions on the grid).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headrace.errors import FeatureError
from headrace.features.arithmetic import arithmetic
from headrace.features.expression import CompileTarget, Expression
from headrace.features.history import (
    FLAT,
    Difference,
    Lag,
    Rolling,
    SeasonalChange,
    SeasonalLag,
    SeasonalMean,
)
from headrace.features.keyed import key_frame, numbers_in
from headrace.features.row import Col, Literal, Native
from headrace.grid import Grid

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

ORIGINS = "known_at:"
"""Name under which a history for learning holds since when each step was the newest; see `known_of`."""

REMEMBERED = 2_000_000
"""Values of an array that is kept for other expressions to use: 16 MB."""

FEW = 2
"""Up to so many windows are summed each by itself: several share what they have in common."""


def known_of(column: str) -> str:
    """Name under which a history for learning holds since when each value of a column known in advance was known.

    Both are microseconds since 1970. A forecast from a past origin could not see what was known later, though the
    history holds it by now.
    """
    return ORIGINS + column


@dataclass(frozen=True)
class History:
    """Series on one grid.

    Attributes:
        keys: One row a series, in the order of the arrays' rows; sorted.
        values: Float64 arrays of shape (series, steps) by column name.
        first: Step of column 0: its slot on the grid.
        grid: When steps begin.
    """

    keys: pl.DataFrame
    values: dict[str, Array]
    first: int
    grid: Grid

    @property
    def series(self) -> int:
        """Number of series."""
        return self.keys.height

    @property
    def length(self) -> int:
        """Number of steps on the grid."""
        return int(next(iter(self.values.values())).shape[1])

    @property
    def step(self) -> timedelta:
        """Nominal time from one column to the next."""
        return self.grid.step

    @property
    def start(self) -> datetime:
        """Time of column 0, UTC."""
        return self.time(0)

    @property
    def end(self) -> datetime:
        """Time of the last column, UTC."""
        return self.time(self.length - 1)

    def time(self, position: int) -> datetime:
        """When the step of a column begins, UTC; columns outside are counted on."""
        return self.grid.time(self.first + position)

    def times(self, positions: Positions) -> NDArray[np.datetime64]:
        """When the steps of columns begin, as UTC datetime64[us]."""
        return times_of(self.grid, self.first + positions)

    def position(self, time: datetime) -> int:
        """The column of `time`; negative or past the end when outside."""
        return self.grid.slot(time) - self.first

    def slice(self, name: str, lo: int, hi: int) -> Array:
        """Columns lo to hi - 1 of a value, NaN where they lie outside the grid."""
        values = self.values.get(name)
        if values is None:
            raise FeatureError(f"no history is kept of {name!r}", hint="only numeric columns have a history")
        inside = values[:, max(lo, 0) : max(hi, 0)]
        if inside.shape[1] == hi - lo:
            return inside
        padded = np.full((values.shape[0], hi - lo), np.nan)
        first = max(-lo, 0)
        padded[:, first : first + inside.shape[1]] = inside
        return padded


def history_of(
    frame: pl.DataFrame, *, keys: tuple[str, ...], time: str, columns: tuple[str, ...], grid: Grid
) -> History:
    """Put a table of one row per (keys, time) on a grid, from its first time to its last.

    Args:
        frame: Times in UTC, on the grid; order does not matter.
        keys: Columns that tell one series from another; nulls equal one another.
        time: Column of the time.
        columns: Numeric columns to keep.
        grid: When steps begin.
    """
    import polars as pl

    frame_keys = key_frame(frame, keys)
    names = frame_keys.unique().sort(keys)
    codes = numbers_in(names, frame_keys)
    slots = grid.slots(frame[time].dt.epoch("us").to_numpy())
    first, length = int(slots.min()), int(slots.max() - slots.min()) + 1
    index = (codes.to_numpy(), slots - first)
    values = {}
    for column in columns:
        dense = np.full((names.height, length), np.nan)
        dense[index] = frame[column].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        values[column] = dense
    return History(names, values, first, grid)


def key_texts(keys: pl.DataFrame) -> tuple[str, ...]:
    """Every series' keys as a JSON list, in order: what tells it from others across histories and models."""
    return tuple(map(_key_text, keys.iter_rows()))


@lru_cache(maxsize=200_000)
def _key_text(row: tuple[object, ...]) -> str:
    return json.dumps(list(row), default=str)


class Arrays:
    """Evaluates expressions over a history; what several have in common is computed once, while it is small."""

    def __init__(self, history: History) -> None:
        self.history = history
        self._done: dict[tuple[str, int, int], Array] = {}

    def array(self, expression: Expression, lo: int, hi: int) -> Array:
        """The expression at origins lo to hi - 1, shape (series, hi - lo); NaN where it is missing."""
        if isinstance(expression, Col):
            return self.history.slice(expression.name, lo, hi)
        if isinstance(expression, Literal):
            return np.broadcast_to(self._evaluate(expression, lo, hi), (self.history.series, hi - lo))
        key = (expression.digest, lo, hi)
        values = self._done.get(key)
        if values is None:
            values = self._evaluate(expression, lo, hi)
            if values.size <= REMEMBERED:
                self._done[key] = values
        return values

    def _evaluate(self, expression: Expression, lo: int, hi: int) -> Array:
        table = CompileTarget(step=self.history.step)
        match expression:
            case Lag(operand, by):
                k = table.steps(by, "lag")
                return self.array(operand, lo - k, hi - k)
            case Difference(operand, by):
                k = table.steps(by, "difference")
                return self.array(operand, lo, hi) - self.array(operand, lo - k, hi - k)
            case Rolling(statistic, operand, window, min_periods):
                width = table.steps(window, "rolling")
                return rolling(self.array(operand, lo - width + 1, hi), statistic, width, min_periods)
        numbers = arithmetic(expression, lambda e: self.array(e, lo, hi))
        return self._combined(expression, lo, hi) if numbers is None else numbers

    def _combined(self, expression: Expression, lo: int, hi: int) -> Array:
        """Any other expression: its history parts as columns, the rest in polars over the flattened grid."""
        import polars as pl

        history = self.history
        parts = {node.digest: node for node in outermost(expression, (Lag, Difference, Rolling, Col))}
        columns = {f"_{d}": self.array(node, lo, hi).ravel() for d, node in parts.items()}
        for node in outermost(expression, (Native,)):
            columns |= {root: history.slice(root, lo, hi).ravel() for root in node.columns()}
        ready = {d: f"_{d}" for d in parts}
        table = CompileTarget(time="_time", step=history.step, ready=ready, zone=history.grid.dates)
        rows = history.series * (hi - lo)
        if not columns or expression.uses_time():
            times = history.times(np.arange(lo, hi))
            columns["_time"] = np.tile(times, history.series)
            table = replace(table, years=years_of(times))
        frame = pl.DataFrame(columns).with_columns(pl.selectors.float().fill_nan(None))
        if "_time" in columns:
            frame = frame.with_columns(pl.col("_time").cast(pl.Datetime("us", "UTC")))
        return to_float(frame.select(x=expression.compile(table)), rows).reshape(history.series, hi - lo)


def rolling(x: Array, statistic: str, width: int, min_periods: int) -> Array:
    """A statistic of each window of `width` columns: shape (n, m) to (n, m - width + 1). See `Rolling`."""
    missing = np.isnan(x)
    is_complete = not missing.any()
    if is_complete:
        count = np.full((x.shape[0], x.shape[1] - width + 1), float(width))
    else:
        count = _sums((~missing).astype(np.float64), width)
    if statistic == "count":
        return count
    enough = count >= min_periods
    if statistic in ("min", "max"):
        return np.where(enough, _extremes(x, width, statistic), np.nan)
    filled = x if is_complete else np.where(missing, 0.0, x)
    total = _sums(filled, width)
    if statistic == "sum":
        return np.where(enough, total, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        if statistic == "mean":
            return np.where(enough, mean, np.nan)
        variance = _sums(filled * filled, width) / count - mean * mean
        clean = np.where(variance > FLAT * (mean * mean), variance, 0.0)
        return np.where(enough, np.sqrt(clean), np.nan)


def _sums(x: Array, width: int) -> Array:
    """Sums of `width` neighbours, shape (n, m) to (n, m - width + 1): the additions of `doubling`, in its order."""
    windows = x.shape[1] - width + 1
    if windows <= FEW:
        return np.concatenate([_sum_of_one(x[:, i : i + width], width) for i in range(windows)], axis=1)
    total: Array | None = None
    folded, size, block = 0, 1, x
    while size <= width:
        if width & size:
            begin = width - folded - size
            part = block[:, begin : begin + windows]
            total = part if total is None else total + part
            folded += size
        size *= 2
        if size <= width:
            block = block[:, size // 2 :] + block[:, : -(size // 2)]
    assert total is not None
    return total


def _sum_of_one(x: Array, width: int) -> Array:
    """The same for a single window: pairs of pairs, without the sums that only other windows need."""
    total: Array | None = None
    end, size = width, 1
    while size <= width:
        if width & size:
            part = x[:, end - size : end]
            while part.shape[1] > 1:
                part = part[:, 1::2] + part[:, 0::2]
            total = part if total is None else total + part
            end -= size
        size *= 2
    assert total is not None
    return total


def _extremes(x: Array, width: int, statistic: str) -> Array:
    extreme = np.fmin if statistic == "min" else np.fmax
    if (windows := x.shape[1] - width + 1) <= FEW:
        return np.stack([extreme.reduce(x[:, i : i + width], axis=1) for i in range(windows)], axis=1)
    block, size = x, 1
    while size * 2 <= width:
        block = extreme(block[:, size:], block[:, :-size])
        size *= 2
    rest = width - size
    return extreme(block[:, rest:], block[:, : block.shape[1] - rest]) if rest else block


Seasonal = SeasonalLag | SeasonalChange | SeasonalMean
Positions = NDArray[np.intp]


def seasonal(node: Seasonal, arrays: Arrays, series: Positions, origin: Positions, ahead: Positions) -> Array:
    """A seasonal primitive for examples (series, origin, steps ahead), all of one length; see the primitives."""
    history = arrays.history
    steps = CompileTarget(step=history.step).steps(node.season, node.op)
    longest = int(ahead.max())
    lo = max(int(origin.min()) - node.lookback() // history.step - longest, 0)
    base = arrays.array(node.of, lo, int(origin.max()) + 1)
    origin = origin - lo
    if not isinstance(node, SeasonalMean):
        offset = np.array([node.offset(h, steps) for h in range(longest + 1)])[ahead]
        value = _at(base, series, origin - offset)
        return value if isinstance(node, SeasonalLag) else _at(base, series, origin) - value
    offsets = [node.offsets(h, steps) for h in range(longest + 1)]
    total, count = np.zeros(series.shape), np.zeros(series.shape)
    for turn in range(max(map(len, offsets))):
        nth = np.array([o[turn] if turn < len(o) else 0 for o in offsets])[ahead]
        present = np.array([turn < len(o) for o in offsets])[ahead]
        value = _at(base, series, origin - nth)
        known = present & ~np.isnan(value)
        total += np.where(known, value, 0.0)
        count += known
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _at(base: Array, series: Positions, position: Positions) -> Array:
    last = base.shape[1] - 1
    if not position.size or (position.min() >= 0 and position.max() <= last):
        return base[series, position]
    value = base[series, np.clip(position, 0, last)]
    return np.where((position >= 0) & (position <= last), value, np.nan)


def outermost(expression: Expression, kinds: tuple[type[Expression], ...]) -> list[Expression]:
    """The highest nodes of the given kinds."""
    if isinstance(expression, kinds):
        return [expression]
    return [node for child in expression.children() for node in outermost(child, kinds)]


def times_of(grid: Grid, slots: Positions) -> NDArray[np.datetime64]:
    """When steps begin, as UTC datetime64[us]."""
    return grid.times(slots.astype(np.int64)).astype("datetime64[us]")


def years_of(times: NDArray[np.datetime64]) -> tuple[int, int]:
    """First and last year of the times, one year wider on both sides for local zones and shifted days."""
    if not times.size:
        return (1970, 1970)
    years = times[[0, -1]].astype("datetime64[Y]").astype(int) + 1970
    return int(years.min()) - 1, int(years.max()) + 1


def to_float(frame: pl.DataFrame, rows: int) -> Array:
    """The one column of `frame` as float64 of length `rows` (a constant is repeated), NaN for null."""
    import polars as pl

    column = frame.to_series().cast(pl.Float64)
    values = (column.fill_null(float("nan")) if column.null_count() else column).to_numpy()
    return np.full(rows, values[0]) if values.size == 1 and rows != 1 else values.astype(np.float64, copy=True)
