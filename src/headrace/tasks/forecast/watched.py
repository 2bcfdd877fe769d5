"""Errors of forecasts within windows of known time, by the scores that are stored; see `headrace.tasks.windows`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from headrace.errors import UsageError
from headrace.home import METRICS, Home
from headrace.system import System
from headrace.tasks.forecast.matured import RUN, SERIES, identity_of
from headrace.tasks.forecast.scores import FORMULAS, metric_columns, metric_sums, naive_name, ours_name
from headrace.tasks.watched import EPOCH, EstimateRequest, WatchRequest
from headrace.tasks.windows import by_rows, in_frame, replaced, windowed

if TYPE_CHECKING:
    import polars as pl

HORIZON = "horizon"
"""The scope of a step ahead."""
_FAR = timedelta(days=31)
"""So far before its usual lag a value is looked for first that was the last to be known."""
_BLOCKS = ("blocks", "square", "cross", "count")
"""Of stretches: how many there are, and the sums of d^2, d n and n^2, where d is a stretch's difference."""


@dataclass(frozen=True)
class ForecastErrors:
    """Errors of forecasts; see `headrace.tasks.watched.WatchedErrors`."""

    system: System
    home: Home

    def errors(self, request: WatchRequest, metrics: Sequence[str]) -> pl.DataFrame:
        """Metrics of every window."""
        return _errors(self.system, self.home, request, metrics)

    def coverage(self, request: WatchRequest) -> pl.DataFrame:
        """How often intervals held the truth."""
        return _coverage(self.system, self.home, request)

    def baselines(self, request: WatchRequest) -> pl.DataFrame:
        """Seasonal-naive forecasts, by scaled errors."""
        return _baselines(self.system, self.home, request)

    def estimates(self, request: EstimateRequest) -> None:
        """None: forecasts say no probabilities of classes."""


def _errors(system: System, home: Home, request: WatchRequest, metrics: Sequence[str]) -> pl.DataFrame:
    """Metrics of every window; see `headrace.tasks.watched.WatchedErrors`.

    Raises:
        UsageError: There is no such metric, or scores are not kept by such a column.
    """
    import polars as pl

    unknown = [name for name in metrics if name not in FORMULAS]
    if unknown:
        hint = f"there are {', '.join(FORMULAS)}"
        raise UsageError(f"forecasts have no metric {unknown[0]!r}", where="monitoring.rules", hint=hint)
    sums = sorted({"n", *(name for metric in metrics for name in metric_sums(metric))})
    facts, scopes = _facts(system, home, request, sums)
    frame = in_frame(windowed(facts, request, max(scopes.height, 1), by_rows(sums)), request, scopes)
    frame = frame.with_columns(metric_columns("", metrics))
    return frame.select("time", *request.by, pl.col("n").cast(pl.Int64), *metrics)


def _baselines(system: System, home: Home, request: WatchRequest) -> pl.DataFrame:
    """Scaled errors of every window beside each baseline's; see `headrace.tasks.watched.WatchedErrors`."""
    import polars as pl

    pairs = [(naive_name(season), ours_name(season)) for season in system.monitoring.compared]
    sums = [f"{name}_{part}" for pair in pairs for name in pair for part in ("scaled", "scaled_n")]
    facts, scopes = _facts(system, home, request, sums)
    added = by_rows(sums)

    def summed(grouped: pl.DataFrame) -> pl.DataFrame:
        totals = added(grouped)
        blocks: list[pl.Expr] = []
        for naive, ours in pairs:
            d, n = pl.col(f"{ours}_scaled") - pl.col(f"{naive}_scaled"), pl.col(f"{naive}_scaled_n")
            values = ((n > 0).cast(pl.Float64), d * d, d * n, n * n)
            blocks += [value.alias(f"{naive}_{part}") for value, part in zip(values, _BLOCKS, strict=True)]
        return totals.with_columns(blocks)

    frame = in_frame(windowed(facts, request, max(scopes.height, 1), summed), request, scopes)
    parts = [_beside(frame, request, naive, ours) for naive, ours in pairs]
    return pl.concat(parts).filter(pl.col("n") > 0).sort("time", *request.by, "baseline")


def _beside(frame: pl.DataFrame, request: WatchRequest, naive: str, ours: str) -> pl.DataFrame:
    """One baseline: mean losses, and the standard error of their difference as a ratio of sums over stretches."""
    import polars as pl

    n, blocks = pl.col(f"{naive}_scaled_n"), pl.col(f"{naive}_blocks")
    mean = (pl.col(f"{ours}_scaled") - pl.col(f"{naive}_scaled")) / n
    square, cross, count = (pl.col(f"{naive}_{part}") for part in _BLOCKS[1:])
    spread = (square - 2 * mean * cross + mean * mean * count).clip(lower_bound=0)
    deviation = pl.when(blocks > 1).then((spread * blocks / (blocks - 1)).sqrt() / n)
    return frame.select(
        "time",
        *request.by,
        pl.lit(naive).alias("baseline"),
        n.cast(pl.Int64).alias("n"),
        (pl.col(f"{ours}_scaled") / n).alias("loss"),
        (pl.col(f"{naive}_scaled") / n).alias("baseline_loss"),
        blocks.cast(pl.Int64).alias("blocks"),
        deviation.alias("deviation"),
    )


