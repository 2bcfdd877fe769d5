"""Forecaster: gradient boosting over all series at once, every step ahead directly, with measured intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headrace import metrics
from headrace.declaration import Duration, format_duration
from headrace.errors import DeclarationError, NotEnoughDataError
from headrace.features.arrays import Array, History, key_texts
from headrace.features.calendar import DatetimePart
from headrace.features.matrix import Examples, by_series, every_example, every_origin
from headrace.features.view import Features
from headrace.grid import steps_of
from headrace.models import calibration, intermittent, levels, short
from headrace.models.base import Model
from headrace.models.baselines import last_value, persistent, reference
from headrace.models.booster import Booster, fit_booster
from headrace.models.feedback import reach
from headrace.models.forecast import Forecast, ForecastModel
from headrace.models.glitches import cleaned, margin, without
from headrace.models.limits import NONE, Limits
from headrace.models.member import LAST, LEVEL, SEASON, Frame, Transform, View, lookback, spread
from headrace.models.sampling import sample, spans

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
SCORED = 60_000
"""At most about so many held-back forecasts are scored; origins are spread evenly."""


class Forecaster(Model):
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
        seasons: One or two seasons, the shorter first.
        trees: Boosting rounds; down to half of them for small histories.
        learning_rate, leaves, min_leaf, feature_share, row_share, l2, bins: LightGBM's settings.
        max_rows: Examples to learn from; drawn evenly when there are more.
        history: How far back the origins go that are learnt from; of weeks and months at least 500 of them.
        interval: Nominal coverage of the intervals.
        seed: Of the sample and the boosters.
    """

    seasons: tuple[Duration, ...] = (timedelta(hours=24), timedelta(hours=168))
    trees: int = Field(default=300, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    leaves: int = Field(default=31, ge=2)
    min_leaf: int = Field(default=100, ge=1)
    feature_share: float = Field(default=0.7, gt=0, le=1)
    row_share: float = Field(default=0.8, gt=0, le=1)
    l2: float = Field(default=1.0, ge=0)
    bins: int = Field(default=127, ge=2)
    max_rows: int = Field(default=120_000, ge=1000)
    history: Duration = timedelta(days=1100)
    interval: float = Field(default=0.9, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    def check(self, *, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system without a horizon, and seasons that are not multiples of its step."""
        if step is None or horizon is None:
            raise DeclarationError("a Forecaster needs a system with a horizon", where="model")
        if not 1 <= len(self.seasons) <= 2 or list(self.seasons) != sorted(self.seasons):
            raise DeclarationError("one or two seasons, the shorter first", where="model.seasons")
        for i, season in enumerate(self.seasons):
            where = f"model.seasons[{i}]"
            steps_of(season, step, where=where)
            if season <= step:
                said = f"{format_duration(season)} is no longer than the step {format_duration(step)}"
                raise DeclarationError(said, where=where, hint="a season is several steps")

    def frame(self, target: str, step: timedelta) -> Frame:
        """The target with its step and seasons."""
        return Frame(target, step, self.seasons[0], self.seasons[-1])

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before an origin the fitted forecaster looks."""
        own = lookback(features, self.seasons[0], self.seasons[-1])
        return own + step * (margin(self.frame("", step)) + reach(horizon // step))

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

    def fit(self, task: Task, history: History, origin: int, *, workers: int = 2) -> Fit:
        """Fit on all that is known at `origin` (a grid position), with intervals and scores from the newest part.

        Two fits: one that stops before the held-back part, to measure errors on it, and one on everything, to keep.
        Of too little nothing is learnt: the model then serves the baseline that was best so far, and says why.

        Args:
            workers: Boosters that are fitted at once, on one core each; the result does not depend on it.

        Raises:
            NotEnoughDataError: No value is known.
        """
        try:
            return self._learnt(task, history, origin, workers)
        except NotEnoughDataError as error:
            return self._unlearnt(task, history, origin, error.message)

    def _unlearnt(self, task: Task, history: History, origin: int, reason: str) -> Fit:
        """A model without members, measured from the origins before."""
        frame, horizon = task.frame, task.horizon
        baseline = short.best(history, frame, horizon, origin)
        known = without(history, frame, origin)
        widths, nonnegative = np.full(horizon, np.nan), bool(np.nanmin(known) >= 0)
        model = ForecastModel(frame, horizon, task.features, (), widths, self.interval, nonnegative)
        model = replace(model, baseline=baseline, reason=reason, limits=task.limits)
        model = replace(model, sparse=_sparse(history, frame, origin), moves=False)
        origins = short.past_origins(known, origin)
        scores = backtest(model, _until(history, origin), origins)
        model = replace(model, **scores.calibrated(frame, history, horizon, self.interval))
        return Fit(replace(model, since=history.time(origin)), model, int(origins[0]), scores)

    def _learnt(self, task: Task, history: History, origin: int, workers: int) -> Fit:
        frame, horizon = task.frame, task.horizon
        held = self._held_back(frame, horizon, history, origin)
        past = without(history, frame, origin - held)
        holding = persistent(past, season=frame.short // frame.step, ahead=max(horizon // 2, 1))
        with ThreadPoolExecutor(workers) as pool:
            pending = [self._start(task, history, end, holding, pool) for end in (origin - held, origin)]
            measured, kept = (finish() for finish in pending)
        windows = every_origin(history.series, scored_origins(history, origin - held, origin, horizon))
        measured = replace(measured, moves=_moves(measured, history, *windows))
        forecast = measured.forecast(history, *windows, threads=workers)
        scores = _beside(forecast, measured, history, *windows)
        found = scores.calibrated(frame, history, horizon, self.interval)
        if held < SURE * horizon:
            found["widths"] = found["widths"] * UNSURE
        found["jumps"] = scores.jumps(frame, history, horizon, self.interval)
        kept, measured = (replace(model, **found) for model in (kept, measured))
        losses = _losses(measured, forecast, scores, history)
        kept = replace(kept, since=history.time(origin), losses=losses, moves=measured.moves)
        return Fit(kept, measured, origin - held, scores)

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
        self, task: Task, history: History, end: int, holding: NDArray[np.bool_], pool: Executor
    ) -> Callable[[], ForecastModel]:
        """Begin to fit on what is known at `end`; the function that is returned waits for it."""
        frame, target = task.frame, without(history, task.frame, end)
        used = covered(task.features, history.step * end)
        season, seasons = frame.short // frame.step, frame.long // frame.step
        warm_up = seasons if end >= 2 * seasons + 2 * task.horizon else season
        span = spans(target, warm_up=warm_up, end=end, longest=self._longest(frame.step))
        examples = sample(target, span, horizon=task.horizon, end=end, most=self.max_rows, seed=self.seed)
        if len(examples) < EXAMPLES_NEEDED:
            raise NotEnoughDataError(
                f"{len(examples)} examples are too few to learn from",
                where=frame.target,
                hint="wait for more history",
            )
        least = float(np.nanmin(target))
        learners = _learners(examples, holding[examples.series], positive=least > 0)
        names = frozenset(key_texts(history.keys.filter(holding)))
        texts = []
        for transform, some in learners:
            bound = frame.bound(used, transform)
            seen, row = cleaned(history, frame, some.series, some.origin)
            order = np.argsort(row, kind="stable")
            read = Examples(row[order], some.origin[order], some.ahead[order])
            parts = [_taught(View(transform, frame, *part), bound) for part in by_series(seen, read)]
            texts.append(self._boost(parts, used, pool, holds=transform.holds))

        def finish() -> ForecastModel:
            members = tuple((t, Booster.from_text(text.result())) for (t, _), text in zip(learners, texts, strict=True))
            widths = np.full(task.horizon, np.nan)
            made = ForecastModel(frame, task.horizon, used, members, widths, self.interval, least >= 0, names)
            return replace(made, limits=task.limits, sparse=_sparse(history, frame, end))

        return finish

    def _boost(
        self, parts: Sequence[tuple[Array, Array]], features: Features, pool: Executor, *, holds: bool
    ) -> Future[str]:
        matrix, learn = (np.concatenate(each) for each in zip(*parts, strict=True))
        return pool.submit(
            fit_booster,
            matrix,
            learn,
            feature_names=list(features.names),
            **self._settings(learn.size, holds=holds),
        )

    def _settings(self, rows: int, *, holds: bool) -> dict[str, Any]:
        """Rounds and LightGBM's settings for so many examples of one kind of series.

        A small history is soon learnt by heart: it gets fewer trees, down to half. Of series that persist little can
        be said beyond their last value, so theirs are a fifth of the trees, with a quarter of the leaves.
        """
        share = min(max(float(np.sqrt(rows / ENOUGH)), 0.5), 1.0)
        trees, leaves, least = round(self.trees * share), self.leaves, self.min_leaf
        if holds:
            trees, leaves, least = self.trees // 5, -(-leaves // 4), 2 * least
        params = {
            "objective": "l1",
            "learning_rate": self.learning_rate,
            "num_leaves": max(leaves, 2),
            "min_data_in_leaf": least,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "max_bin": self.bins,
            "seed": self.seed,
            "num_threads": 1,
        }
        return {"rounds": max(trees, 1), "params": params}


def _moves(measured: ForecastModel, history: History, series: NDArray[np.intp], origin: NDArray[np.intp]) -> bool:
    """Whether moving values from before steps of level was of use in the time held back, if there were any."""
    frame = measured.frame
    seen, row = cleaned(history, frame, series, origin)
    read = levels.moved(seen, frame, Examples(row, origin, np.ones_like(origin)))[1]
    some = np.flatnonzero(read.series != row)
    if not some.size:
        return True
    errors = []
    for model in (measured, replace(measured, moves=False)):
        done = _beside(model.forecast(history, series[some], origin[some]), model, history, series[some], origin[some])
        errors.append(np.abs(done.actual - done.value) / done.scale(frame, history))
    known = np.isfinite(errors[0] + errors[1])
    return bool(errors[0][known].sum() <= errors[1][known].sum())


def _losses(measured: ForecastModel, forecast: Forecast, scores: Backtest, history: History) -> Array:
    """What the twin's candidates lost on the time held back; see `ForecastModel.losses`. Few errors say little."""
    shape, rule = forecast.value.shape, measured.rule
    half = scores.half(measured, history).reshape(shape)
    sums, count = rule.losses(forecast.candidates, half, scores.actual.reshape(shape))
    sums, count = (each.reshape(history.series, -1, *each.shape[1:]).sum(axis=1) for each in (sums, count))
    count = np.broadcast_to(count[:, None], sums.shape)
    with np.errstate(invalid="ignore"):
        usual = sums.sum(axis=0) / count.sum(axis=0)
    usual = np.where(np.isfinite(usual), usual, 1.0)
    own = (sums + DRAWN * usual) / (count + DRAWN)
    texts = key_texts(history.keys)
    return np.concatenate([usual[None], own[sorted(range(len(texts)), key=texts.__getitem__)]])


def _learners(examples: Examples, holding: NDArray[np.bool_], *, positive: bool) -> list[tuple[Transform, Examples]]:
    """The members and what each learns from: two for series that persist, two for the others, where there are any."""
    kinds = (
        (~holding, [Transform(log=False, anchor=LEVEL), Transform(log=positive, anchor=SEASON)]),
        (holding, [Transform(log=False, anchor=LAST), *([Transform(log=True, anchor=LAST)] if positive else [])]),
    )
    return [
        (transform, examples[np.flatnonzero(own)])
        for own, transforms in kinds
        if own.sum() >= EXAMPLES_NEEDED / 2  # a kind of which so little is known goes with the other
        for transform in transforms
    ]


@dataclass(frozen=True)
class Task:
    """What to forecast: the target with its step, seasons and limits, the steps ahead, the features to learn from."""

    frame: Frame
    horizon: int
    features: Features
    limits: Limits = NONE


@dataclass(frozen=True)
class Fit:
    """A fitted model and how it was measured.

    Attributes:
        model: Fitted on everything known.
        measured: Its twin, fitted on what was known at `before` only: for honest scores after it.
        before: Grid position of the last value that the twin saw.
        scores: What the twin forecast after it, without intervals, beside what came true.
    """

    model: ForecastModel
    measured: ForecastModel
    before: int
    scores: Backtest


@dataclass(frozen=True)
class Backtest:
    """Forecasts beside what came true, flattened to one length; NaN where either is missing."""

    actual: Array
    value: Array
    lower: Array
    upper: Array
    series: NDArray[np.intp]
    origin: NDArray[np.intp]
    ahead: NDArray[np.intp]
    sparse: NDArray[np.bool_]

    def only(self, kept: NDArray[np.bool_]) -> Backtest:
        """Some of the pairs."""
        return Backtest(**{each.name: getattr(self, each.name)[kept] for each in fields(self)})

    @property
    def regular(self) -> Array:
        """What came true of series that are not intermittent: NaN for the others."""
        return np.where(self.sparse, np.nan, self.actual)

    def scores(self) -> dict[str, float]:
        """MAPE and WAPE of series that are not intermittent, where zero would win them; of all RMSE and coverage."""
        return {
            "mape": metrics.mape(self.regular, self.value),
            "wape": metrics.wape(self.regular, self.value),
            "rmse": metrics.rmse(self.actual, self.value),
            "coverage": metrics.coverage(self.actual, self.lower, self.upper),
        }

    def baseline(self, history: History, frame: Frame, season: timedelta) -> dict[str, float]:
        """The scores of the naive forecast, its pairs as `n`, and the forecasts' own on those pairs as ``model_*``."""
        seen, row = cleaned(history, frame, self.series, self.origin)
        said = reference(seen, frame, season, Examples(row, self.origin, self.ahead))
        said = np.where(np.isnan(self.value), np.nan, said)
        ours = np.where(np.isnan(said), np.nan, self.value)
        found = {"n": float((~np.isnan(said) & ~np.isnan(self.actual)).sum())}
        for name, value in (("", said), ("model_", ours)):
            found |= {
                f"{name}mape": metrics.mape(self.regular, value),
                f"{name}wape": metrics.wape(self.regular, value),
                f"{name}rmse": metrics.rmse(self.actual, value),
            }
        return found

    def honest_coverage(self, frame: Frame, history: History, horizon: int, level: float) -> float:
        """Coverage, on the later half of the origins, of intervals as wide as the errors of the earlier half.

        On the errors that the widths were taken from, coverage is nominal by construction and says nothing.
        """
        early = self.origin < np.median(self.origin)
        scale = self.scale(frame, history)
        widths, factors = self._calibrated(scale, early, history.series, horizon, level)
        half = widths[self.ahead - 1] * scale * factors[self.series]
        later = ~early
        return metrics.coverage(self.actual[later], (self.value - half)[later], (self.value + half)[later])

    def calibrated(self, frame: Frame, history: History, horizon: int, level: float) -> dict[str, Any]:
        """What a model's intervals go by, from these errors: its `widths` and `factors`."""
        used = ~self.sparse if not self.sparse.all() else np.ones(self.origin.size, dtype=bool)
        scale = self.scale(frame, history)
        widths, factors = self._calibrated(scale, used, history.series, horizon, level)
        return {"widths": widths, "factors": dict(zip(key_texts(history.keys), factors.tolist(), strict=True))}

    def jumps(self, frame: Frame, history: History, horizon: int, level: float) -> Array:
        """How far the last value was off, as a share of what it was and what came, per step ahead.

        See `ForecastModel.jumps`. Of itself alone it has no bound: after a small sale comes a hundred times as much.
        """
        seen, row = cleaned(history, frame, self.series, self.origin)
        last = last_value(seen, frame, Examples(row, self.origin, self.ahead))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 2 * np.abs(self.actual - last) / (np.abs(last) + np.abs(self.actual))
        return calibration.half_widths(share, self.ahead, horizon=horizon, level=level)

    def half(self, model: ForecastModel, history: History) -> Array:
        """How wide a model's intervals are on either side before they follow anything; as the other arrays."""
        factors = np.array([model.factors.get(text, 1.0) for text in key_texts(history.keys)])
        half: Array = model.widths[self.ahead - 1] * self.scale(model.frame, history) * factors[self.series]
        return half

    def scale(self, frame: Frame, history: History) -> Array:
        """How much each series moves at each origin: the unit of the intervals' widths."""
        seen, row = cleaned(history, frame, self.series, self.origin)
        return spread(frame, seen, Examples(row, self.origin, self.ahead))

    def _calibrated(
        self, scale: Array, used: NDArray[np.bool_], series: int, horizon: int, level: float
    ) -> tuple[Array, Array]:
        residual = np.abs(self.actual - self.value)[used] / scale[used]
        factors = calibration.series_factors(residual, self.series[used], series)
        residual = residual / factors[self.series[used]]
        return calibration.half_widths(residual, self.ahead[used], horizon=horizon, level=level), factors


def _taught(view: View, features: Features) -> tuple[Array, Array]:
    """The matrix and what is to be learnt from it, without the examples that teach nothing."""
    learn = view.learn()
    good = np.isfinite(learn)
    return np.ascontiguousarray(view.matrix(features)[good]), np.clip(learn[good], -CLIPPED, CLIPPED)


def backtest(model: ForecastModel, history: History, origins: NDArray[np.intp], *, threads: int = 2) -> Backtest:
    """Forecast from past origins and set what came true, without glitches, beside it."""
    windows = every_origin(history.series, origins)
    return _beside(model.forecast(history, *windows, threads=threads), model, history, *windows)


def _beside(
    forecast: Forecast, model: ForecastModel, history: History, series: NDArray[np.intp], origin: NDArray[np.intp]
) -> Backtest:
    """Set what came true beside forecasts."""
    examples = every_example(series, origin, model.horizon)
    target = without(history, model.frame, history.length - 1)
    inside = examples.target < target.shape[1]
    actual = np.full(len(examples), np.nan)
    actual[inside] = target[examples.series[inside], examples.target[inside]]
    value, lower, upper = forecast.value.ravel(), forecast.lower.ravel(), forecast.upper.ravel()
    sparse = np.repeat(forecast.sparse, model.horizon)
    return Backtest(actual, value, lower, upper, examples.series, examples.origin, examples.ahead, sparse)


def scored_origins(history: History, before: int, origin: int, horizon: int) -> NDArray[np.intp]:
    """Origins from `before` on with their whole horizon up to `origin`, spread evenly up to `SCORED` forecasts."""
    last = max(origin - horizon, before)
    fit = max(SCORED // (history.series * horizon), 4)
    return np.unique(np.linspace(before, last, min(fit, last - before + 1)).astype(np.intp))


def _sparse(history: History, frame: Frame, origin: int) -> bool:
    """Whether a series is intermittent at an origin."""
    seen, row = cleaned(history, frame, np.arange(history.series), np.full(history.series, origin))
    return bool(intermittent.recognised(seen, frame, row, np.full(row.size, origin)).any())


def _until(history: History, origin: int) -> History:
    """The history as it was at an origin."""
    return replace(history, values={name: values[:, : origin + 1] for name, values in history.values.items()})


def covered(features: Features, span: timedelta) -> Features:
    """The features without calendars whose period the history does not cover twice: they would only memorise dates."""
    return Features(
        {
            name: expression
            for name, expression in features.items()
            if not any(isinstance(n, DatetimePart) and n.period * 2 > span for n in expression.walk())
        }
    )
