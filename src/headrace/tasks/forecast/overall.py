"""How wrong the forecasts of all runs were: as a whole, and over time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from headrace.home import METRICS, Home
from headrace.store.between import Between
from headrace.system import System
from headrace.tasks.evaluation import ErrorsOverTime
from headrace.tasks.forecast.matured import SERIES, identity_of, standing
from headrace.tasks.forecast.scores import measures, naive_name, sum_columns

if TYPE_CHECKING:
    import polars as pl

AT_ONCE = 250_000
"""Scores that are added up at once, about: bounds the memory."""


def overall(system: System, home: Home, bins: str) -> ErrorsOverTime:
    """The metrics of all that has matured, by everything that is known.

    Args:
        system: The declaration.
        home: Where the scores are.
        bins: Times of the truth are put together so: ``1d``, ``1w``, ``1mo``.
    """
    import polars as pl

    sums = _sums(system, home, bins)
    if sums is None:
        return ErrorsOverTime({}, {}, [])
    seasons = system.monitoring.compared
    names = [naive_name(season) for season in seasons]
    figures = measures(sums, [], seasons).row(0, named=True)
    metrics = {name: value for name, value in figures.items() if not name.startswith("naive_")}
    baselines = {name: {metric: figures.get(f"{name}_{metric}") for metric in ("n", *_METRICS)} for name in names}
    columns = ["time", "n", "wape", "mase", "rmse", "coverage", *(f"{name}_wape" for name in names)]
    over_time = measures(sums, ["time"], seasons).sort("time").filter(pl.col("n") > 0)
    present = [name for name in columns if name in over_time.columns]
    return ErrorsOverTime(metrics, baselines, over_time.select(present).to_dicts())


_METRICS = ("mape", "wape", "rmse", "mase", "rmsse", "bias")


def _sums(system: System, home: Home, bins: str) -> pl.DataFrame | None:
    """The sums of scores by time; None while there are none."""
    import polars as pl

    table, time = home.table(system.name, METRICS), system.event_time
    if not table.exists():
        return None
    lazy = table.scan(where=pl.col("scope") == SERIES)
    names = [name for name in sum_columns(system.monitoring.compared) if name in lazy.collect_schema().names()]
    begin = pl.col(time).dt.truncate(bins).alias("time")
    sizes = table.collect(lazy.group_by(begin).agg(pl.len().alias("rows"), last=pl.col(time).max())).sort("time")
    if sizes.is_empty():
        return None
    part = ((pl.col("rows").cum_sum() - pl.col("rows")) // AT_ONCE).alias("part")
    spans = (
        sizes.with_columns(part).group_by("part", maintain_order=True).agg(pl.col("time").min(), pl.col("last").max())
    )
    columns = [*identity_of(system), "known_at", "data_version", "predictions_version", "_version", *names]
    frames = []
    for _, first, last in spans.iter_rows():
        frames.append(
            _part(system, home, columns, (first, last)).group_by(begin, maintain_order=True).agg(pl.col(names).sum())
        )
    return pl.concat(frames)


def _part(system: System, home: Home, columns: list[str], span: tuple[datetime, datetime]) -> pl.DataFrame:
    import polars as pl

    table = home.table(system.name, METRICS)
    lazy = table.scan(where=pl.col("scope") == SERIES, between=Between(system.event_time, *span))
    facts = standing(table.collect(lazy.select(columns)), identity_of(system))
    return facts.sort(system.event_time, *system.keys)  # equal facts give equal sums, to the last bit
