"""Counts in the store: of what a version learnt from, and of every day since.

The table ``drift_counts`` has a row for each variable, segment and day, whose columns add up: a month is the sum of its
days, and needs no row of the raw table. A day's row follows from what is known of that day, not from who counted it
when; facts that reach the store later make a new one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.errors import StoreError
from headrace.home import DRIFT_COUNTS, Home
from headrace.lineage import digest_of, iso
from headrace.loop.drift.importance import importance_of
from headrace.tasks.distributions import DAY, Distributions, KnownBetween, ObservedRows, Variable, column

if TYPE_CHECKING:
    import polars as pl

    from headrace.drift.frames import BinCounts, BinLayout
    from headrace.registry import ModelVersion
    from headrace.store import Table

FORMAT = 1
"""Part of every reference's id: raise it when the same values come to be counted otherwise."""
SEGMENTS = 50
"""Values of a segment's column that are looked at: those with most rows in the reference."""
_log = logging.getLogger("headrace.drift")
_EPOCH, _DAY = datetime(1970, 1, 1, tzinfo=UTC), timedelta(days=1)
_IDENTITY = ("reference", "part", "role", "variable", "segment", "day")
_VALUES = ("rows", "missing", "bins", "sums", "text")
_REFERENCE, _FRAME, _IMPORTANCE = "reference", "frame", "importance"
CURRENT, MARK = "current", "mark"
"""The parts that are about days: counts of one, and that it is counted."""


class Cell(NamedTuple):
    """What counts are about.

    Attributes:
        variable: The variable.
        segment: Column and value as JSON; empty: all rows.
    """

    variable: Variable
    segment: str


Days = NDArray[np.int64]
"""Days since 1970; -1 of rows whose day is not told, or lies before those that are counted one by one."""


@dataclass(frozen=True)
class Counted:
    """Counts of one cell, a group for each day."""

    days: Days
    counts: BinCounts


