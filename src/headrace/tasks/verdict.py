"""Better or worse than what needs no model: measured after every training, on the same pairs, and said in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Any

import numpy as np

from headrace import metrics
from headrace.declaration import format_duration
from headrace.features.arrays import Array, History
from headrace.features.matrix import Examples
from headrace.models import intermittent
from headrace.models.backtest import Backtest
from headrace.models.baselines import mean_value, reference
from headrace.models.glitches import cleaned, without
from headrace.models.member import Frame

TIMES = 2.0
"""From this ratio of errors on it is said as one."""
MOST = 0.5
"""A baseline that knows less than this share of the pairs is not compared."""


@dataclass(frozen=True)
class Verdict:
    """A model beside baselines.

    Attributes:
        measure: By what they are compared; less is better.
        ours: The model's.
        baselines: Each baseline's, by what it is; one at least.
        pairs: Predictions with a truth that all of them had.
    """

    measure: str
    ours: float
    baselines: Mapping[str, float]
    pairs: int

    @property
    def best(self) -> str:
        """The baseline with the least error."""
        return min(self.baselines, key=lambda name: self.baselines[name])

    @property
    def better(self) -> bool:
        """Whether the model is better than every baseline."""
        return self.ours < self.baselines[self.best]

    def line(self) -> str:
        """Better or worse than which baseline, and by how much."""
        baseline = self.baselines[self.best]
        figures = f"{self.measure} {self.ours:.4g} against {baseline:.4g} on {self.pairs:,} pairs"
        if self.ours == baseline:
            return f"no better than {self.best}: {figures}"
        ratio = self.ours / baseline if baseline else inf
        by = f" by {abs(1 - ratio):.0%}" if ratio < TIMES else f", {ratio:.3g} times its error" if baseline else ""
        return f"{'better' if self.better else 'worse'} than {self.best}{by}: {figures}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``better measure model baseline baselines pairs line``."""
        return {
            "better": self.better,
            "measure": self.measure,
            "model": self.ours,
            "baseline": self.best,
            "baselines": dict(self.baselines),
            "pairs": self.pairs,
            "line": self.line(),
        }


def of_forecasts(done: Backtest, history: History, frame: Frame, seasons: Sequence[timedelta]) -> Verdict | None:
    """Forecasts beside the naive ones of these seasons and the mean of four long ones; None where nothing matured.

    Where most are of intermittent series these are judged, by RMSSE and beside zero; otherwise the others, by WAPE.

    Args:
        done: What was forecast beside what came true.
        history: What it was forecast from.
        frame: The target and its seasons.
        seasons: Of the naive forecasts; none at all is the last value's.
    """
    cleaned_history, row = cleaned(history, frame, done.series, done.origin)
    examples = Examples(row, done.origin, done.ahead)
    references = {name_of(season): reference(cleaned_history, frame, season, examples) for season in seasons}
    references[f"the mean of {format_duration(frame.long * 4)}"] = mean_value(cleaned_history, frame, examples)
    references["zero"] = np.where(done.sparse, 0.0, np.nan)
    matured = ~np.isnan(done.actual) & ~np.isnan(done.value)
    sparse = bool((done.sparse & matured).sum() * 2 > matured.sum())
    matured &= done.sparse == sparse
    enough = MOST * max(matured.sum(), 1)
    references = {name: value for name, value in references.items() if (~np.isnan(value))[matured].sum() >= enough}
    if not references:
        return None
    known = matured & ~np.isnan(np.sum(list(references.values()), axis=0))
    if not known.any():
        return None
    scale = intermittent.scales(without(history, frame, int(done.origin.min())))[done.series[known]]
    name, measure = _measure(done.actual[known], scale, sparse)
    results = {name: measure(value[known]) for name, value in references.items()}
    return Verdict(name, measure(done.value[known]), results, int(known.sum()))


def _measure(actual: Array, scale: Array, sparse: bool) -> tuple[str, Callable[[Array], float]]:
    """By what forecasts of these values are judged, and its name."""
    if sparse and np.isfinite(scale).any():
        return "RMSSE", lambda value: metrics.rmsse(actual, value, scale)
    if np.abs(actual).sum() and not sparse:
        return "WAPE", lambda value: metrics.wape(actual, value)
    return "RMSE", lambda value: metrics.rmse(actual, value)


def of_intermittent(done: Backtest, history: History, frame: Frame, coverage: float) -> dict[str, float]:
    """``rmsse bias pinball`` of what was forecast of intermittent series; nothing where there are none."""
    index = np.flatnonzero(done.sparse & ~np.isnan(done.actual))
    if not index.size:
        return {}
    scale = intermittent.scales(without(history, frame, int(done.origin.min())))[done.series[index]]
    ends = done.lower[index], done.upper[index]
    return intermittent.judged(done.actual[index], done.value[index], ends, scale, coverage)


def name_of(season: timedelta) -> str:
    """What a naive forecast is called in a sentence."""
    return f"the value {format_duration(season)} before" if season else "the last value"


def called(measure: str) -> str:
    """What a metric is called in a sentence.

    >>> called("log_loss"), called("rmse")
    ('log loss', 'RMSE')
    """
    return measure.replace("_", " ") if "_" in measure else measure.upper()
