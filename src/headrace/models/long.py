"""Long frames of series, as forecasters of yours read and give them: from a history, and back."""

from __future__ import annotations

import copy
import functools
import inspect
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.declaration import BUSINESS_DAY, MONTH, format_duration
from headrace.errors import DeclarationError, HeadraceError, ModelError
from headrace.features.arrays import Array, History
from headrace.models.brought import Brought, named

if TYPE_CHECKING:
    import polars as pl

Ints = NDArray[np.intp]
ID, TIME, VALUE = "unique_id", "ds", "y"
LONE = "series"
"""The ``unique_id`` of a lone series, which has no key."""
_PAIRS = (("lo", "hi"), ("lower", "upper"), ("y_lower", "y_upper"), ("yhat_lower", "yhat_upper"))
_BARE = frozenset(("AutoMFLES", "MFLES", "SklearnModel"))
"""Models of statsforecast that give no interval of their own, and do not say so."""
_CHECKED = 3
"""Series that are asked for alone and together, to see whether that makes a difference."""


@dataclass(frozen=True)
class LibraryCall:
    """A fitted object and how it is asked.

    Attributes:
        own: The object.
        target: The column that becomes ``y``.
        horizon: Steps ahead.
        context: How many steps up to an origin it is given.
        gaps: ``fill``, ``null`` or ``drop``.
        level: Nominal coverage of its intervals, in percent.
    """

    own: Any
    target: str
    horizon: int
    context: int
    gaps: str
    level: float


def identifiers(history: History) -> list[str]:
    """The ``unique_id`` of every row of a history: the key's text, of several keys joined by ``/``."""

    def text(value: object) -> str:
        return str(value).replace("\\", "\\\\").replace("/", "\\/")

    if not history.keys.width:
        return [LONE] * history.keys.height
    if history.keys.width == 1:
        return [str(value) for (value,) in history.keys.iter_rows()]
    return ["/".join(map(text, row)) for row in history.keys.iter_rows()]


def frame_of(history: History, rows: Ints, end: int, *, width: int, target: str, gaps: str) -> pl.DataFrame:
    """Some series up to a grid position as a long frame, ordered by series and time.

    A series begins with its first value among the last `width` steps; one that has none there is left out.

    Args:
        history: Series on one grid.
        rows: Which of them.
        end: The last position.
        width: How many steps.
        target: The column that becomes ``y``.
        gaps: ``fill``, ``null`` or ``drop``.
    """
    import polars as pl

    values = history.slice(target, end + 1 - width, end + 1)[rows]
    known = ~np.isnan(values)
    begun = np.maximum.accumulate(known, axis=1)
    if gaps == "fill":
        newest = np.maximum.accumulate(np.where(known, np.arange(width), 0), axis=1)
        values = np.take_along_axis(values, newest, axis=1)
    rows_kept = known if gaps == "drop" else begun
    row, step = np.nonzero(rows_kept)
    texts, ds = identifiers(history), _times(history, np.arange(end + 1 - width, end + 1))
    return pl.DataFrame(
        [
            pl.Series(ID, [texts[i] for i in rows.tolist()], dtype=pl.String).gather(row),
            ds.gather(step),
            pl.Series(VALUE, values[row, step], nan_to_null=True),
        ]
    )


def _times(history: History, positions: Ints) -> pl.Series:
    """``ds`` of grid positions, without a zone: those after the newest value too."""
    import polars as pl

    ds = pl.Series(TIME, history.times(positions)).cast(pl.Datetime("us", "UTC"))
    if history.grid.dates is not None:
        ds = ds.dt.convert_time_zone(history.grid.dates)
    return ds.dt.replace_time_zone(None)


