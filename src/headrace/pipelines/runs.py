"""The records of runs, in the store beside what the runs made: what each did, saw and cost, and why one failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import RUNS, Home
from headrace.lineage import iso
from headrace.store import failures

if TYPE_CHECKING:
    import polars as pl

DONE, FAILED = "done", "failed"
_TIMES = ("as_of", "created_at", "ended_at", "known_at")
_TEXTS = ("run_id", "config_digest", "status", "error", "record")
_NUMBERS = ("data_version", "model_version", "predictions")
_TOLD = ("run_id", "as_of", "created_at", "ended_at", "status", "error", "model_version", "data_version", "predictions")


def write(home: Home, system: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """Keep what runs did: per run a value for every column, ``record`` JSON-ready. Writing it again adds nothing."""
    import polars as pl

    rows = [{**run, "record": json.dumps(run["record"], default=_text)} for run in runs]
    types: dict[str, Any] = dict.fromkeys(_TIMES, pl.Datetime("us", "UTC"))
    types |= dict.fromkeys(_TEXTS, pl.String) | dict.fromkeys(_NUMBERS, pl.Int64) | {"watched": pl.Boolean}
    frame = pl.DataFrame(rows, schema_overrides=types)
    home.table(system, RUNS).append(frame, identity=["run_id"], compare=["record"], window="created_at")


def newest(home: Home, system: str, limit: int, *, failed: bool = False) -> list[dict[str, Any]]:
    """The last runs that ended, newest first as they were stored, without their records.

    Keys: `run_id as_of created_at` (when it began) `ended_at` (of a run of a backfill
    when those that it was made with ended), `status` (``done``, ``failed``), `error` (null where it is done),
    `model_version data_version predictions`. A run that was killed has none. Runs of one backfill stand in the order of
    `as_of`, whichever of its processes was first.

    Args:
        home: Where they are.
        system: Name of the system.
        limit: How many at most.
        failed: Only those that failed.
    """
    import polars as pl

    table = home.table(system, RUNS)
    if not table.exists():
        return []
    lazy = table.scan()
    names = lazy.collect_schema().names()  # runs of earlier headraces were recorded when they were done, and only then
    rows = lazy.select("_version", *(pl.col(n) if n in names else pl.lit(None, pl.String).alias(n) for n in _TOLD))
    rows = rows.with_columns(pl.col("status").fill_null(DONE))
    if failed:
        rows = rows.filter(pl.col("status") == FAILED)
    command = pl.col("_version").max().over("created_at").alias("_command")
    rows = rows.with_columns(command).sort("_command", "created_at", "as_of", "_version").drop("_version", "_command")
    return table.collect(rows.tail(limit)).reverse().to_dicts()


def record(home: Home, system: str, run_id: str) -> dict[str, Any] | None:
    """What a run wrote down; None for one that was killed before it did."""
    import polars as pl

    table = home.table(system, RUNS)
    if not table.exists():
        return None
    rows: pl.DataFrame = table.collect(table.scan(where=pl.col("run_id") == run_id).select("record"))
    if not rows.height:
        return None
    with failures.intact(table.uri, "headrace verify --deep says which file is damaged"):
        return dict(json.loads(rows["record"][0]))


def _text(value: object) -> str:
    return iso(value) if isinstance(value, datetime) else str(value)
