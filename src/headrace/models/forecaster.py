"""Forecaster: gradient boosting over all series at once, every step ahead directly, with measured intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace.declaration import Duration, format_duration
from headrace.errors import DeclarationError, NotEnoughDataError
from headrace.features.arrays import Array, History, key_texts
from headrace.features.calendar import DatetimePart
from headrace.features.matrix import Examples, by_series, every_origin
from headrace.features.view import Features
from headrace.grid import steps_of
from headrace.models import intermittent, levels, short
from headrace.models.backtest import Backtest, Fit, ForecastProblem, backtest, beside, scored_origins, until
from headrace.models.baselines import persistent
from headrace.models.booster import Booster, fit_booster
from headrace.models.estimator import Estimator, refuse_other_kind
from headrace.models.feedback import reach
from headrace.models.forecast import Forecast, ForecastModel
from headrace.models.glitches import cleaned, margin, without
from headrace.models.member import LAST, LEVEL, SEASON, Frame, Transform, View, lookback
from headrace.models.regressor_member import RegressorMember, fit_regressor
from headrace.models.sampling import sample, spans
from headrace.models.series import SeriesModel

if TYPE_CHECKING:
    from headrace.contract import Column

EXAMPLES_NEEDED = 200
"""Fewer examples than this teach a booster nothing."""
ENOUGH = 60_000
"""From this many examples on, all trees are grown."""
CLIPPED = 10.0
"""Targets are learnt to this many units of a series' scale: beyond lies no shape, but a scale that was too small.

After a flat stretch a single sale is thousands of units away, and a mean of such leaves is a forecast that no history
ever came near. 5 to 50 units do about the same; without a bound daily sales are forecast at ten times their maximum."""
FEWEST = 500
"""Origins of a history: all there is of weeks and months."""
SURE, UNSURE = 3, 1.4
"""Widths measured on fewer horizons than this are too narrow: they are taken so many times as wide."""
DRAWN = 3
"""Forecasts of an average series that every series' losses are drawn to."""