def check(brought: Brought, where: str) -> None:
    """Refuse what does not forecast a frame of series.

    Raises:
        DeclarationError: It has no ``fit`` or ``predict``, or they do not take what they are given.
    """
    model = brought.make()
    if _library(model) is not None:
        return
    if hasattr(model, "get_params") and hasattr(model, "fit") and not _takes(model.fit, 1):
        hint = "behind features it forecasts: model=Forecaster(learner=Estimator(model=...))"
        raise DeclarationError(f"{named(model)} learns from a matrix, not from series", where=where, hint=hint)
    for name, arguments in (("fit", ("frame",)), ("predict", ("frame", "horizon"))):
        method = getattr(model, name, None)
        if name == "predict" and method is None and hasattr(model, "fit"):
            continue  # what fit returns may be another object
        if not callable(method):
            hint = "a forecaster has fit(frame) and predict(frame, horizon)"
            raise DeclarationError(f"{named(model)} has no {name}", where=where, hint=hint)
        if not _takes(method, len(arguments)):
            message = f"{named(model)}.{name} takes {inspect.signature(method)}"
            raise DeclarationError(message, where=where, hint=f"make it {name}({', '.join(arguments)})")


def _takes(method: Any, count: int) -> bool:
    try:
        inspect.signature(method).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # of a compiled method nothing is known
        return True
    return True


def _library(model: Any) -> str | None:
    """The library whose own calls a thing has, rather than ours."""
    for kind in type(model).__mro__:
        if kind.__module__.startswith("statsforecast.models"):
            return "statsforecast.models"
        if kind.__module__.partition(".")[0] in ("statsforecast", "mlforecast"):
            return kind.__module__.partition(".")[0]
    return None


def fitted(thing: Any, frame: pl.DataFrame, step: timedelta) -> Any:
    """The fitted object: what ``fit`` returned, or the thing itself.

    Raises:
        ModelError: It fails.
    """
    library = _library(thing)
    if library == "statsforecast.models":
        from statsforecast import StatsForecast

        return StatsForecast(models=[thing], freq=offset(step))
    if library == "statsforecast":
        return thing  # fits every series anew where it forecasts
    answer = _asked(functools.partial(thing.fit, frame), "fit")
    return thing if answer is None else answer


def offset(step: timedelta) -> str:
    """A step as polars writes it: ``1h``, ``1mo``, ``1bd``."""
    if not step % MONTH:
        return f"{step // MONTH}mo"
    return "1bd" if step == BUSINESS_DAY else format_duration(step)


def predicted(call: LibraryCall, history: History, rows: Ints, end: int) -> tuple[Array, Array, Array]:
    """What a fitted object says of some series from one origin: value, lower, upper; NaN for what it leaves out.

    Raises:
        ModelError: It fails, or gives another frame than was asked for.
    """
    frame = frame_of(history, rows, end, width=call.context, target=call.target, gaps=call.gaps)
    texts = identifiers(history)
    names = [texts[row] for row in rows.tolist()]
    if frame.is_empty():
        nothing = np.full((rows.size, call.horizon), np.nan)
        return nothing, nothing, nothing
    answer = _asked(functools.partial(_predict, call, frame), "predict")
    first = np.full(rows.size, end + 1)
    if call.gaps == "drop":
        known = ~np.isnan(history.slice(call.target, end + 1 - call.context, end + 1)[rows])
        first -= known[:, ::-1].argmax(axis=1)
    answer = _polars(answer, names)
    _refuse_unasked(answer, names)
    asked, own = (_steps(history, begins, call.horizon) for begins in (np.full(rows.size, end + 1), first))
    answer = answer.with_columns(_plain(answer[TIME], history.grid.dates or "UTC"))
    return _arrays(answer, names, Steps(asked, own), call.level)


