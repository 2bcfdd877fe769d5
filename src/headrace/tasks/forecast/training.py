"""From facts to a model version: fit, measure on later time, register, and let it win its place or not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DeclarationError
from headrace.features.arrays import key_texts
from headrace.home import Home
from headrace.lineage import iso
from headrace.models.backtest import Backtest, Fit, ForecastProblem, backtest, scored_origins
from headrace.models.limits import Limits
from headrace.models.series import SeriesModel
from headrace.models.short import said_by
from headrace.registry import Trained
from headrace.registry.records import FALLBACK
from headrace.store.history import KnownAsOf, SeriesLayout, newest
from headrace.store.sight import with_sight
from headrace.store.snapshots import read_snapshots
from headrace.system import System
from headrace.tasks.distributions import save_held_out
from headrace.tasks.forecast.card import importance, sections
from headrace.tasks.forecast.predictor import Predictor, Schema
from headrace.tasks.forecast.scores import naive_name
from headrace.tasks.forecast.units import SeriesUnits
from headrace.tasks.gate import Match, Start, admit
from headrace.tasks.verdict import Verdict, of_forecasts, of_intermittent

if TYPE_CHECKING:
    from headrace.features.arrays import History
    from headrace.registry import ModelVersion
    from headrace.tasks.sections import Section

ASKED = 100
"""Series that are forecast together, to tell how long a prediction of one takes."""
SHARED = 4
"""Of origins further apart than the horizon only every so many are served: about as many forecasts as without."""
COMPARED = ("wape", "rmsse", "rmse", "mape")
"""What the gate compares, first what decides: WAPE, or of intermittent series RMSSE."""


@dataclass(frozen=True)
class HistoryFit:
    """A fit and the history that it was made on, which ends at the origin."""

    fit: Fit
    history: History
    schema: Schema

    @cached_property
    def served(self) -> Backtest:
        """What the fit's twin would have served on the time after the one it saw: weighed by what had matured since."""
        (served,) = self.served_in(1)
        return served

    def served_in(self, parts: int) -> Iterator[Backtest]:
        """The same in so many parts, one after the other: each is computed when it is asked for.

        Args:
            parts: Of the origins, the oldest first; where there are fewer origins, there are fewer parts.
        """
        twin, horizon = self.fit.measured, self.fit.model.horizon
        origins = scored_origins(self.history, self.fit.before, self.at, horizon)
        if not twin.follows:
            origins = np.unique(self.fit.scores.origin)
        elif self.at - self.fit.before > origins.size * horizon:  # each looks back on forecasts that no other shares
            origins = origins[::SHARED]
        for some in np.array_split(origins, max(min(parts, origins.size), 1)):
            if twin.follows:
                yield backtest(twin.from_time(self.history.time(self.fit.before)), self.history, some)
            else:
                yield self.fit.scores.only(np.isin(self.fit.scores.origin, some))

    @property
    def at(self) -> int:
        """Grid position of the origin."""
        return self.history.length - 1


def fit(
    system: System, home: Home, series: SeriesLayout, *, as_of: datetime, data_version: int, instead: str | None = None
) -> HistoryFit:
    """Fit the system's model on what was known; the best baseline in its place where `instead` says why.

    Raises:
        NotEnoughDataError: There is too little history.
    """
    raw, known = home.table(system.name, series.table), KnownAsOf(as_of, data_version)
    reach = _series_model(system).reach(system.features, series.grid.step)
    origin = newest(raw, series, known).origin
    span = min(reach, _known_span(raw, series, known, origin))
    history = with_sight(read_snapshots(raw, series, [as_of], data_version, span=span).history, raw, series, known)
    at = history.position(origin)
    model, problem = _series_model(system), _problem(system, series)
    if instead is None:
        made = model.fit(problem, history, at, workers=home.workers)
    else:
        made = model.unlearnt(problem, history, at, instead)
    return HistoryFit(made, history, Schema(series, system.monitoring.compared, key_texts(history.keys)))