class Forecaster(SeriesModel):
    """A global forecaster: two LightGBM members over all series, one row per (series, origin, step ahead).

    One member learns differences from the series' level, the other ratios to its last season. Series whose last value
    says more than their season have two members of their own, which start from that value. Everything is in units of
    the series' own scale, so large and small series teach one another. The forecast is a mean of the members and of
    forecasts that need no model (last value, seasons, mean), by weights that follow every series' errors since the fit:
    what errs less is heard more. Intervals are split conformal: their width is measured on time after the one fitted
    on, and follows what is missed later on. So a lone forecast costs as much as one from each of the last eight
    horizons (or 96 steps); many in a row, and a stream, pay little.
    See docs/decisions.md for the figures.

    Attributes:
        kind: Its name in configuration.
        seasons: One or two seasons, the shorter first.
        n_estimators: Boosting rounds; down to half of them for small histories.
        learning_rate, num_leaves, min_child_samples, colsample_bytree, subsample, reg_lambda, max_bin: As in LightGBM.
        max_rows: Examples to learn from; drawn evenly when there are more.
        history: How far back the origins go that are learnt from; of weeks and months at least 500 of them.
        coverage: Nominal coverage of the intervals.
        seed: Of the sample and the members.
        learner: What learns in place of LightGBM: any scikit-learn regressor, as ``Estimator(model=Ridge())``. It reads
            a matrix of the features; one that reads no missing values gets their mean, with a mark beside.

    >>> model = Forecaster(seasons=("24h", "168h"), n_estimators=60)
    >>> model.frame("load", timedelta(hours=1)).short
    datetime.timedelta(days=1)
    """

    kind: Literal["forecaster"] = "forecaster"
    seasons: tuple[Duration, ...] = (timedelta(hours=24), timedelta(hours=168))
    n_estimators: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    num_leaves: int = Field(default=31, ge=2)
    min_child_samples: int = Field(default=100, ge=1)
    colsample_bytree: float = Field(default=0.7, gt=0, le=1)
    subsample: float = Field(default=0.8, gt=0, le=1)
    reg_lambda: float = Field(default=1.0, ge=0)
    max_bin: int = Field(default=127, ge=2)
    max_rows: int = Field(default=120_000, ge=1000)
    history: Duration = timedelta(days=1100)
    coverage: float = Field(default=0.9, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    learner: Estimator | None = None

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system without a horizon, and seasons that are not multiples of its step."""
        if step is None or horizon is None:
            raise DeclarationError("a Forecaster needs a system with a horizon", where="model")
        if self.learner is not None:
            self._check_learner(self.learner)
        if not 1 <= len(self.seasons) <= 2 or list(self.seasons) != sorted(self.seasons):
            raise DeclarationError("one or two seasons, the shorter first", where="model.seasons")
        for i, season in enumerate(self.seasons):
            where = f"model.seasons[{i}]"
            steps_of(season, step, where=where)
            if season <= step:
                message = f"{format_duration(season)} is no longer than the step {format_duration(step)}"
                raise DeclarationError(message, where=where, hint="a season is several steps")

    def _check_learner(self, learner: Estimator) -> None:
        try:
            learner.brought.check()
            refuse_other_kind(learner.make(), "regression")
        except DeclarationError as error:
            where = "model.learner" if error.where is None else f"model.learner.{error.where}"
            raise DeclarationError(error.message, where=where, hint=error.hint) from error

    def frame(self, target: str, step: timedelta) -> Frame:
        """The target with its step and seasons."""
        return Frame(target, step, self.seasons[0], self.seasons[-1])

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before an origin the fitted forecaster looks."""
        span = lookback(features, self.seasons[0], self.seasons[-1])
        return span + step * (margin(self.frame("", step)) + reach(horizon // step))

    def cleaned(
        self, history: History, target: str, series: NDArray[np.intp], origin: NDArray[np.intp]
    ) -> tuple[History, NDArray[np.intp]]:
        """As `Model.cleaned`: without glitches."""
        return cleaned(history, self.frame(target, history.step), series, origin)

    def reach(self, features: Features, step: timedelta) -> timedelta:
        """How far back a history must go for a fit."""
        return step * self._longest(step) + max(features.lookback, self.seasons[-1] * 5)

    def _longest(self, step: timedelta) -> int:
        """How many steps back the origins go that are learnt from."""
        return max(self.history // step, FEWEST)

    def fit(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """Fit on all that is known at `origin` (a grid position), with intervals and scores from the newest part.

        Two fits: one that stops before the held-back part, to measure errors on it, and one on everything, to keep.
        Of too little nothing is learnt: the model then serves the baseline that was best so far, and says why.

        Args:
            workers: Boosters that are fitted at once, on one core each; the result does not depend on it.

        Raises:
            NotEnoughDataError: No value is known.
        """
        return self._fit(task, history, origin, workers, kept=True)

    def measure(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """As `SeriesModel.measure`: the fit that stops before the held-back part alone."""
        return self._fit(task, history, origin, workers, kept=False)

    def _fit(self, task: ForecastProblem, history: History, origin: int, workers: int, *, kept: bool) -> Fit:
        try:
            return self._learnt(task, history, origin, workers, kept=kept)
        except NotEnoughDataError as error:
            return self.unlearnt(task, history, origin, error.message)

    def unlearnt(self, task: ForecastProblem, history: History, origin: int, reason: str) -> Fit:
        """A model without members, measured from the origins before."""
        frame, horizon = task.frame, task.horizon
        baseline = short.best(history, frame, horizon, origin)
        known = without(history, frame, origin)
        widths, nonnegative = np.full(horizon, np.nan), bool(np.nanmin(known) >= 0)
        model = ForecastModel(frame, horizon, task.features, (), widths, self.coverage, nonnegative)
        model = replace(model, baseline=baseline, reason=reason, limits=task.limits)
        model = replace(model, sparse=_sparse(history, frame, origin), clear=inf)
        origins = short.past_origins(known, origin)
        scores = backtest(model, until(history, origin), origins)
        model = replace(model, **scores.calibrated(frame, history, horizon, self.coverage))
        return Fit(replace(model, since=history.time(origin)), model, int(origins[0]), scores)

    def _learnt(self, task: ForecastProblem, history: History, origin: int, workers: int, *, kept: bool) -> Fit:
        frame, horizon = task.frame, task.horizon
        held = self._held_back(frame, horizon, history, origin)
        past = without(history, frame, origin - held)
        holding = persistent(past, season=frame.short // frame.step, ahead=max(horizon // 2, 1))
        ends = (origin - held, origin) if kept else (origin - held,)
        with ThreadPoolExecutor(workers) as pool:
            pending = [self._start(task, history, end, holding, pool) for end in ends]
            models = [finish() for finish in pending]
        measured, final = models[0], models[-1]
        windows = every_origin(history.series, scored_origins(history, origin - held, origin, horizon))
        measured = replace(measured, clear=_clear(measured, history, *windows))
        forecast = measured.forecast(history, *windows, threads=workers)
        scores = beside(forecast, measured, history, *windows)
        widths = scores.calibrated(frame, history, horizon, self.coverage)
        if held < SURE * horizon:
            widths["widths"] = widths["widths"] * UNSURE
        widths["jumps"] = scores.jumps(frame, history, horizon, self.coverage)
        final, measured = (replace(model, **widths) for model in (final, measured))
        losses = _losses(measured, forecast, scores, history)
        final = replace(final, since=history.time(origin), losses=losses, clear=measured.clear)
        return Fit(final, measured, origin - held, scores)

    def _held_back(self, frame: Frame, horizon: int, history: History, origin: int) -> int:
        """How much of the newest history is held back to measure errors on.

        A year where there are two, because errors differ by season. Otherwise a fifth; but a long season where that is
        at most three tenths, and never less than two horizons.
        """
        known = ~np.isnan(history.values[frame.target][:, : origin + 1])
        length = origin + 1 - int(known.any(axis=0).argmax()) if known.any() else 0
        season, year = frame.long // frame.step, round(timedelta(days=365) / frame.step)
        held = length // 5
        if held < season <= 0.3 * length:
            held = season
        held = int(year if length >= 2 * year else max(held, 2 * horizon))
        if length < 2 * held + frame.short // frame.step:
            raise NotEnoughDataError(
                f"a history of {length} x {format_duration(frame.step)} is too short to learn from",
                where=frame.target,
                hint=f"at least {4 * horizon + frame.short // frame.step} are needed",
            )
        return held

    def _start(
        self, task: ForecastProblem, history: History, end: int, holding: NDArray[np.bool_], pool: Executor
    ) -> Callable[[], ForecastModel]:
        """Begin to fit on what is known at `end`; the function that is returned waits for it."""
        frame, target = task.frame, without(history, task.frame, end)
        used = covered(task.features, history.step * end)
        season, seasons = frame.short // frame.step, frame.long // frame.step
        warm_up = seasons if end >= 2 * seasons + 2 * task.horizon else season
        span = spans(target, warm_up=warm_up, end=end, longest=self._longest(frame.step))
        examples = sample(target, span, horizon=task.horizon, end=end, limit=self.max_rows, seed=self.seed)
        if len(examples) < EXAMPLES_NEEDED:
            raise NotEnoughDataError(
                f"{len(examples)} examples are too few to learn from",
                where=frame.target,
                hint="wait for more history",
            )
        least = float(np.nanmin(target))
        learners = _learners(examples, holding[examples.series], positive=least > 0)
        names = frozenset(key_texts(history.keys.filter(holding)))
        members = list[Future[Booster | RegressorMember]]()
        for transform, some in learners:
            bound = frame.bound(used, transform)
            known, row = cleaned(history, frame, some.series, some.origin)
            order = np.argsort(row, kind="stable")
            read = Examples(row[order], some.origin[order], some.ahead[order])
            parts = [_taught(View(transform, frame, *part), bound) for part in by_series(known, read)]
            members.append(self._learn(parts, used, pool, holds=transform.holds))

        def finish() -> ForecastModel:
            fitted = tuple((t, member.result()) for (t, _), member in zip(learners, members, strict=True))
            widths = np.full(task.horizon, np.nan)
            model = ForecastModel(frame, task.horizon, used, fitted, widths, self.coverage, least >= 0, names)
            return replace(model, limits=task.limits, sparse=_sparse(history, frame, end))

        return finish

    def _learn(
        self, parts: Sequence[tuple[Array, Array]], features: Features, pool: Executor, *, holds: bool
    ) -> Future[Booster | RegressorMember]:
        matrix, target = (np.concatenate(part) for part in zip(*parts, strict=True))
        if self.learner is not None:
            return pool.submit(fit_regressor, self.learner, matrix, target, self.seed)

        def boosted() -> Booster:
            settings = self._settings(target.size, holds=holds)
            return Booster.from_text(fit_booster(matrix, target, feature_names=list(features.names), **settings))

        return pool.submit(boosted)

    def _settings(self, rows: int, *, holds: bool) -> dict[str, Any]:
        """Rounds and LightGBM's settings for so many examples of one kind of series.

        A small history is soon learnt by heart: it gets fewer trees, down to half. Of series that persist little can
        be said beyond their last value, so theirs are a fifth of the trees, with a quarter of the leaves.
        """
        share = min(max(float(np.sqrt(rows / ENOUGH)), 0.5), 1.0)
        trees, leaves, least = round(self.n_estimators * share), self.num_leaves, self.min_child_samples
        if holds:
            trees, leaves, least = self.n_estimators // 5, -(-leaves // 4), 2 * least
        params = {
            "objective": "l1",
            "learning_rate": self.learning_rate,
            "num_leaves": max(leaves, 2),
            "min_data_in_leaf": least,
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "lambda_l2": self.reg_lambda,
            "max_bin": self.max_bin,
            "seed": self.seed,
            "num_threads": 1,
        }
        return {"rounds": max(trees, 1), "params": params}


def _clear(measured: ForecastModel, history: History, series: NDArray[np.intp], origin: NDArray[np.intp]) -> float:
    """How clear a step of level must be: so that steps were of use in the time held back, if there were any."""
    clear = 1.0
    while (misled := _misled(replace(measured, clear=clear), history, series, origin)) > 0:
        clear = max(levels.WAITS, levels.WARY * misled if clear > 1 else 0.0)
    return clear


def _misled(model: ForecastModel, history: History, series: NDArray[np.intp], origin: NDArray[np.intp]) -> float:
    """How clear the clearest step was that made forecasts worse; 0 where in sum they were better with steps."""
    frame = model.frame
    clear = levels.clearness(*cleaned(history, frame, series, origin), frame, origin, model.clear)
    rows = np.flatnonzero(clear)
    if not rows.size:
        return 0.0
    errors = []
    for candidate in (model, replace(model, clear=inf)):
        backtested = beside(
            candidate.forecast(history, series[rows], origin[rows]), candidate, history, series[rows], origin[rows]
        )
        errors.append(np.abs(backtested.actual - backtested.value) / backtested.scale(frame, history))
    worse = (errors[0] - errors[1]).reshape(-1, model.horizon)
    worse = np.where(np.isfinite(worse), worse, 0.0).sum(axis=1)
    steps, index = np.unique(clear[rows], return_inverse=True)
    return float(steps[np.bincount(index, worse) > 0].max()) if worse.sum() > 0 else 0.0


def _losses(measured: ForecastModel, forecast: Forecast, scores: Backtest, history: History) -> Array:
    """What the twin's candidates lost on the time held back; see `ForecastModel.losses`. Few errors say little."""
    shape, rule = forecast.value.shape, measured.rule
    half = scores.half(measured, history).reshape(shape)
    sums, count = rule.losses(forecast.candidates, half, scores.actual.reshape(shape))
    sums, count = (totals.reshape(history.series, -1, *totals.shape[1:]).sum(axis=1) for totals in (sums, count))
    count = np.broadcast_to(count[:, None], sums.shape)
    with np.errstate(invalid="ignore"):
        usual = sums.sum(axis=0) / count.sum(axis=0)
    usual = np.where(np.isfinite(usual), usual, 1.0)
    means = (sums + DRAWN * usual) / (count + DRAWN)
    texts = key_texts(history.keys)
    return np.concatenate([usual[None], means[sorted(range(len(texts)), key=texts.__getitem__)]])


def _learners(examples: Examples, holding: NDArray[np.bool_], *, positive: bool) -> list[tuple[Transform, Examples]]:
    """The members and what each learns from: two for series that persist, two for the others, where there are any."""
    kinds = (
        (~holding, [Transform(log=False, anchor=LEVEL), Transform(log=positive, anchor=SEASON)]),
        (holding, [Transform(log=False, anchor=LAST), *([Transform(log=True, anchor=LAST)] if positive else [])]),
    )
    return [
        (transform, examples[np.flatnonzero(widths_of)])
        for widths_of, transforms in kinds
        if widths_of.sum() >= EXAMPLES_NEEDED / 2  # a kind of which so little is known goes with the other
        for transform in transforms
    ]


def _taught(view: View, features: Features) -> tuple[Array, Array]:
    """The matrix and what is to be learnt from it, without the examples that teach nothing."""
    learn = view.learn()
    good = np.isfinite(learn)
    return np.ascontiguousarray(view.matrix(features)[good]), np.clip(learn[good], -CLIPPED, CLIPPED)


def _sparse(history: History, frame: Frame, origin: int) -> bool:
    """Whether a series is intermittent at an origin."""
    known, row = cleaned(history, frame, np.arange(history.series), np.full(history.series, origin))
    return bool(intermittent.recognised(known, frame, row, np.full(row.size, origin)).any())


def covered(features: Features, span: timedelta) -> Features:
    """The features without calendars whose period the history does not cover twice: they would only memorise dates."""
    return Features(
        {
            name: expression
            for name, expression in features.items()
            if not any(isinstance(n, DatetimePart) and n.period * 2 > span for n in expression.walk())
        }
    )