@dataclass(frozen=True)
class Steps:
    """The times of forecasts that are asked for, each of shape (series, horizon) as microseconds of ``ds``.

    Attributes:
        asked: The steps after the origin.
        own: The steps after the newest row that the object is given: earlier ones where a gap was dropped.
    """

    asked: NDArray[np.int64]
    own: NDArray[np.int64]

    def on_time(self, series: Ints, times: NDArray[np.int64], names: list[str]) -> NDArray[np.bool_]:
        """Which series are forecast from the origin, and not from a newest row before a gap: shape (series,).

        Args:
            series: Rows of the steps.
            times: What came for them, in order, shape (series, horizon).
            names: Of all series.

        Raises:
            ModelError: Times of a series are neither; names the first.
        """
        punctual: NDArray[np.bool_] = (times == self.asked[series]).all(axis=1)
        strange = np.flatnonzero(~punctual & (times != self.own[series]).any(axis=1))
        if strange.size:
            row, place = times[strange[0]], series[strange[0]]
            step = int((row != self.asked[place]).argmax())
            time, wanted = (np.datetime64(int(time), "us") for time in (row[step], self.asked[place, step]))
            message = f"predict gives {time} as step {step + 1} of series {names[place]}, {wanted} was asked for"
            raise ModelError(message, where="model", hint=f"{TIME} is the steps after the newest {TIME} of the frame")
        return punctual


def _steps(history: History, first: Ints, horizon: int) -> NDArray[np.int64]:
    begins, place = np.unique(first, return_inverse=True)
    positions = begins[:, None] + np.arange(horizon)
    times: NDArray[np.int64] = _times(history, positions.ravel()).to_physical().to_numpy().reshape(positions.shape)
    return times[place]


def _plain(times: pl.Series, zone: str) -> pl.Series:
    """Times of an answer without a zone, in microseconds."""
    import polars as pl

    if not isinstance(times.dtype, pl.Datetime | pl.Date):
        hint = f"give {TIME} as times, as the frame has it"
        raise ModelError(f"predict gives {TIME} of the type {times.dtype}", where="model", hint=hint)
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return times.cast(pl.Datetime("us"))


def _refuse_unasked(answer: pl.DataFrame, names: list[str]) -> None:
    import polars as pl

    unasked = set(answer[ID].cast(pl.String).unique()) - set(names)
    if unasked:
        some = ", ".join(sorted(map(str, unasked))[:5])
        hint = f"give back the {ID} of the frame and no other"
        raise ModelError(f"predict gives series that were not asked for: {some}", where="model", hint=hint)


def _predict(call: LibraryCall, frame: pl.DataFrame) -> Any:
    library = _library(call.own)
    if library == "statsforecast":
        level = [call.level] if all(map(_has_intervals, call.own.models)) else None
        # It notes on itself what it is asked: on a copy, for other threads ask it too.
        return copy.copy(call.own).forecast(df=frame, h=call.horizon, level=level)
    if library == "mlforecast":
        return call.own.predict(h=call.horizon, new_df=frame)
    return call.own.predict(frame, call.horizon)


def _has_intervals(model: Any) -> bool:
    """Whether a model of statsforecast gives an interval; some do only with `ConformalIntervals`, and raise without."""
    if getattr(model, "prediction_intervals", None) is not None:
        return True
    return not getattr(model, "only_conformal_intervals", False) and type(model).__name__ not in _BARE


def _asked(call: Any, name: str) -> Any:
    try:
        return call()
    except HeadraceError:
        raise
    except Exception as error:  # a user's own model may raise anything
        raise ModelError(f"{name} failed: {type(error).__name__}: {error}", where="model") from error


def _polars(answer: Any, names: list[str]) -> pl.DataFrame:
    import polars as pl

    if not isinstance(answer, pl.DataFrame):
        if not hasattr(answer, "columns") or not hasattr(answer, "reset_index"):
            raise ModelError(f"predict gives a {type(answer).__name__}, not a frame", where="model")
        if ID not in answer.columns and answer.index.name == ID:
            answer = answer.reset_index()
        answer = pl.DataFrame({str(name): answer[name].to_list() for name in answer.columns})
    if ID not in answer.columns and len(names) == 1:
        answer = answer.with_columns(pl.lit(names[0]).alias(ID))
    if ID not in answer.columns or TIME not in answer.columns:
        raise ModelError(f"predict gives the columns {', '.join(answer.columns)}", where="model", hint=f"{ID}, {TIME}")
    frame: pl.DataFrame = answer
    return frame


