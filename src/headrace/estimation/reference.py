"""What a model was on rows that it had not seen: its metrics, how far samples of them scatter, and its calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from headrace.estimation.calibration import Array, Calibration, one_hot
from headrace.estimation.confidence import Answers, confusion, expected, losses, squares


@dataclass(frozen=True)
class HeldOutReference:
    """What estimates need of a version.

    Attributes:
        rows: Held-out rows that were looked at.
        values: The classes, in order.
        calibration: From stated probabilities to those with which things happened.
        held_out: The metrics of these rows.
        deviations: Of each metric the standard deviation of what one row adds to it: that of a sample's metric is so
            much divided by the root of its rows.
    """

    rows: int
    values: tuple[Any, ...]
    calibration: Calibration
    held_out: Mapping[str, float]
    deviations: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, values: tuple[Any, ...], truth: NDArray[np.intp], answers: Answers) -> Self:
        """Learn it from held-out rows.

        Args:
            values: The classes.
            truth: The class of each row, by its place.
            answers: What a model said that had not seen them.
        """
        happened = one_hot(truth, len(values))
        held_out = expected(answers, happened)
        deviations = {name: float(np.std(part)) for name, part in _influences(answers, happened, held_out).items()}
        known = {name: value for name, value in held_out.items() if math.isfinite(value)}
        return cls(truth.size, values, Calibration.fit(truth, answers.stated), known, {n: deviations[n] for n in known})

    def deviation(self, metric: str, rows: int) -> float:
        """By how much a metric of so many rows differs from what was held out by chance: one standard error."""
        return self.deviations[metric] * math.sqrt(1 / max(rows, 1) + 1 / max(self.rows, 1))

    def chances(self, stated: Array) -> Array:
        """The probabilities with which things happen: shape (rows, classes)."""
        return self.calibration(stated)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {
            "rows": self.rows,
            "values": list(self.values),
            "calibration": self.calibration.as_list(),
            "held_out": dict(self.held_out),
            "deviations": dict(self.deviations),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave.

        Raises:
            TypeError, ValueError, LookupError: It is not that.
        """
        figures = ({name: float(value) for name, value in data[key].items()} for key in ("held_out", "deviations"))
        calibration = Calibration.from_list(data["calibration"])
        return cls(int(data["rows"]), tuple(data["values"]), calibration, *figures)


def _influences(answers: Answers, happened: Array, held_out: Mapping[str, float]) -> dict[str, Array]:
    """What each row adds to every metric, less the metric: to first order, for those that are ratios."""
    stated, predicted = answers
    rows, classes = stated.shape
    said = one_hot(predicted, classes)
    right = (said * happened).sum(axis=1)
    parts = {"accuracy": right, "log_loss": losses(answers, happened), "brier": squares(answers, happened)}
    f1 = [_of_ratio(2 * said[:, k] * happened[:, k], said[:, k] + happened[:, k]) for k in range(classes)]
    if classes != 2:
        matrix = confusion(answers, happened)
        counted = (matrix.sum(axis=0) + matrix.sum(axis=1)) > 0
        return parts | {"macro_f1": np.mean([part for part, one in zip(f1, counted, strict=True) if one], axis=0)}
    second, both = happened[:, 1], said[:, 1] * happened[:, 1]
    parts |= {"precision": _of_ratio(both, said[:, 1]), "recall": _of_ratio(both, second), "f1": f1[1]}
    share = second.mean()
    if not 0 < share < 1:
        return parts | {"auc": np.zeros(rows)}
    beaten = np.where(second == 1, _share_below(stated[:, 1], stated[second == 0, 1]), 0.0)
    beating = np.where(second == 0, 1 - _share_below(stated[:, 1], stated[second == 1, 1]), 0.0)
    weight = np.where(second == 1, 1 / share, 1 / (1 - share))
    return parts | {"auc": weight * (beaten + beating - held_out["auc"])}


def _of_ratio(part: Array, whole: Array) -> Array:
    """What each row adds to the sum of parts over that of wholes."""
    mean = whole.mean()
    return (part - part.mean() / mean * whole) / mean if mean > 0 else np.zeros(part.size)


def _share_below(values: Array, compared: Array) -> Array:
    """Of each value the share of those compared that are less; equal ones count half."""
    ordered = np.sort(compared)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * ordered.size)
