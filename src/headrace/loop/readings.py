"""Readings in the store: one row per evaluation time and rule, and a mark of what was looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import READINGS, Home
from headrace.policy.monitoring import Reading, ScopeReading
from headrace.store.failures import intact

if TYPE_CHECKING:
    import polars as pl

MARK = ""
"""The rule of rows that say up to when, and up to which versions of the tables, was looked."""
IDENTITY = ("rule", "time", "policy")
_VALUES = ("level", "value", "threshold", "support", "scopes")
_TYPES = ("rule", "policy", "level", "scopes", "sources")


def read(
    home: Home, system: str, policy: str, as_of: datetime | None = None, since: datetime | None = None
) -> list[Reading]:
    """The readings under a policy that are known at a time (None: all), from a time on (None: all), oldest first.

    Raises:
        StoreError: The table cannot be read.
    """
    table = home.table(system, READINGS)
    if not table.exists():
        return []
    frame = standing(home, system, policy, as_of, since)
    with intact(table.uri, "headrace verify --deep says which file is damaged"):
        return [_reading(row) for row in frame.iter_rows(named=True)]


def standing(
    home: Home, system: str, policy: str, as_of: datetime | None = None, since: datetime | None = None
) -> pl.DataFrame:
    """The rows that stand, from a time on: of each evaluation time and rule the one by whoever had seen most."""
    import polars as pl

    table = home.table(system, READINGS)
    where = (pl.col("policy") == policy) & (pl.col("rule") != MARK)
    where = where if since is None else where & (pl.col("time") >= pl.lit(since, pl.Datetime("us", "UTC")))
    return _standing(table.collect(table.scan(as_of=as_of, where=where)))


def stored(
    home: Home, system: str, policy: str, as_of: datetime | None, since: datetime | None, version: int
) -> pl.DataFrame:
    """Rows under a policy that a fold of alerts needs, and the marks of all policies.

    Args:
        home: Where the table is.
        system: The system's name.
        policy: Digest of the rules.
        as_of: Readings up to then, UTC; None: all.
        since: Only readings after that time, UTC, or that were stored later than `version`; None: all.
        version: Of the table: marks of it and of later ones.

    Raises:
        StoreError: The table cannot be read.
    """
    import polars as pl

    table, utc = home.table(system, READINGS), pl.Datetime("us", "UTC")
    if not table.exists():
        return pl.DataFrame(schema={"rule": pl.String(), "time": utc, "_version": pl.Int64()})
    readings = (pl.col("policy") == policy) & (pl.col("rule") != MARK)
    readings = readings if as_of is None else readings & (pl.col("time") <= pl.lit(as_of, utc))
    if since is not None:
        readings &= (pl.col("time") > pl.lit(since, utc)) | (pl.col("_version") > version)
    return table.collect(table.scan(where=readings | ((pl.col("rule") == MARK) & (pl.col("_version") >= version))))


def standing_of(rows: pl.DataFrame) -> list[Reading]:
    """The readings that stand among rows of one policy, oldest first."""
    import polars as pl

    rows = rows.filter(pl.col("rule") != MARK)
    return [_reading(row) for row in _standing(rows).iter_rows(named=True)] if rows.height else []


def mark_of(rows: pl.DataFrame, version: int) -> str:
    """What was evaluated in a version of the table, as text; empty where no mark is of it."""
    import polars as pl

    marks = rows.filter((pl.col("rule") == MARK) & (pl.col("_version") == version))
    return "" if marks.is_empty() else marks.sort("policy").select("policy", "time", "sources").write_ndjson()


def _standing(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("seen", "_version").unique(IDENTITY, keep="last").sort("time", "rule")


def mark(home: Home, system: str, policy: str) -> tuple[datetime, dict[str, int]] | None:
    """Up to when was evaluated under a policy (UTC), and which versions of which tables were seen; None: never."""
    import polars as pl

    table = home.table(system, READINGS)
    if not table.exists():
        return None
    rows = table.collect(table.scan(where=(pl.col("policy") == policy) & (pl.col("rule") == MARK)))
    if rows.is_empty():
        return None
    last = rows.sort("seen", "_version").row(-1, named=True)
    return rows["time"].max(), json.loads(last["sources"])  # type: ignore[return-value]


def write(
    home: Home,
    system: str,
    policy: str,
    readings: Sequence[Reading],
    last: datetime,
    sources: Mapping[str, int],
) -> int:
    """Keep readings that say something new, and the mark; returns how many. Repeating it adds nothing.

    Args:
        home: Where the table is.
        system: The system's name.
        policy: Digest of the rules.
        readings: What was measured.
        last: Up to when was evaluated, UTC.
        sources: Logical versions of the tables that were seen.

    Raises:
        StoreError: The table cannot be written.
    """
    import polars as pl

    utc = pl.Datetime("us", "UTC")
    types: dict[str, Any] = dict.fromkeys(_TYPES, pl.String()) | {"time": utc, "known_at": utc, "seen": pl.Int64()}
    types |= {"value": pl.Float64(), "threshold": pl.Float64(), "support": pl.Int64()}
    rows = [_row(reading) for reading in readings]
    frame = pl.DataFrame(rows, schema=[*IDENTITY[:2], *_VALUES], schema_overrides=_only(types, IDENTITY[:2], _VALUES))
    frame = frame.with_columns(policy=pl.lit(policy))
    table = home.table(system, READINGS)
    if table.exists():
        stands = standing(home, system, policy, since=min((reading.time for reading in readings), default=last))
        frame = frame.join(stands, on=[*IDENTITY, *_VALUES], how="anti", nulls_equal=True)
    count = frame.height
    marked = pl.DataFrame(
        {"rule": [MARK], "time": [last], "sources": [json.dumps(dict(sources), sort_keys=True)]},
        schema_overrides={"time": utc},
    ).with_columns(policy=pl.lit(policy))
    frame = pl.concat([frame, marked], how="diagonal")
    frame = frame.with_columns(known_at=pl.col("time"), seen=pl.lit(sum(sources.values()), pl.Int64))
    frame = frame.select(pl.col(name).cast(kind) for name, kind in types.items())
    table.append(frame, identity=IDENTITY, compare=[*_VALUES, "seen", "sources"], window="time")
    return count


def _only(types: Mapping[str, Any], *names: Sequence[str]) -> dict[str, Any]:
    return {name: types[name] for each in names for name in each}


def _row(reading: Reading) -> dict[str, Any]:
    scopes = [asdict(scope) for scope in reading.scopes]
    return {
        "rule": reading.rule,
        "time": reading.time,
        "level": reading.level,
        "value": reading.value,
        "threshold": reading.threshold,
        "support": reading.support,
        "scopes": json.dumps(scopes, sort_keys=True, default=str) if scopes else None,
    }


def _reading(row: Mapping[str, Any]) -> Reading:
    scopes = tuple(ScopeReading(**scope) for scope in json.loads(row["scopes"] or "[]"))
    measured = (row["value"], row["threshold"], row["support"])
    return Reading(row["time"], row["rule"], row["level"], *measured, scopes)
