"""Errors of predictions of rows within windows of known time; see `headrace.tasks.windows`.

A pair of a prediction and its truth counts from when both were known, until its truth is said anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from headrace.errors import UsageError
from headrace.home import PREDICTIONS, RAW, Home
from headrace.system import System
from headrace.tasks.rows.outputs.base import GROUP, LABEL, TRUTH, Output
from headrace.tasks.rows.outputs.declared import output_of
from headrace.tasks.watched import EstimateRequest, WatchRequest
from headrace.tasks.windows import in_windows, replaced

if TYPE_CHECKING:
    import polars as pl

COVERAGE = "coverage"


@dataclass(frozen=True)
class RowErrors:
    """Errors of predictions of rows; see `headrace.tasks.watched.WatchedErrors`."""

    system: System
    home: Home

    def errors(self, request: WatchRequest, metrics: Sequence[str]) -> pl.DataFrame:
        """Metrics of every window."""
        return _errors(self.system, self.home, request, metrics)

    def coverage(self, request: WatchRequest) -> pl.DataFrame:
        """How often intervals held the truth."""
        return _coverage(self.system, self.home, request)

    def baselines(self, request: WatchRequest) -> pl.DataFrame:
        """What needs no model, as the output says."""
        return _baselines(self.system, self.home, request)

    def estimates(self, request: EstimateRequest) -> pl.DataFrame:
        """By the probabilities of classes; nothing of numbers."""
        from headrace.tasks.rows.estimated import estimates

        return estimates(self.system, self.home, request)


def _errors(system: System, home: Home, request: WatchRequest, metrics: Sequence[str]) -> pl.DataFrame:
    """Metrics of every window; see `headrace.tasks.watched.WatchedErrors`.

    Raises:
        UsageError: There is no such metric, or the contract has no such column.
    """

    output = output_of(system, home)
    unknown = [name for name in metrics if name not in output.metrics_of_sums]
    if unknown:
        hint = f"there are {', '.join(output.metrics_of_sums)}"
        raise UsageError(f"{system.name} has no metric {unknown[0]!r}", where="monitoring.rules", hint=hint)
    pairs = _pairs(system, home, output, request)
    if pairs is None:
        return _nothing(request, ("n", *metrics))
    return _measured(output, pairs, request).select("time", *request.by, "n", *metrics)


def _coverage(system: System, home: Home, request: WatchRequest) -> pl.DataFrame:
    """How often intervals held the truth; see `headrace.tasks.watched.WatchedErrors`."""
    output = output_of(system, home)
    pairs = _pairs(system, home, output, request) if COVERAGE in output.metrics_of_sums else None
    if pairs is None:
        return _nothing(request, ("n", COVERAGE, "blocks", "deviation"))
    return _with_deviation(output, pairs, request, COVERAGE)


def _baselines(system: System, home: Home, request: WatchRequest) -> pl.DataFrame:
    """The error beside that of the best constant; see `headrace.tasks.watched.WatchedErrors`."""
    import polars as pl

    output = output_of(system, home)
    columns = ("baseline", "n", "loss", "baseline_loss", "blocks", "deviation")
    pairs = _pairs(system, home, output, request)
    if pairs is None:
        return _nothing(request, columns)
    rows, metric = [], None
    for figures in _measured(output, pairs, request).iter_rows(named=True):
        scope = {name: figures[name] for name in ("time", *request.by)}
        for name, measures in output.baselines(figures).items():
            metric = next(key for key in (output.measure, *measures) if key in measures)
            rows.append({**scope, "baseline": name, "loss": figures[metric], "baseline_loss": measures[metric]})
    if metric is None:
        return _nothing(request, columns)
    spread = _with_deviation(output, pairs, request, metric).drop(metric)
    frame = pl.DataFrame(rows, schema_overrides={"time": pl.Datetime("us", "UTC")}, infer_schema_length=None)
    joined = frame.join(spread, on=["time", *request.by], nulls_equal=True, maintain_order="left")
    return joined.select("time", *request.by, *columns)


def _with_deviation(output: Output, pairs: pl.DataFrame, request: WatchRequest, metric: str) -> pl.DataFrame:
    """A metric of every window and scope, and how far it may be off, from how stretches of the window differ."""
    import polars as pl

    windows = _measured(output, pairs, request).select("time", *request.by, "n", metric)
    parts = _measured(output, pairs, request, each_stretch=True).select("time", *request.by, size="n", part=metric)
    key = ["time", *request.by]
    parts = parts.join(windows.with_row_index("row"), on=key, nulls_equal=True, maintain_order="left").drop_nulls(
        "part"
    )
    squared = (parts["size"] * (parts["part"] - parts[metric])).to_numpy() ** 2
    row = parts["row"].to_numpy()
    blocks = np.bincount(row, minlength=windows.height)
    squares = np.bincount(row, weights=squared, minlength=windows.height)
    n = windows["n"].to_numpy()
    deviation = np.full(windows.height, np.nan)
    several = blocks > 1
    deviation[several] = np.sqrt(squares[several] * blocks[several] / (blocks[several] - 1)) / n[several]
    columns = pl.Series("blocks", blocks, pl.Int64), pl.Series("deviation", deviation).fill_nan(None)
    return windows.with_columns(columns)


def _measured(
    output: Output, pairs: pl.DataFrame, request: WatchRequest, *, each_stretch: bool = False
) -> pl.DataFrame:
    """All metrics of every window and scope that has pairs; `each_stretch`: of every stretch in it."""
    import polars as pl

    split = [*request.by, *(("begin",) if each_stretch else ())]
    scopes = pairs.select(split).unique().sort(split)
    if split:
        numbered = scopes.with_row_index("scope").with_columns(pl.col("scope").cast(pl.Int64))
        pairs = pairs.join(numbered, on=split, nulls_equal=True, maintain_order="left")
    else:
        pairs = pairs.with_columns(scope=pl.lit(0, pl.Int64))
    frames = [
        output.measures(output.scores(part.with_columns(model_version="scope", time="window")), list(GROUP))
        for part in in_windows(pairs, request)
    ]
    if not frames:
        return _nothing(request, ("n", *output.metrics_of_sums))
    frame = pl.concat(frames).filter(pl.col("n") > 0)
    times = pl.Series("time", request.times, pl.Datetime("us", "UTC"))
    timed = frame.with_columns(times.gather(frame["time"]).alias("time"))
    return timed.hstack(scopes[frame["model_version"].to_list()].select(request.by)) if request.by else timed


def _pairs(system: System, home: Home, output: Output, request: WatchRequest) -> pl.DataFrame | None:
    """Predictions beside the truth as it was said from `begin` to `end`, in an order of their own; None: there is none.

    As in scores, a truth that was known before the prediction does not count.
    """
    import polars as pl

    predictions, raw, keys = home.table(system.name, PREDICTIONS), home.table(system.name, RAW), list(system.keys)
    unknown = [name for name in request.by if name not in system.contract.names]
    if unknown:
        hint = f"one of {', '.join(system.contract.names)}"
        raise UsageError(f"the contract has no column {unknown[0]!r}", where="monitoring.rules", hint=hint)
    if not predictions.exists() or not raw.exists():
        return None
    columns = ["id", *keys, system.target, *output.beside, "model_version", "as_of"]
    rows = predictions.read(identity=["id"], columns=columns, as_of=request.times[-1], order=["id"])
    rows = rows.rename({system.target: LABEL})
    lazy = raw.scan(as_of=request.times[-1])
    further = [name for name in request.by if name not in keys]
    facts = raw.collect(lazy.select(*keys, system.target, "known_at", "_version", *further))
    facts = facts.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    facts = facts.sort(*keys, "known_at", "_version", maintain_order=True)
    traits = facts.group_by(keys, maintain_order=True).agg(pl.col(further).drop_nulls().first())
    truth = facts.filter(pl.col(system.target).is_not_null()).rename({system.target: TRUTH})
    truth = truth.with_columns(learnt=pl.col("known_at").first().over(keys)).drop(further)
    pairs = rows.join(truth, on=keys, nulls_equal=True).filter(pl.col("learnt") > pl.col("as_of"))
    pairs = replaced(pairs.sort("id", "known_at", "_version"), ["id"], request)
    era = np.searchsorted(_micros(request.starts), pairs["as_of"].dt.epoch("us").to_numpy(), side="right") - 1
    pairs = pairs.with_columns(pl.Series("era", era, pl.Int64))
    return pairs.join(traits, on=keys, nulls_equal=True, maintain_order="left") if further else pairs


def _micros(times: Sequence[datetime]) -> np.ndarray:
    import polars as pl

    return pl.Series(times, dtype=pl.Datetime("us", "UTC")).dt.epoch("us").to_numpy()


def _nothing(request: WatchRequest, columns: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    types: dict[str, pl.DataType] = {"time": pl.Datetime("us", "UTC")} | dict.fromkeys(request.by, pl.String())
    return pl.DataFrame(schema=types | dict.fromkeys(columns, pl.Float64()))
