"""Simulated business metrics at a fixed step: orders, revenue, cost per click, requests, taxi trips and more.

A value depends on the seed, the series and its time alone, so what is made as of T is what is made later, cut at T.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil, floor
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field

from headrace.declaration import Declared, Duration
from headrace.sources.hashing import normal, uniform, words

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Name: typical value, share of it that comes and goes with the day, share that is noise.
NAMED: dict[str, tuple[float, float, float]] = {
    "orders": (140.0, 0.7, 0.08),
    "revenue": (5200.0, 0.65, 0.12),
    "cost_per_click": (0.11, 0.25, 0.15),
    "requests": (900.0, 0.5, 0.06),
    "taxi_trips": (15_000.0, 0.75, 0.04),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400.0
_MEMORY = 12
"""Steps over which the noise of one step is felt."""


class Metrics(Declared):
    """Options of the simulated metrics.

    Args:
        seed: The world.
        series: How many metrics: the five that have names, then made-up ones.
        days: How far back from ``as_of`` the records go, or from ``start`` on.
        start: The first time, with a zone.
        step: Time between two values of a metric.
        gaps: Share of the values that never come.
        outliers: Share of the values that are three times as high.
    """

    seed: int = 0
    series: int = Field(default=5, ge=1)
    days: float = Field(default=21, gt=0)
    start: AwareDatetime | None = None
    step: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0))
    gaps: float = Field(default=0.0, ge=0, le=0.5)
    outliers: float = Field(default=0.0, ge=0, le=0.5)


def metric_rows(options: Metrics, as_of: datetime) -> pl.DataFrame:
    """The values up to ``as_of``, ordered by time and metric: ``metric``, ``time`` (UTC), ``value``."""
    import numpy as np
    import polars as pl

    slots, series = _slots(options, as_of), np.arange(options.series)
    values = _values(options, series, slots)
    is_kept = uniform(words(options.seed, 4, series, slots)) >= options.gaps
    series_index, position = np.nonzero(is_kept.T)[::-1]
    micros = slots * (options.step // timedelta(microseconds=1))
    names = pl.Series([name_of(place) for place in range(options.series)], dtype=pl.String)
    return pl.DataFrame(
        {
            "metric": names.gather(series_index),
            "time": pl.Series(micros[position]).cast(pl.Datetime("us", "UTC")),
            "value": values[series_index, position],
        }
    )


def name_of(place: int) -> str:
    """Name of the metric with this number, from 0."""
    return list(NAMED)[place] if place < len(NAMED) else f"metric_{place:04d}"


def _slots(options: Metrics, as_of: datetime) -> Ints:
    """Times asked for, in steps since 1970."""
    import numpy as np

    last = floor((as_of - _EPOCH) / options.step)
    count = max(floor(timedelta(days=options.days) / options.step), 1)
    if options.start is None:
        return np.arange(last - count + 1, last + 1, dtype=np.int64)
    first = ceil((options.start - _EPOCH) / options.step)
    if "days" in options.model_fields_set:
        last = min(last, first + count - 1)
    return np.arange(first, last + 1, dtype=np.int64)


def _values(options: Metrics, series: Ints, slots: Ints) -> Floats:
    """Level times a day's and a week's shape times noise that lasts; shape (series, slots)."""
    import numpy as np

    draws = [uniform(words(options.seed, stream, series)) for stream in (1, 2, 3)]
    made_up = (10 ** (1 + 3 * draws[0]), 0.2 + 0.5 * draws[1], 0.03 + 0.1 * draws[2])
    traits = np.stack(made_up)
    named = np.array(list(NAMED.values())[: series.size]).T
    traits[:, : named.shape[1]] = named
    level, daily, noise = (trait[:, None] for trait in traits)
    seconds = slots * options.step.total_seconds()
    phase = 2 * np.pi * (seconds / _DAY - 0.3 - 0.1 * draws[1][:, None])
    weekend = np.isin((seconds // _DAY + 3) % 7, (5, 6))
    shape = (1 + daily * (np.sin(phase) + 0.3 * np.sin(2 * phase))) * np.where(weekend, 0.85, 1.0)
    reach = np.arange(slots[0] - _MEMORY + 1, slots[-1] + 1) if slots.size else slots
    drawn = normal(words(options.seed, 5, series, reach))
    weights = 0.8 ** np.arange(_MEMORY)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(drawn, _MEMORY, axis=1) if slots.size else drawn[..., None]
    lasting = windows @ (weights / np.sqrt((weights**2).sum())) if slots.size else drawn
    values = level * shape * np.exp(noise * lasting)
    high = uniform(words(options.seed, 6, series, slots)) < options.outliers
    rounded: Floats = np.round(np.where(high, values * 3, values), 4)
    return rounded
