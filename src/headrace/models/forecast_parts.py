"""What forecasts are made of, in the target's own unit: every part of the mean, and of the members' boosters.

A forecast starts from the series' level, the mean of its newest short season. Each candidate adds, by its weight, how
far it lies from there. Of a member that is where it starts (the value a season before), and what each feature adds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace.errors import ExplainError, ModelError
from headrace.features.arrays import Array, Arrays, History
from headrace.features.matrix import Evaluator, Examples, every_example
from headrace.features.row import Literal
from headrace.models import levels, short
from headrace.models.booster import Booster
from headrace.models.forecast import MEMBERS, Forecast, ForecastModel
from headrace.models.glitches import Glitches
from headrace.models.member import LEVEL, SEASON, View

_NEAR = 1e-9
"""Parts that add up to something else than was forecast, by more than this share of them, are a mistake."""
_NOISE = 1e-12
"""A smaller share is what numbers of 64 bits lose, and no part of its own."""
LIMITS, ROUNDING = "limits", "rounding"


@dataclass(frozen=True)
class ForecastParts:
    """What n forecasts are made of. Arrays have the shape (n, horizon).

    Attributes:
        forecast: The forecasts themselves.
        base: The level, and what the members add on average.
        features: What each feature adds, by name.
        values: The features' values in the target's own unit, by name.
        steps: What else adds something, by name: forecasts without a model, limits.
    """

    forecast: Forecast
    base: Array
    features: dict[str, Array]
    values: dict[str, Array]
    steps: dict[str, Array]


def forecast_parts(
    model: ForecastModel, history: History, series: NDArray[np.intp], origin: NDArray[np.intp], *, threads: int = 1
) -> ForecastParts:
    """What the forecasts (series[i], origin[i]) are made of.

    Args:
        model: Whose.
        history: As of `ForecastModel.forecast`.
        series: Rows of the history.
        origin: Grid positions.
        threads: For the boosters; no number depends on it.

    Raises:
        ExplainError: Its members are another library's regressors.
        ModelError: The parts do not add up.
    """
    if not all(isinstance(member, Booster) for _, member in model.members):
        hint = "leave learner= out, and it learns with boosters that can tell"
        raise ExplainError("a forecaster that learns with your regressor cannot be explained", where="model", hint=hint)
    series, origin = np.broadcast_arrays(series, origin)
    forecast = model.forecast(history, series, origin, threads=threads)
    cleaned, row = Glitches(history, model.frame).cleaned(series, origin)
    examples = every_example(row, origin, model.horizon)
    return _PartsSum(model, forecast, *levels.moved(cleaned, model.frame, examples, model.clear)).parts(threads)


class _PartsSum:
    """Adds up the parts of some forecasts, each an array over the examples."""

    def __init__(self, model: ForecastModel, forecast: Forecast, history: History, examples: Examples) -> None:
        self._model, self._forecast, self._history, self._examples = model, forecast, history, examples
        assert forecast.weights is not None
        self._arrays, self._rule = Arrays(history), model.rule
        shares = np.nan_to_num(self._rule.shares(forecast.weights, forecast.candidates))
        self._shares = _by_candidate(shares)
        self._candidates = np.nan_to_num(_by_candidate(forecast.candidates))
        self._level = Evaluator(history, examples, self._arrays).column(model.frame.level)
        self._base = self._level.copy()
        self._features = {name: np.zeros(len(examples)) for name in model.features.names}
        self._steps: dict[str, Array] = {}

    def parts(self, threads: int) -> ForecastParts:
        """All of them."""
        forecast, served = self._forecast, self._forecast.value.ravel()
        simple = np.repeat(forecast.known < forecast.enough, self._model.horizon)
        simple |= np.repeat(forecast.sparse, self._model.horizon)
        if not simple.all():
            self._members(np.flatnonzero(~simple), threads)
            self._naive(~simple)
            self._limits(np.where(simple, served, (self._shares * self._candidates).sum(axis=0)), served)
        self._alone(np.repeat(forecast.sparse, self._model.horizon), "its own mean, as it is intermittent")
        young = simple & ~np.repeat(forecast.sparse, self._model.horizon)
        self._alone(young, short.said_by(self._model.frame, self._model.baseline))
        added = [self._base, *self._features.values(), *self._steps.values()]
        if (np.abs(sum(added) - served) > _NEAR * sum(map(np.abs, added))).any():
            raise ModelError("the parts of a forecast do not add up to it", where="model")
        evaluator = Evaluator(self._history, self._examples, self._arrays)
        plain = self._model.features.bind(Literal(0.0), Literal(1.0))
        values = {name: self._shaped(evaluator.column(expression)) for name, expression in plain.items()}
        features, steps = (
            {n: self._shaped(part) for n, part in parts.items()} for parts in (self._features, self._steps)
        )
        return ForecastParts(forecast, self._shaped(self._base), features, values, steps)

    def _members(self, served: NDArray[np.intp], threads: int) -> None:
        """What the boosters' features add, and where their members start."""
        model, frame = self._model, self._model.frame
        holding = model.persistence(self._history)[self._examples.series]
        kinds = [transform.holds for transform, _ in model.members]
        turn = {True: 0, False: 0}
        for (transform, booster), features in zip(model.members, model.bound, strict=True):
            first = turn[transform.holds]
            turn[transform.holds] += 1
            # The last of a kind speaks for those that its kind lacks, too.
            last = MEMBERS if turn[transform.holds] == kinds.count(transform.holds) else first + 1
            rows = served[holding[served] == transform.holds]
            share = self._shares[first:last, rows].sum(axis=0)
            rows, share = rows[share > 0], share[share > 0]
            if not rows.size:
                continue
            assert isinstance(booster, Booster)
            view = View(transform, frame, self._history, self._examples[rows], self._arrays)
            matrix = view.matrix(features)
            start, parts = view.restored_parts(booster.contributions(matrix, threads=threads)[:, 0])
            named = {LEVEL: "level", SEASON: short.said_by(frame, short.SHORT)}
            self._add(
                named.get(transform.anchor, short.said_by(frame, short.LAST)), rows, share * (start - self._level[rows])
            )
            self._base[rows] += share * parts[:, -1]
            for name, part in zip(features.names, parts.T, strict=False):
                self._features[name][rows] += share * part
            beyond = self._candidates[first, rows] - (start + parts.sum(axis=1))
            self._add(LIMITS, rows, share * np.where(np.abs(beyond) > _NOISE * np.abs(start), beyond, 0.0))

    def _naive(self, served: NDArray[np.bool_]) -> None:
        """What forecasts without a model add."""
        frame = self._model.frame
        seasons = dict.fromkeys((frame.short, frame.long))
        names = [short.LAST, *((short.SHORT, short.LONG)[: len(seasons)]), short.MEAN]
        rows = np.flatnonzero(served)
        for place, name in enumerate(names, self._rule.members):
            share = self._shares[place, rows]
            added = np.where(share > 0, share * (self._candidates[place, rows] - self._level[rows]), 0.0)
            self._add(short.said_by(frame, name), rows, added)

    def _limits(self, mixed: Array, served: Array) -> None:
        """What the target can be takes the mean within."""
        within = self._model.limits.bounded(mixed)
        rows = np.arange(len(self._examples))
        self._add(LIMITS, rows, within - mixed)
        self._add(ROUNDING, rows, np.where(np.abs(served - within) > _NOISE * np.abs(served), served - within, 0.0))

    def _alone(self, which: NDArray[np.bool_], name: str) -> None:
        """One forecast without a model is all that is served."""
        rows = np.flatnonzero(which)
        if rows.size:
            served = self._forecast.value.ravel()[rows]
            self._base[rows] = np.where(np.isnan(self._level[rows]), served, self._level[rows])
            self._add(name, rows, served - self._base[rows])

    def _add(self, name: str, rows: NDArray[np.intp], added: Array) -> None:
        self._steps.setdefault(name, np.zeros(len(self._examples)))[rows] += added

    def _shaped(self, part: Array) -> Array:
        return part.reshape(-1, self._model.horizon)


def _by_candidate(values: Array) -> Array:
    """Values of shape (n, candidates, horizon) as (candidates, examples)."""
    return np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
