"""Factorisation machines (Rendle 2010): a linear model with a weight for every pair of columns, of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from headrace.models.arrays import read_arrays, write_arrays
from headrace.models.base import Fitted, Learner, Training
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.factors import Loss
from headrace.models.links import IDENTITY, LOGISTIC, logistic, logistics
from headrace.models.sparse import Places, SparseRow, SparseRows, total
from headrace.models.sparse_design import SparseDesign, used

_LIMIT = 5.0
"""Standard deviations that a number counts for at most: pairs multiply it by others."""


class FeatureSums(NamedTuple):
    """What the columns of some features add up to.

    Attributes:
        linear: Their weights, shape (rows,).
        factors: Their factors, shape (rows, factors).
        own: The pairs among themselves, shape (rows,).
    """

    linear: Array
    factors: Array
    own: Array


@dataclass(frozen=True)
class FittedFactorisation(Fitted):
    """A fitted `Factorisation`.

    Attributes:
        link: What makes scores of sums.
        design: How rows become sparse ones.
        intercept: Of the sum.
        slots: The row of `weights` and `factors` that each column of the design has; 0 of columns that no row had.
        weights: Shape (columns that are used + 1,).
        factors: Shape (columns that are used + 1, factors).
        averages: Of every feature the mean of its `FeatureSums` over the training: linear, own, then the factors.
    """

    link: str
    design: SparseDesign
    intercept: float
    slots: Places
    weights: Array
    factors: Array
    averages: Array

    @cached_property
    def _squares(self) -> Array:
        """Half the squared length of every column's factors."""
        squares = np.zeros(len(self.factors))
        for column in self.factors.T:
            squares = squares + column * column
        return squares / 2

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        linear, _, own = self._sums(self.design.rows(rows))
        totals = self.intercept + linear + own
        return logistics(totals) if self.link == LOGISTIC else totals

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`: sums over the columns that the row has."""
        columns, values = self.design.row(encoded)
        row = SparseRow(self.slots[columns], values)
        factors = row.product(self.factors)
        pairs = total(factors * factors) / 2 - SparseRow(row.columns, values * values).dot(self._squares)
        sum_of_all = self.intercept + row.dot(self.weights) + pairs
        return logistic(sum_of_all) if self.link == LOGISTIC else sum_of_all

    def _sums(self, block: SparseRows, offset: int = 0) -> FeatureSums:
        rows = SparseRows(block.begins, self.slots[block.columns + offset], block.values, len(self.weights))
        factors = rows.product(self.factors)
        squares = np.zeros(len(rows))
        for column in factors.T:
            squares = squares + column * column
        alone = SparseRows(rows.begins, rows.columns, rows.values * rows.values, rows.width)
        return FeatureSums(rows.dot(self.weights), factors, squares / 2 - alone.dot(self._squares))

    def contributions(self, rows: Encoded) -> Contributions:
        """See `Fitted`: the Shapley values beside the mean of the training, in which a pair is shared evenly."""
        sums, parts = self._by_feature(rows), np.zeros((len(rows), len(rows.encoder.names), 1))
        means = {part.place: self.averages[place] for place, part in enumerate(self.design.parts)}
        everything = sum((each.factors for each in sums.values()), np.zeros((len(rows), self.factors.shape[1])))
        usual = self.averages[:, 2:].sum(axis=0)
        base = self.intercept + self.averages[:, :2].sum() + _pairs(self.averages[:, 2:])
        for place, each in sums.items():
            linear, own, factors = means[place][0], means[place][1], means[place][2:]
            others = (everything - each.factors + usual - factors) / 2
            parts[:, place, 0] = each.linear - linear + each.own - own + ((each.factors - factors) * others).sum(axis=1)
        return Contributions(np.array([base]), parts)

    def of_ngrams(self, row: Encoded, place: int) -> Array:
        """See `Fitted`: a pair is shared evenly."""
        columns, values = row.sparse(place).row(0)
        slots = self.slots[columns + self.design.offset(place)]
        parts, sums = values[:, None] * self.factors[slots], self._by_feature(row)
        means = {part.place: self.averages[number][2:] for number, part in enumerate(self.design.parts)}
        others = [(sums[other].factors[0] + means[other]) / 2 for other in sums if other != place]
        partners = sum(others, np.zeros(parts.shape[1])) + (parts.sum(axis=0) - parts) / 2
        added: Array = values * self.weights[slots] + (parts * partners).sum(axis=1)
        return added[:, None]

    def _by_feature(self, rows: Encoded) -> dict[int, FeatureSums]:
        pairs = zip(self.design.offsets, self.design.parts, strict=True)
        return {part.place: self._sums(self.design.block(part, rows), offset) for offset, part in pairs}

    def averaged(self, rows: Encoded) -> FittedFactorisation:
        """The same with the averages of the training rows."""
        sums = self._by_feature(rows)
        means = [sums[part.place] for part in self.design.parts]
        averages = [[each.linear.mean(), each.own.mean(), *each.factors.mean(axis=0)] for each in means]
        return replace(self, averages=np.array(averages))

    def save(self, path: Path) -> None:
        """Write it to one file."""
        description = {"link": self.link, "design": self.design.as_dict(), "intercept": self.intercept}
        tables = {"weights": self.weights, "factors": self.factors, "averages": self.averages}
        write_arrays(path, description, {"slots": self.slots.astype(np.int32), **tables})

    @classmethod
    def load(cls, path: Path) -> FittedFactorisation:
        """Read what `save` wrote."""
        data, arrays = read_arrays(path)
        design, slots = SparseDesign.from_dict(data["design"]), arrays["slots"].astype(np.int64)
        tables = arrays["weights"], arrays["factors"], arrays["averages"]
        return cls(data["link"], design, data["intercept"], slots, *tables)


def _pairs(factors: Array) -> float:
    """The products of all pairs of rows: half the square of their sum, less their own."""
    together = factors.sum(axis=0)
    return float((together * together).sum() - (factors * factors).sum()) / 2


class Factorisation(Learner):
    """A factorisation machine: every pair of columns has a weight, the product of their factors.

    It finds what a brand is worth in one category and not in another, also for pairs that few rows have. Categories are
    one-hot, numbers standardised, and n-grams as they are. The weights minimise the squared error of the standardised
    target, or the log loss, and their penalty, by L-BFGS.

    Attributes:
        factors: Numbers that each column has for its pairs.
        C: Inverse of the L2 penalty of the weights, as of `Linear`.
        pairs: Inverse of the L2 penalty of the factors.
        rounds: Steps of L-BFGS at most; few of them are a penalty, too.

    >>> Factorisation(factors=4).model_dump(include={"kind", "factors"})
    {'kind': 'factorisation', 'factors': 4}
    """

    fitted: ClassVar[type[Fitted]] = FittedFactorisation
    outputs: ClassVar[tuple[str, ...]] = ("binary", "regression")
    reads_ngrams: ClassVar[bool] = True
    kind: Literal["factorisation"] = "factorisation"
    factors: int = Field(default=8, ge=1, le=256)
    C: float = Field(default=0.4, gt=0)
    pairs: float = Field(default=0.05, gt=0)
    rounds: int = Field(default=60, ge=1)

    def fit(self, training: Training) -> FittedFactorisation:
        """Fit on encoded rows."""
        design = SparseDesign.fit(training.rows, limit=_LIMIT)
        columns = used(design.rows(training.rows))
        target, link, mean, scale = training.target, LOGISTIC, 0.0, 1.0
        if training.output == "regression":
            link, mean, scale = IDENTITY, float(target.mean()), float(target.std()) or 1.0
        loss = Loss(columns.rows, (target - mean) / scale, link, (1 / self.C, 1 / self.pairs))
        intercept, weights, factors = loss.minimised(self.factors, self.rounds, training.seed)
        slots = np.zeros(design.width, dtype=np.int64)
        slots[columns.columns] = np.arange(1, columns.columns.size + 1)
        tables = np.append(0.0, weights * scale), np.vstack([np.zeros((1, self.factors)), factors * np.sqrt(scale)])
        bare = FittedFactorisation(link, design, mean + intercept * scale, slots, *tables, np.empty(0))
        return bare.averaged(training.rows)
