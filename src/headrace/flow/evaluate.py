"""Evaluate: a rolling-origin backtest by known time: each forecast from what was known at its time, and nothing later.

It answers "how good would this system have been?" without registering a model or storing a prediction.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import DeclarationError
from headrace.features.keyed import joined
from headrace.flow.stretch import Stretch
from headrace.grid import later
from headrace.home import Home
from headrace.lineage import iso
from headrace.pipelines import feature, shape, training
from headrace.pipelines.scores import measures, naive_name, scores
from headrace.predictor import Predictor
from headrace.settings import Settings
from headrace.store.history import Seen, read_truth
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

EXAMPLES = 200_000
"""Predictions that are made at once: bounds the memory."""
METRICS = ("mape", "wape", "mase", "rmse", "rmsse", "bias")
OURS = tuple(f"model_{name}" for name in METRICS)
"""The forecasts' own metrics on the pairs of a baseline."""


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes:
        stretch: The times to forecast as of.
        now: What is known by now is the truth, UTC.
        retrain: Time between two trainings; None trains once, on what was known at the first time.
        source: Where the facts come from; None is what the home has, or else the system's own source.
        on_progress: Told what is being done, how many origins of it are done, and of how many.
    """

    stretch: Stretch
    now: datetime
    retrain: timedelta | None = None
    source: str | None = None
    on_progress: Callable[[str, int, int], None] = lambda what, done, of: None


@dataclass(frozen=True)
class Evaluation:
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

    def table(self, *by: str) -> pl.DataFrame:
        """Metrics by key columns or by `ahead`, worst WAPE first for series."""
        found = measures(self.totals, by, self.system.monitoring.compared)
        return found.sort(list(by)) if "ahead" in by else found.sort("wape", descending=True, nulls_last=True)

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
            "trainings": [iso(each) for each in self.trainings],
            "series": self.table(*self.system.keys).to_dicts(),
            "horizon": self.table("ahead").to_dicts(),
            "seconds": self.seconds,
        }


def evaluate(system: System, home: Home, request: Request) -> Evaluation:
    """Forecast as of every time of a stretch and compare with what is known now.

    Raises:
        NotEnoughDataError: Too little was known at the first time.
        SourceError, ContractBroken, StoreError: The facts could not be had.
    """
    if not system.forecasts:
        raise DeclarationError("only a system with a horizon has origins to roll", where=system.name)
    began = time.perf_counter()
    times, done, parts = request.stretch.times(), 0, []
    segments = _segments(times, request.retrain, request.stretch.zone)
    with _facts(system, home, request) as place:
        version = place.raw(system).version()
        for segment in segments:
            request.on_progress("train", done, len(times))
            predictor = _predictor(system, place, segment[0], version)
            for some in _chunks(segment, len(predictor.schema.keys) * system.steps):
                parts.append(_scored(system, place, predictor, some, Seen(max(request.now, times[-1]), version)))
                done += len(some)
                request.on_progress("forecast", done, len(times))
    seconds = round(time.perf_counter() - began, 3)
    return Evaluation(system, len(times), [s[0] for s in segments], _total(system, parts), seconds)


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
    return (times[at : at + size] for at in range(0, len(times), size))


@contextmanager
def _facts(system: System, home: Home, request: Request) -> Iterator[Home]:
    """Where the facts are: this home, or one that is thrown away afterwards, filled from the source."""
    if request.source is None:
        shape.check(system, home)
    if request.source is None and home.raw(system).exists():
        yield home
        return
    times = request.stretch.times()
    request.on_progress("ingest", 0, len(times))
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        place = Home(Settings(home=Path(folder), threads=home.settings.threads))
        until = max(request.now, times[-1])
        records = feature.read(system, place, source=request.source, as_of=until, now=request.now, first=times[0])
        feature.validate(system, place, records, as_of=until, now=request.now)
        yield place


def _predictor(system: System, home: Home, as_of: datetime, version: int) -> Predictor:
    fitted = training.fit(system, home, home.series(system), as_of=as_of, data_version=version)
    return Predictor(fitted.fit.model, fitted.schema)


def _scored(system: System, home: Home, predictor: Predictor, times: Sequence[datetime], seen: Seen) -> pl.DataFrame:
    """Scores of the forecasts as of some times, by series and step ahead, against the truth as it is seen."""
    import polars as pl

    series, time = home.series(system), system.event_time
    raw = home.raw(system)
    made = predictor.predict(predictor.views(raw, times, seen.version), threads=home.workers).frame
    first, last = made.select(pl.col(time).min().alias("first"), pl.col(time).max()).row(0)
    facts = read_truth(raw, series, seen, (first or times[0], last or times[0]))
    truth = facts.sort("known_at", "_version").unique([*system.keys, time], keep="last")
    truth = truth.select(*system.keys, time, pl.col(system.target).alias("actual"))
    pairs = joined(made, truth, [*system.keys, time])
    (by_series,) = scores(pairs, [[*system.keys, "ahead"]], system.monitoring.compared)
    return by_series


def _total(system: System, parts: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    by = [*system.keys, "ahead"]
    return pl.concat(parts).group_by(by, maintain_order=True).sum().sort(by)
