"""A number: its value on the output's scale, with a conformal interval, within what the contract says of it.

A prediction is the target, ``lower`` and ``upper``. The half width of the interval is the k-th smallest error of
held-out rows, k = ceil((n + 1) * coverage) (Lei et al. 2018), on the output's scale; rows whose predictions are alike
in size share one, because errors of large values are often larger. Where intervals are by a feature, so do only rows of
one value of it, if there are enough of them. Where all truths of the training are whole numbers, an interval ends at
the outermost whole numbers that it holds: it holds the same truths.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import compress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from headrace import metrics
from headrace.errors import ModelError, NotEnoughDataError
from headrace.tasks.rows.outputs.base import (
    GROUP,
    LABEL,
    TRUTH,
    Array,
    Keys,
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

LOWER, UPPER = "lower", "upper"
Widths = tuple[tuple[float, ...], tuple[float, ...]]
"""Edges of bins of scores, and half the width of the interval in each bin."""
_LEAST = 20
_MOST_BINS, _IN_EACH = 10, 200
"""Bins of predictions with a width of their own, and how many held-out rows each has at least."""
_OF_KEY = 30
"""Held-out rows that a value has at least which has intervals of its own; more, where its share asks for that."""
_IN_EACH_OF_KEY = 1_000
"""Rows that a bin of a value has at least: fewer tell less of the size of errors than the value does."""
_PARTS = 5
"""In how many parts held-out rows are dealt, each of which has the intervals of the others' errors."""
_GREATEST = 1e38
"""Size of a target that learners can hold: some do so in single precision."""
_ROUNDING = 1e-12
"""Of a number that went to its logarithm and back, beside its size."""
_LARGEST = 700.0
"""Of a logarithm: beyond, its number is infinite."""
_NAMES = {
    "mae": "MAE",
    "rmse": "RMSE",
    "rmsle": "RMSLE",
    "wape": "WAPE",
    "bias": "bias",
    "r2": "R²",
    "coverage": "coverage",
    "width": "mean width",
}
_SHARES = ("WAPE", "coverage")