@dataclass(frozen=True)
class DriftReference:
    """What a version learnt from, counted.

    Attributes:
        id: Equal for equal content.
        frames: How each variable is counted.
        cells: BinCounts by day.
    """

    id: str
    frames: Mapping[Variable, BinLayout]
    cells: Mapping[Cell, Counted]
    importance: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The segments that are looked at, besides all rows."""
        return tuple(sorted({cell.segment for cell in self.cells if cell.segment}))

    def rows(self, roles: Sequence[str]) -> int:
        """Rows of the first of some roles that it has."""
        for role in roles:
            totals = [
                int(c.counts.rows.sum()) for cell, c in self.cells.items() if cell[0].role == role and not cell[1]
            ]
            if totals:
                return max(totals)
        return 0


def reference_id(version: ModelVersion, columns: Sequence[str]) -> str:
    """The id of what a version learnt from, counted as a whole and by the segments of some columns."""
    base = {"digest": version.digest, "as_of": iso(version.as_of), "segments": list(columns), "format": FORMAT}
    return digest_of(base)


class DriftCounts:
    """The counts of one version's reference and of the days since.

    Args:
        home: Where the table is.
        system: The system's name.
        version: Which version.
        columns: The segments' columns.
        source: What it learnt from, and what came since.
        lasting: Counts have to be kept; else a home that cannot be written to only has them counted again next time.
    """

    def __init__(
        self,
        home: Home,
        system: str,
        version: ModelVersion,
        columns: Sequence[str],
        source: Distributions,
        *,
        lasting: bool = True,
    ) -> None:
        self._table: Table = home.table(system, DRIFT_COUNTS)
        self._home, self._version, self._columns, self._source = home, version, tuple(columns), source
        self._lasting = lasting
        self.id = reference_id(version, columns)

    @cached_property
    def reference(self) -> DriftReference:
        """As it is stored; made and stored where it is not.

        Raises:
            HeadraceError: What the version learnt from cannot be read any more.
        """
        stored = self._read(_REFERENCE, _FRAME, _IMPORTANCE)
        if stored.is_empty():
            fresh = _reference(self.id, self._source.reference(), self._columns)
            fresh = replace(fresh, importance=importance_of(self._home, self._version))
            self._write([*_frame_rows(fresh), *_rows(_REFERENCE, fresh.cells)], self._version.as_of)
            return fresh
        return _stored_reference(self.id, stored)

    def between(self, between: KnownBetween) -> dict[Cell, Counted]:
        """Counts of what came, by day; days that are over are kept, and not counted again.

        Raises:
            StoreError: A table cannot be read or written.
        """
        import polars as pl

        reference, marks = self.reference, self._source.marks(between)
        stored = self._read(MARK, CURRENT, days=list(marks))
        known = dict(stored.filter(pl.col("part") == MARK).select("day", "text").iter_rows())
        lacking = sorted(day for day, mark in marks.items() if known.get(day) != mark)
        fresh: dict[Cell, Counted] = {}
        if lacking:
            begin, end = max(lacking[0], between.after), lacking[-1] + _DAY
            part = KnownBetween(begin, min(end, between.upto), min(end, between.before))
            fresh = _counted(self._source.observed(part), reference, self._columns, lacking)
            over = [day for day in lacking if day + _DAY <= between.upto]
            rows = [row for row in _rows(CURRENT, fresh) if row["day"] in set(over)]
            self._write([*rows, *({**_blank(MARK), "day": day, "text": marks[day]} for day in over)], None)
        lines = stored.filter((pl.col("part") == CURRENT) & ~pl.col("day").is_in(lacking))
        cells = _cells(lines, reference)
        return cells | {cell: _joined(cells[cell], item) if cell in cells else item for cell, item in fresh.items()}

    def _read(self, *parts: str, days: Sequence[datetime] | None = None) -> pl.DataFrame:
        import polars as pl

        if not self._table.exists():
            return pl.DataFrame(schema=_types())
        where = (pl.col("reference") == self.id) & pl.col("part").is_in(list(parts))
        if days is not None:
            where &= pl.col("day").is_in(list(days))
        # The newest row of each by the order in which they were stored: all of a day are known when it is over.
        rows = self._table.collect(self._table.scan(where=where).sort("_version"))
        return rows.unique(_IDENTITY, keep="last", maintain_order=True)

    def _write(self, rows: Sequence[Mapping[str, Any]], known_at: datetime | None) -> None:
        import polars as pl

        if not rows:
            return
        types = _types()
        frame = pl.DataFrame([{**row, "reference": self.id} for row in rows], schema=types)
        known = pl.col("day").dt.offset_by("1d") if known_at is None else pl.lit(known_at, types["day"])
        frame = frame.with_columns(known.alias("known_at"))
        try:
            self._table.append(frame, identity=_IDENTITY, compare=_VALUES, window="day")
        except StoreError as error:
            if self._lasting:
                raise
            _log.info("counts are not kept: %s", error.message)


def _reference(name: str, observed: Sequence[ObservedRows], columns: Sequence[str]) -> DriftReference:
    """The frames of a reference, and its counts by day."""
    from headrace.drift.frames import BinLayout

    frames = {item: BinLayout.of(one.frame[column(item)], item.kind) for one in observed for item in one.variables}
    cells: dict[Cell, Counted] = {}
    for one in observed:
        groups = _Groups.of(one.frame, columns, None)
        for variable in one.variables:
            counts = groups.count(frames[variable], one.frame[column(variable)], leave_out=True)
            cells |= {Cell(variable, segment): item for segment, item in counts}
    return DriftReference(name, frames, cells)


def _counted(
    observed: Sequence[ObservedRows], reference: DriftReference, columns: Sequence[str], days: Sequence[datetime]
) -> dict[Cell, Counted]:
    """Counts of some days, by the frames of a reference."""
    cells: dict[Cell, Counted] = {}
    for one in observed:
        frame = one.frame.filter(one.frame[DAY].is_in(list(days)))
        groups = _Groups.of(frame, columns, reference.segments)
        for variable in one.variables:
            if variable not in reference.frames or frame.is_empty():
                continue
            for segment, item in groups.count(reference.frames[variable], frame[column(variable)], leave_out=False):
                cell = Cell(variable, segment)
                cells[cell] = _joined(cells[cell], item) if cell in cells else item
    return cells


@dataclass(frozen=True)
class _Groups:
    """Which rows are counted together: those of a day, as a whole and by the values of each segment's column.

    Attributes:
        days: Ascending.
        day_of: The place of each row's day among them.
        segments: Each with its rows.
    """

    days: Days
    day_of: NDArray[np.int64]
    segments: Mapping[str, pl.Series]

    @classmethod
    def of(cls, frame: pl.DataFrame, columns: Sequence[str], known: Sequence[str] | None) -> _Groups:
        """Of a frame's rows; `known` are the segments of the reference, None where this is it."""
        import polars as pl

        from headrace.tasks.distributions import DAYS

        numbers = frame[DAY].dt.epoch("d").cast(pl.Int64).fill_null(-1)
        newest: Any = numbers.max()
        if known is None and newest is not None and newest >= 0:
            numbers = (
                numbers.to_frame("d").select(pl.when(pl.col("d") > newest - DAYS).then("d").otherwise(-1)).to_series()
            )
        days, day_of = np.unique(numbers.to_numpy(), return_inverse=True)
        segments: dict[str, pl.Series] = {}
        for name in columns:
            if name not in frame.columns:
                continue
            texts = frame[name].cast(pl.String).fill_null("(missing)")
            counts = texts.alias("v").value_counts(name="n").sort(["n", "v"], descending=[True, False])
            for value in counts["v"].head(SEGMENTS if known is None else counts.height):
                key = json.dumps([name, value])
                if known is None or key in known:
                    segments[key] = (texts == value).arg_true()
        return cls(days, day_of, segments)

    def count(self, frame: BinLayout, values: pl.Series, *, leave_out: bool) -> Iterator[tuple[str, Counted]]:
        """Counts by day of all rows, and of each segment's."""
        size = self.days.size
        yield "", Counted(self.days, frame.count(values, self.day_of, size, leave_out=leave_out))
        for segment, rows in self.segments.items():
            places = rows.to_numpy()
            yield segment, Counted(self.days, frame.count(values[rows], self.day_of[places], size, leave_out=leave_out))


