"""What several readers saw of the same series, each as of its own time: one pass over the facts serves them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.errors import NotEnoughDataError
from headrace.features.arrays import Array, History
from headrace.features.keyed import key_frame, numbers_in
from headrace.store.delta import Table
from headrace.store.history import KnownAsOf, SeriesLayout, newest, read_facts

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.int64]
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


@dataclass(frozen=True)
class Snapshots:
    """What every reader sees of every series, on one grid: a snapshot per reader.

    Two readers share a row of `history` wherever they saw the same up to their own origins. A row may hold values after
    a reader's origin, which that reader must not look at; values known in advance are those that it saw.

    Attributes:
        series: What was read.
        keys: One row a series; sorted.
        history: One row a distinct snapshot of a series; its keys repeat.
        rows: Row of the history per reader and series, shape (readers, series).
        origins: Grid position of every reader's newest known value, shape (readers,).
    """

    series: SeriesLayout
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
        return self.history.time(int(self.origins[reader]))

    def reach(self, series: SeriesLayout, span: timedelta, ahead: timedelta) -> bool:
        """Whether reading these series from `span` before the origins until `ahead` after them would add nothing."""
        begin = int(self.origins[0]) - series.steps(span) + 1
        end = int(self.origins[-1]) + (series.steps(ahead) if series.ahead else 0)
        return series == self.series and begin >= 0 and end < self.history.length

    def windows(self) -> tuple[Ints, Ints]:
        """History row and origin of every (reader, series), in that order."""
        return self.rows.ravel(), np.repeat(self.origins, self.rows.shape[1])

    def blank(self, reader: int, horizon: int) -> tuple[str, ...]:
        """Columns known in advance of which a reader saw no value of any series in the steps after its origin."""
        begin, rows = int(self.origins[reader]) + 1, self.rows[reader]
        futures = {name: self.history.slice(name, begin, begin + horizon)[rows] for name in self.series.ahead}
        return tuple(name for name, values in futures.items() if np.isnan(values).all())

    def heard(self) -> NDArray[np.bool_]:
        """Whether a value of the series lies as far before the origin as the first reader's facts go; as `windows`.

        Another series is here for the sake of other readers: alone, this one would not have known of it.
        """
        (rows, origins), reach = self.windows(), int(self.origins[0])
        is_heard = np.zeros(rows.size, dtype=np.bool_)
        for values in self.history.values.values():
            is_heard |= ~np.isnan(values[rows, origins])
            quiet = np.flatnonzero(~is_heard)
            distinct, inverse = np.unique(rows[quiet], return_inverse=True)
            newest = np.where(np.isnan(values[distinct]), -1, np.arange(self.history.length))
            newest = np.maximum.accumulate(newest, axis=1)[inverse, origins[quiet]]
            is_heard[quiet] = newest >= np.maximum(origins[quiet] - reach, 0)
        return is_heard


def read_snapshots(
    raw: Table,
    series: SeriesLayout,
    as_of: Sequence[datetime],
    version: int,
    *,
    span: timedelta,
    ahead: timedelta = timedelta(),
    only: Mapping[str, Any] | None = None,
) -> Snapshots:
    """What readers as of these times saw, from `span` before the first origin on.

    Args:
        raw: The facts.
        series: How they hold series; its first column is the target, whose newest value is a reader's origin.
        as_of: Ascending, UTC.
        version: Logical version of the facts.
        span: How far before its origin a reader looks.
        ahead: How far after it lie the values of columns that are known in advance.
        only: Key columns to values: no other series is read. The origin is still that of all series, so there
            can be one reader only.

    Raises:
        NotEnoughDataError: The first reader saw nothing.
    """
    begin = newest(raw, series, KnownAsOf(as_of[0], version))
    end = begin if len(as_of) == 1 else newest(raw, series, KnownAsOf(as_of[-1], version))
    slot, reach = series.grid.slot, series.steps(ahead) if series.ahead else 0
    first, last = slot(begin.origin) - series.steps(span), slot(end.origin) + reach
    assembly = _Assembly(series, range(first + 1, last + 1), as_of, reach)
    between = first, max(last, slot(end.last))
    for part in read_facts(raw, series, KnownAsOf(as_of[-1], version), between, only, end.facts):
        assembly.add(part)
    if not assembly.keys.height:
        raise NotEnoughDataError("no value lies in the history that is needed", where=raw.uri)
    return assembly.snapshots(slot(begin.origin) - first - 1)


@dataclass(frozen=True)
class _Late:
    """Facts that the first reader did not see: what each is about, who saw it first, and what it says.

    Attributes:
        series: Number of the series.
        at: Grid position.
        seen_by: The first reader that saw it.
        tells_ahead: Whether a column known in advance differs from what the fact before about the same said.
        values: By column.
    """

    series: Ints
    at: Ints
    seen_by: Ints
    tells_ahead: NDArray[np.bool_]
    values: dict[str, Array]


class _Assembly:
    """Puts facts on the grid part by part: what the first reader saw at once, what others saw later at the end."""

    def __init__(self, series: SeriesLayout, steps: range, as_of: Sequence[datetime], reach: int) -> None:
        import polars as pl

        self._series, self._steps, self._reach = series, steps, reach
        self._times = np.array([_microseconds(moment - _EPOCH) for moment in as_of])
        self._base = {name: np.empty((0, len(steps))) for name in series.columns}
        self._newest = np.full(len(as_of), -1)
        self._later: list[_Late] = []
        self.keys = pl.DataFrame()
        """One row a series, in the order of their numbers: as they were met."""

    def add(self, facts: pl.DataFrame) -> None:
        """Facts, corrected ones included; all that are about one time come in one call."""
        import polars as pl

        if facts.is_empty():
            return
        series, positions = self._numbers(facts), self._positions(facts)
        known_at = facts["known_at"].to_physical().to_numpy()
        if self._series.waits:
            facts, series, positions, known_at = self._open(facts, series, positions, known_at)
            if facts.is_empty():
                return
        values = {c: facts[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in self._series.columns}
        first, width = int(positions.min()), int(positions.max() - positions.min()) + 1
        repeats = _repeated(series * width + positions - first, self.keys.height * width)
        if repeats.size:
            sorting = repeats[np.lexsort((facts["_version"].to_numpy()[repeats], known_at[repeats]))]
            series, positions, known_at = (_moved(column, repeats, sorting) for column in (series, positions, known_at))
            values = {c: _moved(column, repeats, sorting) for c, column in values.items()}
        seen_by = np.searchsorted(self._times, known_at) if self._times.size > 1 else np.zeros_like(series)
        known = ~np.isnan(values[self._series.columns[0]])
        np.maximum.at(self._newest, seen_by[known], positions[known])
        early = seen_by == 0
        all_early = bool(early.all())
        for name, column in values.items():
            cells = (series, positions) if all_early else (series[early], positions[early])
            self._base[name][cells] = column if all_early else column[early]
        if not all_early:
            tells = self._tells_ahead(series * width + positions - first, values)
            late = {name: column[~early] for name, column in values.items()}
            self._later.append(_Late(series[~early], positions[~early], seen_by[~early], tells[~early], late))

    def _open(
        self, facts: pl.DataFrame, series: Ints, positions: Ints, known_at: Ints
    ) -> tuple[pl.DataFrame, Ints, Ints, Ints]:
        """The facts on the grid; those after it are about steps that are not over, and only tell how far events go."""
        import polars as pl

        beyond = positions >= len(self._steps)
        is_target = beyond & facts[self._series.columns[0]].is_not_null().to_numpy()
        np.maximum.at(self._newest, np.searchsorted(self._times, known_at[is_target]), positions[is_target])
        return facts.filter(pl.Series(~beyond)), series[~beyond], positions[~beyond], known_at[~beyond]

    def _numbers(self, facts: pl.DataFrame) -> Ints:
        """The number of each fact's series; one that is met for the first time gets the next."""
        frame = key_frame(facts, self._series.keys)
        if not self.keys.height:
            self._meet(frame.unique())
        numbers = numbers_in(self.keys, frame)
        if numbers.null_count():
            self._meet(frame.filter(numbers.is_null()).unique())
            numbers = numbers_in(self.keys, frame)
        return numbers.to_numpy().astype(np.int64)

    def _meet(self, new: pl.DataFrame) -> None:
        import polars as pl

        self.keys = new if not self.keys.height else pl.concat([self.keys, new])
        padding = np.full((new.height, len(self._steps)), np.nan)
        self._base = {name: np.concatenate([base, padding]) for name, base in self._base.items()}

    def _positions(self, facts: pl.DataFrame) -> Ints:
        times = facts[self._series.time].to_physical().to_numpy()
        positions: Ints = self._series.grid.slots(times) - self._steps.start
        return positions

    def _tells_ahead(self, cells: Ints, values: dict[str, Array]) -> NDArray[np.bool_]:
        """Facts whose columns known in advance differ from what the fact before about the same said."""
        tells = np.zeros(cells.size, dtype=bool)
        if not self._reach:
            return tells
        order = np.argsort(cells, kind="stable")
        follows = np.r_[False, cells[order][1:] == cells[order][:-1]]
        for name in self._series.ahead:
            now = values[name][order]
            previous = np.where(follows, np.r_[np.nan, now[:-1]], np.nan)
            tells[order] |= ~((now == previous) | (np.isnan(now) & np.isnan(previous)))
        return tells

    def snapshots(self, first_origin: int) -> Snapshots:
        """Everybody's snapshot; the first origin may come from a series that was not read."""
        readers = self._times.size
        self._newest[0] = max(int(self._newest[0]), first_origin)
        origins: Ints = np.maximum.accumulate(self._newest)
        if self._series.waits:
            newest_slots = [self._series.newest_over(_EPOCH + int(time) * _MICROSECOND) for time in self._times]
            origins = np.minimum(origins, [self._series.grid.slot(slot) - self._steps.start for slot in newest_slots])
        order = self.keys.with_row_index("_row").sort(self._series.keys)["_row"].to_numpy().astype(np.int64)
        keys = self.keys[order]
        late = self._sorted_late(order)
        row_of, last_of = self._rows(late, origins)
        reader, series = np.arange(readers)[:, None], np.arange(keys.height)[None, :]
        rows = np.searchsorted(row_of * readers + last_of, series * readers + reader)
        values = {
            name: self._dense(name, order[row_of], late, row_of * readers + last_of) for name in self._series.columns
        }
        history = History(keys[row_of], values, self._steps.start, self._series.grid)
        return Snapshots(self._series, keys, history, rows, origins)

    def _sorted_late(self, order: Ints) -> _Late:
        """All late facts as one, their series numbered in order of the keys."""
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        nothing = np.empty(0, dtype=np.int64)
        parts = [
            _Late(nothing, nothing, nothing, nothing.astype(bool), {name: nothing.astype(float) for name in self._base})
        ]
        parts += self._later
        series, positions, seen_by, tells = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("series", "at", "seen_by", "tells_ahead")
        )
        values = {name: np.concatenate([part.values[name] for part in parts]) for name in self._base}
        return _Late(rank[series], positions, seen_by, tells, values)

    def _rows(self, late: _Late, origins: Ints) -> tuple[Ints, Ints]:
        """Series and last reader of every snapshot, ordered by both: a fact that changes what those before saw ends it.

        It does where it lies at or before an earlier reader's origin (or ahead of it, where that is read).
        """
        previous = origins[late.seen_by - 1]
        changes = (late.at <= previous) | ((late.at <= previous + self._reach) & late.tells_ahead)
        everyone = np.arange(self.keys.height)
        series = np.concatenate([everyone, late.series[changes]])
        lasts = np.concatenate([np.full_like(everyone, self._times.size - 1), late.seen_by[changes] - 1])
        pairs = np.unique(np.stack([series, lasts], axis=1), axis=0)
        return pairs[:, 0], pairs[:, 1]

    def _dense(self, name: str, base_of: Ints, late: _Late, code: Ints) -> Array:
        """Each snapshot's values: of the facts about one time the last one that was seen counts.

        Args:
            name: The column.
            base_of: Number of every snapshot's series.
            late: From `_sorted_late`.
            code: Series times readers plus last reader of every snapshot, ascending.
        """
        base, readers = self._base.pop(name), self._times.size
        dense = base if np.array_equal(base_of, np.arange(base.shape[0])) else base[base_of]
        begin = np.searchsorted(code, late.series * readers + late.seen_by)
        count = np.searchsorted(code, (late.series + 1) * readers) - begin
        index = np.repeat(np.arange(late.at.size), count)
        offset = np.arange(index.size) - np.repeat(np.cumsum(count) - count, count)
        dense[np.repeat(begin, count) + offset, late.at[index]] = late.values[name][index]
        return dense


def _microseconds(length: timedelta) -> int:
    return length // timedelta(microseconds=1)


def _repeated(cells: Ints, size: int) -> Ints:
    """Where facts stand that are about the same: one corrects the other."""
    visible = np.zeros(size, dtype=np.bool_)
    visible[cells] = True
    if int(visible.sum()) == cells.size:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.bincount(cells, minlength=size)[cells] > 1)


def _moved(column: NDArray[Any], targets: Ints, sources: Ints) -> NDArray[Any]:
    moved = column.copy()
    moved[targets] = column[sources]
    return moved
