"""Pruning: what is older than it is worth keeping goes; what a kept prediction rests on stays."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.declaration import parse_duration
from headrace.home import COMPARISONS, METRICS, PREDICTIONS, QUARANTINE, RELEASES, RUNS, SHADOWS, Home
from headrace.housekeeping.drift import INSTANT, old_drift
from headrace.housekeeping.room import with_room
from headrace.lineage import iso
from headrace.registry import ModelVersion
from headrace.registry.history import in_order, standing

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table

CHAMPIONS = 3
"""So many of the last champions keep their files, without rejected ones: rollback goes back to these."""
_AT_ONCE = 1_000
_FORECAST = "ahead"
"""A column that only tables of forecasts have."""


@dataclass(frozen=True)
class Retention:
    """What is kept.

    Attributes:
        since: What is older than this time (UTC) goes.
        runs: So many of the newest runs keep their record, however old they are.
        predictions: Whether old forecasts go too, with the records of the runs that made them.
    """

    since: datetime
    runs: int = 100
    predictions: bool = False


def prune(home: Home, system: str, keep: Retention, *, dry: bool) -> list[dict[str, Any]]:
    """Delete what is old, or only say what would go: ``system kind rows files bytes`` each.

    Kinds: ``predictions`` (only of forecasts, where asked for), ``runs``, ``metrics``, ``quarantine``, ``releases``,
    ``comparisons``, ``drift`` and ``drift_counts``, ``models`` (files of versions), and ``replaced`` (data files that
    newer ones replaced).

    Facts, and whatever a kept prediction pins, stay: its run's record, its model's files. So every kept prediction can
    be traced and replayed afterwards. Predictions of posted rows stay all: they are a log. Killed and repeated, it ends
    the same. Bytes of rows are freed when their files are replaced, a day later.

    Raises:
        HeadraceError: A part of it cannot be reached; repeat the command.
    """
    if dry:
        return _pruned(home, system, keep, dry)
    spare = [home.path / "reports" / system]
    return with_room(home, system, lambda scarce: _pruned(home, system, keep, dry, scarce=scarce), spare)


def _pruned(home: Home, system: str, keep: Retention, dry: bool, *, scarce: bool = False) -> list[dict[str, Any]]:
    rows = [*_rows(home, system, keep, dry)]
    unpinned = list(_unpinned(home, system, keep))
    rows += [*_drift(home, system, keep, unpinned, dry), _models(home, system, unpinned, dry)]
    if not scarce:  # to merge files takes room before it frees some
        rows += _replaced(home, system, dry)
    return [row for row in rows if _counts(row)]


def _rows(home: Home, system: str, keep: Retention, dry: bool) -> Iterator[dict[str, Any]]:
    import polars as pl

    table = home.table(system, PREDICTIONS)
    forecasts = table.exists() and _FORECAST in table.schema()
    if keep.predictions and forecasts:
        yield _old(table, system, "predictions", "as_of", keep.since, dry)
    run_ids = _runs(home, system, keep, forecasts)
    runs = home.table(system, RUNS)
    for first in range(0, 0 if dry else len(run_ids), _AT_ONCE):
        names = ", ".join(f"'{run_id}'" for run_id in run_ids[first : first + _AT_ONCE])
        runs.remove(f"run_id IN ({names})")
    yield _told(system, "runs", rows=len(run_ids))
    if forecasts and (config := _config(home, system)) is not None:
        time, window = config["time"], parse_duration(config["monitoring"]["window"])
        newest = home.table(system, METRICS)
        if newest.exists():
            last = newest.collect(newest.scan().select(pl.col(time).max())).item()
            since = keep.since if last is None else min(keep.since, last - window)
            yield _old(newest, system, "metrics", time, since, dry, "scope <> 'mark'")
    for name in (QUARANTINE, RELEASES, COMPARISONS):  # a row is released after it was set apart
        yield _old(home.table(system, name), system, name, "known_at", keep.since, dry)


def _old(
    table: Table, system: str, kind: str, column: str, since: datetime, dry: bool, condition: str = "true"
) -> dict[str, Any]:
    """The rows of a table whose time lies before another one."""
    import polars as pl

    if not table.exists():
        return _told(system, kind)
    where = pl.col(column) < pl.lit(since, pl.Datetime("us", "UTC"))
    rows = table.scan(where=where).filter(pl.sql_expr(condition))
    count = int(table.collect(rows.select(pl.len())).item())
    if count and not dry:
        table.remove(f"{column} < arrow_cast('{iso(since)}', '{INSTANT}') AND {condition}")
    return _told(system, kind, rows=count)


def _runs(home: Home, system: str, keep: Retention, forecasts: bool) -> list[str]:
    """Ids of old runs that made nothing that is kept."""
    import polars as pl

    runs = home.table(system, RUNS)
    if not runs.exists():
        return []
    since = pl.lit(keep.since, pl.Datetime("us", "UTC"))
    runs_known = runs.collect(runs.scan().select("run_id", "created_at", "_version")).sort("_version", "created_at")
    old = runs_known.head(max(runs_known.height - keep.runs, 0)).filter(pl.col("created_at") < since)
    for name in (PREDICTIONS, SHADOWS):
        table = home.table(system, name)
        if table.exists() and "run_id" in table.schema():
            rows = table.scan(where=pl.col("as_of") >= since) if keep.predictions and forecasts else table.scan()
            run_ids = table.collect(rows.select(pl.col("run_id").unique()))
            old = old.join(run_ids, on="run_id", how="anti")
    return old["run_id"].to_list()


def _drift(
    home: Home, system: str, keep: Retention, unpinned: Sequence[ModelVersion], dry: bool
) -> Iterator[dict[str, Any]]:
    """Distances of the past, and counts that no kept version is compared by."""
    config = _config(home, system)
    if config is None:
        return
    left = {version.version for version in unpinned}
    kept = [version for number, version in home.registry.timeline(system).registered.items() if number not in left]
    for name, rows in old_drift(home, system, keep.since, config, kept, dry=dry):
        yield _told(system, name, rows=rows)


def _models(home: Home, system: str, unpinned: Sequence[ModelVersion], dry: bool) -> dict[str, Any]:
    """Files of versions that no kept prediction pins, and that nobody will go back to."""
    held = [home.registry.held(version) if dry else home.registry.drop_files(version) for version in unpinned]
    freed = [size for size in held if size]
    return _told(system, "models", files=len(freed), held=sum(freed))


def _unpinned(home: Home, system: str, keep: Retention) -> Iterator[ModelVersion]:
    import polars as pl

    timeline = home.registry.timeline(system)
    now = standing(timeline.facts)
    kept = [each for each in now.champions if each == now.champion or not now.is_rejected(each)][-CHAMPIONS:]
    pinned = {*kept, now.latest, now.challenger, now.pending}
    for name in (PREDICTIONS, SHADOWS):
        table = home.table(system, name)
        if table.exists():
            pinned |= {*table.collect(table.scan().select(pl.col("model_version").unique()))["model_version"]}
    if home.has_ledger:
        pinned |= home.ledger.owned.model_versions(system)
    ended = _ended(home, system)
    digests = {version.digest for number, version in timeline.registered.items() if number in pinned}
    for number, version in timeline.registered.items():
        old = max(version.created_at, ended.get(number, version.created_at)) < keep.since
        if number not in pinned and old and version.digest not in digests:
            yield version


def _ended(home: Home, system: str) -> dict[int, datetime]:
    """When each former champion was replaced, by the clock: a stream may answer with it until then."""
    times: dict[int, datetime] = {}
    champion: int | None = None
    for fact in in_order(home.registry.timeline(system).facts):
        if fact.event in ("promoted", "rolled_back"):
            if champion is not None and champion != fact.version:
                times[champion] = fact.created_at
            champion = fact.version
    return times


def _replaced(home: Home, system: str, dry: bool) -> Iterator[dict[str, Any]]:
    """Data files that newer ones replaced: merged away when nobody can still be reading them."""
    for name in home.store.tables(system):
        table = home.table(system, name)
        if not table.exists():
            continue
        before = home.store.folders.files(system, name)
        if dry:
            removed = {file: size for file, size in before.items() if file not in set(table.files()["path"])}
        else:
            table.compact()
            after = home.store.folders.files(system, name)
            removed = {file: size for file, size in before.items() if file not in after}
        yield _told(system, "replaced", files=len(removed), held=sum(removed.values())) | {"table": name}


def _config(home: Home, system: str) -> dict[str, Any] | None:
    """How the newest run was declared; None: there was none."""
    runs = home.table(system, RUNS)
    if not runs.exists():
        return None
    newest: pl.DataFrame = runs.collect(runs.scan().sort("_version").tail(1).select("record"))
    config: dict[str, Any] | None = json.loads(newest["record"][0]).get("config") if newest.height else None
    return config


def _told(system: str, kind: str, *, rows: int = 0, files: int = 0, held: int = 0) -> dict[str, Any]:
    return {"system": system, "kind": kind, "rows": rows, "files": files, "bytes": held}


def _counts(row: dict[str, Any]) -> bool:
    return bool(row["rows"] or row["files"])
