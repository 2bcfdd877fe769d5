"""The feature matrix of a forecast: one row per example, a (series, origin, steps ahead) triple."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headrace.features.arithmetic import arithmetic
from headrace.features.arrays import (
    ORIGINS,
    Array,
    Arrays,
    History,
    Seasonal,
    known_of,
    seasonal,
    times_of,
    to_float,
    years_of,
)
from headrace.features.expression import ORIGIN, ROW, CompileTarget, Expression
from headrace.features.history import StepAhead
from headrace.features.place import CONSTANT, place_of
from headrace.grid import Grid

if TYPE_CHECKING:
    from headrace.features.view import Features

CELLS = 250_000
"""Values of a block of series: 2 MB."""


@dataclass(frozen=True)
class Examples:
    """What to forecast: three arrays of one length N.

    Attributes:
        series: Row of the series in the history.
        origin: Grid position of the forecast origin: the newest value that may be used.
        ahead: Steps from the origin to the target, 1 or more.
    """

    series: NDArray[np.intp]
    origin: NDArray[np.intp]
    ahead: NDArray[np.intp]

    def __len__(self) -> int:
        return int(self.series.size)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> Examples:
        return Examples(self.series[which], self.origin[which], self.ahead[which])

    @property
    def target(self) -> NDArray[np.intp]:
        """Grid position of the target."""
        return self.origin + self.ahead


def every_example(series: NDArray[np.intp], origin: NDArray[np.intp], horizon: int) -> Examples:
    """All steps 1 to `horizon` of the forecasts (series[i], origin[i]), in their order; one of either serves all."""
    series, origin = np.broadcast_arrays(series, origin)
    return Examples(
        np.repeat(series, horizon), np.repeat(origin, horizon), np.tile(np.arange(1, horizon + 1), series.size)
    )


def every_origin(series: int, origins: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The forecasts of each of `series` series from each origin, ordered by series and origin."""
    return np.repeat(np.arange(series), origins.size), np.tile(origins, series)


def near(history: History, examples: Examples, before: int | None = None) -> tuple[History, Examples]:
    """The series that the examples are about, and the examples of those: a part costs no more than itself.

    Args:
        history: All of it.
        examples: Some.
        before: How many steps are kept up to the first origin; all by default.
    """
    if not len(examples):
        return history, examples
    lo, hi = int(examples.series.min()), int(examples.series.max()) + 1
    begin = 0 if before is None else max(int(examples.origin.min()) + 1 - before, 0)
    end = history.length if before is None else int(examples.target.max()) + 1
    values = {name: rows[lo:hi, begin:end] for name, rows in history.values.items()}
    keys = history.keys[np.arange(lo, hi)]  # a slice of no columns has no height
    part = replace(history, keys=keys, values=values, first=history.first + begin)
    return part, Examples(examples.series - lo, examples.origin - begin, examples.ahead)


