"""Why a prediction has its value: what it starts from, and what every feature and every later step adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

FEATURE, BASELINE, STEP, REST = "feature", "baseline", "step", "rest"
"""What adds something: a feature, a forecast that needs no model, a step after the model such as its calibration, or
all smaller ones together."""


@dataclass(frozen=True)
class Contribution:
    """What one thing adds to a prediction.

    Attributes:
        feature: Its name: of a feature as declared, or of a step.
        value: The feature's value in this row; None where it is missing, or there is none.
        contribution: What it adds, on the explanation's scale.
        kind: ``feature``, ``baseline``, ``step`` or ``rest``.
    """

    feature: str
    value: Any
    contribution: float
    kind: str = FEATURE

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


@dataclass(frozen=True)
class Explanation:
    """Why one prediction has its value: `base` and all contributions add up to `total`.

    Attributes:
        id: Of the stored prediction; None of one that was not stored.
        keys: What the prediction is about: key columns and, of a forecast, the event time and steps ahead.
        target: The column that is predicted.
        value: What was predicted: of two classes the probability of the second, of several that of `label`.
        label: The class that is explained; None of a number.
        scale: What contributions add up on, such as ``log odds``.
        mapping: How `total` becomes the value, as a formula.
        base: Where it starts: what the model says on average, on the scale.
        base_means: What that is, in words.
        total: The prediction, on the scale.
        contributions: Features and baselines by size, then the steps after the model.
        method: ``exact``, or ``permutation`` where a model cannot tell; see the guide.
        model_version: Of the model.
        answer: The whole answer.
    """

    id: str | None
    keys: dict[str, Any]
    target: str
    value: Any
    label: Any
    scale: str
    mapping: str
    base: float
    base_means: str
    total: float
    contributions: tuple[Contribution, ...]
    method: str
    model_version: int
    answer: dict[str, Any] = field(default_factory=dict)

    def top(self, count: int | None) -> Explanation:
        """The same with the `count` largest features and baselines, and the others as one; None leaves it as it is."""
        features = [part for part in self.contributions if part.kind in (FEATURE, BASELINE)]
        if count is None or len(features) <= count:
            return self
        rest = features[count:]
        folded = Contribution(f"{len(rest)} others", None, float(sum(part.contribution for part in rest)), REST)
        steps = [part for part in self.contributions if part.kind == STEP]
        return replace(self, contributions=(*features[:count], folded, *steps))

    @property
    def logarithms(self) -> bool:
        """Whether contributions are logarithms of factors of 1 + the number."""
        return self.scale.startswith("log(1 + ")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return vars(self) | {"contributions": [part.as_dict() for part in self.contributions]}

    @property
    def frame(self) -> pl.DataFrame:
        """Contributions as a frame: ``feature value contribution kind``; values as texts."""
        import polars as pl

        rows = [
            part.as_dict() | {"value": None if part.value is None else str(part.value)} for part in self.contributions
        ]
        types = {"feature": pl.String, "value": pl.String, "contribution": pl.Float64, "kind": pl.String}
        return pl.DataFrame(rows, schema=types)


def by_size(parts: Sequence[Contribution]) -> tuple[Contribution, ...]:
    """The largest first; equal ones in their order."""
    return tuple(sorted(parts, key=lambda part: -abs(part.contribution)))


def texts_of_class(value: Any) -> tuple[str, ...]:
    """How a class may be written, first as JSON has it.

    >>> texts_of_class(True), texts_of_class("red")
    (('true', 'True', '1'), ('red',))
    """
    return (str(value).lower(), str(value), str(int(value))) if isinstance(value, bool) else (str(value),)
