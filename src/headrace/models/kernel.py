"""A Gaussian process for few rows: a sum of kernels, one or two of each feature, whose weights are learnt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from headrace.models.arrays import read_arrays, write_arrays
from headrace.models.base import Fitted, Learner, Training
from headrace.models.contributions import Contributions
from headrace.models.encoding import FREQUENCY, NUMBER, Array, Encoded, Encoder
from headrace.models.marginal import MarginalLikelihood
from headrace.models.products import add_products
from headrace.models.radial import Radial, radial
from headrace.models.sparse import SparseRows
from headrace.models.sparse_design import Part, SparseDesign, kept

_log = logging.getLogger("headrace.kernel")
_LIMIT = 5.0
"""Standard deviations that a number counts for at most."""
_EMBEDDED = -2
_BETWEEN = 0.7
"""Length of the radial kernels of embeddings, which have length 1."""


@dataclass(frozen=True)
class FittedKernel(Fitted):
    """A fitted `Kernel`. The sum of a linear kernel over all training rows is one weight for every column.

    Attributes:
        design: How rows become sparse ones.
        intercept: Of the sum.
        weights: Of every column of the design.
        radials: Sums over the training rows, which are kept for them.
        averages: What every feature adds on average: shape (features,).
    """

    design: SparseDesign
    intercept: float
    weights: Array
    radials: tuple[Radial, ...]
    averages: Array

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        totals = self.design.rows(rows).dot(self.weights) + self.intercept
        for each in self.radials:
            totals = totals + each.of_rows(_points(self.design, each.place, rows))
        return totals

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> float:
        """See `Fitted`."""
        total = self.design.row(encoded).dot(self.weights) + self.intercept
        for each in self.radials:
            total += float(each.of_rows(_point(self.design, each.place, encoded))[0])
        return total

    def contributions(self, rows: Encoded) -> Contributions:
        """See `Fitted`: what each feature adds beside what it adds on average."""
        base = np.array([self.intercept + self.averages.sum()])
        return Contributions(base, (self._by_feature(rows) - self.averages)[:, :, None])

    def of_ngrams(self, row: Encoded, place: int) -> Array:
        """See `Fitted`: each one's weight times its value."""
        columns, values = row.sparse(place).row(0)
        return (values * self.weights[columns + self.design.offset(place)])[:, None]

    def _by_feature(self, rows: Encoded) -> Array:
        parts = self.design.by_feature(rows, self.weights, len(rows.encoder.names))
        for each in self.radials:
            parts[:, each.place] += each.of_rows(_points(self.design, each.place, rows))
        return parts

    def averaged(self, rows: Encoded) -> FittedKernel:
        """The same with the averages of the training rows."""
        return replace(self, averages=self._by_feature(rows).mean(axis=0))

    def save(self, path: Path) -> None:
        """Write it to one file."""
        radials = [each.as_dict() for each in self.radials]
        description = {"design": self.design.as_dict(), "intercept": self.intercept, "radials": radials}
        arrays = {name: array for each in self.radials for name, array in each.arrays().items()}
        write_arrays(path, description, {"averages": self.averages, **kept(self.weights), **arrays})

    @classmethod
    def load(cls, path: Path) -> FittedKernel:
        """Read what `save` wrote."""
        data, arrays = read_arrays(path)
        design = SparseDesign.from_dict(data["design"])
        weights = np.zeros(design.width)
        weights[arrays["columns"]] = arrays["weights"]
        radials = tuple(Radial.from_arrays(each, arrays) for each in data["radials"])
        return cls(design, data["intercept"], weights, radials, arrays["averages"])


class Kernel(Learner):
    """A Gaussian process, or kernel ridge regression, with a kernel for every feature: for a few thousand rows.

    The kernel of n-grams is their cosine, that of a category whether two rows have the same, and of a number there are
    two: the product, and a radial one that finds bends; means of the target have the first alone. How much each counts,
    and how large the noise is, are what makes the target of `tuned_rows` of the rows most likely (Rasmussen and
    Williams 2006). Nothing needs to be tuned.

    Time grows with the cube of the rows, and memory with their square. Beyond `max_rows` it learns from so many of
    them, drawn by the seed, and the log says so.

    Attributes:
        max_rows: Rows that it learns from at most: 4,000 need 130 MB and a few seconds.
        tuned_rows: Rows that the weights of the kernels are learnt from.
        length: Of the radial kernels of numbers, in standard deviations.

    >>> Kernel(max_rows=2000).model_dump(include={"kind", "max_rows"})
    {'kind': 'kernel', 'max_rows': 2000}
    """

    fitted: ClassVar[type[Fitted]] = FittedKernel
    outputs: ClassVar[tuple[str, ...]] = ("regression",)
    reads_ngrams: ClassVar[bool] = True
    kind: Literal["kernel"] = "kernel"
    max_rows: int = Field(default=4000, ge=2, le=20_000)
    tuned_rows: int = Field(default=1200, ge=2, le=4000)
    length: float = Field(default=1.0, gt=0)

    def fit(self, training: Training) -> FittedKernel:
        """Fit on encoded rows."""
        random = np.random.default_rng(training.seed)
        rows, target = training.rows, training.target
        if target.size > self.max_rows:
            _log.warning("a kernel learner learns from %d of %d rows: max_rows", self.max_rows, target.size)
            drawn = np.sort(random.choice(target.size, self.max_rows, replace=False))
            rows, target = rows.taken(drawn), target[drawn]
        design = SparseDesign.fit(rows, limit=_LIMIT)
        mean, scale = float(target.mean()), float(target.std()) or 1.0
        standard = (target - mean) / scale
        kernels = _kernels(design, rows, self.length)
        some = np.sort(random.choice(target.size, min(self.tuned_rows, target.size), replace=False))
        weights, noise = MarginalLikelihood(_stacked(design, kernels, rows.taken(some)), standard[some]).minimised()
        weighted = [(each, weight) for each, weight in zip(kernels, weights.tolist(), strict=True) if weight > 0]
        solved = scale * _solved(_covariance(design, weighted, rows), noise, standard)
        return _fitted(design, weighted, rows, solved, mean)


