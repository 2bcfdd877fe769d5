"""Errors of matured predictions: the truth that is known, beside what was predicted and what a baseline said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from headrace import metrics
from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.predictor import baseline_column
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Monitored:
    """What a monitor step found.

    Attributes:
        overall: Metrics over all series, ``naive_*`` ones of the baselines; None where there is nothing to compare.
        matured: Predictions whose truth is known.
        predictions: Predictions in the window, matured or not.
        rows: Metric facts that were computed.
    """

    overall: dict[str, float | None]
    matured: int
    predictions: int
    rows: int


def monitor(system: System, home: Home, *, as_of: datetime, data_version: int) -> Monitored:
    """Compare the predictions of the monitoring window with the truth known at `as_of`, and store the metrics.

    Stateless: the same time and version give the same metrics, and repeating it stores nothing new. Predictions that
    were made as of a time after `as_of` are not looked at.
    """
    joined = _joined(system, home, as_of, data_version)
    if joined is None:
        return Monitored({}, 0, 0, 0)
    matured = joined.drop_nulls(["actual", "value"])
    if matured.is_empty():
        return Monitored({}, 0, joined.height, 0)
    overall = _metrics(system, matured)
    facts = [_facts(system, overall, matured.height, None)]
    for keys, part in matured.group_by(system.keys, maintain_order=True):
        facts.append(_facts(system, _metrics(system, part), part.height, keys))
    frame = _table(system, facts, as_of)
    home.table(system.name, METRICS).append(
        frame, identity=["as_of", "scope", *system.keys, "metric"], compare=["value", "n"], window="as_of"
    )
    clean = {name: value if np.isfinite(value) else None for name, value in overall.items()}
    return Monitored(clean, matured.height, joined.height, frame.height)


def _joined(system: System, home: Home, as_of: datetime, data_version: int) -> pl.DataFrame | None:
    import polars as pl

    predictions = home.table(system.name, PREDICTIONS)
    if not predictions.exists():
        return None
    time, utc = system.event_time, pl.Datetime("us", "UTC")
    first = pl.lit(as_of - system.monitoring.window, utc)
    order = [*system.keys, time, "as_of"]
    lazy = predictions.scan(as_of=as_of, where=pl.col("as_of") > first)
    made = (
        predictions.collect(lazy)
        .sort([*order, "created_at", "revision"])
        .unique(order, keep="last", maintain_order=True)
    )
    if made.is_empty():
        return None
    truth = home.table(system.name, RAW).read(
        identity=[*system.keys, time],
        columns=[*system.keys, time, system.target],
        version=data_version,
        as_of=as_of,
        where=pl.col(time) >= pl.lit(made[time].min(), utc),
        order=[],
    )
    truth = truth.rename({system.target: "actual"})
    return made.join(truth, on=[*system.keys, time], how="left", nulls_equal=True)


def _metrics(system: System, rows: pl.DataFrame) -> dict[str, float]:
    actual, value, lower, upper = (
        rows[c].cast(float).fill_null(float("nan")).to_numpy() for c in ("actual", "value", "lower", "upper")
    )
    found = {
        "mape": metrics.mape(actual, value),
        "wape": metrics.wape(actual, value),
        "rmse": metrics.rmse(actual, value),
        "bias": metrics.bias(actual, value),
        "coverage": metrics.coverage(actual, lower, upper),
    }
    for season in system.monitoring.baselines:
        name = baseline_column(season)
        if name in rows.columns:
            naive = rows[name].fill_null(float("nan")).to_numpy()
            for metric in (metrics.mape, metrics.wape, metrics.rmse):
                found[f"{name.replace('baseline', 'naive')}_{metric.__name__}"] = metric(actual, naive)
    return found


def _facts(system: System, found: dict[str, float], n: int, keys: tuple[object, ...] | None) -> pl.DataFrame:
    import polars as pl

    values = keys if keys is not None else (None,) * len(system.keys)
    return pl.DataFrame(
        {
            "scope": ["overall" if keys is None else "series"] * len(found),
            **{
                name: pl.Series([value] * len(found), dtype=None if keys else pl.Null)
                for name, value in zip(system.keys, values, strict=True)
            },
            "metric": list(found),
            "value": pl.Series(list(found.values()), dtype=pl.Float64).fill_nan(None),
            "n": [n] * len(found),
        }
    )


def _table(system: System, facts: list[pl.DataFrame], as_of: datetime) -> pl.DataFrame:
    import polars as pl

    frame = pl.concat(facts, how="vertical_relaxed")
    nulls = [name for name in system.keys if frame.schema[name] == pl.Null]
    stamp = pl.lit(as_of, pl.Datetime("us", "UTC"))
    return frame.with_columns(pl.col(nulls).cast(pl.String), stamp.alias("as_of"), stamp.alias("known_at"))
