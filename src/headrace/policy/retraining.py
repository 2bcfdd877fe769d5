"""Rules that train again because of errors: a cumulative sum, and one that weighs error and the cost of a training."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from headrace.policy import staleness
from headrace.policy.base import RetrainRule, ServedError, StandingFacts
from headrace.policy.staleness import SETTLED, Array, Variant

Measure = Literal["wape", "mase", "rmsse", "rmse"]
_LEAST_SPREAD = 0.05
"""A spread is no less than this share of the usual error, so that errors which hardly move alarm nobody."""


class ErrorRule(RetrainRule):
    """Base of the rules that look at how wrong the champion's answers were, day by day.

    A day is as long as ``monitoring.every`` says, by the time of the runs, and counts once all its truth is known.

    Attributes:
        measure: Which error.
        relative: Divide it by the best baseline's on the same pairs: a holiday that is hard for everybody is no
            reason to train. Where a day has no baseline it is left out.
        days: So many days of the champion must be known at least.
    """

    reads_scores: ClassVar[bool] = True

    measure: Measure = "wape"
    relative: bool = True
    days: int = Field(default=3, ge=1)

    def served(self, facts: StandingFacts) -> tuple[Array, list[ServedError]]:
        """The errors that are looked at, oldest first, and the days that they are of."""
        days = list(facts.errors(self.measure))
        values = np.array([day.value / day.baseline if self.relative and day.baseline else day.value for day in days])
        if self.relative:
            values = np.where([day.baseline > 0 for day in days], values, np.nan)
        finite = np.isfinite(values)
        return values[finite], [day for day, is_finite in zip(days, finite, strict=True) if is_finite]

    @property
    def unit(self) -> str:
        """What the errors are called."""
        return f"{self.measure} beside the best baseline's" if self.relative else self.measure


def _since_training(days: Sequence[ServedError], facts: StandingFacts) -> int:
    """How many of the last days are of the version that answers now, and were predicted after the last training."""
    last = days[-1].version
    count = 0
    for day in reversed(days):
        if day.version != last or day.begin < facts.trained_as_of - facts.day:
            break
        count += 1
    return count


class ErrorAbove(ErrorRule):
    """The champion's error is beyond a multiple of the usual one.

    What is held against it is the median of the last `days` days; usual is what `Cusum` has for it.

    Attributes:
        ratio: The multiple.

    >>> ErrorAbove(ratio=1.5).days
    3
    """

    kind: Literal["error_above"] = "error_above"
    ratio: float = Field(default=1.25, gt=1)

    def reason(self, facts: StandingFacts) -> str | None:
        """What it is, and what is usual."""
        values, days = self.served(facts)
        recent = _since_training(days, facts) if days else 0
        if recent < self.days or len(days) < SETTLED:
            return None
        usual, value = _usual(values, days), float(np.median(values[-self.days :]))
        if not value > self.ratio * usual:
            return None
        return f"the {self.unit} of version {days[-1].version} is {value:.3g}, {value / usual:.3g} times the usual"


class Cusum(ErrorRule):
    """The champion's error has gone up for good: its cumulative sum (Page, 1954) is beyond a fixed threshold.

    Each day adds what its error is above the usual one and a slack, in spreads from one day to the next; the sum never
    falls below zero. Usual is the median of the champion's first week, or of the version before while it has none; a
    week must be known in all. A fixed threshold is hard to beat where a world changes at once: see Katz,
    *Cost-sensitive retraining via posterior learning debt* (arXiv 2604.06438, 2026).

    Attributes:
        threshold: In spreads.
        slack: What of a day is not counted, in spreads.

    >>> Cusum(threshold=8).slack
    0.5
    """

    kind: Literal["cusum"] = "cusum"
    threshold: float = Field(default=8.0, gt=0)
    slack: float = Field(default=0.5, ge=0)

    def reason(self, facts: StandingFacts) -> str | None:
        """How far the sum is beyond the threshold, and since when it rises."""
        values, days = self.served(facts)
        recent = _since_training(days, facts) if days else 0
        if recent < self.days or len(days) < SETTLED:  # of fewer it is not known what is usual
            return None
        target = _usual(values, days)
        spread = max(staleness.deviation(values), _LEAST_SPREAD * target)
        if not spread > 0:
            return None
        sums = staleness.cusum(values[-recent:], target=target, spread=spread, slack=self.slack)
        if sums[-1] < self.threshold:
            return None
        begin = days[len(days) - recent + int(np.flatnonzero(np.concatenate([[0.0], sums]) == 0)[-1])].begin
        return (
            f"the {self.unit} of version {days[-1].version} rises since {begin:%Y-%m-%d %H:%M} from {target:.3g}: "
            f"cumulative sum {sums[-1]:.3g}, threshold {self.threshold:g}"
        )


def _usual(values: Array, days: Sequence[ServedError]) -> float:
    """The median of the champion's first week; while it has none that of the last days of the version before."""
    spans = staleness.serving_spans(np.array([day.version for day in days]), values)
    present = spans[-1].errors
    if present.size > SETTLED or len(spans) == 1:
        return float(np.median(present[:SETTLED]))
    return float(np.median(spans[-2].errors[:SETTLED]))