def _coverage(system: System, home: Home, request: WatchRequest) -> pl.DataFrame:
    """How often intervals held the truth; see `headrace.tasks.watched.WatchedErrors`."""
    import polars as pl

    facts, scopes = _facts(system, home, request, ["covered", "interval_n"])
    added = by_rows(["covered", "interval_n"])

    def summed(grouped: pl.DataFrame) -> pl.DataFrame:
        d, n = pl.col("covered"), pl.col("interval_n")
        values = ((n > 0).cast(pl.Float64), d * d, d * n, n * n)
        return added(grouped).with_columns(value.alias(part) for value, part in zip(values, _BLOCKS, strict=True))

    frame = in_frame(windowed(facts, request, max(scopes.height, 1), summed), request, scopes)
    frame = frame.filter(pl.col("interval_n") > 0)
    n, blocks, share = pl.col("interval_n"), pl.col("blocks"), pl.col("covered") / pl.col("interval_n")
    spread = (pl.col("square") - 2 * share * pl.col("cross") + share * share * pl.col("count")).clip(lower_bound=0)
    return frame.select(
        "time",
        *request.by,
        n.cast(pl.Int64).alias("n"),
        share.alias("coverage"),
        blocks.cast(pl.Int64),
        pl.when(blocks > 1).then((spread * blocks / (blocks - 1)).sqrt() / n).alias("deviation"),
    )


def _facts(system: System, home: Home, request: WatchRequest, sums: Sequence[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The scores that enter any window, with scope, era, begin and end; and the scopes by number."""
    import polars as pl

    table, time = home.table(system.name, METRICS), system.event_time
    by_step = request.by == (HORIZON,)
    _refuse(system, request)
    if not table.exists():
        numbers = dict.fromkeys(("scope", "era", "begin", "end"), pl.Int64)
        return pl.DataFrame(schema=numbers | dict.fromkeys(sums, pl.Float64)), _none(request)
    utc = pl.Datetime("us", "UTC")
    kind = pl.col("scope") == (RUN if by_step else SERIES)
    lazy = table.scan(as_of=request.times[-1], where=kind & (pl.col("known_at") > pl.lit(request.begins, utc)))
    names = lazy.collect_schema().names()
    identity = [name for name in identity_of(system) if name in names and name != "scope"]
    there = [name for name in sums if name in names]
    seen = ["data_version", "predictions_version", "_version"]
    facts = table.collect(lazy.select(*identity, "ahead", "known_at", *seen, *there))
    facts = facts.with_columns(pl.lit(0.0).alias(name) for name in sums if name not in there)
    facts = replaced(facts.sort(*identity, "known_at", *seen), identity, request)
    if by_step:
        facts = facts.with_columns(pl.col("ahead").cast(pl.Int64).alias(HORIZON))
        era = _era(facts["made"], request.starts, side="right")
    else:
        era = _era(facts[time], _bounds(system, home, request), side="left")
    scopes = facts.select(request.by).unique().sort(request.by) if request.by else _none(request)
    number = _numbers(facts, scopes)
    facts = facts.with_columns(number.alias("scope"), pl.Series("era", era))
    return facts.select("scope", "era", "begin", "end", *sums), scopes


def _numbers(facts: pl.DataFrame, scopes: pl.DataFrame) -> pl.Series:
    """The place of each fact's scope among the scopes."""
    import polars as pl

    if not scopes.width:
        return pl.repeat(0, facts.height, dtype=pl.Int64, eager=True)
    rows, by = facts.select(scopes.columns), scopes.columns
    joined = rows.join(scopes.with_row_index("number"), on=by, how="left", nulls_equal=True, maintain_order="left")
    return joined["number"].cast(pl.Int64)


def _none(request: WatchRequest) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema=dict.fromkeys(request.by, pl.Null))


def _refuse(system: System, request: WatchRequest) -> None:
    unknown = [name for name in request.by if name not in system.keys]
    if unknown and request.by != (HORIZON,):
        hint = f"one of {', '.join((*system.keys, HORIZON))}"
        raise UsageError(f"errors of forecasts are not kept by {unknown[0]!r}", where="monitoring.rules", hint=hint)


def _era(moments: pl.Series, bounds: Sequence[datetime], *, side: Literal["left", "right"]) -> NDArray[np.int64]:
    """The place of the last bound that lies before each moment (or at it: ``right``); -1 before all."""
    import polars as pl

    places = pl.Series(bounds, dtype=pl.Datetime("us", "UTC")).dt.epoch("us").to_numpy()
    return np.searchsorted(places, moments.dt.epoch("us").to_numpy(), side=side).astype(np.int64) - 1


def _bounds(system: System, home: Home, request: WatchRequest) -> list[datetime]:
    """Of each era the last event time that a prediction before it may be about: that of its beginning, a horizon on."""

    later = [start for start in request.starts if start > request.first]
    if not later:
        return [EPOCH for _ in request.starts]
    grid = home.grid(system)
    newest = _newest(system, home, later, later[0] - system.source.lag - _FAR)
    newest = newest if None not in newest else _newest(system, home, later, None)
    reach = system.step * system.steps if system.step is not None else timedelta()
    ends = [EPOCH if last is None else grid.shift(last, reach) for last in newest]
    return [*(EPOCH for _ in range(len(request.starts) - len(later))), *ends]


def _newest(system: System, home: Home, times: Sequence[datetime], since: datetime | None) -> list[datetime | None]:
    """The last event time of which a value was known at each of some times (ascending), among those from one on."""
    import polars as pl

    raw, time, utc = home.raw(system), system.event_time, pl.Datetime("us", "UTC")
    where = pl.col(system.target).is_not_null()
    where = where if since is None else where & (pl.col(time) >= pl.lit(since, utc))
    newest = raw.collect(raw.scan(as_of=times[-1], where=where).group_by("known_at").agg(pl.col(time).max()))
    newest = newest.sort("known_at").with_columns(pl.col(time).cum_max())
    asked = pl.DataFrame({"known_at": times}, schema={"known_at": utc})
    return asked.join_asof(newest, on="known_at")[time].to_list()