def history_of(system: System, home: Home, series: SeriesLayout, *, as_of: datetime, data_version: int) -> History:
    """All that was known, from the first value to the newest.

    Raises:
        NotEnoughDataError: Nothing is known.
    """
    raw, known = home.table(system.name, series.table), KnownAsOf(as_of, data_version)
    span = _known_span(raw, series, known, newest(raw, series, known).origin)
    return with_sight(read_snapshots(raw, series, [as_of], data_version, span=span).history, raw, series, known)


def fitted_on(system: System, series: SeriesLayout, history: History, *, workers: int) -> Fit:
    """Fit the system's model on a history, up to its end.

    Raises:
        NotEnoughDataError: It is too short.
    """
    return _series_model(system).fit(_problem(system, series), history, history.length - 1, workers=workers)


def measured_on(system: System, series: SeriesLayout, history: History, *, workers: int) -> HistoryFit:
    """Measure the system's model on a history, up to its end, without the fit that a training would keep.

    Raises:
        NotEnoughDataError: It is too short.
    """
    problem = _problem(system, series)
    made = _series_model(system).measure(problem, history, history.length - 1, workers=workers)
    return HistoryFit(made, history, Schema(series, system.monitoring.compared, key_texts(history.keys)))


def _problem(system: System, series: SeriesLayout) -> ForecastProblem:
    frame = _series_model(system).frame(system.target, series.grid.step)
    return ForecastProblem(frame, system.steps, system.features, limits_of(system))


def _series_model(system: System) -> SeriesModel:
    if not isinstance(system.model, SeriesModel):  # refused when the system was loaded
        raise DeclarationError("is no model of series", where="model")
    return system.model


def train(
    system: System,
    home: Home,
    series: SeriesLayout,
    *,
    as_of: datetime,
    data_version: int,
    now: datetime,
    because: str | None = None,
    instead: str | None = None,
) -> Trained:
    """Fit on what was known, register the version, and promote it if it beats the champion on later time.

    Args:
        system, home, series, as_of, data_version, now, because: As `Task.train`.
        instead: Why the best baseline is served in the model's place; None: it is not.

    Raises:
        NotEnoughDataError: There is too little history.
        RegistryError: The tracking server cannot be reached.
    """
    began = Start.of(system, home, now)
    fitted = fit(system, home, series, as_of=as_of, data_version=data_version, instead=instead)
    challenger = _ForecastChallenger(system, home, fitted, instead)
    return admit(
        system,
        home,
        challenger,
        as_of=as_of,
        data_version=data_version,
        began=began,
        because=because,
        importance=importance(fitted.fit, fitted.history, workers=home.workers),
    )


def limits_of(system: System) -> Limits:
    """What the target can be by the contract: of an aggregate, what follows for it from the limits of its rows."""
    (column,) = (column for column in system.contract.columns if column.name == system.target)
    low, high = (float(end) if isinstance(end, int | float) else None for end in (column.minimum, column.maximum))
    integral = column.type == "integer" and column.aggregate != "mean"
    if column.aggregate in ("sum", "count"):
        counts = column.aggregate == "count" or (low is not None and low >= 0)
        return Limits(0.0 if counts else None, None, integral or column.aggregate == "count")
    if column.empty == "zero":
        low, high = (None if low is None else min(low, 0.0)), (None if high is None else max(high, 0.0))
    return Limits(low, high, integral)


def _known_span(raw: Any, series: SeriesLayout, known: KnownAsOf, origin: datetime) -> Any:
    """From the first known value to the origin: an array is no longer than what is known."""
    import polars as pl

    lazy = raw.scan(version=known.version, as_of=known.as_of).select(pl.col(series.time).min())
    grid = series.grid
    return grid.step * (grid.slot(origin) - grid.slot(raw.collect(lazy).item()) + 1)


