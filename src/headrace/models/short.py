"""What is served where too little is known to learn from: the naive forecast that was best so far.

A whole history may be too short for a model, or one series among others too young for it. Nothing is learnt then, so
nothing can be learnt wrong: the newest value, or that of a season before where there is one, until there is more.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from headrace.declaration import format_duration
from headrace.errors import NotEnoughDataError
from headrace.features.arrays import Array, History
from headrace.features.matrix import Examples, every_example, every_origin
from headrace.models.baselines import last_value, mean_value, naive
from headrace.models.glitches import cleaned, without
from headrace.models.member import Frame

LAST, SHORT, LONG, MEAN = "last", "short", "long", "mean"
BASELINES = (LAST, SHORT, LONG, MEAN)
"""What may be served: the newest value, that of either season before, the mean of four long seasons."""
ORIGINS = 200
"""Past origins that baselines are compared from, at most."""


def season_of(frame: Frame, baseline: str) -> timedelta:
    """The season of a naive forecast; none at all is the last value's."""
    return {LAST: timedelta(), SHORT: frame.short, LONG: frame.long}[baseline]


def said_by(frame: Frame, baseline: str) -> str:
    """What a baseline is called in a sentence."""
    if baseline == MEAN:
        return f"the mean of {format_duration(frame.long * 4)}"
    season = season_of(frame, baseline)
    return f"the value {format_duration(season)} before" if season else "the last value"


def fallback(history: History, frame: Frame, examples: Examples, baseline: str = SHORT) -> Array:
    """A baseline's forecasts; the last value where its season is missing, and NaN where that is, too.

    Args:
        history: Without glitches, see `cleaned`.
        frame: The target and its seasons.
        examples: What to forecast.
        baseline: One of `BASELINES`.
    """
    if baseline == MEAN:
        return mean_value(history, frame, examples)
    values = naive(history, frame, season_of(frame, baseline), examples)
    return np.where(np.isnan(values), last_value(history, frame, examples), values)


def best(history: History, frame: Frame, horizon: int, origin: int) -> str:
    """The baseline with the least mean absolute error from past origins; the last value where none has one.

    Raises:
        NotEnoughDataError: No value is known.
    """
    target = without(history, frame, origin)
    if np.isnan(target).all():
        raise NotEnoughDataError("no value is known", where=frame.target, hint="wait for more history")
    series, origins = every_origin(history.series, past_origins(target, origin))
    examples = every_example(series, origins, horizon)
    examples = examples[np.flatnonzero(examples.target <= origin)]
    actual = target[examples.series, examples.target]
    examples, actual = examples[np.flatnonzero(~np.isnan(actual))], actual[~np.isnan(actual)]
    known, row = cleaned(history, frame, examples.series, examples.origin)
    errors = {}
    for baseline in BASELINES:
        error = np.abs(fallback(known, frame, Examples(row, examples.origin, examples.ahead), baseline) - actual)
        if np.isfinite(error).any():
            errors[baseline] = float(np.nanmean(error))
    return min(errors, key=lambda name: errors[name], default=LAST)


def past_origins(target: Array, origin: int) -> NDArray[np.intp]:
    """Origins of the newer half of what is known up to one, without itself, spread evenly up to `ORIGINS`."""
    known = ~np.isnan(target[:, : origin + 1])
    first = int(known.any(axis=0).argmax())
    begin = min((first + origin) // 2, origin)
    return np.unique(np.linspace(begin, max(origin - 1, begin), ORIGINS).astype(np.intp))
