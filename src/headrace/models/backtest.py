"""What a forecaster is to fit, what comes of it, and its forecasts from past origins beside what came true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace import metrics
from headrace.features.arrays import Array, History, key_texts
from headrace.features.matrix import Examples, every_example, every_origin
from headrace.features.view import Features
from headrace.models import calibration
from headrace.models.baselines import last_value, reference
from headrace.models.fitted import FittedSeries
from headrace.models.forecast import Forecast, ForecastModel
from headrace.models.glitches import cleaned, without
from headrace.models.limits import NONE, Limits
from headrace.models.member import Frame, spread

SCORED = 60_000
"""At most about so many held-back forecasts are scored; origins are spread evenly."""


@dataclass(frozen=True)
class ForecastProblem:
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

    model: FittedSeries
    measured: FittedSeries
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
        return Backtest(**{field.name: getattr(self, field.name)[kept] for field in fields(self)})

    @staticmethod
    def joined(parts: Sequence[Backtest]) -> Backtest:
        """The pairs of several, one after the other."""
        names = [field.name for field in fields(Backtest)]
        return Backtest(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

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
        known, row = cleaned(history, frame, self.series, self.origin)
        values = reference(known, frame, season, Examples(row, self.origin, self.ahead))
        values = np.where(np.isnan(self.value), np.nan, values)
        reference_values = np.where(np.isnan(values), np.nan, self.value)
        totals = {"n": float((~np.isnan(values) & ~np.isnan(self.actual)).sum())}
        for name, value in (("", values), ("model_", reference_values)):
            totals |= {
                f"{name}mape": metrics.mape(self.regular, value),
                f"{name}wape": metrics.wape(self.regular, value),
                f"{name}rmse": metrics.rmse(self.actual, value),
            }
        return totals

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
        known, row = cleaned(history, frame, self.series, self.origin)
        last = last_value(known, frame, Examples(row, self.origin, self.ahead))
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
        known, row = cleaned(history, frame, self.series, self.origin)
        return spread(frame, known, Examples(row, self.origin, self.ahead))

    def _calibrated(
        self, scale: Array, used: NDArray[np.bool_], series: int, horizon: int, level: float
    ) -> tuple[Array, Array]:
        residual = np.abs(self.actual - self.value)[used] / scale[used]
        factors = calibration.series_factors(residual, self.series[used], series)
        residual = residual / factors[self.series[used]]
        return calibration.half_widths(residual, self.ahead[used], horizon=horizon, level=level), factors


def backtest(model: FittedSeries, history: History, origins: NDArray[np.intp], *, threads: int = 2) -> Backtest:
    """Forecast from past origins and set what came true, without glitches, beside it."""
    windows = every_origin(history.series, origins)
    return beside(model.forecast(history, *windows, threads=threads), model, history, *windows)


def beside(
    forecast: Forecast, model: FittedSeries, history: History, series: NDArray[np.intp], origin: NDArray[np.intp]
) -> Backtest:
    """Set what came true, without glitches, beside forecasts."""
    examples = every_example(series, origin, model.horizon)
    target = without(history, model.frame, history.length - 1)
    inside = examples.target < target.shape[1]
    actual = np.full(len(examples), np.nan)
    actual[inside] = target[examples.series[inside], examples.target[inside]]
    value, lower, upper = forecast.value.ravel(), forecast.lower.ravel(), forecast.upper.ravel()
    sparse = np.repeat(forecast.sparse, model.horizon)
    return Backtest(actual, value, lower, upper, examples.series, examples.origin, examples.ahead, sparse)


def scored_origins(
    history: History, before: int, origin: int, horizon: int, most: int | None = None
) -> NDArray[np.intp]:
    """Origins from `before` on with their whole horizon up to `origin`, spread evenly up to `SCORED` forecasts.

    Of slow models `most` origins.
    """
    last = max(origin - horizon, before)
    fit = min(max(SCORED // (history.series * horizon), 4), most or last - before + 1)
    return np.unique(np.linspace(before, last, min(fit, last - before + 1)).astype(np.intp))


def until(history: History, origin: int) -> History:
    """The history as it was at an origin."""
    return replace(history, values={name: values[:, : origin + 1] for name, values in history.values.items()})


def since(history: History, start: int) -> History:
    """The history from a position on."""
    values = {name: values[:, start:] for name, values in history.values.items()}
    return replace(history, values=values, first=history.first + start)
