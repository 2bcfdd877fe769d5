"""Two classes: the probability of the second, calibrated by Platt's scaling.

A prediction is the target and ``probability``, which is that of the second class whatever the target says. Sums are
kept by bins of the probability, so that the area under the ROC curve and the calibration follow from them too.
"""

from __future__ import annotations

import json as jsonlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headrace import metrics
from headrace.errors import NotEnoughDataError
from headrace.models.contributions import linear_scale
from headrace.models.links import logistic, logistics
from headrace.tasks.rows.outputs.base import (
    GROUP,
    LABEL,
    TRUTH,
    Array,
    Kind,
    Output,
    grouped,
    share,
    summed,
)
from headrace.tasks.sections import ReportCurve, ReportHeading, ReportTable, Section

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Column
    from headrace.models.tabular import Tabular

PROBABILITY = "probability"
BINS = 200
"""Of a probability from 0 to 1. Rows of one bin count as equal in `auc`."""
TENTHS = 10
"""Groups of probabilities that `calibration` compares with what happened."""
_LEAST, _OF_EACH = 20, 2
_CLIP = 1e-6
_STILL = 1e-10
"""A smaller step of the calibration's weights is none."""
_SMALLEST = 1e-15  # probabilities are clipped there, so that a loss is finite
_SHARES = ("accuracy", "calibration", "happened", "predicted")
_NAMES = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "auc": "AUC",
    "calibration": "calibration",
    "rate": "happened",
    "predicted_rate": "predicted",
}


@dataclass(frozen=True)
class Platt:
    """Platt's scaling: probability = logistic(slope * log odds + shift).

    Platt (1999), fitted on cross-validated probabilities.
    """

    slope: float = 1.0
    shift: float = 0.0

    def __call__(self, probability: float) -> float:
        """The calibrated probability."""
        p = min(max(probability, _CLIP), 1 - _CLIP)
        return logistic(self.slope * math.log(p / (1 - p)) + self.shift)

    def of_many(self, probabilities: Array) -> Array:
        """The calibrated probabilities, to the same bits."""
        p = np.clip(probabilities, _CLIP, 1 - _CLIP)
        odds = np.array(list(map(math.log, (p / (1 - p)).tolist())), dtype=np.float64)  # NumPy's logarithm differs
        return logistics(self.slope * odds + self.shift)

    @classmethod
    def fit(cls, probabilities: Array, target: Array) -> Platt:
        """Newton's method on the log loss, from the identity.

        Far from the optimum a whole step can go beyond it and never come back, so a step is halved until it is
        downhill. A touch of ridge towards the identity keeps it finite where classes are separated.
        """
        p = np.clip(probabilities, _CLIP, 1 - _CLIP)
        design = np.column_stack([np.log(p / (1 - p)), np.ones(p.size)])
        identity = np.array([1.0, 0.0])

        def loss(weights: Array) -> float:
            odds = design @ weights
            return float((np.logaddexp(0, odds) - target * odds).sum() + ((weights - identity) ** 2).sum() / 2)

        weights = identity.copy()
        for _ in range(50):
            predicted = np.array([logistic(z) for z in (design @ weights).tolist()])
            gradient = design.T @ (predicted - target) + weights - identity
            hessian = (design * (predicted * (1 - predicted))[:, None]).T @ design + np.eye(2)
            step = np.linalg.solve(hessian, gradient)
            now = loss(weights)
            while loss(weights - step) > now and float(np.abs(step).max()) > _STILL:
                step = step / 2
            weights = weights - step
            if float(np.abs(step).max()) <= _STILL:
                break
        return cls(float(weights[0]), float(weights[1]))


