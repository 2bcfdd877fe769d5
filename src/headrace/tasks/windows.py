"""Sums over windows of known time, for many times at once, each the very same as if it were computed alone.

A fact counts from the stretch of time on in which it became known, until another one about the same thing replaces it.
Sums are made of stretches, and those of a window are added in the order of time: so whichever times are asked for
together, and whatever is known later, the sums of one time have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

    from headrace.tasks.watched import WatchRequest

ALWAYS = 2**62
"""The end of a fact that nothing has replaced."""
_AT_ONCE = 2_000_000
"""Facts that are put into windows at once: bounds the memory."""
CELL = ("scope", "era", "begin")
"""What is added up first: facts of one scope and era that became known in one stretch."""
Sums = NDArray[np.float64]


@dataclass(frozen=True)
class Windows:
    """Sums of windows.

    Attributes:
        sums: Name to an array of shape (times, scopes).
        present: Of the same shape: whether anything is in the window.
    """

    sums: Mapping[str, Sums]
    present: NDArray[np.bool_]


def stretches(moments: pl.Expr, request: WatchRequest) -> pl.Expr:
    """The number of the stretch in which something became known: that of the first evaluation time that sees it."""
    width = int(request.every.total_seconds() * 1_000_000)
    return (moments.dt.epoch("us") + (width - 1)) // width


def replaced(facts: pl.DataFrame, identity: Sequence[str], request: WatchRequest) -> pl.DataFrame:
    """Facts with their stretch as `begin`, and as `end` that in which the next fact about the same thing came.

    Args:
        facts: Have ``known_at``; in the order in which they count, of one identity one after the other.
        identity: What a fact is about.
        request: Says how long a stretch is.
    """
    import polars as pl

    begin = stretches(pl.col("known_at"), request).alias("begin")
    frame = facts.with_columns(begin)
    following = pl.col("begin").shift(-1)
    if identity:
        following = following.over(identity)
    return frame.with_columns(following.fill_null(ALWAYS).alias("end")).filter(pl.col("begin") < pl.col("end"))


def windowed(
    facts: pl.DataFrame, request: WatchRequest, scopes: int, summed: Callable[[pl.DataFrame], pl.DataFrame]
) -> Windows:
    """The sums of every window.

    Args:
        facts: ``scope`` (a number below `scopes`), ``era`` (a number of `eras`), ``begin``, ``end``, and what is to be
            summed, in an order that does not depend on what else is known.
        request: The windows.
        scopes: How many scopes there are.
        summed: Adds up rows by ``group``: for each group, in ascending order, the sums; one float column each.
    """
    import polars as pl

    last = request.places[-1]
    facts = facts.filter((pl.col("begin") <= last) & (pl.col("begin") > request.places[0] - request.reach))
    cells, grouped = _cells(facts.with_row_index("place"))
    totals = summed(grouped)
    names = [name for name in totals.columns if name != "group"]
    columns = totals.select(names).to_numpy().astype(np.float64)
    shape = (len(request.places), scopes)
    added, present = np.zeros((*shape, len(names))), np.zeros(shape, dtype=bool)
    _add(cells, columns, request, added, present)
    return Windows({name: added[:, :, place] for place, name in enumerate(names)}, present)


def _cells(facts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cells as they were from `start` on until `stop`, numbered by ``group``, and the facts in each of them."""
    import polars as pl

    endless = pl.lit(ALWAYS, pl.Int64)
    changed = facts.filter(pl.col("end") < endless).select(CELL).unique()
    plain = facts.join(changed, on=CELL, how="anti").with_columns(start="begin", stop=endless)
    parts = [plain]
    if changed.height:
        inside = facts.join(changed, on=CELL, how="semi")
        starts = inside.select(*CELL, start="begin")
        ends = inside.filter(pl.col("end") < endless).select(*CELL, start="end")
        points = pl.concat([starts, ends]).unique().sort(*CELL, "start")
        points = points.with_columns(pl.col("start").shift(-1).over(CELL).fill_null(endless).alias("stop"))
        parts.append(inside.join(points, on=CELL).filter(pl.col("start") < pl.col("end")).select(plain.columns))
    entries = pl.concat(parts)
    key = [*CELL, "start"]
    cells = entries.select(*key, "stop").unique().sort(key).with_row_index("group")
    grouped = entries.join(cells.select("group", *key), on=key).sort("group", "place")
    return cells, grouped


def _add(cells: pl.DataFrame, columns: Sums, request: WatchRequest, added: Sums, present: NDArray[np.bool_]) -> None:
    """Add the cells of each window to it, those that became known first before the others."""
    names = ("scope", "era", "begin", "start", "stop")
    scope, era, begin, start, stop = (cells[name].to_numpy().astype(np.int64) for name in names)
    first, count = request.places[0], len(request.places)
    current = np.array(request.eras, dtype=np.int64)
    for offset in range(request.reach - 1, -1, -1):
        place = begin + offset
        row = place - first
        inside = (row >= 0) & (row < count) & (start <= place) & (place < stop)
        inside[inside] = current[row[inside]] == era[inside]
        added[row[inside], scope[inside]] += columns[inside]
        present[row[inside], scope[inside]] = True


def by_rows(names: Sequence[str]) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Adds up columns by group, one row after the other."""

    def summed(grouped: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        group = grouped["group"].to_numpy()
        count = int(group[-1]) + 1 if group.size else 0
        return pl.DataFrame(
            {name: np.bincount(group, weights=grouped[name].to_numpy(), minlength=count) for name in names}
        )

    return summed


def in_frame(windows: Windows, request: WatchRequest, scopes: pl.DataFrame) -> pl.DataFrame:
    """The sums of windows that have anything in them as a frame: ``time``, the columns of `scopes`, and the sums."""
    import polars as pl

    time, scope = np.nonzero(windows.present)
    times = pl.Series("time", request.times, pl.Datetime("us", "UTC"))
    frame = times.gather(time).to_frame().hstack(scopes[scope.tolist()] if scopes.width else [])
    return frame.with_columns(pl.Series(name, values[time, scope]) for name, values in windows.sums.items())


def in_windows(facts: pl.DataFrame, request: WatchRequest) -> Iterator[pl.DataFrame]:
    """Facts once for every window that they are in, its number as `window`; in parts that memory can hold.

    Args:
        facts: ``era``, ``begin``, ``end``; their order stays within each window.
        request: The windows.
    """
    import polars as pl

    facts = facts.filter(
        (pl.col("begin") <= request.places[-1]) & (pl.col("begin") > request.places[0] - request.reach)
    )
    begin, end, era = (facts[name].to_numpy().astype(np.int64) for name in ("begin", "end", "era"))
    rows: list[NDArray[np.int64]] = []
    windows: list[int] = []
    for window, (place, current) in enumerate(zip(request.places, request.eras, strict=True)):
        inside = (begin <= place) & (begin > place - request.reach) & (place < end) & (era == current)
        rows.append(np.flatnonzero(inside))
        windows.append(window)
        if sum(part.size for part in rows) > _AT_ONCE or window == len(request.places) - 1:
            number = np.repeat(windows, [part.size for part in rows])
            if number.size:
                yield facts[np.concatenate(rows)].with_columns(pl.Series("window", number, pl.Int64))
            rows, windows = [], []
