"""What several readers saw of the same series, each as of its own time: one pass over the facts serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotEnoughDataError
from headrace.features.arrays import Grid, History
from headrace.store.delta import Table
from headrace.store.history import Seen, Series, newest, read_facts

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Views:
    """Every reader's view of every series, on one grid.

    Two readers share a row of `history` wherever they saw the same up to their own origins. A row may hold values after
    a reader's origin, which that reader must not look at; values known ahead are those that it saw.

    Attributes:
        keys: One row a series; sorted.
        history: One row a distinct view of a series; its keys repeat.
        rows: Row of the history per reader and series, shape (readers, series).
        origins: Grid position of every reader's newest known value, shape (readers,).
    """

    keys: pl.DataFrame
    history: History
    rows: Ints
    origins: Ints

    @property
    def readers(self) -> int:
        """Number of readers."""
        return int(self.origins.size)

    def origin(self, reader: int) -> datetime:
        """A reader's forecast origin, UTC."""
        return self.history.start + self.history.step * int(self.origins[reader])

    def windows(self) -> tuple[Ints, Ints]:
        """History row and origin of every (reader, series), in that order."""
        return self.rows.ravel(), np.repeat(self.origins, self.rows.shape[1])


def read_views(
    raw: Table,
    series: Series,
    as_of: Sequence[datetime],
    version: int,
    *,
    span: timedelta,
    ahead: timedelta = timedelta(),
    only: Mapping[str, Any] | None = None,
) -> Views:
    """What readers as of these times saw, from `span` before the first origin on.

    Args:
        raw: The facts.
        series: How they hold series; its first column is the target, whose newest value is a reader's origin.
        as_of: Ascending, UTC.
        version: Logical version of the facts.
        span: How far before its origin a reader looks.
        ahead: How far after it lie the values of columns that are known ahead.
        only: Key columns to values: no other series is read. The origin is still that of all series, so there
            can be one reader only.

    Raises:
        NotEnoughDataError: The first reader saw nothing.
    """
    target = series.columns[0]
    first = newest(raw, series.time, target, Seen(as_of[0], version))
    last = first if len(as_of) == 1 else newest(raw, series.time, target, Seen(as_of[-1], version))
    reach = ahead if series.ahead else timedelta()
    facts = read_facts(raw, series, Seen(as_of[-1], version), (first - span, last + reach), only)
    if facts.is_empty():
        raise NotEnoughDataError("no value lies in the history that is needed", where=raw.uri)
    grid = Grid(first - span + series.step, last + reach, series.step)
    return _Assembly(facts, series, grid, as_of, reach).views((first - grid.start) // grid.step)


class _Assembly:
    """Facts as arrays: who saw each, and what it is about; those about the same by their known times."""

    def __init__(
        self, facts: pl.DataFrame, series: Series, grid: Grid, as_of: Sequence[datetime], reach: timedelta
    ) -> None:
        import polars as pl

        self._series, self._grid, self._readers = series, grid, len(as_of)
        self.keys = facts.select(series.keys).unique().sort(series.keys)
        numbered = self.keys.with_row_index("_row")
        codes = facts.select(series.keys).join(
            numbered, on=series.keys, how="left", nulls_equal=True, maintain_order="left"
        )
        of = codes["_row"].to_numpy().astype(np.int64)
        step, start = (length // timedelta(microseconds=1) for length in (grid.step, grid.start - _EPOCH))
        at = (facts[series.time].to_physical().to_numpy() - start) // step
        known_at = facts["known_at"].to_physical().to_numpy()
        values = {c: facts[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in series.columns}
        again = _repeated(of * grid.length + at, self.keys.height * grid.length)
        if again.size:
            sorting = again[np.lexsort((facts["_version"].to_numpy()[again], known_at[again]))]
            of, at, known_at = (_moved(column, again, sorting) for column in (of, at, known_at))
            values = {c: _moved(column, again, sorting) for c, column in values.items()}
        self._of: Ints = of
        self._at: Ints = at
        self._values = values
        times = np.array([(moment - _EPOCH) // timedelta(microseconds=1) for moment in as_of])
        self._seen_by: Ints = np.searchsorted(times, known_at) if len(as_of) > 1 else np.zeros_like(of)
        self._reach = reach // grid.step

    def views(self, first_origin: int) -> Views:
        origins = self._origins(first_origin)
        row_of, last_of = self._rows(self._late(origins))
        starts = np.searchsorted(row_of, np.arange(self.keys.height + 1))
        reader, series = np.arange(self._readers)[:, None], np.arange(self.keys.height)[None, :]
        rows = np.searchsorted(row_of * self._readers + last_of, series * self._readers + reader)
        values = {name: self._dense(name, row_of, last_of, starts) for name in self._values}
        history = History(self.keys[row_of], values, self._grid.start, self._grid.step)
        return Views(self.keys, history, rows, origins)

    def _origins(self, first: int) -> Ints:
        """The newest target that every reader saw; the first reader's may come from a series that was not read."""
        known = ~np.isnan(self._values[self._series.columns[0]])
        newest_of = np.full(self._readers + 1, first)
        np.maximum.at(newest_of, self._seen_by[known], self._at[known])
        origins: Ints = np.maximum.accumulate(newest_of)[: self._readers]
        return origins

    def _late(self, origins: Ints) -> NDArray[np.bool_]:
        """Facts that change what lies at or before an earlier reader's origin (or ahead of it, where that is read)."""
        late = (self._seen_by > 0) & (self._seen_by < self._readers)
        before = origins[np.maximum(self._seen_by - 1, 0)]
        inside = self._at <= before
        if self._reach:
            inside |= (self._at <= before + self._reach) & self._tells_ahead()
        changes: NDArray[np.bool_] = late & inside
        return changes

    def _tells_ahead(self) -> NDArray[np.bool_]:
        """Facts whose columns known ahead differ from what the fact before about the same said."""
        order = np.lexsort((np.arange(self._of.size), self._at, self._of))
        of, at = self._of[order], self._at[order]
        follows = np.r_[False, (of[1:] == of[:-1]) & (at[1:] == at[:-1])]
        tells = np.zeros(of.size, dtype=bool)
        for name in self._series.ahead:
            now = self._values[name][order]
            before = np.where(follows, np.r_[np.nan, now[:-1]], np.nan)
            tells |= ~((now == before) | (np.isnan(now) & np.isnan(before)))
        told = np.empty_like(tells)
        told[order] = tells
        return told

    def _rows(self, late: NDArray[np.bool_]) -> tuple[Ints, Ints]:
        """Series and last reader of every view, ordered by both: a late fact ends the view of those before it."""
        series = np.concatenate([np.arange(self.keys.height), self._of[late]])
        lasts = np.concatenate([np.full(self.keys.height, self._readers - 1), self._seen_by[late] - 1])
        found = np.unique(np.stack([series, lasts], axis=1), axis=0)
        return found[:, 0], found[:, 1]

    def _dense(self, name: str, row_of: Ints, last_of: Ints, starts: Ints) -> NDArray[np.float64]:
        """Each view's values: of the facts about one time the last one that was seen counts."""
        values = self._values[name]
        early = self._seen_by == 0
        base = np.full((self.keys.height, self._grid.length), np.nan)
        base[self._of[early], self._at[early]] = values[early]
        dense = base[row_of]
        later = np.flatnonzero(~early & (self._seen_by < self._readers))
        if later.size:
            code = row_of * self._readers + last_of
            begin = np.searchsorted(code, self._of[later] * self._readers + self._seen_by[later])
            count = starts[self._of[later] + 1] - begin
            which = np.repeat(later, count)
            within = np.arange(which.size) - np.repeat(np.cumsum(count) - count, count)
            dense[np.repeat(begin, count) + within, self._at[which]] = values[which]
        return dense


def _repeated(cells: Ints, size: int) -> Ints:
    """Where facts stand that are about the same: one corrects the other."""
    seen = np.zeros(size, dtype=np.bool_)
    seen[cells] = True
    if int(seen.sum()) == cells.size:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.bincount(cells, minlength=size)[cells] > 1)


def _moved(column: NDArray[Any], to: Ints, of: Ints) -> NDArray[Any]:
    moved = column.copy()
    moved[to] = column[of]
    return moved
