"""How new the data of a system is, and which of its series lag behind the others."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.contract import KNOWN_AT
from headrace.serving.http.reads.reader import ReadHome

if TYPE_CHECKING:
    import polars as pl

    from headrace.system import System
    from headrace.tasks import Task

BEHIND = 3
"""A series is stale when its newest value is more than so many steps older than the newest of all."""
NEWEST = "newest"


def freshness(place: ReadHome, system: System, now: datetime) -> dict[str, Any] | None:
    """The newest time of the facts, and how many series lag; None where nothing is stored yet.

    Args:
        place: The home.
        system: The declaration.
        now: The clock's time, UTC.
    """
    frame = newest_by_series(place, system)
    if frame is None or not frame.height:
        return None
    newest, known = frame[NEWEST].max(), frame[KNOWN_AT].max()
    assert isinstance(known, datetime)
    newest_time = newest if isinstance(newest, datetime) else known
    count, stale = frame.height if system.keys and system.step is not None else None, int(frame["stale"].sum())
    says = "all series are up to date" if not stale else f"{stale:,} of {frame.height:,} series are stale"
    return {
        "newest": newest_time,
        "known_at": known,
        "age_seconds": int((now - newest_time).total_seconds()) // 60 * 60,
        "series": count,
        "stale_series": stale,
        "says": says if count is not None else "",
    }


def newest_by_series(place: ReadHome, system: System) -> pl.DataFrame | None:
    """Of every series its keys, ``newest`` (the event time), ``known_at`` and whether it is ``stale``.

    Of a system without steps one row. None where nothing is stored.
    """
    table = place.home.raw(system)
    if not table.exists():
        return None
    return place.remembered(system.name, "newest", table.version(), lambda: _read(place, system))  # type: ignore[no-any-return]


def _read(place: ReadHome, system: System) -> pl.DataFrame:
    import polars as pl

    table = place.home.raw(system)
    steps = system.cadence is not None
    time = system.event_time if steps else KNOWN_AT
    by = list(system.keys) if steps else []
    lazy = table.scan(where=pl.col(system.target).is_not_null()) if steps else table.scan()
    values = [pl.col(time).max().alias(NEWEST), pl.col(KNOWN_AT).max()]
    grouped = lazy.group_by(by).agg(*values) if by else lazy.select(*values)
    frame = table.collect(grouped)
    frame = frame.filter(pl.col(KNOWN_AT).is_not_null())
    if not steps or not frame.height:
        return frame.with_columns(stale=pl.lit(False))
    grid = place.home.grid(system)
    last = frame[NEWEST].max()
    assert isinstance(last, datetime)
    limit = grid.shift(last, -grid.step * BEHIND)
    frame = frame.with_columns(stale=pl.col(NEWEST) < pl.lit(limit, frame.schema[NEWEST]))
    return frame.sort(by) if by else frame


def keys_as_text(frame: pl.DataFrame, task: Task) -> list[dict[str, str]]:
    """The keys of rows as texts, as the other routes have them."""
    import polars as pl

    names = list(task.system.keys)
    return frame.select(pl.col(name).cast(pl.String).fill_null("") for name in names).to_dicts()