def _arrays(answer: pl.DataFrame, names: list[str], steps: Steps, level: float) -> tuple[Array, Array, Array]:
    import polars as pl

    horizon = steps.asked.shape[1]
    columns = [name for name in answer.columns if name not in (ID, TIME, "cutoff", VALUE)]
    value, ends = _columns(columns or [name for name in answer.columns if name == VALUE], level)
    place = pl.DataFrame({ID: names, "_place": np.arange(len(names))})
    answer = answer.with_columns(pl.col(ID).cast(pl.String)).join(place, on=ID, how="inner")
    answer = answer.sort("_place", TIME, maintain_order=True)
    counts = np.bincount(answer["_place"].to_numpy(), minlength=len(names))
    for index in np.flatnonzero((counts != 0) & (counts != horizon)).tolist():
        message = f"predict gives {counts[index]} rows for series {names[index]}, {horizon} were asked for"
        raise ModelError(message, where="model")
    present = np.flatnonzero(counts)
    times = answer[TIME].to_physical().fill_null(-1).to_numpy().reshape(-1, horizon)
    punctual = steps.on_time(present, times, names)
    arrays = []
    for name in (value, *(ends or (None, None))):
        array = np.full((len(names), horizon), np.nan)
        if name is not None:
            numbers = answer[name].cast(pl.Float64).to_numpy().reshape(-1, horizon)
            array[present[punctual]] = numbers[punctual]
        arrays.append(np.where(np.isfinite(array), array, np.nan))
    found, lower, upper = arrays
    if (lower > upper).any():
        raise ModelError("predict gives intervals whose lower end is above the upper one", where="model")
    return found, lower, upper


def _columns(columns: list[str], level: float) -> tuple[str, tuple[str, str] | None]:
    """The column of the value, and those of the interval where there are any."""
    bounds = {name for name in columns if "-lo-" in name or "-hi-" in name}
    bounds |= {name for pair in _PAIRS if set(pair) <= set(columns) for name in pair}
    values = [name for name in columns if name not in bounds]
    if len(values) != 1:
        hint = "one column of forecasts, and lo and hi"
        raise ModelError(f"predict gives {len(values)} columns: {', '.join(values)}", where="model", hint=hint)
    pairs = [
        *_PAIRS,
        *((f"{values[0]}-lo-{text}", f"{values[0]}-hi-{text}") for text in (f"{level:g}", f"{level:.1f}")),
    ]
    return values[0], next((pair for pair in pairs if set(pair) <= bounds), None)


def alone(call: LibraryCall, history: History, origin: int, enough: int) -> bool:
    """Whether an object gives a series other numbers when others are in the frame.

    Raises:
        ModelError: It gives other numbers for the same frame when it is asked again.
    """
    known = ~np.isnan(history.values[call.target][:, max(origin + 1 - call.context, 0) : origin + 1])
    rows = np.flatnonzero(known.sum(axis=1) >= enough)[:_CHECKED]
    if not rows.size:
        return False
    answer = predicted(call, history, rows, origin)
    if not _same(answer, predicted(call, history, rows, origin)):
        hint = "set its seed; predict must not learn"
        raise ModelError("predict gives other numbers for the same frame when asked again", where="model", hint=hint)
    if rows.size < 2:
        return False
    parts = [predicted(call, history, row, origin) for row in np.split(rows, rows.size)]
    return not _same(answer, tuple(np.concatenate(part) for part in zip(*parts, strict=True)))


def _same(first: tuple[Array, ...], second: tuple[Array, ...]) -> bool:
    return all(np.array_equal(one, other, equal_nan=True) for one, other in zip(first, second, strict=True))
