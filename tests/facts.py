"""Frames and slow, plain oracles for the store's tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

START = datetime(2023, 1, 1, tzinfo=UTC)
FACTS = {
    "key": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "known_at": pl.Datetime("us", "UTC"),
    "value": pl.Float64,
}
IDENTITY = ["key", "time"]
Row = tuple[str | None, int, int, float | None]


def hour(n: float) -> datetime:
    """`n` hours after the start of the test's world."""
    return START + timedelta(hours=n)


def facts(rows: Sequence[Row]) -> pl.DataFrame:
    """Facts from (key, event hour, known hour, value)."""
    data = [(key, hour(event), hour(known), value) for key, event, known, value in rows]
    return pl.DataFrame(data, schema=FACTS, orient="row")


def hourly(n: int, series: int = 4, known_after: int = 1) -> pl.DataFrame:
    """One row per series for hour `n`."""
    return facts([(f"s{i}", n, n + known_after, float(n * 100 + i)) for i in range(series)])


def append(table: Any, frame: pl.DataFrame, **kwargs: Any) -> Any:
    """Append with the identity (key, time) and the value compared."""
    return table.append(frame, identity=IDENTITY, compare=["value"], window="time", **kwargs)


def same(a: float | None, b: float | None) -> bool:
    """Equality where null equals null and NaN equals NaN."""
    return a == b or (a is not None and b is not None and a != a and b != b)


def latest_of(stored: Sequence[dict[str, Any]], as_of: datetime, version: int) -> dict[Any, float | None]:
    """Brute force: value by identity as known at `as_of` in `version`."""
    best: dict[Any, dict[str, Any]] = {}
    for row in stored:
        if row["known_at"] > as_of or row["_version"] > version:
            continue
        identity = (row["key"], row["time"])
        rank = (row["known_at"], row["_version"])
        if identity not in best or rank > (best[identity]["known_at"], best[identity]["_version"]):
            best[identity] = row
    return {identity: row["value"] for identity, row in best.items()}