@dataclass(frozen=True)
class _ForecastChallenger:
    """A fit of forecasts before the gate; see `headrace.tasks.gate.Challenger`."""

    system: System
    home: Home
    fitted: HistoryFit
    instead: str | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        return self.system.model.model_dump(mode="json")

    @property
    def pins(self) -> Mapping[str, Any]:
        pins = {"origin": iso(self.fitted.history.end), "horizon": self.system.config()["horizon"]}
        return pins if self.instead is None else {**pins, FALLBACK: True}

    def scores(self) -> Mapping[str, float]:
        """Of what the fit's twin would have served after the time it saw, with the baselines' beside them."""
        fit, scored, history = self.fitted.fit, self.fitted.served, self.fitted.history
        model = fit.measured
        tested = dict(scored.scores())
        tested |= of_intermittent(scored, history, model.frame, model.coverage)
        tested["coverage"] = fit.scores.honest_coverage(model.frame, history, model.horizon, model.coverage)
        for season in self.system.monitoring.compared:
            for name, value in scored.baseline(history, model.frame, season).items():
                tested[f"{naive_name(season)}_{name}"] = value
        return tested

    def save(self, folder: Path) -> None:
        self.fitted.fit.model.save(folder)
        self.fitted.schema.save(folder)
        units, served = SeriesUnits.of(self.fitted.history, self.system.target), self.fitted.served
        units.save(folder)
        save_held_out(folder, self.system.target, units.scaled(served.value, served.series))

    def sections(self) -> list[Section]:
        fitted, step = self.fitted, self.system.config()["step"]
        return sections(fitted.served, fitted.history, step, fitted.fit.model.coverage)

    def cost(self) -> Mapping[str, float]:
        history = self.fitted.history
        count, model = min(len(key_texts(history.keys)), ASKED), self.fitted.fit.model
        model.forecast(history, np.arange(1), np.full(1, self.fitted.at))  # the first one prepares
        began = time.perf_counter()
        model.forecast(history, np.arange(count), np.full(count, self.fitted.at))
        return {"predict_us": round((time.perf_counter() - began) / max(count, 1) * 1e6, 1)}

    def verdict(self) -> Verdict | None:
        fitted = self.fitted
        return of_forecasts(fitted.served, fitted.history, fitted.fit.model.frame, self.system.monitoring.compared)

    def against(self, champion: ModelVersion) -> Match | None:
        """On time that neither was fitted on: the fit's twin, which did not see it, and the champion."""
        fit, history, end, steps = self.fitted.fit, self.fitted.history, self.fitted.at, self.system.steps
        predictor = Predictor.load(self.home.registry.fetch(champion))
        learnt_until = history.position(datetime.fromisoformat(str(champion.pins["origin"])))
        before = max(fit.before, learnt_until) if predictor.model.taught else fit.before
        if before > end - steps:
            return None
        limits = [limit for limit in (fit.measured.most_origins, predictor.model.most_origins) if limit is not None]
        origins = scored_origins(history, before, end, steps, min(limits, default=None))
        candidate = backtest(fit.measured, history, origins)
        champion_backtest = backtest(predictor.model.from_time(None), history, origins)  # intervals are not compared
        champion_backtest = replace(champion_backtest, sparse=candidate.sparse)
        knows = np.isin(key_texts(history.keys), predictor.schema.keys)
        if knows.all():
            return self._match(candidate, champion_backtest)
        matched = knows[candidate.series]
        common = self._match(candidate.only(matched), champion_backtest.only(matched))
        return replace(self._match(candidate, champion_backtest), unknown=int((~knows).sum()), common=common)

    def _match(self, candidate: Backtest, rival: Backtest) -> Match:
        return Match(self._compared(candidate), self._compared(rival))

    def _compared(self, backtested: Backtest) -> dict[str, float]:
        model = self.fitted.fit.model
        intermittent = of_intermittent(backtested, self.fitted.history, model.frame, model.coverage)
        scores = backtested.scores() | intermittent
        return {name: scores[name] for name in COMPARED if name in scores}

    @property
    def untaught(self) -> str | None:
        model = self.fitted.fit.model
        if model.reason is None:
            return None
        return f"which serves {said_by(model.frame, model.baseline)}: {model.reason}"