@dataclass(frozen=True)
class Binary(Output):
    """See the module.

    Attributes:
        values: Both values of the target; fewer while they are not known.
        threshold: From this probability on the second is predicted.
        calibration: Applied to scores.
    """

    values: tuple[Any, ...] = ()
    threshold: float = 0.5
    calibration: Platt = Platt()

    kind: ClassVar[str] = "binary"
    beside: ClassVar[Mapping[str, Kind]] = {PROBABILITY: "float"}
    shown: ClassVar[tuple[str, ...]] = (PROBABILITY,)
    measure: ClassVar[str] = "log_loss"
    better: ClassVar[tuple[str, ...]] = ("accuracy", "auc")
    compared: ClassVar[tuple[str, ...]] = ("log_loss", "brier", "accuracy", "auc", "calibration")
    within: ClassVar[tuple[str, ...]] = ("bin",)
    sums: ClassVar[tuple[str, ...]] = ("expected", "n", "right", "actual", "probability", "squared", "log")
    """Of predictions whose truth is known: right classes, second classes y, probabilities p, (p - y)^2, and -ln of the
    probability given to what happened, in nats."""
    metrics_of_sums: ClassVar[tuple[str, ...]] = tuple(_NAMES)
    says_probabilities: ClassVar[bool] = True

    @classmethod
    def of(cls, model: Tabular, target: Column, values: Sequence[Any]) -> Binary:
        """See `Output`."""
        return cls(target.name, tuple(values), getattr(model, "threshold", 0.5))

    def as_dict(self) -> dict[str, Any]:
        """See `Output`."""
        return {**vars(self), "calibration": [self.calibration.slope, self.calibration.shift]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Binary:
        """See `Output`."""
        slope, shift = map(float, data["calibration"])
        first, second = data["values"]
        return cls(data["target"], (first, second), float(data["threshold"]), Platt(slope, shift))

    @property
    def classes(self) -> tuple[Any, ...]:
        """See `Output`."""
        return self.values

    @property
    def _second(self) -> Any:
        return self.values[1] if len(self.values) > 1 else None

    def actual(self, values: pl.Series) -> Array:
        """1 for the second class, 0 for the first, NaN for anything else."""
        import polars as pl

        places = {value: float(place) for place, value in enumerate(self.values)}
        numbers = values.replace_strict(places, default=None, return_dtype=pl.Float64)
        return numbers.fill_null(float("nan")).to_numpy()

    def refuse(self, actual: Array) -> None:
        """See `Output`."""
        second = int(actual.sum())
        rarest = min(second, actual.size - second)
        if actual.size < _LEAST or not rarest:
            counted = f"{actual.size} rows with {2 if rarest else 1} different targets are too few"
            hint = f"at least {_LEAST} rows, with both classes"
            raise NotEnoughDataError(counted, where=self.target, hint=hint)
        if rarest < _OF_EACH:  # then some part of the cross-validation would learn from one class only
            hint = f"at least {_OF_EACH} rows of each class"
            raise NotEnoughDataError(f"one class has {rarest} row", where=self.target, hint=hint)

    def learnable(self, learnt: Array) -> bool:
        """Whether both classes are there."""
        return bool(0 < learnt.sum() < learnt.size)

    def loss(self, learnt: Array, scores: Array) -> float:
        """Log loss."""
        return metrics.log_loss(learnt, scores)

    def calibrated(self, learnt: Array, scores: Array, model: Tabular) -> Binary:
        """See `Output`."""
        calibration = Platt.fit(scores, learnt) if getattr(model, "calibrate", True) else Platt()
        return replace(self, calibration=calibration)

    def numbers(self, scores: Array) -> Array:
        """Calibrated probabilities of the second class: shape (rows,)."""
        return self.calibration.of_many(scores)

    def bare(self, scores: Array) -> Array:
        """See `Output`: the scores, which are probabilities."""
        return scores

    def answer(self, score: float) -> dict[str, Any]:
        """The class and the probability of the second one."""
        probability = self.calibration(score)
        return {self.target: self.values[probability >= self.threshold], PROBABILITY: probability}

    def columns(self, numbers: Array) -> dict[str, list[Any]]:
        """See `Output`."""
        values, threshold, probabilities = self.values, self.threshold, numbers.tolist()
        return {self.target: [values[p >= threshold] for p in probabilities], PROBABILITY: probabilities}

    @property
    def scale_of_parts(self) -> tuple[str, str]:
        """See `Output`."""
        return "log odds", f"{PROBABILITY} = 1 / (1 + exp(-total))"

    def settled(self, scores: Array, sums: Array, *, several: bool) -> dict[str, Array]:
        """See `Output`: the mean of the members' probabilities, then Platt's scaling."""
        odds = linear_scale(scores, self.kind)
        mixed = odds if several else sums
        final = self.calibration.slope * odds + self.calibration.shift
        return {"ensemble": mixed - sums, "calibration": final - mixed}

    def explained(self, answer: Mapping[str, Any], label: Any) -> float:
        """See `Output`."""
        probability = float(answer[PROBABILITY])
        return probability if label == self._second else 1 - probability

    def schema(self) -> dict[str, dict[str, Any]]:
        """See `Output`."""
        of = "the second class" if self._second is None else jsonlib.dumps(self._second)
        description = f"Of {of}, whichever is predicted."
        return {PROBABILITY: {"type": "number", "minimum": 0, "maximum": 1, "description": description}}

    def stated(self, rows: pl.DataFrame, values: Sequence[Any]) -> Array:
        """See `Output`."""
        second = rows[PROBABILITY].to_numpy()
        return np.column_stack([1 - second, second])

    def metrics(self, actual: Array, numbers: Array) -> dict[str, float]:
        """``accuracy log_loss brier auc``."""
        return metrics.of_probabilities(actual, numbers, self.threshold)

    def summary(self, actual: Array) -> dict[str, float]:
        """The ``share`` of the second class."""
        return {"share": float(actual.mean())}

    def constants(self, actual: Array) -> dict[str, tuple[str, Array]]:
        """The share of the second class, as the probability of every row."""
        return {"share": ("the share of each class", actual.mean(keepdims=True))}

    def scores(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """See `Output`; by bins of the probability."""
        import polars as pl

        by = [*GROUP, *self.within]
        bins = (pairs[PROBABILITY] * BINS).floor().cast(pl.Int64).clip(0, BINS - 1).alias("bin")
        second = (pl.col(TRUTH) == pl.lit(self._second)).alias("second")
        neither = (~pl.col(TRUTH).is_in(list(self.values))).fill_null(value=False).alias("neither")
        pairs = pairs.with_columns(bins, second, neither, (pl.col(TRUTH) == pl.col(LABEL)).alias("right"))
        pairs = pairs.sort(by, maintain_order=True)
        return summed(pairs, by, self._parts(pairs))

    def _parts(self, pairs: pl.DataFrame) -> dict[str, Array]:
        actual = pairs["second"].cast(float).fill_null(float("nan")).to_numpy()
        known = ~np.isnan(actual)
        p, y = pairs[PROBABILITY].to_numpy(), np.where(known, actual, 0.0)
        # A value that is neither class had no probability at all: both probabilities were wrong by their full size.
        neither = pairs["neither"].to_numpy()
        chances = np.clip(np.where(neither, 0.0, np.where(y == 1, p, 1 - p)), _SMALLEST, 1)
        squared = np.where(neither, (p**2 + (1 - p) ** 2 + 1) / 2, (p - y) ** 2)
        right = pairs["right"].cast(float).fill_null(0.0).to_numpy()
        parts = (np.ones(p.size), known, known * right, y, known * p, known * squared, known * -np.log(chances))
        return {name: part.astype(np.float64) for name, part in zip(self.sums, parts, strict=True)}

    def measures(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        """See `Output`.

        `auc` counts rows of one bin as ties; `calibration` is the mean distance, over tenths of the probability,
        between what was predicted and the share of the second class (expected calibration error); `rate` is that share
        and `predicted_rate` the mean probability.
        """
        import polars as pl

        sums = totals.group_by([*by, "bin"], maintain_order=True).agg(pl.col(self.sums).sum()).sort([*by, "bin"])
        n = pl.col("n").sum()
        gap = (pl.col(PROBABILITY) - pl.col("actual")).sum().abs()
        gaps = sums.group_by([*by, _tenth()], maintain_order=True).agg(gap)
        frame = (
            grouped(sums, by)
            .agg(
                pl.col("expected").sum().cast(pl.Int64),
                n.cast(pl.Int64),
                *(share(pl.col(part).sum(), n).alias(name) for name, part in _MEANS.items()),
                _auc().alias("auc"),
            )
            .drop("_", strict=False)
        )
        total = grouped(gaps, by).agg(pl.col(PROBABILITY).sum().alias("calibration")).drop("_", strict=False)
        frame = frame.hstack([(total["calibration"] / frame["n"]).fill_nan(None)])
        return frame.select(*by, "expected", "n", *self.metrics_of_sums)

    def baselines(self, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The share of each class."""
        rate = measures["rate"]
        entropy = -sum(p * math.log(p) for p in (rate, 1 - rate) if p > 0)
        chance = {"log_loss": entropy, "brier": rate * (1 - rate), "accuracy": max(rate, 1 - rate), "auc": 0.5}
        return {"share": chance}

    def difference(self, pairs: pl.DataFrame, columns: Sequence[Mapping[str, str]]) -> pl.Series:
        """Of the probabilities."""
        first, second = (pairs[column[PROBABILITY]] for column in columns)
        return (first - second).abs()

    def report(self, totals: pl.DataFrame) -> list[Section]:
        """Errors, calibration and how sure the predictions were."""
        figures = self.measures(totals, []).row(0, named=True)
        return [*(self._errors(totals, figures) if figures["n"] else []), *self._sureness(totals)]

    def _errors(self, totals: pl.DataFrame, figures: Mapping[str, Any]) -> list[Section]:
        chance, rate = self.baselines(figures)["share"], figures["rate"]
        values = [chance["accuracy"], chance["log_loss"], chance["brier"], chance["auc"], 0.0, rate, rate]
        versions = self.measures(totals, ["model_version"]).drop("rate", "predicted_rate")
        days, tenths = self.measures(totals, ["time"]), self.reliability(totals)
        times, means = days["time"].to_list(), tenths[PROBABILITY].to_list()
        header = ["prediction", *_NAMES.values()]
        window = [["headrace", *(figures[name] for name in self.metrics_of_sums)], ["the same for all", *values]]
        columns = ["version", "predictions", "matured", *(_NAMES[name] for name in versions.columns[3:])]
        lines = [("as predicted", means, "truth"), ("what happened", tenths["actual"].to_list(), "ours")]
        bands = [[f"{t / TENTHS:.1f} to {(t + 1) / TENTHS:.1f}", p, y, n] for t, n, p, y in tenths.rows()]
        return [
            ReportTable("Over the window", header, window, _SHARES),
            ReportTable("By model version", columns, versions.rows(), _SHARES),
            ReportHeading("By day of the prediction"),
            ReportCurve("Accuracy", times, [("headrace", days["accuracy"].to_list(), "ours")], share=True),
            ReportCurve("Log loss", times, [("headrace", days["log_loss"].to_list(), "ours")], zero=True),
            ReportHeading("Calibration"),
            ReportCurve("Share of what happened, by probability", means, lines, zero=True),
            ReportTable("", ["probability", "mean", "happened", "matured"], bands, ("mean", "happened")),
        ]

    def _sureness(self, totals: pl.DataFrame) -> list[Section]:
        import polars as pl

        width, count = BINS // (2 * TENTHS), 2 * TENTHS
        counts = totals.group_by(pl.col("bin") // width).agg(pl.col("expected").sum()).sort("bin")
        bins = pl.DataFrame({"bin": range(count)}, schema={"bin": pl.Int64}).join(counts, on="bin", how="left")
        middle = ((bins["bin"] + 0.5) / count).to_list()
        line = ("predictions", bins["expected"].fill_null(0.0).to_list(), "ours")
        return [
            ReportHeading("What was predicted"),
            ReportCurve("Predictions by probability", middle, [line], zero=True),
        ]

    def reliability(self, totals: pl.DataFrame) -> pl.DataFrame:
        """Per tenth of the probability that has matured predictions: `n`, mean `probability`, share `actual`."""
        import polars as pl

        sums = totals.group_by(_tenth()).agg(pl.col("n", PROBABILITY, "actual").sum())
        sums = sums.filter(pl.col("n") > 0).sort("tenth")
        means = sums.with_columns(pl.col(PROBABILITY, "actual") / pl.col("n"))
        return means.with_columns(pl.col("n").cast(pl.Int64))


_MEANS = {
    "accuracy": "right",
    "log_loss": "log",
    "brier": "squared",
    "rate": "actual",
    "predicted_rate": PROBABILITY,
}


def _tenth() -> pl.Expr:
    import polars as pl

    return (pl.col("bin") // (BINS // TENTHS)).alias("tenth")


def _auc() -> pl.Expr:
    """How often a row of the second class has the larger bin, of all pairs of the two classes; ties count half."""
    import polars as pl

    second, first = pl.col("actual"), pl.col("n") - pl.col("actual")
    below = first.cum_sum() - first / 2
    return share((second * below).sum(), second.sum() * first.sum())