class FeatureKernel(NamedTuple):
    """A kernel of one feature: of a part of the design; linear where there is no length."""

    number: int
    part: Part
    length: float | None

    @property
    def dense(self) -> bool:
        """Whether it is of numbers without gaps."""
        return self.length is not None or self.part.levels == _EMBEDDED

    def of(self, points: Array) -> Array:
        """Of every pair of rows, if it is dense: shape (rows, rows)."""
        return points @ points.T if self.length is None else radial(points, points, self.length)


def _kernels(design: SparseDesign, rows: Encoded, length: float) -> list[FeatureKernel]:
    kernels = [FeatureKernel(number, part, None) for number, part in enumerate(design.parts)]
    for number, part in enumerate(design.parts):
        # A mean of others' targets, where the group is known, tells the own target to what can bend. Of two values a
        # radial kernel is linear.
        bends = rows.encoder.roles[part.place] in (NUMBER, FREQUENCY)
        if bends and np.unique(rows.matrix[:, part.place]).size > 2:
            kernels.append(FeatureKernel(number, part, length))
        if part.levels == _EMBEDDED:
            kernels.append(FeatureKernel(number, part, _BETWEEN))
    return kernels


def _points(design: SparseDesign, place: int, rows: Encoded) -> Array:
    """A feature as a radial kernel reads it: shape (rows, dimensions)."""
    (part,) = (part for part in design.parts if part.place == place)
    block = design.block(part, rows)
    return block.values.reshape(len(block), -1) if part.levels == _EMBEDDED else block.values[block.begins[:-1], None]


def _point(design: SparseDesign, place: int, encoded: Sequence[Any]) -> Array:
    """`_points` of one row."""
    (part,) = (part for part in design.parts if part.place == place)
    if part.levels == _EMBEDDED:
        return np.asarray(encoded[place].values)[None, :]
    return np.array([[part.standard(encoded[place], design.limit)]])


def _stacked(design: SparseDesign, kernels: Sequence[FeatureKernel], rows: Encoded) -> Array:
    """The lower triangle of every kernel of the rows: shape (kernels, rows, rows)."""
    stacked = np.empty((len(kernels), len(rows), len(rows)))
    for each, matrix in zip(kernels, stacked, strict=True):
        if each.dense:
            matrix[:] = each.of(_points(design, each.part.place, rows))
        else:
            matrix[:] = 0.0
            add_products(design.block(each.part, rows), matrix)
    return stacked


def _covariance(design: SparseDesign, weighted: Sequence[tuple[FeatureKernel, float]], rows: Encoded) -> Array:
    """The lower triangle of the weighted sum of the kernels: shape (rows, rows)."""
    covariance, scales = np.zeros((len(rows), len(rows))), np.zeros(design.width)
    for each, weight in weighted:
        if each.dense:
            covariance += weight * each.of(_points(design, each.part.place, rows))
        else:
            scales[design.columns(each.number)] = np.sqrt(weight)
    add_products(_scaled(design.rows(rows), scales), covariance)
    return covariance


def _scaled(rows: SparseRows, scales: Array) -> SparseRows:
    """Rows with each column times its scale, without those of scale 0."""
    by = scales[rows.columns]
    kept = by > 0
    counts = np.bincount(rows.rows[kept], minlength=len(rows))
    begins = np.concatenate(([0], np.cumsum(counts)))
    return SparseRows(begins, rows.columns[kept], rows.values[kept] * by[kept], rows.width)


def _solved(covariance: Array, noise: float, target: Array) -> Array:
    """What the kernels of the training rows are multiplied by; the constant has a kernel of weight 1, too.

    Args:
        covariance: Its lower triangle; it is overwritten.
        noise: The variance of the noise.
        target: Shape (rows,).
    """
    from scipy.linalg import cho_factor, cho_solve
    from threadpoolctl import threadpool_limits

    covariance += 1.0
    covariance[np.diag_indices(target.size)] += noise
    with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
        # The upper triangle of the transposed, in the order that LAPACK wants: nothing is copied.
        factor = cho_factor(covariance.T, lower=False, overwrite_a=True, check_finite=False)
        solved: Array = cho_solve(factor, target, check_finite=False)
    return solved


def _fitted(
    design: SparseDesign, weighted: Sequence[tuple[FeatureKernel, float]], rows: Encoded, solved: Array, mean: float
) -> FittedKernel:
    scales, radials = np.zeros(design.width), []
    for each, weight in weighted:
        if each.length is None:
            scales[design.columns(each.number)] = weight
        else:
            points = _points(design, each.part.place, rows)
            radials.append(Radial.around(each.part.place, each.length, points, weight * solved))
    weights = scales * _sums(design.rows(rows), solved)
    bare = FittedKernel(design, mean + float(solved.sum()), weights, tuple(radials), np.empty(0))
    return bare.averaged(rows)


def _sums(rows: SparseRows, solved: Array) -> Array:
    """Of every column the sum of its values, each times its row's number."""
    sums = np.bincount(rows.columns, weights=rows.values * solved[rows.rows], minlength=rows.width)
    return sums.astype(np.float64, copy=False)  # of no values at all bincount gives whole numbers
