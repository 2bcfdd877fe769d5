"""FrameForecaster: a forecaster of your own, that reads a long frame of series and gives one back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from headrace.declaration import Duration, format_duration, parse_duration
from headrace.errors import ArtefactError, DeclarationError, ModelError, NotEnoughDataError, other_version
from headrace.features.arrays import Array, History, key_texts
from headrace.features.matrix import Examples, every_example, every_origin
from headrace.features.view import Features
from headrace.grid import steps_of
from headrace.models import intermittent, long, pickles, short
from headrace.models.backtest import Fit, ForecastProblem, beside
from headrace.models.brought import Brought
from headrace.models.feedback import Memory, Shape
from headrace.models.forecast import Forecast
from headrace.models.glitches import Glitches, margin, without
from headrace.models.limits import NONE, Limits
from headrace.models.member import Frame, count, lookback, spread
from headrace.models.series import SeriesModel

if TYPE_CHECKING:
    from headrace.contract import Column

KIND = "frame"
FORMAT = 1
OWN = "own"
"""Folder of the fitted object."""
_NO_FEATURES = Features({})
_SEASONS = (timedelta(days=1), timedelta(days=7), timedelta(days=365.2425))
"""Seasons where none are declared: the first two that are several steps."""
UNSURE = 1.4
"""Widths measured on fewer than three horizons are too narrow: they are taken so many times as wide."""


class FrameForecaster(SeriesModel):
    """A forecaster of your own: anything with ``fit(frame)`` and ``predict(frame, horizon)``.

    The frame is polars and long, as in statsforecast, mlforecast and sktime: ``unique_id ds y``, in order, one row a
    series and step. ``unique_id`` is the text of the key, of several keys joined by ``/``. ``ds`` has no zone: it is
    UTC, or for steps of days and longer the date in the zone of the event time.

    ``fit`` gets all that is known and returns the fitted object, or None if that is the object itself. ``predict`` gets
    the newest `context` of each series and gives a frame, polars or pandas: ``unique_id ds`` and one column of
    forecasts, with `horizon` rows a series: the steps after the origin, which is the newest one. A series that it
    leaves out, or forecasts from before a gap that was dropped, is served the best baseline. Columns ``lo hi``,
    ``lower upper`` or ``NAME-lo-90 NAME-hi-90`` are the interval. Without them it is conformal: as wide as errors from
    past origins were.

    A StatsForecast or MLForecast object, or a model of statsforecast alone, needs no wrapper.

    Attributes:
        model: An object, or a function or class that makes one.
        class_path: Or where such a class is.
        params: Arguments of the function or class.
        seasons: One or two seasons, the shorter first, for the baselines; empty: day and week, or what suits the step.
        history: How far back ``fit`` sees.
        context: How far back ``predict`` sees; empty: eight of the longer season.
        gaps: What becomes of a step without a value: ``fill`` repeats the last one, ``null`` leaves it missing,
            ``drop`` leaves the row out.
        n_windows: Past origins that errors are measured from.
        coverage: Nominal coverage of the intervals.

    >>> class Last:
    ...     def fit(self, frame): return self
    ...     def predict(self, frame, horizon): return frame
    >>> FrameForecaster(model=Last()).kind
    'frame'
    """

    reads_features: ClassVar[bool] = False
    kind: Literal["frame"] = "frame"
    model: Any = None
    class_path: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    seasons: tuple[Duration, ...] = ()
    history: Duration = timedelta(days=1100)
    context: Duration | None = None
    gaps: Literal["fill", "null", "drop"] = "fill"
    n_windows: int = Field(default=8, ge=1)
    coverage: float = Field(default=0.9, gt=0, lt=1)

    @model_serializer(mode="wrap")
    def _described(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self.model_copy(update={"model": None}))
        return plain | self.brought.described()

    @property
    def brought(self) -> Brought:
        """What is fitted."""
        return Brought(self.model, self.class_path, self.params, "model")

    def check(self, *, target: Column, features: Features, step: timedelta | None, horizon: timedelta | None) -> None:
        """Refuse a system without a horizon, features, and an object that does not forecast."""
        if step is None or horizon is None:
            raise DeclarationError("a FrameForecaster needs a system with a horizon", where="model")
        if features.names:
            hint = "leave features= out; behind features a regressor forecasts: Forecaster(learner=Estimator(...))"
            raise DeclarationError("a FrameForecaster reads the series themselves", where="features", hint=hint)
        self.brought.check()
        long.check(self.brought, "model")
        if len(self.seasons) > 2 or list(self.seasons) != sorted(self.seasons):
            raise DeclarationError("one or two seasons, the shorter first", where="model.seasons")
        for place, season in enumerate(self.seasons):
            where = f"model.seasons[{place}]"
            steps_of(season, step, where=where)
            if season <= step:
                raise DeclarationError("a season is several steps", where=where)

    def frame(self, target: str, step: timedelta) -> Frame:
        """The target with its step and seasons."""
        seasons = self.seasons or tuple(s for s in _SEASONS if s > step and not s % step)[:2] or (step * 12,)
        return Frame(target, step, seasons[0], seasons[-1])

    def steps(self, step: timedelta) -> int:
        """How many steps of a series ``predict`` is given."""
        frame = self.frame("", step)
        return max((self.context or frame.long * 8) // step, 1)

    def lookback(self, features: Features, step: timedelta, horizon: timedelta) -> timedelta:
        """How far before an origin the fitted forecaster looks."""
        return _lookback(self.frame("", step), self.steps(step))

    def reach(self, features: Features, step: timedelta) -> timedelta:
        """How far back a history must go for a fit."""
        return max(self.history, self.lookback(features, step, step))

    def fit(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """Fit twice: on what was known before the past origins, to measure errors, and on everything, to keep.

        Of too little nothing is learnt: the model then serves the baseline that was best so far, and says why.

        Raises:
            NotEnoughDataError: No value is known.
            ModelError: The object fails, gives another frame than was asked for, no finite numbers at all, or other
                numbers when asked again.
            ArtefactError: The fitted object cannot be pickled.
        """
        return self._fit(task, history, origin, kept=True)

    def measure(self, task: ForecastProblem, history: History, origin: int, *, workers: int = 2) -> Fit:
        """As `SeriesModel.measure`: the fit on what was known before the past origins alone."""
        return self._fit(task, history, origin, kept=False)

    def unlearnt(self, task: ForecastProblem, history: History, origin: int, reason: str) -> Fit:
        """A model without the object, measured from the origins before."""
        empty = self._empty(task, history, origin)
        return self._measured(empty, replace(empty, reason=reason), history, origin, origin)

    def _empty(self, task: ForecastProblem, history: History, origin: int) -> FrameModel:
        """The model before the object is fitted."""
        frame, horizon = task.frame, task.horizon
        return FrameModel(
            frame=frame,
            horizon=horizon,
            context=self.steps(frame.step),
            gaps=self.gaps,
            own=None,
            widths=np.full(horizon, np.nan),
            coverage=self.coverage,
            baseline=short.best(history, frame, horizon, origin),
            nonnegative=float(np.nanmin(without(history, frame, origin))) >= 0,
            limits=task.limits,
            n_windows=self.n_windows,
            sparse=_sparse(history, frame, origin),
        )

    def _fit(self, task: ForecastProblem, history: History, origin: int, *, kept: bool) -> Fit:
        frame, empty = task.frame, self._empty(task, history, origin)
        try:
            held = self._held_back(frame, task.horizon, history, origin)
        except NotEnoughDataError as error:
            return self.unlearnt(task, history, origin, error.message)
        ends = (origin - held, origin) if kept else (origin - held,)
        models = [replace(empty, own=self._fitted(empty, history, end)) for end in ends]
        measured, final = models[0], models[-1]
        if kept:
            final = replace(final, stored=pickles.pickled(final.own))
        single = long.alone(final.call, history, ends[-1], final.enough)
        measured, final = (replace(model, alone=single) for model in (measured, final))
        return self._measured(measured, final, history, origin - held, origin)

    def _fitted(self, model: FrameModel, history: History, end: int) -> Any:
        width = min(self.history // model.frame.step, end + 1)
        rows = np.arange(history.series)
        rows_frame = long.frame_of(history, rows, end, width=width, target=model.frame.target, gaps=self.gaps)
        return long.fitted(self.brought.make(), rows_frame, model.frame.step)

    def _held_back(self, frame: Frame, horizon: int, history: History, origin: int) -> int:
        """How much of the newest history is held back to measure errors on: `n_windows` horizons, or a third."""
        known = ~np.isnan(history.values[frame.target][:, : origin + 1])
        length = origin + 1 - int(known.any(axis=0).argmax()) if known.any() else 0
        held = max(min(self.n_windows * horizon, length // 3), 2 * horizon)
        if length < 2 * held + frame.short // frame.step:
            raise NotEnoughDataError(
                f"a history of {length} x {format_duration(frame.step)} is too short to learn from",
                where=frame.target,
                hint=f"at least {4 * horizon + frame.short // frame.step} are needed",
            )
        return held

    def _measured(self, measured: FrameModel, final: FrameModel, history: History, before: int, origin: int) -> Fit:
        horizon = final.horizon
        if final.own is None:
            origins = short.past_origins(without(history, final.frame, origin), origin)
            before = int(origins[0])
        else:
            origins = np.unique(np.linspace(before, max(origin - horizon, before), self.n_windows).astype(np.intp))
        past = replace(history, values={name: values[:, : origin + 1] for name, values in history.values.items()})
        windows = every_origin(history.series, origins)
        forecast = measured.forecast(past, *windows)
        if final.own is not None and not forecast.share.any() and (forecast.known >= measured.enough).any():
            message = f"predict gives no series a forecast of finite numbers, from {origins.size} past origins"
            raise ModelError(message, where="model", hint="are there missing values in what it learns from?")
        scores = beside(forecast, measured, past, *windows)
        widths = scores.calibrated(final.frame, past, horizon, self.coverage)
        if origin - before < 3 * horizon:
            widths["widths"] = widths["widths"] * UNSURE
        measured, final = replace(measured, **widths), replace(final, **widths)
        scores = (
            beside(measured.forecast(past, *windows), measured, past, *windows) if final.own is not None else scores
        )
        return Fit(final, measured, before, scores)


@dataclass(frozen=True)
class FrameModel:
    """A fitted `FrameForecaster`. Immutable, self-contained: it predicts from a history alone.

    Attributes:
        frame: Target, step and seasons.
        horizon: Steps ahead.
        context: How many steps up to an origin the object is given.
        gaps: What becomes of a step without a value.
        own: The fitted object; None where nothing was learnt.
        widths: Half widths of the intervals per step ahead, in units of the series' scale.
        coverage: Their nominal coverage.
        baseline: What is served to series that the object gives nothing for.
        nonnegative: No value below zero was seen, so none is predicted.
        limits: What the target can be, as declared.
        n_windows: Past origins that it is measured and compared from.
        sparse: Whether a series was intermittent at the fit.
        factors: How much wider or narrower they are for a series, by its keys as JSON text.
        reason: Why nothing was learnt.
        alone: Whether it gives a series other numbers when others are in the frame: then each is asked for by itself.
        stored: The object as it was right after the fit, before anything was asked of it; None where it was read.
    """

    frame: Frame
    horizon: int
    context: int
    gaps: str
    own: Any
    widths: Array
    coverage: float
    baseline: str
    nonnegative: bool
    limits: Limits = NONE
    n_windows: int = 8
    sparse: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    alone: bool = False
    stored: pickles.Pickled | None = field(default=None, repr=False, compare=False)

    follows: ClassVar[bool] = False

    @property
    def taught(self) -> bool:
        """Whether anything was learnt."""
        return self.own is not None

    @property
    def most_origins(self) -> int | None:
        """As many as it was measured from."""
        return self.n_windows if self.taught else None

    @property
    def lookback(self) -> timedelta:
        """How far before an origin its history must reach."""
        return _lookback(self.frame, self.context)

    @property
    def checks(self) -> Shape:
        """No past forecast counts."""
        return Shape(0, 0, self.horizon, 0)

    @property
    def enough(self) -> int:
        """Known values that a series needs for the object to be asked: one short season, or the context."""
        return min(self.frame.short // self.frame.step, self.context) if self.taught else np.iinfo(np.int64).max

    @property
    def call(self) -> long.LibraryCall:
        """The object, and how it is asked."""
        level = round(self.coverage * 100, 6)
        return long.LibraryCall(self.own, self.frame.target, self.horizon, self.context, self.gaps, level)

    def from_time(self, since: datetime | None) -> FrameModel:
        """Itself: it follows nothing."""
        return self

    def forecast(
        self,
        history: History,
        series: NDArray[np.intp],
        origin: NDArray[np.intp],
        *,
        threads: int = 1,
        memory: Memory | None = None,
    ) -> Forecast:
        """Forecast series[i] from origin[i]; nothing after an origin is looked at.

        Args:
            history: Must reach `lookback` before the first origin; missing values are NaN.
            series: Rows of the history.
            origin: Grid positions.
            threads: Not used: the object has its own.
            memory: Not used.

        Raises:
            ModelError: The object fails, or gives another frame than was asked for.
        """
        series, origin = np.broadcast_arrays(series, origin)
        shape = (origin.size, self.horizon)
        seen, row = Glitches(history, self.frame).cleaned(series, origin)
        examples = every_example(row, origin, self.horizon)
        known = count(self.frame, seen, Examples(row, origin, np.ones_like(row)))
        value, lower, upper = (np.full(shape, np.nan) for _ in range(3))
        old = np.flatnonzero(known >= self.enough)
        for position in np.unique(origin[old]).tolist():
            rows_at = old[origin[old] == position]
            value[rows_at], lower[rows_at], upper[rows_at] = self._ask(history, series[rows_at], position)
        missing = np.flatnonzero(np.isnan(value).any(axis=1))
        share = np.ones(shape)
        share[missing] = 0.0
        less = every_example(row[missing], origin[missing], self.horizon)
        value[missing] = short.fallback(seen, self.frame, less, self.baseline).reshape(-1, self.horizon)
        half = self.widths[examples.ahead - 1] * spread(self.frame, seen, examples)
        half = half.reshape(shape) * self._factors(seen)[row][:, None]
        lower = np.where(np.isnan(lower), value - half, lower)
        upper = np.where(np.isnan(upper), value + half, upper)
        if self.nonnegative:
            value, lower, upper = (np.maximum(bound, 0.0) for bound in (value, lower, upper))
        sparse = np.zeros(origin.size, dtype=bool)
        if self.sparse and origin.size:
            sparse = intermittent.recognised(seen, self.frame, row, origin)
        value, lower, upper = self.limits.applied(value, lower, upper, sparse)
        candidates = np.empty((origin.size, 0, self.horizon))
        return Forecast(value, lower, upper, candidates, share, known.astype(np.int64), 1, self.enough, sparse)

    def _ask(self, history: History, rows: NDArray[np.intp], position: int) -> tuple[Array, Array, Array]:
        """What the object says from one origin of some series, each of shape (rows, horizon)."""
        unique, place = np.unique(rows, return_inverse=True)
        groups = np.split(unique, unique.size) if self.alone else [unique]
        parts = [long.predicted(self.call, history, group, position) for group in groups]
        value, lower, upper = (np.concatenate(part)[place] for part in zip(*parts, strict=True))
        return value, lower, upper

    def _factors(self, history: History) -> Array:
        return np.array([self.factors.get(text, 1.0) for text in key_texts(history.keys)])

    def save(self, folder: Path) -> None:
        """Write the model's files into an existing folder, and the code that the object needs."""
        manifest: dict[str, Any] = {
            "kind": KIND,
            "format": FORMAT,
            "target": self.frame.target,
            "step": format_duration(self.frame.step),
            "seasons": [format_duration(self.frame.short), format_duration(self.frame.long)],
            "horizon": self.horizon,
            "context": self.context,
            "gaps": self.gaps,
            "own": self.taught,
            "widths": self.widths.tolist(),
            "coverage": self.coverage,
            "baseline": self.baseline,
            "nonnegative": self.nonnegative,
            "limits": self.limits.as_dict(),
            "n_windows": self.n_windows,
            "sparse": self.sparse,
            "factors": dict(self.factors),
            "reason": self.reason,
            "alone": self.alone,
        }
        text = json.dumps(manifest, indent=1, sort_keys=True).replace("NaN", "null")
        (folder / "model.json").write_text(text + "\n", encoding="utf-8")
        if self.taught:
            pickles.save(self.stored or self.own, folder / OWN)

    @classmethod
    def load(cls, folder: Path) -> FrameModel:
        """Read a model that `save` wrote.

        Raises:
            ArtefactError: A file is missing or damaged, or the object needs what is not installed.
        """
        try:
            data = json.loads((folder / "model.json").read_text(encoding="utf-8"))
            if data["kind"] != KIND or data["format"] > FORMAT:
                message = f"is a {data['kind']} of format {data['format']}"
                raise ArtefactError(message, where=str(folder), hint="upgrade headrace")
            plain = ("horizon", "context", "gaps", "coverage", "baseline", "nonnegative", "n_windows", "sparse")
            return cls(
                frame=Frame(data["target"], parse_duration(data["step"]), *map(parse_duration, data["seasons"])),
                own=pickles.load(folder / OWN) if data["own"] else None,
                widths=np.array([np.nan if width is None else width for width in data["widths"]]),
                limits=Limits(**data["limits"]),
                **{name: data[name] for name in (*plain, "factors", "reason", "alone")},
            )
        except KeyError as error:
            raise other_version(folder, error) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ArtefactError(f"cannot be read: {error}", where=str(folder), hint="train again") from error


def _lookback(frame: Frame, context: int) -> timedelta:
    span = -(-lookback(_NO_FEATURES, frame.short, frame.long) // frame.step)
    return frame.step * (max(span, context, intermittent.reach(frame)) + margin(frame))


def _sparse(history: History, frame: Frame, origin: int) -> bool:
    rows = np.arange(history.series)
    known, row = Glitches(history, frame).cleaned(rows, np.full(rows.size, origin))
    return bool(intermittent.recognised(known, frame, row, np.full(row.size, origin)).any())