class CostAware(ErrorRule):
    """The champion's staleness has come to cost more than a training does (CARA).

    After Mahadevan and Mathioudakis, *Cost-aware retraining for machine learning* (Knowledge-Based Systems 293, 2024,
    arXiv 2310.04216). Staleness is by how much a version is worse than while it was fresh. What is held against a
    threshold is the staleness of the last day (`threshold`), its sum since the training (`cumulative`), or the number
    of days since then (`periodic`). The threshold is the one that would have cost least on the days that are known:
    every retraining `alpha`, every day its staleness, decided only on what was known by then. What a model would have
    cost that nobody trained follows from the curves of those that served; that is ours, for the paper trains one each
    day. While fewer than `history` days are known it is `alpha` itself for the sum (then all costs at most twice what
    the best would have), and for the others nothing is trained.

    Attributes:
        alpha: What a training costs, in error of one day. With 0.5 a training is worth it that takes 0.05 off the
            error for ten days.
        variant: ``cumulative``, ``threshold`` or ``periodic``.
        history: From this number of days on the threshold is chosen from them.

    >>> CostAware(alpha=0.5).variant
    'cumulative'
    """

    kind: Literal["cost_aware"] = "cost_aware"
    alpha: float = Field(default=1.0, gt=0)
    variant: Variant = "cumulative"
    history: int = Field(default=28, ge=2)

    def reason(self, facts: StandingFacts) -> str | None:
        """What its staleness came to, and beyond what."""
        values, days = self.served(facts)
        recent = _since_training(days, facts) if days else 0
        if recent < self.days:
            return None
        threshold = self.chosen(values, days, max(round((facts.as_of - days[-1].begin) / facts.day) - 1, 0))
        if threshold is None:
            return None
        curve = staleness.staleness(values[-recent:])
        elapsed = (facts.as_of - facts.trained_as_of) / facts.day
        measured = {"cumulative": float(curve.sum()), "threshold": float(curve[-1]), "periodic": elapsed}[self.variant]
        if measured < threshold:
            return None
        text = {
            "cumulative": f"staleness has come to {measured:.3g} ({self.unit}, summed over {recent} days)",
            "threshold": f"staleness is {measured:.3g} ({self.unit})",
            "periodic": f"last training is {measured:.3g} days ago",
        }[self.variant]
        return f"the {text}, and the cheapest is to train at {threshold:.3g} where a training costs {self.alpha:g}"

    def chosen(self, values: Array, days: Sequence[ServedError], delay: int) -> float | None:
        """The threshold that would have cost least; None where too little is known to train at all.

        Args:
            values: An error a day.
            days: What they are of.
            delay: After so many days the truth of a day is known.
        """
        if len(days) < self.history:
            return self.alpha if self.variant == "cumulative" else None
        versions = tuple(day.version for day in days)
        return _chosen(values.tobytes(), versions, self.alpha, self.variant, delay)


@lru_cache(maxsize=64)
def _chosen(values: bytes, versions: tuple[int, ...], alpha: float, variant: Variant, delay: int) -> float:
    """As `CostAware.chosen`; runs of one day ask for the same."""
    spans = staleness.serving_spans(np.array(versions), np.frombuffer(values))
    return staleness.cheapest(staleness.world_level(spans), alpha=alpha, variant=variant, delay=delay)
