"""A rolling-origin backtest by known time: each forecast from what was known at its time, and nothing later.

It answers "how good would this system have been?" without registering a model or storing a prediction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import UsageError
from headrace.features.keyed import joined
from headrace.grid import later
from headrace.home import Home
from headrace.lineage import iso
from headrace.store.history import KnownAsOf, read_truth
from headrace.system import System
from headrace.tasks.evaluation import EvaluateRequest, Evaluation, EvaluationData
from headrace.tasks.forecast import training
from headrace.tasks.forecast.predictor import Predictor
from headrace.tasks.forecast.scores import measures, naive_name, scores
from headrace.tasks.sections import Block, TerminalTable

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 200_000
"""Predictions that are made at once: bounds the memory."""
METRICS = ("mape", "wape", "mase", "rmse", "rmsse", "bias")
OURS = tuple(f"model_{name}" for name in METRICS)
"""The forecasts' own metrics on the pairs of a baseline."""
SHOWN = ("wape", "mape", "rmse", "coverage")
"""Metrics that a terminal has room for."""
WITHOUT_WAPE = "no wape and mape, because most values are zero: see rmsse beside the baselines', bias and coverage"
"""A forecast of nothing but zeros would have the best one."""


@dataclass(frozen=True)
class RollingOrigins(Evaluation):
    """How good the forecasts were.

    Attributes:
        system: The declaration.
        origins: Number of times that were forecast as of.
        trainings: Times at which a model was fitted.
        totals: Scores by series and step ahead, from which every metric follows.
        seconds: Wall time.
    """

    system: System
    origins: int
    trainings: list[datetime]
    totals: pl.DataFrame
    seconds: float

    def table(self, *columns: str) -> pl.DataFrame:
        """Metrics by key columns or by `ahead`, worst WAPE first for series."""
        scores = measures(self.totals, columns, self.system.monitoring.compared)
        return (
            scores.sort(list(columns)) if "ahead" in columns else scores.sort("wape", descending=True, nulls_last=True)
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``origins rows matured metrics baselines trainings series horizon seconds``."""
        overall = measures(self.totals, [], self.system.monitoring.compared).row(0, named=True)
        names = [naive_name(season) for season in self.system.monitoring.compared]
        return {
            "system": self.system.name,
            "origins": self.origins,
            "rows": overall["expected"],
            "matured": overall["n"],
            "metrics": {name: overall[name] for name in (*METRICS, "coverage")},
            "baselines": {name: {m: overall[f"{name}_{m}"] for m in ("n", *METRICS, *OURS)} for name in names},
            "trainings": [iso(training) for training in self.trainings],
            "series": self.table(*self.system.keys).to_dicts(),
            "horizon": self.table("ahead").to_dicts(),
            "seconds": self.seconds,
        }

    def blocks(self) -> Sequence[Block]:
        """Over all, beside the baselines, by series and by step ahead."""
        import polars as pl

        data, keys = self.as_dict(), self.system.keys
        rows = [{"forecast": self.system.name, "n": data["matured"], **data["metrics"]}]
        for name, values in data["baselines"].items():
            metrics = {metric: value for metric, value in values.items() if not metric.startswith("model_")}
            rows.append({"forecast": name, **metrics})
            if values["n"] != data["matured"]:  # on the pairs of a baseline: said where these are not all
                on_its = {metric: values[f"model_{metric}"] for metric in metrics if f"model_{metric}" in values}
                rows.append({"forecast": f"{name}_model", "n": values["n"], **on_its})
        title = f"{data['matured']:,} of {data['rows']:,} predictions from {self.origins:,} origins, "
        title += f"{len(self.trainings)} trainings, {self.seconds:,.1f} s"
        first = ("forecast", "n", *SHOWN)
        blocks: list[Block] = [
            TerminalTable(pl.DataFrame(rows, infer_schema_length=None), title, first, kept=("forecast",))
        ]
        most = "wape" if data["metrics"]["wape"] is not None else "rmsse"
        naive, shown = [f"{name}_{most}" for name in data["baselines"]], dict.fromkeys(("n", *SHOWN, most))
        if keys:
            by_series = self.table(*keys).sort(most, descending=True, nulls_last=True).select(*keys, *shown, *naive)
            blocks.append(TerminalTable(by_series, "by series, worst first", (*keys, most, *naive), kept=keys))
        by_step = self.table("ahead").select("ahead", *shown, *naive)
        blocks.append(TerminalTable(by_step, "by step ahead", ("ahead", most, *naive), kept=("ahead",)))
        if data["matured"] and data["metrics"]["wape"] is None:
            blocks.append(WITHOUT_WAPE)
        return blocks


def evaluate(system: System, home: Home, request: EvaluateRequest, data: EvaluationData) -> RollingOrigins:
    """Forecast as of every time of a range and compare with what is known now.

    Raises:
        UsageError: There is no range, or there are rows to score.
        NotEnoughDataError: Too little was known at the first time.
        SourceError, ContractBroken, StoreError: The facts could not be had.
    """
    if request.range is None or request.data is not None:
        raise UsageError(f"{system.name} forecasts", where="evaluate", hint="give start, end and every")
    began = time.perf_counter()
    times, count, parts = request.range.times(), 0, []
    segments = _segments(times, request.retrain, request.range.zone)
    with data.history(system, home, request) as place:
        version = place.raw(system).version()
        for segment in segments:
            request.on_progress("train", count, len(times))
            predictor = _predictor(system, place, segment[0], version)
            for chunk in _chunks(segment, len(predictor.schema.keys) * system.steps):
                parts.append(_scored(system, place, predictor, chunk, KnownAsOf(max(request.now, times[-1]), version)))
                count += len(chunk)
                request.on_progress("forecast", count, len(times))
    seconds = round(time.perf_counter() - began, 3)
    return RollingOrigins(system, len(times), [s[0] for s in segments], _total(system, parts), seconds)


def _segments(times: list[datetime], retrain: timedelta | None, zone: str | None) -> list[list[datetime]]:
    """The times that one training serves, each led by the time of the training."""
    segments: list[list[datetime]] = []
    for as_of in times:
        if not segments or (retrain is not None and later(segments[-1][0], retrain, zone=zone) <= as_of):
            segments.append([])
        segments[-1].append(as_of)
    return segments


def _chunks(times: list[datetime], examples: int) -> Iterator[list[datetime]]:
    size = max(EXAMPLES // max(examples, 1), 1)
    return (times[index : index + size] for index in range(0, len(times), size))


def _predictor(system: System, home: Home, as_of: datetime, version: int) -> Predictor:
    fitted = training.fit(system, home, home.series(system), as_of=as_of, data_version=version)
    return Predictor(fitted.fit.model, fitted.schema)


def _scored(
    system: System, home: Home, predictor: Predictor, times: Sequence[datetime], known: KnownAsOf
) -> pl.DataFrame:
    """Scores of the forecasts as of some times, by series and step ahead, against the truth as it is seen."""
    import polars as pl

    series, time = home.series(system), system.event_time
    raw = home.raw(system)
    predictions = predictor.predict(predictor.snapshots(raw, times, known.version), threads=home.workers).frame
    first, last = predictions.select(pl.col(time).min().alias("first"), pl.col(time).max()).row(0)
    facts = read_truth(raw, series, known, (first or times[0], last or times[0]))
    truth = facts.sort("known_at", "_version").unique([*system.keys, time], keep="last")
    truth = truth.select(*system.keys, time, pl.col(system.target).alias("actual"))
    pairs = joined(predictions, truth, [*system.keys, time])
    (by_series,) = scores(pairs, [[*system.keys, "ahead"]], system.monitoring.compared)
    return by_series


def _total(system: System, parts: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    by = [*system.keys, "ahead"]
    return pl.concat(parts).group_by(by, maintain_order=True).sum().sort(by)
