"""Permutation importance of forecasts: by how much the error grows where a feature's values are shuffled.

With feature ``j`` shuffled among the sampled forecasts, its importance is ``WAPE(y, f(X_j)) - WAPE(y, f(X))``, as in
Breiman (2001) and, as a difference of losses, Fisher, Rudin and Dominici (2019). ``f`` is the mean of the members that
speak for a series, before forecasts without a model are mixed in, and ``y`` came true after what they were fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headrace import metrics
from headrace.features.arrays import Array, Arrays, History
from headrace.features.matrix import Examples, near
from headrace.lineage import digest_of
from headrace.models import levels
from headrace.models.backtest import Backtest
from headrace.models.booster import Booster
from headrace.models.forecast import MEMBERS, ForecastModel
from headrace.models.glitches import Glitches
from headrace.models.member import View, count, reachable

SAMPLED = 1000
"""Forecasts of one step that are sampled, which bounds the cost: features times members times so many predictions."""


@dataclass(frozen=True)
class _MemberSample:
    """What one member says of the sampled forecasts that it speaks for: its share of each, and how it says it."""

    rows: NDArray[np.intp]
    share: float
    view: View
    booster: Booster
    matrix: Array


def permuted_growth(
    model: ForecastModel, history: History, scores: Backtest, *, threads: int = 1
) -> dict[str, float] | None:
    """By how much WAPE grows where each feature's values are shuffled, by the feature's name.

    Args:
        model: What was fitted on less than the history; it seeds what is drawn, so the same model says the same.
        history: What it forecast from.
        scores: Its forecasts after what it saw, beside what came true.
        threads: For the boosters; no number depends on it.

    Returns:
        None where its members are no boosters, or too little came true.
    """
    boosters = [member for _, member in model.members if isinstance(member, Booster)]
    usable = np.flatnonzero(~np.isnan(scores.actual) & ~np.isnan(scores.value) & ~scores.sparse)
    if not boosters or len(boosters) != len(model.members) or not np.abs(scores.actual[usable]).sum() > 0:
        return None
    random = np.random.default_rng(int(digest_of([booster.digest for booster in boosters]), 16))
    chosen = np.sort(random.choice(usable, min(usable.size, SAMPLED), replace=False))
    sample = _ForecastSample(model, history, scores.only(chosen), threads)
    order, before = random.permutation(chosen.size), sample.error()
    if not np.isfinite(before):  # the members spoke for none of them
        return None
    errors = {name: sample.error(place, order) for place, name in enumerate(model.features.names)}
    return {name: error - before for name, error in errors.items() if np.isfinite(error)}


class _ForecastSample:
    """Sampled forecasts: what the members read of them, and how wrong their mean is."""

    def __init__(self, model: ForecastModel, history: History, scores: Backtest, threads: int) -> None:
        self._actual, self._threads = scores.actual, threads
        cleaned, row = Glitches(history, model.frame).cleaned(scores.series, scores.origin)
        steps = -(-model.lookback // model.frame.step)
        nearby = near(cleaned, Examples(row, scores.origin, scores.ahead), steps)
        moved, examples = levels.moved(nearby[0], model.frame, nearby[1], model.clear)
        arrays = Arrays(moved)
        least, self._largest = reachable(model.frame, moved, examples, arrays)
        self._least = np.maximum(least, 0.0) if model.nonnegative else least
        self._young = count(model.frame, moved, examples, arrays) < model.enough  # served a baseline: no member speaks
        self._parts = list[_MemberSample]()
        holding = model.persistence(moved)[examples.series]
        kinds, turn = [transform.holds for transform, _ in model.members], {True: 0, False: 0}
        for (transform, booster), features in zip(model.members, model.bound, strict=True):
            assert isinstance(booster, Booster)
            first = turn[transform.holds]
            turn[transform.holds] += 1
            # The last of a kind speaks for those that its kind lacks, too.
            last = MEMBERS if turn[transform.holds] == kinds.count(transform.holds) else first + 1
            rows = np.flatnonzero(holding == transform.holds)
            view = View(transform, model.frame, moved, examples[rows], arrays)
            self._parts.append(_MemberSample(rows, (last - first) / MEMBERS, view, booster, view.matrix(features)))

    def error(self, place: int | None = None, order: NDArray[np.intp] | None = None) -> float:
        """WAPE of the members' mean; with one column of all that they read in another order.

        A series is read in units of its own, so that a value of one may stand for that of another.
        """
        value = np.where(self._young, np.nan, 0.0)
        for part in self._parts:
            if not part.rows.size:
                continue
            matrix = part.matrix
            if place is not None and order is not None:
                matrix = matrix.copy(order="K")
                ranks = np.argsort(np.argsort(order[part.rows]))
                matrix[:, place] = matrix[ranks, place]
            output = part.view.restore(part.booster.predict(matrix, threads=self._threads))
            bounded = np.clip(output, self._least[part.rows], self._largest[part.rows])
            value[part.rows] += part.share * bounded
        finite = np.isfinite(value)
        return metrics.wape(self._actual[finite], value[finite])