def _joined(first: Counted, second: Counted) -> Counted:
    """Counts of the same cell from two frames."""
    days = np.union1d(first.days, second.days)
    parts = (part.counts.placed(np.searchsorted(days, part.days), days.size) for part in (first, second))
    return Counted(days, next(parts) + next(parts))


def within(cells: Mapping[Cell, Counted], first: datetime, end: datetime) -> dict[Cell, BinCounts]:
    """Counts of the days from one to before another, all days as one; cells without a row are left out."""
    begin, beyond = ((moment - _EPOCH) // _DAY for moment in (first, end))
    totals: dict[Cell, BinCounts] = {}
    for cell, (days, counts) in ((cell, (c.days, c.counts)) for cell, c in cells.items()):
        chosen = np.flatnonzero((days >= begin) & (days < beyond))
        if chosen.size:
            totals[cell] = counts.only(chosen).total()
    return totals


# In the table.


def _types() -> dict[str, Any]:
    import polars as pl

    texts = dict.fromkeys(("reference", "part", "role", "variable", "segment", "text"), pl.String())
    numbers = dict.fromkeys(("rows", "missing"), pl.Int64())
    lists = dict.fromkeys(("bins", "sums"), pl.List(pl.Int64()))
    return {**texts, "day": pl.Datetime("us", "UTC"), **numbers, **lists}


def _blank(part: str) -> dict[str, Any]:
    return {"part": part, "role": "", "variable": "", "segment": "", "day": _EPOCH}


def _frame_rows(reference: DriftReference) -> Iterator[dict[str, Any]]:
    yield {**_blank(_IMPORTANCE), "text": json.dumps(dict(reference.importance))}
    for variable, frame in reference.frames.items():
        base = {"role": variable.role, "variable": variable.name}
        yield {**_blank(_FRAME), **base, "text": json.dumps(frame.as_dict(), ensure_ascii=False)}


def _rows(part: str, cells: Mapping[Cell, Counted]) -> Iterator[dict[str, Any]]:
    """A row for every cell and day that has any."""
    for (variable, segment), (days, counts) in ((cell, (c.days, c.counts)) for cell, c in cells.items()):
        base = {"part": part, "role": variable.role, "variable": variable.name, "segment": segment}
        for place, day in enumerate(days.tolist()):
            if counts.rows[place]:
                details = counts.examples[place] if counts.examples else {}
                yield {
                    **base,
                    "day": _EPOCH + day * _DAY,
                    "rows": int(counts.rows[place]),
                    "missing": int(counts.missing[place]),
                    "bins": counts.bins[place].tolist(),
                    "sums": counts.sums[place].tolist() if counts.sums[place].any() else None,
                    "text": json.dumps(dict(details), ensure_ascii=False) if details else None,
                }


def _stored_reference(name: str, rows: pl.DataFrame) -> DriftReference:
    import polars as pl

    from headrace.drift.frames import BinLayout

    frames: dict[Variable, BinLayout] = {}
    for row in rows.filter(pl.col("part") == _FRAME).iter_rows(named=True):
        frame = BinLayout.from_dict(json.loads(row["text"]))
        frames[Variable(row["role"], row["variable"], frame.kind)] = frame
    empty = DriftReference(name, frames, {})
    cells = _cells(rows.filter(pl.col("part") == _REFERENCE), empty)
    texts = rows.filter(pl.col("part") == _IMPORTANCE)["text"]
    return DriftReference(name, frames, cells, json.loads(texts[0]))


def _cells(rows: pl.DataFrame, reference: DriftReference) -> dict[Cell, Counted]:
    """Rows of the table as counts by day."""
    from headrace.drift.frames import BinCounts

    known = {(item.role, item.name): item for item in reference.frames}
    cells: dict[Cell, Counted] = {}
    groups = rows.sort("day").partition_by("role", "variable", "segment", as_dict=True, maintain_order=True)
    for (role, name, segment), group in groups.items():
        variable = known[role, name]
        bins = np.array(group["bins"].to_list(), dtype=np.int64)
        sums = np.array([item or [0] * bins.shape[1] for item in group["sums"].to_list()], dtype=np.int64)
        days = group["day"].dt.epoch("d").cast(int).to_numpy()
        details = [json.loads(text) if text else {} for text in group["text"]] if group["text"].count() else ()
        counts = BinCounts(group["rows"].to_numpy(), group["missing"].to_numpy(), bins, sums, details)
        cells[Cell(variable, segment)] = Counted(days, counts)
    return cells
