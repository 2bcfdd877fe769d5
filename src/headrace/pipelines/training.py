"""From facts to a model version: fit, measure on later time, register, and let it win its place or not."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.errors import DeclarationError
from headrace.features.arrays import key_texts
from headrace.home import Home
from headrace.lineage import digest_of, iso
from headrace.metrics import apart
from headrace.models.forecaster import Backtest, Fit, Forecaster, Task, backtest, scored_origins
from headrace.models.limits import Limits
from headrace.models.short import said_by
from headrace.pipelines.scores import naive_name
from headrace.pipelines.verdict import of_forecasts, of_intermittent, with_baselines
from headrace.predictor import Predictor, Schema
from headrace.registry import Trained
from headrace.shaping import comparable, differing
from headrace.store.history import Seen, Series, newest
from headrace.store.sight import with_sight
from headrace.store.views import read_views
from headrace.system import System

if TYPE_CHECKING:
    from headrace.features.arrays import History
    from headrace.registry import ModelVersion

SHARED = 4
"""Of origins further apart than the horizon only every so many are served: about as many forecasts as without."""
TOLERANCE = 0.01
"""A challenger may be this much worse on RMSE or MAPE while it is better on WAPE (of intermittent series, on RMSSE)."""

COVERING = 0.05
"""One that knows series which the champion does not may be this much worse on the others, by any measure."""


@dataclass(frozen=True)
class Fitted:
    """A fit and the history that it was made on, which ends at the origin."""

    fit: Fit
    history: History
    schema: Schema

    @cached_property
    def served(self) -> Backtest:
        """What the fit's twin would have served on the time after the one it saw: weighed by what had matured since."""
        twin, horizon = self.fit.measured, self.fit.model.horizon
        if not twin.members:
            return self.fit.scores
        origins = scored_origins(self.history, self.fit.before, self.at, horizon)
        if self.at - self.fit.before > origins.size * horizon:  # each looks back on forecasts that no other one shares
            origins = origins[::SHARED]
        return backtest(replace(twin, since=self.history.time(self.fit.before)), self.history, origins)

    @property
    def at(self) -> int:
        """Grid position of the origin."""
        return self.history.length - 1


def fit(system: System, home: Home, series: Series, *, as_of: datetime, data_version: int) -> Fitted:
    """Fit the system's model on what was known.

    Raises:
        NotEnoughDataError: There is too little history.
    """
    if not isinstance(system.model, Forecaster):
        raise DeclarationError("only a Forecaster can be trained", where="model")
    raw, seen = home.table(system.name, series.table), Seen(as_of, data_version)
    origin = newest(raw, series, seen).origin
    reach = system.model.reach(system.features, series.grid.step)
    span = min(reach, _known_span(raw, series, seen, origin))
    history = with_sight(read_views(raw, series, [as_of], data_version, span=span).history, raw, series, seen)
    frame = system.model.frame(system.target, series.grid.step)
    task = Task(frame, system.steps, system.features, limits_of(system))
    made = system.model.fit(task, history, history.position(origin), workers=home.workers)
    return Fitted(made, history, Schema(series, system.monitoring.compared, key_texts(history.keys)))


def train(system: System, home: Home, series: Series, *, as_of: datetime, data_version: int, now: datetime) -> Trained:
    """Fit on what was known, register the version, and promote it if it beats the champion on later time.

    Raises:
        NotEnoughDataError: There is too little history.
        RegistryError: The tracking server cannot be reached.
    """
    fitted = fit(system, home, series, as_of=as_of, data_version=data_version)
    pins = {
        "as_of": iso(as_of),
        "origin": iso(fitted.history.end),
        "data_version": data_version,
        "feature_version": system.features.digest,
        "config_digest": system.config_digest,
        "made_from": system.made_from,
        "horizon": system.config()["horizon"],
    }
    with tempfile.TemporaryDirectory() as folder:
        fitted.fit.model.save(Path(folder))
        fitted.schema.save(Path(folder))
        version = home.registry.register(
            system.name,
            Path(folder),
            key=digest_of(pins, 24),
            params=system.model.model_dump(mode="json"),
            metrics=_tested(system, fitted),
            pins=pins,
            as_of=as_of,
            created_at=now,
        )
    return _gate(system, home, version, fitted, now)


def limits_of(system: System) -> Limits:
    """What the target can be by the contract: of an aggregate, what follows for it from the limits of its rows."""
    (column,) = (column for column in system.contract.columns if column.name == system.target)
    low, high = (float(end) if isinstance(end, int | float) else None for end in (column.minimum, column.maximum))
    whole = column.type == "integer" and column.aggregate != "mean"
    if column.aggregate in ("sum", "count"):
        counts = column.aggregate == "count" or (low is not None and low >= 0)
        return Limits(0.0 if counts else None, None, whole or column.aggregate == "count")
    if column.empty == "zero":
        low, high = (None if low is None else min(low, 0.0)), (None if high is None else max(high, 0.0))
    return Limits(low, high, whole)