@dataclass(frozen=True)
class Regression(Output):
    """See the module.

    Attributes:
        scale: ``identity`` or ``log``, in which ``log(1 + target)`` is learnt.
        integer: Whether answers are integers.
        minimum, maximum: No answer is beyond them; None where there is no bound.
        coverage: Share of rows that the interval is to hold.
        reach: Least and largest score that is believed: the range of the training, and once more beyond on either side.
        edges: Scores at which the bins of widths part.
        widths: Half the width of the interval on the scale, by bin.
        by: The feature whose values have intervals of their own; None where there is none.
        of_keys: Edges and widths of each value that had enough rows.
        whole: Whether all truths of the training were whole numbers.
    """

    scale: str = "identity"
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    coverage: float = 0.9
    reach: tuple[float, float] = (-math.inf, math.inf)
    edges: tuple[float, ...] = ()
    widths: tuple[float, ...] = (0.0,)
    by: str | None = None
    of_keys: Mapping[str, Widths] = field(default_factory=dict)
    whole: bool = False

    kind: ClassVar[str] = "regression"
    beside: ClassVar[Mapping[str, Kind]] = {LOWER: "float", UPPER: "float"}
    shown: ClassVar[tuple[str, ...]] = (LOWER, UPPER)
    better: ClassVar[tuple[str, ...]] = ("r2",)
    within: ClassVar[tuple[str, ...]] = ()
    sums: ClassVar[tuple[str, ...]] = (
        "expected",
        "n",
        "absolute",
        "squared",
        "error",
        "size",
        "actual",
        "actual_squared",
        "log_n",
        "log_squared",
        "interval_n",
        "covered",
        "width",
    )
    """Of predictions whose truth y is known: |p - y|, (p - y)^2, p - y, |y|, y, y^2; of those of which both are above
    -1 their number and the squared difference of log(1 + p) and log(1 + y); of those with an interval their number, how
    often it held y, and its width."""
    metrics_of_sums: ClassVar[tuple[str, ...]] = tuple(_NAMES)

    @classmethod
    def of(cls, model: Tabular, target: Column, values: Sequence[Any]) -> Regression:
        """See `Output`."""
        bounds = (target.minimum, target.maximum)
        least, greatest = (float(bound) if isinstance(bound, int | float) else None for bound in bounds)
        scale, coverage = getattr(model, "scale", "identity"), getattr(model, "coverage", 0.9)
        by = getattr(model, "intervals_by", None)
        return cls(target.name, scale, target.type == "integer", least, greatest, coverage, by=by)

    def as_dict(self) -> dict[str, Any]:
        """See `Output`; the reach of one that has not learnt is not JSON, and not kept."""
        reach = [bound if math.isfinite(bound) else None for bound in self.reach]
        return {one.name: getattr(self, one.name) for one in fields(self)} | {"reach": reach}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Regression:
        """See `Output`."""
        low, high = data["reach"]
        reach = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
        lists = {name: tuple(map(float, data[name])) for name in ("edges", "widths")}
        if data["scale"] not in ("identity", "log") or len(lists["widths"]) != len(lists["edges"]) + 1:
            raise ValueError("its scale or widths are not those of a number")
        of_keys = {key: tuple(tuple(map(float, part)) for part in pair) for key, pair in data["of_keys"].items()}
        return cls(**{**data, "reach": reach, **lists, "of_keys": of_keys})

    @property
    def measure(self) -> str:  # type: ignore[override]
        """The root mean squared error, of logarithms on the scale of logarithms."""
        return "rmsle" if self.scale == "log" else "rmse"

    @property
    def compared(self) -> tuple[str, ...]:  # type: ignore[override]
        """See `Output`."""
        return self.measure, *(
            name for name in ("rmse", "mae", "wape", "r2", "coverage", "width") if name != self.measure
        )

    @property
    def number(self) -> str:
        """The target itself."""
        return self.target

    def actual(self, values: pl.Series) -> Array:
        """The target, float64."""
        return values.cast(float).fill_null(float("nan")).to_numpy()

    def learnt(self, actual: Array) -> Array:
        """On the output's scale."""
        return np.log1p(actual) if self.scale == "log" else actual

    def refuse(self, actual: Array) -> None:
        """See `Output`."""
        if actual.size < _LEAST:
            message, hint = f"{actual.size} rows are too few", f"at least {_LEAST} rows with a target"
            raise NotEnoughDataError(message, where=self.target, hint=hint)
        if self.scale == "log" and (least := float(np.nanmin(actual))) < 0:
            hint = "ingest such rows again under the contract's minimum, or leave out model.scale"
            raise ModelError(f"{least:.3g} is below 0 and has no logarithm", where=self.target, hint=hint)
        most = float(np.nanmax(np.abs(actual)))
        if most > _GREATEST:
            hint = f"declare a maximum of {self.target} in the contract: rows beyond it are set apart"
            raise ModelError(f"a target of {most:.3g} is too large to learn from", where=self.target, hint=hint)

    def loss(self, learnt: Array, scores: Array) -> float:
        """Root mean squared error on the scale."""
        return metrics.rmse(learnt, scores)

    def calibrated(self, learnt: Array, scores: Array, model: Tabular) -> Regression:
        """See `Output`."""
        low, high = float(learnt.min()), float(learnt.max())
        reaching = replace(self, reach=(low - (high - low), high + (high - low)))
        edges, widths = _widths(learnt, reaching.believed(scores), self.coverage)
        whole = self._all_whole(learnt)
        return replace(reaching, edges=edges, widths=widths, of_keys={}, whole=whole)

    def _all_whole(self, learnt: Array) -> bool:
        """Whether targets are whole numbers; on the scale of logarithms but for rounding."""
        actual = np.expm1(learnt) if self.scale == "log" else learnt
        return bool((np.abs(actual - np.rint(actual)) <= _ROUNDING * np.abs(actual)).all())

    @property
    def keyed(self) -> str | None:
        """See `Output`."""
        return self.by

    def calibrated_by(self, learnt: Array, scores: Array, keys: Keys | None, model: Tabular) -> Regression:
        """See `Output`; keys with few rows have the intervals of all."""
        calibrated = self.calibrated(learnt, scores, model)
        if keys is None:
            return calibrated
        believed, names = calibrated.believed(scores), np.array(["" if key is None else key for key in keys])
        there = np.array([key is not None for key in keys], dtype=bool)
        counts = zip(*np.unique(names[there], return_counts=True), strict=True)
        of_keys = {}
        enough = max(_OF_KEY, self.coverage / (1 - self.coverage))
        for name in (str(name) for name, count in counts if count >= enough):
            rows = there & (names == name)
            of_keys[name] = _widths(learnt[rows], believed[rows], self.coverage, _IN_EACH_OF_KEY)
        return replace(calibrated, of_keys=of_keys)

    def of_key(self, key: str | None) -> Regression:
        """See `Output`."""
        return self if key is None else self._by_key.get(key, self)

    @cached_property
    def _by_key(self) -> dict[str, Regression]:
        return {
            key: replace(self, edges=edges, widths=widths, of_keys={}) for key, (edges, widths) in self.of_keys.items()
        }

    def held_out(self, learnt: Array, scores: Array, keys: Keys | None, model: Tabular) -> Array:
        """See `Output`. Every part has the intervals of the others' errors: coverage is not of their own making."""
        part, numbers = np.arange(learnt.size) % _PARTS, np.empty((learnt.size, 3))
        for rows in (part == place for place in range(_PARTS)):
            others, keys_others = ~rows, None
            keys_own = None
            if keys is not None:
                keys_own, keys_others = (list(compress(keys, mask)) for mask in (rows, others))
            calibrated = self.calibrated_by(learnt[others], scores[others], keys_others, model)
            numbers[rows] = calibrated.numbers_by(scores[rows], keys_own)
        return numbers

    def believed(self, scores: Array) -> Array:
        """Scores within reach; the middle where one is no number."""
        low, high = self.reach
        return np.clip(np.where(np.isnan(scores), (low + high) / 2, scores), low, high)

    def numbers(self, scores: Array) -> Array:
        """Value and both ends of the interval: shape (rows, 3)."""
        scores = self.believed(scores)
        half = np.array(self.widths)[np.searchsorted(np.array(self.edges), scores, side="right")]
        value, lower, upper = (self._restored(bound) for bound in (scores, scores - half, scores + half))
        if self.integer:
            value = np.rint(value)
        if self.whole:
            lower, upper = np.minimum(np.ceil(lower), value), np.maximum(np.floor(upper), value)
        elif self.integer:
            lower, upper = np.floor(lower), np.ceil(upper)
        return np.column_stack([value, lower, upper])

    def _restored(self, scores: Array) -> Array:
        if self.scale == "log":  # NumPy's exponential differs from the C library's in the last bit
            scores = np.array(list(map(math.expm1, np.minimum(scores, _LARGEST).tolist())), dtype=np.float64)
        return np.clip(scores, *self._bounds)

    @property
    def _bounds(self) -> tuple[float, float]:
        low = -math.inf if self.minimum is None else self.minimum
        return low, math.inf if self.maximum is None else self.maximum

    def bare(self, scores: Array) -> Array:
        """See `Output`."""
        numbers = self.numbers(scores)
        numbers[:, 1:] = np.nan
        return numbers

    def answer(self, score: float) -> dict[str, Any]:
        """The number with its interval."""
        low, high = self.reach
        score = (low + high) / 2 if score != score else min(max(score, low), high)
        half = self.widths[bisect_right(self.edges, score)]
        value, lower, upper = map(self._restored_one, (score, score - half, score + half))
        if self.integer:
            value = round(value)
        if self.whole:
            lower, upper = min(float(math.ceil(lower)), float(value)), max(float(math.floor(upper)), float(value))
        elif self.integer:
            lower, upper = float(math.floor(lower)), float(math.ceil(upper))
        return {self.target: value, LOWER: lower, UPPER: upper}

    def value(self, score: Any) -> Any:
        """See `Output`."""
        low, high = self.reach
        value = self._restored_one((low + high) / 2 if score != score else min(max(score, low), high))
        return round(value) if self.integer else value

    def _restored_one(self, score: float) -> float:
        low, high = self._bounds
        number = math.expm1(min(score, _LARGEST)) if self.scale == "log" else score
        return min(max(number, low), high)

    def columns(self, numbers: Array) -> dict[str, list[Any]]:
        """See `Output`."""
        value, lower, upper = numbers.T.tolist() if numbers.size else ([], [], [])
        return {self.target: list(map(round, value)) if self.integer else value, LOWER: lower, UPPER: upper}

    @property
    def scale_of_parts(self) -> tuple[str, str]:
        """See `Output`."""
        if self.scale == "log":
            return f"log(1 + {self.target})", f"{self.target} = exp(total) - 1"
        return self.target, f"{self.target} = total"

    def settled(self, scores: Array, sums: Array, *, several: bool) -> dict[str, Array]:
        """See `Output`: what is beyond reach or bounds is brought within, and a whole number rounded."""
        limited = self.learnt(self._restored(self.believed(scores)))[:, None]
        final = self.learnt(self.numbers(scores)[:, 0])[:, None]
        return {"limits": limited - sums, "rounding": final - limited}

    def schema(self) -> dict[str, dict[str, Any]]:
        """See `Output`."""
        ends = {LOWER: "Lower", UPPER: "Upper"}
        text = f"end of the interval that is to hold {self.coverage:.0%} of the truths."
        return {name: {"type": "number", "description": f"{end} {text}"} for name, end in ends.items()}

    def metrics(self, actual: Array, numbers: Array) -> dict[str, float]:
        """``mae rmse wape bias r2 coverage width``, and ``rmsle`` on the scale of logarithms; NaN for what is too large
        for a float. ``rmse_se`` or ``rmsle_se`` is the standard error of the one that decides."""
        with np.errstate(over="ignore", invalid="ignore"):
            figures = self._figures(actual, numbers)
        return {name: value if math.isfinite(value) else math.nan for name, value in figures.items()}

    def _figures(self, actual: Array, numbers: Array) -> dict[str, float]:
        value, lower, upper = numbers[:, 0], numbers[:, 1], numbers[:, 2]
        spread = metrics.rmse(actual, np.full(actual.size, actual[~np.isnan(actual)].mean() if actual.size else np.nan))
        rmse = metrics.rmse(actual, value)
        learnt, said = (actual, value) if self.scale == "identity" else (np.log1p(actual), np.log1p(value))
        return {
            self.measure: metrics.rmse(learnt, said),
            f"{self.measure}_se": metrics.rmse_error(learnt, said),
            "mae": metrics.mae(actual, value),
            "rmse": rmse,
            "wape": metrics.wape(actual, value),
            "bias": metrics.bias(actual, value),
            "r2": 1 - (rmse / spread) ** 2 if spread else float("nan"),
            "coverage": metrics.coverage(actual, lower, upper),
            "width": float((upper - lower).mean()) if actual.size else float("nan"),
        }

    def constants(self, actual: Array) -> dict[str, tuple[str, Array]]:
        """The mean on the output's scale, and the median; they have no interval."""
        mean = float(self._restored(self.learnt(actual).mean(keepdims=True))[0])
        named = "the mean of logarithms" if self.scale == "log" else "the mean"
        pairs = (("mean", named, mean), ("median", "the median", float(np.median(actual))))
        return {name: (called, np.array([value, np.nan, np.nan])) for name, called, value in pairs}

    def scores(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """See `Output`."""
        pairs = pairs.sort(GROUP, maintain_order=True)
        with np.errstate(over="ignore"):  # a truth too large for a float's square has no such figures
            return summed(pairs, GROUP, self._parts(pairs))

    def _parts(self, pairs: pl.DataFrame) -> dict[str, Array]:
        columns = (pairs[name].cast(float).fill_null(float("nan")).to_numpy() for name in (TRUTH, LABEL, LOWER, UPPER))
        truth, value, lower, upper = columns
        known = ~np.isnan(truth)
        y, p = np.where(known, truth, 0.0), np.where(known, value, 0.0)
        error, logs = p - y, known & (y > -1) & (p > -1)
        difference = np.log1p(np.where(logs, p, 0.0)) - np.log1p(np.where(logs, y, 0.0))
        inside, width = known & ~np.isnan(lower), np.where(known & ~np.isnan(lower), upper - lower, 0.0)
        covered = inside & (y >= lower) & (y <= upper)
        errors = (np.abs(error), error**2, error, np.abs(y), y, y**2)
        parts = (np.ones(known.size), known, *errors, logs, difference**2, inside, covered, width)
        return {name: part.astype(np.float64) for name, part in zip(self.sums, parts, strict=True)}

    def measures(self, totals: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
        """See `Output`. `coverage` is the share of truths within their interval, `width` the mean width of these."""
        import polars as pl

        sums = totals.sort(by) if by else totals
        n = pl.col("n").sum()
        total = {name: pl.col(name).sum() for name in self.sums}
        spread = total["actual_squared"] - total["actual"] ** 2 / n
        expressions = {
            "mae": share(total["absolute"], n),
            "rmse": share(total["squared"], n).sqrt(),
            "rmsle": share(total["log_squared"], total["log_n"]).sqrt(),
            "wape": share(total["absolute"], total["size"]),
            "bias": share(total["error"], n),
            "r2": 1 - share(total["squared"], spread),
            "coverage": share(total["covered"], total["interval_n"]),
            "width": share(total["width"], total["interval_n"]),
        }
        counts = (pl.col(name).sum().cast(pl.Int64) for name in ("expected", "n"))
        said = {name: pl.when(expression.is_finite()).then(expression) for name, expression in expressions.items()}
        named = (expression.alias(name) for name, expression in said.items())
        frame = grouped(sums, by).agg(*counts, *named).drop("_", strict=False)
        return frame.select(*by, "expected", "n", *self.metrics_of_sums)

    def baselines(self, measures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The mean of these very rows, by its squared error."""
        rmse, r2 = measures.get("rmse"), measures.get("r2")
        if rmse is None or r2 is None or r2 >= 1:
            return {}
        return {"mean": {"rmse": rmse / math.sqrt(1 - r2), "r2": 0.0}}

    def difference(self, pairs: pl.DataFrame, columns: Sequence[Mapping[str, str]]) -> pl.Series:
        """Of the numbers."""
        first, second = (pairs[column[LABEL]].cast(float) for column in columns)
        return (first - second).abs()

    def report(self, totals: pl.DataFrame) -> list[Section]:
        """Errors and coverage over the window, by version and day."""
        figures = self.measures(totals, []).row(0, named=True)
        if not figures["n"]:
            return []
        names = [name for name in _NAMES if name != "rmsle" or self.scale == "log"]
        called = [_NAMES[name] for name in names]
        rows = [["headrace", *(figures[name] for name in names)]]
        rows += [
            [f"the {name}", *(metrics.get(name_) for name_ in names)]
            for name, metrics in self.baselines(figures).items()
        ]
        versions = self.measures(totals, ["model_version"]).select("model_version", "expected", "n", *names)
        days = self.measures(totals, ["time"])
        times, coverage = days["time"].to_list(), days["coverage"].to_list()
        target_line = ("wanted", [self.coverage] * len(times), "truth")
        return [
            ReportTable("Over the window", ["prediction", *called], rows, _SHARES),
            ReportTable("By model version", ["version", "predictions", "matured", *called], versions.rows(), _SHARES),
            ReportHeading("By day of the prediction"),
            ReportCurve(_NAMES[self.measure], times, [("headrace", days[self.measure].to_list(), "ours")], zero=True),
            ReportCurve("Coverage of the intervals", times, [("headrace", coverage, "ours"), target_line], share=True),
        ]


def _widths(learnt: Array, scores: Array, coverage: float, in_each: int = _IN_EACH) -> Widths:
    """Edges of bins of scores, which have so many rows at least, and half the width of the interval in each."""
    edges, error = _edges(scores, in_each), np.abs(learnt - scores)
    place = np.searchsorted(np.array(edges), scores, side="right")
    return edges, tuple(_conformal(error[place == index], coverage) for index in range(len(edges) + 1))


def _edges(scores: Array, in_each: int) -> tuple[float, ...]:
    """Where bins of scores begin, but the first: none has fewer rows than `in_each`, also where many scores are the
    same, as those of a few trees are."""
    values, counts = np.unique(scores, return_counts=True)
    least, edges, filled, left = max(in_each, scores.size // _MOST_BINS), [], 0, scores.size
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        if filled >= least and left >= least:
            edges.append(value)
            filled = 0
        filled, left = filled + count, left - count
    return tuple(edges)


def _conformal(errors: Array, coverage: float) -> float:
    """The k-th smallest error, k = ceil((n + 1) * coverage); the largest where there are too few."""
    k = min(math.ceil((errors.size + 1) * coverage), errors.size)
    return float(np.partition(errors, k - 1)[k - 1])
