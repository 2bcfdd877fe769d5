"""What happens to forecasts when the level of a series moves after the fit: the mode `--shifts` of `accuracy.py`.

Every series is copied with a step put in, `KINDS` each by itself, at `PLACES` of the window. Origins are those from the
first moved value on. Given are errors and coverage of each day after the step, and of the first week.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from datasets import DAY, HOUR, Dataset
from headrace import metrics
from headrace.features.arrays import Array, History
from headrace.features.matrix import Examples
from headrace.models.backtest import Backtest, backtest
from headrace.models.baselines import last_value, mean_value, seasonal_naive
from headrace.models.forecast import ForecastModel

KINDS = ("x1.6", "x.5", "+2 sd", "-1 sd")
PLACES = 3
"""Places of a step in a window, at unlike hours."""
MOST = 8
"""Series of a set at most."""
DAYS = 7


def moved(history: History, at: int, kind: str) -> History:
    """A copy whose level moves at a position; what was above zero stays so. Deviations are those of all before."""
    y = history.values["y"].copy()
    before, after = y[:, :at], y[:, at:]
    spread = np.nanstd(before, axis=1, keepdims=True)
    positive = np.nanmin(before) >= 0
    made = {"x1.6": after * 1.6, "x.5": after * 0.5, "+2 sd": after + 2 * spread, "-1 sd": after - spread}[kind]
    y[:, at:] = np.maximum(made, 0.0) if positive else made
    return replace(history, values=history.values | {"y": y})


def steps(data: Dataset) -> tuple[int, list[int]]:
    """End of the fit, and where steps are put in: with a week to come after each, or as much as there is."""
    end, _ = data.windows(choose=False)
    day = max(DAY // data.history.step, 1)
    last = data.history.length - 1 - data.horizon - min(DAYS * day, data.report // 2)
    return end, [int(at) for at in np.linspace(end + min(day, data.report // 8) + 1, last, PLACES)]


def some(data: Dataset) -> Dataset:
    """The set with at most `MOST` of its series, evenly chosen."""
    rows = np.unique(np.linspace(0, data.history.series - 1, MOST).astype(int))
    values = {name: column[rows] for name, column in data.history.values.items()}
    return replace(data, history=replace(data.history, keys=data.history.keys[rows], values=values))


def copies(data: Dataset, model: ForecastModel, batch: bool) -> Iterator[dict[str, dict[str, float]]]:
    """Of every copy, by span of time after its step: our WAPE, the naive ones', coverage and how many.

    Args:
        data: A set.
        model: Fitted on what lies before its window.
        batch: One origin a horizon in place of one an hour.
    """
    day = max(DAY // data.history.step, 1)
    every = data.horizon if batch else max(HOUR // data.history.step, 1)
    for at in steps(data)[1]:
        end = min(at + DAYS * day, data.history.length - data.horizon)
        first = at + (at * 7) % every if batch else at
        for kind in KINDS:
            history = moved(data.history, at, kind)
            done = backtest(model, history, np.arange(first, end, every))
            actual = history.values["y"][done.series, done.origin + done.ahead]
            yield scores(replace(data, history=history), replace(done, actual=actual), (done.origin - at) // day)


def scores(data: Dataset, done: Backtest, days: Array) -> dict[str, dict[str, float]]:
    """By span: WAPE of all, and coverage."""
    examples, frame = Examples(done.series, done.origin, done.ahead), data.task(data.model()).frame
    said = {"model": done.value, "last": last_value(data.history, frame, examples)}
    for season in data.seasons:
        said[str(season)] = seasonal_naive(data.history, "y", season, examples)
    said["mean"] = mean_value(data.history, frame, examples)
    known = ~np.isnan(np.sum([done.actual, *said.values()], axis=0))
    found = {}
    for name, within in {"day 1": days == 0, "day 2": days == 1, "day 3": days == 2, "week": days >= 0}.items():
        own = known & within
        if own.any():
            found[name] = {who: metrics.wape(done.actual[own], value[own]) for who, value in said.items()}
            found[name]["coverage"] = metrics.coverage(done.actual[own], done.lower[own], done.upper[own])
    return found


HEADER = """| set | to the best baseline: day 1 | day 2 | day 3 | week | worst week | coverage: day 1 | 2 | 3 | week |
|---|---|---|---|---|---|---|---|---|---|"""
NOTE = """Ratios are geometric means over copies of our WAPE to that of the best of last value, day, week and mean,
chosen afterwards; coverage is nominal at 90 %. Origins before the step's first value are left out: they cannot know."""
SPANS = ("day 1", "day 2", "day 3", "week")


def ratio(of: dict[str, float]) -> float:
    """Our WAPE to the best of those without a model."""
    return of["model"] / min(each for who, each in of.items() if who not in ("model", "coverage"))


def line(name: str, found: list[dict[str, dict[str, float]]]) -> str:
    """One row: geometric means over copies of the ratio, the worst copy's week, and means of coverage.

    A span in which nothing but zeros came true has no ratio.
    """
    cells, worst = [], np.nan
    for span in SPANS:
        each = np.array([ratio(copy[span]) for copy in found if span in copy])
        each = each[np.isfinite(each) & (each > 0)]
        cells.append(f"{np.exp(np.log(each).mean()):.3f}" if each.size else "")
        worst = each.max(initial=0)
    cells.append(f"{worst:.2f}")
    for span in SPANS:
        covered = [copy[span]["coverage"] for copy in found if span in copy]
        cells.append(f"{np.nanmean(covered):.1%}" if covered else "")
    return f"| {name} | {' | '.join(cells)} |"