def _known_span(raw: Any, series: Series, seen: Seen, origin: datetime) -> Any:
    """From the first known value to the origin: an array is no longer than what is known."""
    import polars as pl

    lazy = raw.scan(version=seen.version, as_of=seen.as_of).select(pl.col(series.time).min())
    grid = series.grid
    return grid.step * (grid.slot(origin) - grid.slot(raw.collect(lazy).item()) + 1)


def _tested(system: System, fitted: Fitted) -> dict[str, float | None]:
    """Scores of what the fit's twin would have served after the time it saw, with the baselines' beside them."""
    model, scored, history = fitted.fit.measured, fitted.served, fitted.history
    tested = dict(scored.scores())
    tested |= of_intermittent(scored, history, model)
    tested["coverage"] = fitted.fit.scores.honest_coverage(model.frame, history, model.horizon, model.interval)
    for season in system.monitoring.compared:
        for name, value in scored.baseline(history, model.frame, season).items():
            tested[f"{naive_name(season)}_{name}"] = value
    return {name: value if value == value else None for name, value in tested.items()}


def _gate(system: System, home: Home, version: ModelVersion, fitted: Fitted, now: datetime) -> Trained:
    """A first version takes the place; a later one must beat the champion on time that neither was fitted on."""
    registry, as_of = home.registry, version.as_of
    champion = registry.champion(system.name, as_of)
    frame = fitted.fit.model.frame
    verdict = of_forecasts(fitted.served, fitted.history, frame, system.monitoring.compared)
    said = None if verdict is None else verdict.as_dict()
    if champion is not None and champion.version == version.version:
        return Trained(version, True, version.reason or "is the champion", said)
    if champion is None:
        reason, wins = "the first version", True
    else:
        reason, wins = _compare(system, home, champion, fitted)
    if fitted.fit.model.reason is not None:  # nothing was learnt: it is a baseline, and need not beat one
        served = said_by(frame, fitted.fit.model.baseline)
        reason = f"{reason}, which serves {served}: {fitted.fit.model.reason}"
    else:
        reason, wins = with_baselines(system, verdict, reason, wins)
    decide = registry.promote if wins else registry.reject
    decided = decide(system.name, version.version, created_at=now, as_of=as_of, reason=reason)
    return Trained(decided, wins, reason, said)


def _compare(system: System, home: Home, champion: ModelVersion, fitted: Fitted) -> tuple[str, bool]:
    parts = differing(system.made_from, champion.pins)
    if not comparable(parts):
        return f"version {champion.version} was made from another declaration ({', '.join(parts)})", True
    fit, history, end = fitted.fit, fitted.history, fitted.at
    predictor = Predictor.load(home.registry.fetch(champion))
    learnt_until = history.position(datetime.fromisoformat(str(champion.pins["origin"])))
    before = max(fit.before, learnt_until) if predictor.model.members else fit.before
    if before > end - system.steps:
        return f"no time after version {champion.version}'s own to compare on", True
    origins = scored_origins(history, before, end, system.steps)
    made = backtest(fit.measured, history, origins)
    before_it = backtest(replace(predictor.model, since=None), history, origins)  # intervals are not compared
    before_it = replace(before_it, sparse=made.sparse)

    def scores(done: Backtest) -> dict[str, float]:
        return done.scores() | of_intermittent(done, history, fit.model)

    reason, wins = judged(scores(made), scores(before_it), champion.version)
    knows = np.isin(key_texts(history.keys), predictor.schema.keys)
    if wins or knows.all():
        return reason, wins
    both = knows[made.series]
    on_common = scores(made.only(both)), scores(before_it.only(both))
    return covering(*on_common, champion.version, int((~knows).sum())) or (reason, wins)


def judged(ours: Mapping[str, float], theirs: Mapping[str, float], champion: int) -> tuple[str, bool]:
    """Whether a challenger beats the champion by these scores, on the same pairs, and why."""
    names = _scored(ours)
    if not names:
        return f"nothing has matured to compare with version {champion}", True
    first, *rest = names
    wins = ours[first] < theirs[first] and all(ours[name] <= theirs[name] * (1 + TOLERANCE) for name in rest)
    return f"{'beats' if wins else 'does not beat'} version {champion}: {_figures(ours, theirs)}", wins


def covering(
    ours: Mapping[str, float], theirs: Mapping[str, float], champion: int, more: int
) -> tuple[str, bool] | None:
    """Whether a challenger takes the place because it knows series that the champion does not; None: it does not.

    A champion that does not know a series leaves it without answers, which costs more than a little error on others.

    Args:
        ours: Scores on the pairs of series that both know.
        theirs: The champion's on the same.
        champion: Its version.
        more: Series that only the challenger knows.
    """
    if any(not ours[name] <= theirs[name] * (1 + COVERING) for name in _scored(ours)):
        return None
    covers = f"covers {more} series that version {champion} does not know"
    if not _scored(ours):
        return f"{covers}, and nothing of the others has matured", True
    return f"{covers}, and is not much worse on the others: {_figures(ours, theirs)}", True


def _scored(scores: Mapping[str, float]) -> list[str]:
    return [name for name in ("wape", "rmsse", "rmse", "mape") if math.isfinite(scores.get(name, math.nan))]


def _figures(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {apart(ours[name], theirs[name])}" for name in _scored(ours))
