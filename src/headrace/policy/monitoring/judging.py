"""From what rules measured to readings: levels by thresholds, one row for each rule and evaluation time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError
from headrace.policy.monitoring.base import RESERVED, MonitorRule
from headrace.policy.monitoring.reading import LEVELS, Level, Reading, ScopeReading

if TYPE_CHECKING:
    import polars as pl

    from headrace.policy.monitoring.facts import MonitoringFacts

UNKNOWN = -1
"""The rank of a level that is not known; the others are places in `LEVELS`."""


def readings_of(rule: MonitorRule, facts: MonitoringFacts) -> list[Reading]:
    """What a rule says at every evaluation time of the facts, in order.

    Raises:
        UsageError: The rule measured something that has no ``time`` or no ``value``.
    """
    measured = rule.measure(facts)
    if missing := [name for name in ("time", "value") if name not in measured.columns]:
        raise UsageError(f"measure() gave no column {missing[0]!r}", where=rule.called, hint="a row per time, value")
    judged = _judged(rule, measured)
    by_time = {} if judged.is_empty() else judged.partition_by("time", as_dict=True, maintain_order=True)
    return [
        Reading(time, rule.called, "unknown") if (time,) not in by_time else _reading(rule, time, by_time[(time,)])
        for time in facts.times
    ]


def _judged(rule: MonitorRule, measured: pl.DataFrame) -> pl.DataFrame:
    """The rank of every row (`UNKNOWN`, or a place in `LEVELS`) and the rank by which an open alert is kept."""
    import polars as pl

    usual: dict[str, Any] = {
        "support": pl.lit(1, pl.Int64),
        "warn": pl.lit(rule.warn, pl.Float64),
        "alarm": pl.lit(rule.alarm, pl.Float64),
        "evidence": pl.lit(None, pl.String),
    }
    lacking = [expression.alias(name) for name, expression in usual.items() if name not in measured.columns]
    frame = measured.with_columns(lacking).with_columns(
        pl.col("value").cast(pl.Float64).fill_nan(None), pl.col("support").cast(pl.Int64).fill_null(0)
    )
    known = pl.col("value").is_not_null() & (pl.col("support") >= rule.min_support)
    ranks = []
    for name, share in (("rank", 0.0), ("kept", rule.hysteresis)):
        rank = pl.lit(0)
        for place, limit in ((1, "warn"), (2, "alarm")):
            rank = pl.when(_beyond(rule, limit, share)).then(place).otherwise(rank)
        ranks.append(pl.when(known).then(rank).otherwise(UNKNOWN).cast(pl.Int8).alias(name))
    return frame.with_columns(ranks)


def _beyond(rule: MonitorRule, limit: str, share: float) -> pl.Expr:
    """Whether the value is beyond a limit that was moved by a share of its size to the better side."""
    import polars as pl

    moved = pl.col(limit).abs() * share
    if rule.worse == "higher":
        beyond = pl.col("value") > pl.col(limit) - moved
    else:
        beyond = pl.col("value") < pl.col(limit) + moved
    return beyond.fill_null(value=False)


def _reading(rule: MonitorRule, time: Any, rows: pl.DataFrame) -> Reading:
    """The reading of one evaluation time, from its judged scopes."""
    import polars as pl

    known = rows.filter(pl.col("rank") != UNKNOWN)
    if known.is_empty():
        reasons = rows.filter(pl.col("value").is_null() & pl.col("evidence").is_not_null())
        scopes = tuple(_scope(row, rows.columns) for row in reasons.iter_rows(named=True))
        support = max(rows["support"].to_list(), default=0)
        return Reading(time, rule.called, "unknown", support=support, scopes=scopes)
    worse = rule.worse == "higher"
    worst = known.sort("rank", "value", descending=[True, worse], maintain_order=True).row(0, named=True)
    listed = rows.filter((pl.col("rank") != 0) | (pl.col("kept") != 0))
    scopes = tuple(_scope(row, rows.columns) for row in listed.iter_rows(named=True))
    level = _level(worst["rank"])
    return Reading(time, rule.called, level, worst["value"], _threshold(worst), worst["support"], scopes)


def _scope(row: Mapping[str, Any], columns: list[str]) -> ScopeReading:
    scope = {name: row[name] for name in columns if name not in (*RESERVED, "rank", "kept")}
    evidence = json.loads(row["evidence"]) if row["evidence"] else {}
    levels = _level(row["rank"]), _level(row["kept"])
    return ScopeReading(scope, *levels, row["value"], _threshold(row), row["support"], evidence)


def _threshold(row: Mapping[str, Any]) -> float | None:
    """The threshold that was passed, or the first that may be."""
    first: float | None = row["alarm"] if row["rank"] == LEVELS.index("alarm") else row["warn"]
    last: float | None = row["alarm"]
    return last if first is None else first


def _level(rank: int) -> Level:
    return "unknown" if rank == UNKNOWN else LEVELS[rank]