def by_series(history: History, examples: Examples) -> Iterator[tuple[History, Examples]]:
    """Examples, given in order of their series, by blocks of series small enough for the processor's cache."""
    size = max(CELLS // history.length, 1)
    ends = np.searchsorted(examples.series, np.arange(size, history.series + size, size))
    for begin, end in pairwise([0, *ends.tolist()]):
        if end > begin:
            yield near(history, examples[begin:end])


def feature_matrix(features: Features, history: History, examples: Examples) -> Array:
    """Float64 of shape (examples, features), NaN where a feature is missing."""
    return Evaluator(history, examples).matrix(features)


class Evaluator:
    """Evaluates expressions for one set of examples; what several features share is computed once.

    Args:
        history: What is known.
        examples: What to forecast.
        arrays: Of this history, to share with others what is computed over it.
    """

    def __init__(self, history: History, examples: Examples, arrays: Arrays | None = None) -> None:
        self._history = history
        self._arrays = Arrays(history) if arrays is None else arrays
        self._examples = examples
        self._done: dict[str, Array] = {}

    def matrix(self, features: Features) -> Array:
        """Values of all features, shape (examples, features), each column in one piece."""
        result = np.empty((len(self._examples), len(features.names)), order="F")
        for j, expression in enumerate(features.expressions):
            result[:, j] = self.column(expression)
        return result

    def column(self, expression: Expression) -> Array:
        """Values of an expression for every example, NaN where missing."""
        values = self._done.get(expression.digest)
        if values is None:
            values = self._done[expression.digest] = self._evaluate(expression)
        return values

    def _evaluate(self, expression: Expression) -> Array:
        examples = self._examples
        if not len(examples):
            return np.empty(0)
        if isinstance(expression, Seasonal):
            return seasonal(expression, self._arrays, examples.series, examples.origin, examples.ahead)
        if isinstance(expression, StepAhead):
            return examples.ahead.astype(np.float64)
        place = place_of(expression)
        if place == ORIGIN:
            return self._at_origin(expression)
        if place == ROW:
            only_time = not expression.columns()
            return self._calendar(expression) if only_time else self._at_target(expression)
        return self._mixed(expression)

    @cached_property
    def _origins(self) -> tuple[int, int]:
        """The first origin, and the one after the last."""
        return int(self._examples.origin.min()), int(self._examples.origin.max()) + 1

    def _at_origin(self, expression: Expression) -> Array:
        """Sums and products for the examples alone where the grid that they lie on is no smaller."""
        lo, hi = self._origins
        if len(self._examples) <= self._history.series * (hi - lo):
            numbers = arithmetic(expression, self.column)
            if numbers is not None:
                return numbers
        return self._arrays.array(expression, lo, hi)[self._examples.series, self._examples.origin - lo]

    def _at_target(self, expression: Expression) -> Array:
        target = self._examples.target
        lo, hi = int(target.min()), int(target.max()) + 1
        values = self._arrays.array(expression, lo, hi)[self._examples.series, target - lo]
        for names, where in self._unseen(expression):
            series, position = self._examples.series[where], target[where]
            blank = {name: np.broadcast_to(np.nan, self._history.values[name].shape) for name in names}
            hidden = Arrays(replace(self._history, values=self._history.values | blank))
            values[where] = hidden.array(expression, lo, hi)[series, position - lo]
        return values

    def _unseen(self, expression: Expression) -> Iterator[tuple[list[str], NDArray[np.intp]]]:
        """Which columns known in advance the origins of which examples could not see yet: each group with its examples.

        Of a history for learning, which holds more than they saw; another holds what its reader saw.
        """
        known = self._history.values
        names = sorted(name for name in expression.columns() if known_of(name) in known)
        if not names:
            return
        examples, pattern = self._examples, np.zeros(len(self._examples), dtype=np.int64)
        known_from = known[ORIGINS][examples.series, examples.origin]
        target = np.minimum(examples.target, self._history.length - 1)  # beyond it nothing is known at all
        for i, name in enumerate(names):
            pattern |= (known[known_of(name)][examples.series, target] > known_from).astype(np.int64) << i
        for code in np.unique(pattern[pattern > 0]).tolist():
            yield [name for i, name in enumerate(names) if code >> i & 1], np.flatnonzero(pattern == code)

    def _calendar(self, expression: Expression) -> Array:
        """Calendars depend on the target time alone: evaluate each time once."""
        history, target = self._history, self._examples.target
        first, last = int(target.min()), int(target.max())
        values = _at_times(_Definition(expression), history.grid, history.first + first, last - first + 1)
        return values[target - first]

    def _mixed(self, expression: Expression) -> Array:
        """Columns for the parts that are evaluated in one place; arithmetic joins them, or else polars."""
        import polars as pl

        numbers = arithmetic(expression, self._part)
        if numbers is not None:
            return numbers
        parts = {part.digest: part for part in _parts(expression)}
        columns = {f"_{digest}": self.column(part) for digest, part in parts.items()}
        frame = pl.DataFrame(columns).with_columns(pl.all().fill_nan(None))
        table = CompileTarget(step=self._history.step, ready={digest: f"_{digest}" for digest in parts})
        return to_float(frame.select(expression.compile(table)), len(self._examples))

    def _part(self, expression: Expression) -> Array:
        """As `column`; but what is not in one place is not kept: only one feature needs it."""
        if isinstance(expression, Seasonal | StepAhead) or place_of(expression) in (ORIGIN, ROW):
            return self.column(expression)
        return self._mixed(expression)


@dataclass(frozen=True, eq=False)
class _Definition:
    """An expression that equals any other of its definition: for members of one model, which bind their own."""

    expression: Expression

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Definition) and self.expression.digest == other.expression.digest

    def __hash__(self) -> int:
        return hash(self.expression)


@lru_cache(maxsize=64)
def _at_times(definition: _Definition, grid: Grid, first: int, count: int) -> Array:
    """A calendar at the beginnings of steps, for reading only."""
    import polars as pl

    times = times_of(grid, first + np.arange(count))
    frame = pl.DataFrame({"_time": pl.Series(times).cast(pl.Datetime("us", "UTC"))})
    table = CompileTarget(time="_time", step=grid.step, years=years_of(times), zone=grid.dates)
    values = to_float(frame.select(definition.expression.compile(table)), count)
    values.setflags(write=False)
    return values


def _parts(expression: Expression) -> list[Expression]:
    if isinstance(expression, Seasonal | StepAhead):
        return [expression]
    place = place_of(expression)
    if place == CONSTANT:
        return []
    if place in (ORIGIN, ROW):
        return [expression]
    return [part for child in expression.children() for part in _parts(child)]
