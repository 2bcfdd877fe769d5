"""More than two classes: the likeliest, and the probability of each, calibrated by temperature scaling.

A prediction is the target, ``probability``, which is that of the predicted class, and ``probabilities``, an object of
all classes. Sums are a confusion matrix that adds up: kept by predicted class, tenth of its probability and true class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np

from headrace.errors import NotEnoughDataError
from headrace.models.contributions import linear_scale
from headrace.models.links import softmax, softmaxes
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

PROBABILITY, PROBABILITIES = "probability", "probabilities"
UNKNOWN = ""
"""The true class of a prediction that has not matured, in sums."""
TENTHS = 10
_LEAST, _OF_EACH = 20, 2
_CLIP = 1e-6
_SMALLEST = 1e-15
_COLDEST, _HOTTEST, _STEPS = -3.0, 3.0, 60
"""Of the logarithm of a temperature: where it is looked for, and in how many steps of the golden section."""
_GOLDEN = (math.sqrt(5) - 1) / 2
_NAMES = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    "brier": "Brier",
    "macro_f1": "macro F1",
    "calibration": "calibration",
    "confidence": "confidence",
}
_SHARES = ("accuracy", "calibration", "confidence", "macro F1", "precision", "recall", "F1")


@dataclass(frozen=True)
class Multiclass(Output):
    """See the module.

    Attributes:
        values: The classes, in their order.
        temperature: What the log odds of scores are divided by: above 1 probabilities draw together. None: scores stay.
    """

    values: tuple[Any, ...] = ()
    temperature: float | None = None

    kind: ClassVar[str] = "multiclass"
    beside: ClassVar[Mapping[str, Kind]] = {PROBABILITY: "float", PROBABILITIES: "object"}
    shown: ClassVar[tuple[str, ...]] = (PROBABILITY,)
    measure: ClassVar[str] = "log_loss"
    better: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1")
    compared: ClassVar[tuple[str, ...]] = ("log_loss", "brier", "accuracy", "macro_f1", "calibration")
    within: ClassVar[tuple[str, ...]] = ("predicted", "tenth", "true")
    sums: ClassVar[tuple[str, ...]] = ("expected", "n", "right", "probability", "squared", "log")
    """Of predictions whose truth is known: right classes, probabilities of what was predicted, squared distances of all
    probabilities from what happened, and -ln of the probability given to it, in nats."""
    metrics_of_sums: ClassVar[tuple[str, ...]] = tuple(_NAMES)
    says_probabilities: ClassVar[bool] = True

    @classmethod
    def of(cls, model: Tabular, target: Column, values: Sequence[Any]) -> Multiclass:
        """See `Output`."""
        return cls(target.name, tuple(values))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Multiclass:
        """See `Output`."""
        temperature = data["temperature"]
        return cls(data["target"], tuple(data["values"]), None if temperature is None else float(temperature))

    @property
    def classes(self) -> tuple[Any, ...]:
        """See `Output`."""
        return self.values

    @property
    def width(self) -> int:
        """A probability for each class."""
        return len(self.values)

    @cached_property
    def _names(self) -> list[str]:
        """What JSON and sums call the classes."""
        return list(map(str, self.values))

    def actual(self, values: pl.Series) -> Array:
        """The place of each value among the classes."""
        import polars as pl

        places = {value: float(place) for place, value in enumerate(self.values)}
        numbers = values.replace_strict(places, default=None, return_dtype=pl.Float64)
        return numbers.fill_null(float("nan")).to_numpy()

    def refuse(self, actual: Array) -> None:
        """See `Output`."""
        counts = np.bincount(actual[~np.isnan(actual)].astype(np.intp), minlength=len(self.values))
        if actual.size < _LEAST or (counts >= _OF_EACH).sum() < 2:
            counted = f"{actual.size} rows with {int((counts > 0).sum())} different targets are too few"
            hint = f"at least {_LEAST} rows, with {_OF_EACH} of two classes"
            raise NotEnoughDataError(counted, where=self.target, hint=hint)

    def learnable(self, learnt: Array) -> bool:
        """Whether two classes are there."""
        return bool(np.unique(learnt).size > 1)

    def loss(self, learnt: Array, scores: Array) -> float:
        """Log loss."""
        return float(-np.log(np.clip(_of_truth(learnt, scores), _SMALLEST, 1)).mean())

    def calibrated(self, learnt: Array, scores: Array, model: Tabular) -> Multiclass:
        """The temperature with the least log loss on held-out rows (Guo et al. 2017), by golden section."""
        if not getattr(model, "calibrate", True):
            return self
        odds = np.log(np.clip(scores, _CLIP, 1.0))

        def loss(heat: float) -> float:
            scaled = odds / math.exp(heat)
            scaled = scaled - scaled.max(axis=1, keepdims=True)
            total = np.log(np.exp(scaled).sum(axis=1))
            return float((total - _of_truth(learnt, scaled)).mean())

        low, high = _COLDEST, _HOTTEST
        for _ in range(_STEPS):
            reach = _GOLDEN * (high - low)
            low, high = (low, low + reach) if loss(high - reach) < loss(low + reach) else (high - reach, high)
        return replace(self, temperature=math.exp((low + high) / 2))

    def numbers(self, scores: Array) -> Array:
        """Calibrated probabilities: shape (rows, classes)."""
        if self.temperature is None:
            return scores
        clipped = np.clip(scores, _CLIP, 1.0)
        odds = np.array(list(map(math.log, clipped.ravel().tolist()))).reshape(clipped.shape)
        return softmaxes(odds / self.temperature)

    def bare(self, scores: Array) -> Array:
        """See `Output`: the scores, which are probabilities."""
        return scores

    def answer(self, score: list[float]) -> dict[str, Any]:
        """The likeliest class, its probability and those of all."""
        temperature = self.temperature
        if temperature is not None:
            score = softmax([math.log(min(max(p, _CLIP), 1.0)) / temperature for p in score])
        greatest = max(score)
        chances = dict(zip(self._names, score, strict=True))
        return {self.target: self.values[score.index(greatest)], PROBABILITY: greatest, PROBABILITIES: chances}

    def columns(self, numbers: Array) -> dict[str, list[Any]]:
        """See `Output`."""
        names, values, rows = self._names, self.values, numbers.tolist()
        greatest = list(map(max, rows))
        return {
            self.target: [values[row.index(most)] for row, most in zip(rows, greatest, strict=True)],
            PROBABILITY: greatest,
            PROBABILITIES: [dict(zip(names, row, strict=True)) for row in rows],
        }

    @property
    def scale_of_parts(self) -> tuple[str, str]:
        """See `Output`."""
        return "log odds beside all classes", f"{PROBABILITIES} = exp(total) / sum of exp(total) over the classes"

    def settled(self, scores: Array, sums: Array, *, several: bool) -> dict[str, Array]:
        """See `Output`: the mean of the members' probabilities, then the temperature."""
        odds = linear_scale(scores, self.kind)
        mixed = odds if several else sums
        final = mixed if self.temperature is None else odds / self.temperature
        return {"ensemble": mixed - sums, "calibration": final - mixed}

    def explained(self, answer: Mapping[str, Any], label: Any) -> float:
        """See `Output`."""
        return float(answer[PROBABILITIES][str(label)])

    def schema(self) -> dict[str, dict[str, Any]]:
        """See `Output`."""
        probability = {"type": "number", "minimum": 0, "maximum": 1}
        objects = {
            "type": "object",
            "additionalProperties": probability,
            "description": "Of each class; their sum is 1.",
        }
        return {PROBABILITY: {**probability, "description": "Of the predicted class."}, PROBABILITIES: objects}

    def stated(self, rows: pl.DataFrame, values: Sequence[Any]) -> Array:
        """See `Output`."""
        names, texts = list(map(str, values)), rows[PROBABILITIES].to_list()
        chances = [[of.get(name, 0.0) for name in names] for of in map(msgspec.json.decode, texts)]
        return np.array(chances, dtype=np.float64).reshape(len(texts), len(names))

    def metrics(self, actual: Array, numbers: Array) -> dict[str, float]:
        """``accuracy log_loss brier macro_f1``; the last is the mean over classes that are or were predicted."""
        known = ~np.isnan(actual)
        actual, numbers = actual[known], numbers[known]
        if not actual.size:
            return dict.fromkeys(("accuracy", "log_loss", "brier", "macro_f1"), float("nan"))
        truths_index = _of_truth(actual, numbers)
        brier = (numbers**2).sum(axis=1) - 2 * truths_index + 1
        f1 = [item["f1"] for item in self._by_class(actual, numbers).values() if item["f1"] is not None]
        return {
            "accuracy": float((numbers.argmax(axis=1) == actual).mean()),
            "log_loss": float(-np.log(np.clip(truths_index, _SMALLEST, 1)).mean()),
            "brier": float(brier.mean()),
            "macro_f1": float(np.mean(f1)),
        }

    def details(self, actual: Array, numbers: Array) -> dict[str, Any]:
        """``classes{NAME: {rows predicted precision recall f1}}``."""
        known = ~np.isnan(actual)
        return {"classes": self._by_class(actual[known], numbers[known])}

    def _by_class(self, actual: Array, numbers: Array) -> dict[str, dict[str, Any]]:
        count = len(self.values)
        cells = np.bincount(actual.astype(np.intp) * count + numbers.argmax(axis=1), minlength=count * count)
        matrix = cells.reshape(count, count)
        figures = (
            _figures(*counts) for counts in zip(matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0), strict=True)
        )
        return dict(zip(self._names, figures, strict=True))

    def constants(self, actual: Array) -> dict[str, tuple[str, Array]]:
        """The share of each class, as the probabilities of every row."""
        counts = np.bincount(actual.astype(np.intp), minlength=len(self.values))
        return {"share": ("the share of each class", counts / actual.size)}

    def scores(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """See `Output`. Every predicted class has a group for each true one, and for those that are not known."""
        import polars as pl

        by = [*GROUP, *self.within]
        tenth = (pl.col(PROBABILITY) * TENTHS).floor().cast(pl.Int64).clip(0, TENTHS - 1).alias("tenth")
        true = pl.col(TRUTH).cast(pl.String).fill_null(UNKNOWN).alias("true")
        pairs = pairs.with_columns(pl.col(LABEL).cast(pl.String).alias("predicted"), tenth, true)
        pairs = pairs.sort(by, maintain_order=True)
        sums = summed(pairs, by, self._parts(pairs))
        names = [UNKNOWN, *dict.fromkeys([*self._names, *sorted(set(pairs["true"]) - {UNKNOWN})])]
        predicted = [*GROUP, "predicted", "tenth"]
        newest = sums.group_by(predicted, maintain_order=True).agg(pl.col("known_at").max())
        newest = newest.join(pl.DataFrame({"true": names}, schema={"true": pl.String}), how="cross")
        sums = newest.join(sums.drop("known_at"), on=by, how="left", maintain_order="left")
        return sums.with_columns(pl.col(self.sums).fill_null(0.0)).select(*by, *self.sums, "known_at").sort(by)

    def _parts(self, pairs: pl.DataFrame) -> dict[str, Array]:
        truths = pairs["true"].to_list()
        chances, squared = np.zeros(len(truths)), np.zeros(len(truths))
        for place, (text, truth) in enumerate(zip(pairs[PROBABILITIES].to_list(), truths, strict=True)):
            document = msgspec.json.decode(text)
            chances[place] = document.get(truth, 0.0)
            squared[place] = sum(p * p for p in document.values()) - 2 * chances[place] + 1
        known = np.array([truth != UNKNOWN for truth in truths], dtype=np.float64)
        right = (pairs["true"] == pairs["predicted"]).cast(float).to_numpy()
        loss = -np.log(np.clip(chances, _SMALLEST, 1))
        parts = (np.ones(known.size), known, right, pairs[PROBABILITY].to_numpy(), squared, loss)
        return {name: part if name == "expected" else known * part for name, part in zip(self.sums, parts, strict=True)}

    def measures(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        """See `Output`.

        `calibration` is the mean distance, over tenths of the probability, between that of the predicted class and how
        often it was right (expected calibration error); `confidence` is the mean of that probability.
        """
        import polars as pl

        sums = totals.sort([*by, "tenth"], maintain_order=True)
        n = pl.col("n").sum()
        gap = (pl.col(PROBABILITY) - pl.col("right")).sum().abs()
        gaps = sums.group_by([*by, "tenth"], maintain_order=True).agg(gap)
        means = {"accuracy": "right", "log_loss": "log", "brier": "squared", "confidence": PROBABILITY}
        frame = (
            grouped(sums, by)
            .agg(
                pl.col("expected").sum().cast(pl.Int64),
                n.cast(pl.Int64),
                *(share(pl.col(part).sum(), n).alias(name) for name, part in means.items()),
            )
            .drop("_", strict=False)
        )
        total = grouped(gaps, by).agg(pl.col(PROBABILITY).sum().alias("calibration")).drop("_", strict=False)
        f1 = grouped(self.by_class(totals, by), by).agg(pl.col("f1").mean().alias("macro_f1"))
        frame = frame.hstack([(total["calibration"] / frame["n"]).fill_nan(None), f1["macro_f1"]])
        return frame.select(*by, "expected", "n", *self.metrics_of_sums)

    def by_class(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        """Per group and class: `class`, `n` (rows that are of it), `predicted`, `right`, `precision recall f1`."""
        import polars as pl

        is_right = pl.when(pl.col("true") == pl.col("predicted")).then(pl.col("n")).otherwise(0.0)
        cells = totals.filter(pl.col("true") != UNKNOWN).with_columns(is_right.alias("hit"))
        keys = [*by, "class"]
        true = cells.rename({"true": "class"}).group_by(keys).agg(pl.col("n", "hit").sum())
        predicted = cells.drop("true").rename({"predicted": "class"}).group_by(keys).agg(pl.col("n").sum())
        # Groups are those of the totals: one in which nothing has matured has its classes too.
        groups = totals.select(*by, pl.col("true").alias("class")).filter(pl.col("class") != UNKNOWN).unique()
        pairs_counted = groups.join(true, on=keys, how="left").join(
            predicted.rename({"n": "predicted"}), on=keys, how="left"
        )
        pairs_counted = pairs_counted.with_columns(pl.col("n", "hit", "predicted").fill_null(0.0)).sort(keys)
        n, hit, predicted_count = pl.col("n"), pl.col("hit"), pl.col("predicted")
        rates = {
            "precision": share(hit, predicted_count),
            "recall": share(hit, n),
            "f1": share(2 * hit, n + predicted_count),
        }
        return pairs_counted.with_columns(**rates)

    def baselines(self, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """None follows from these measures alone: they do not say how often each class is."""
        return {}

    def difference(self, pairs: pl.DataFrame, columns: Sequence[Mapping[str, str]]) -> pl.Series:
        """Of all probabilities: how much of them lies elsewhere (total variation)."""
        import polars as pl

        texts = [pairs[column[PROBABILITIES]].to_list() for column in columns]
        return pl.Series([_apart(*text) for text in zip(*texts, strict=True)], dtype=pl.Float64)

    def report(self, totals: pl.DataFrame) -> list[Section]:
        """Errors over the window, by version, class and day."""
        import polars as pl

        whole = self.measures(totals, []).row(0, named=True)
        counts = totals.group_by("predicted").agg(pl.col("expected").sum().cast(pl.Int64)).sort("predicted")
        sections: list[Section] = [
            ReportHeading("What was predicted"),
            ReportTable("", ["class", "predictions"], counts.rows()),
        ]
        if not whole["n"]:
            return sections
        versions, days = self.measures(totals, ["model_version"]), self.measures(totals, ["time"])
        classes, times = self.by_class(totals, []), days["time"].to_list()
        order = {name: place for place, name in enumerate(self._names)}
        rows = sorted(classes.rows(named=True), key=lambda row: order.get(row["class"], len(order)))
        figures = [[row[name] for name in ("class", "n", "predicted", "precision", "recall", "f1")] for row in rows]
        return [
            ReportTable("Over the window", list(_NAMES.values()), [[whole[name] for name in _NAMES]], _SHARES),
            ReportTable(
                "By model version", ["version", "predictions", "matured", *_NAMES.values()], versions.rows(), _SHARES
            ),
            ReportTable("By class", ["class", "rows", "predicted", "precision", "recall", "F1"], figures, _SHARES),
            self._confusion(totals),
            ReportHeading("By day of the prediction"),
            ReportCurve("Accuracy", times, [("headrace", days["accuracy"].to_list(), "ours")], share=True),
            ReportCurve("Log loss", times, [("headrace", days["log_loss"].to_list(), "ours")], zero=True),
            *sections,
        ]

    def _confusion(self, totals: pl.DataFrame) -> ReportTable:
        import polars as pl

        cells = totals.filter(pl.col("true") != UNKNOWN).group_by("true", "predicted").agg(pl.col("n").sum())
        count = {(true, predicted): int(n) for true, predicted, n in cells.rows()}
        names = list(dict.fromkeys([*self._names, *sorted(name for pair in count for name in pair)]))
        rows = [[name, *(count.get((name, other), 0) for other in names)] for name in names]
        return ReportTable("What was predicted of each class", ["class", *names], rows)


def _of_truth(actual: Array, numbers: Array) -> Array:
    """Of each row the number of its class."""
    return numbers[np.arange(actual.size), actual.astype(np.intp)]


def _figures(right: Any, rows: Any, predicted: Any) -> dict[str, Any]:
    """JSON-ready figures of one class; null where there is nothing to compare."""
    return {
        "rows": int(rows),
        "predicted": int(predicted),
        "precision": float(right / predicted) if predicted else None,
        "recall": float(right / rows) if rows else None,
        "f1": float(2 * right / (rows + predicted)) if rows + predicted else None,
    }


def _apart(first: str | None, second: str | None) -> float | None:
    if first is None or second is None:
        return None
    one, other = msgspec.json.decode(first), msgspec.json.decode(second)
    return float(sum(abs(one.get(name, 0.0) - other.get(name, 0.0)) for name in {**one, **other}) / 2)
