"""Pruning what drift was measured by: counts of days, of what versions learnt from, and the distances of the past.

All of it follows from facts, which stay. So what goes is only counted again where somebody looks that far back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.declaration import parse_duration
from headrace.home import DRIFT, DRIFT_COUNTS, Home
from headrace.lineage import iso
from headrace.loop.drift.counts import CURRENT, MARK, reference_id

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion
    from headrace.store import Table

INSTANT = 'Timestamp(Microsecond, Some("UTC"))'
"""The type of times, as predicates of deletions name it."""


def old_drift(
    home: Home,
    system: str,
    since: datetime,
    config: Mapping[str, Any],
    versions: Collection[ModelVersion],
    *,
    dry: bool,
) -> Iterator[tuple[str, int]]:
    """Delete what is old of the tables of drift, or only count it: each table with the number of rows.

    Kept are distances and counts of days within a window of the newest, and the reference of every version that keeps
    its files, as the system is declared now.

    Args:
        home: Where the tables are.
        system: The system's name.
        since: What is older goes, UTC.
        config: As the newest run was declared.
        versions: Those that keep their files.
        dry: Nothing is deleted.

    Raises:
        StoreError: A table cannot be read or written.
    """
    import polars as pl

    monitoring = config["monitoring"]
    limits = monitoring["drift"]
    window = parse_duration(limits["window"] or monitoring["window"])
    distances, counts = home.table(system, DRIFT), home.table(system, DRIFT_COUNTS)
    if (newest := _newest(distances, "time", pl.lit(value=True))) is not None:
        old, predicate = _before("time", min(since, newest - window))
        yield DRIFT, _removed(distances, old, predicate, dry)
    if not counts.exists():
        return
    daily = pl.col("part").is_in([CURRENT, MARK])
    newest = _newest(counts, "day", daily)
    references = [reference_id(version, tuple(limits["segments"])) for version in versions]
    old_day, days = _before("day", (since if newest is None else min(since, newest)) - window)
    old_version, moments = _before("known_at", since)
    old = (daily & old_day) | (old_version & ~pl.col("reference").is_in(references))
    names = ", ".join(f"'{name}'" for name in ["", *references])
    predicate = f"(part IN ('{CURRENT}', '{MARK}') AND {days}) OR ({moments} AND reference NOT IN ({names}))"
    yield DRIFT_COUNTS, _removed(counts, old, predicate, dry)


def _newest(table: Table, column: str, where: pl.Expr) -> datetime | None:
    import polars as pl

    if not table.exists():
        return None
    newest: datetime | None = table.collect(table.scan(where=where).select(pl.col(column).max())).item()
    return newest


def _before(column: str, time: datetime) -> tuple[pl.Expr, str]:
    """That a column lies before a time, for those who read and for those who delete."""
    import polars as pl

    where = pl.col(column) < pl.lit(time, pl.Datetime("us", "UTC"))
    return where, f"{column} < arrow_cast('{iso(time)}', '{INSTANT}')"


def _removed(table: Table, where: pl.Expr, predicate: str, dry: bool) -> int:
    import polars as pl

    count = int(table.collect(table.scan(where=where).select(pl.len())).item())
    if count and not dry:
        table.remove(predicate)
    return count
