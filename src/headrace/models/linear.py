"""Linear and logistic regression over encoded features, fitted by scikit-learn and asked without it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from headrace.models.arrays import holds_arrays
from headrace.models.base import Fitted, Learner, Training
from headrace.models.conjugate import ridge
from headrace.models.contributions import Contributions
from headrace.models.encoding import CATEGORY, Array, Encoded, Encoder
from headrace.models.links import IDENTITY, LOGISTIC, SOFTMAX, logistic, logistics, softmax, softmaxes
from headrace.models.parts import TrainingParts
from headrace.models.rowcode import function_of
from headrace.models.sparse import Places, SparseRows
from headrace.models.sparse_design import SparseDesign, used
from headrace.models.sparse_linear import FittedSparseLinear

_LARGE = 1e30
_DENSE = 1_000
"""Levels of categories, in all, up to which a design is dense."""
_ABSENT = 7.0
"""How much smaller the log odds of a class are that no row had: a thousandth of the rarest one's."""


@dataclass(frozen=True)
class Term:
    """What one feature adds to a sum, such as the log odds.

    Attributes:
        weights: Of a category: what each level adds. Of a number: its one weight.
        mean, scale: Of a number; None for a category.
        missing: What a missing value adds.
        average: What the rows of the training add, on average.
    """

    weights: tuple[float, ...]
    missing: float
    mean: float | None = None
    scale: float = 1.0
    average: float = 0.0

    def of_column(self, values: Array) -> Array:
        """What the values of a column add: shape (rows,)."""
        missing = np.isnan(values)
        if self.mean is None:
            table = np.array((*self.weights, self.missing))
            return table[np.where(missing, len(self.weights), values).astype(np.intp)]
        return np.where(missing, self.missing, (values - self.mean) / self.scale * self.weights[0])


@dataclass(frozen=True)
class Sum:
    """An intercept, and what every feature adds to it."""

    intercept: float
    terms: tuple[Term, ...]

    def of_matrix(self, matrix: Array) -> Array:
        """The sums of encoded rows: shape (rows,)."""
        total = np.full(matrix.shape[0], self.intercept)
        for place, term in enumerate(self.terms):
            total = total + term.of_column(matrix[:, place])
        return total

    @property
    def average(self) -> float:
        """The sum of the rows of the training, on average."""
        return self.intercept + sum(term.average for term in self.terms)

    def parts(self, matrix: Array) -> Array:
        """What every feature of encoded rows adds beside what it adds on average: shape (rows, features)."""
        return np.column_stack(
            [term.of_column(matrix[:, place]) - term.average for place, term in enumerate(self.terms)]
        )

    def source(self, number: int) -> tuple[list[str], dict[str, Any]]:
        """Lines that add up ``total{number}`` of one row for `function_of`, to the same bits, and their constants."""
        total, names = f"total{number}", {f"intercept{number}": self.intercept}
        constants: dict[str, Any] = dict(names)
        lines = [f"{total} = intercept{number}"]
        for place, term in enumerate(self.terms):
            v, suffix = f"v{place}", f"{number}_{place}"
            missing, weights = f"gone{suffix}", f"weights{suffix}"
            constants |= {missing: term.missing, weights: term.weights}
            if term.mean is None:
                added = f"{weights}[int({v})]"
            else:
                constants |= {f"mean{suffix}": term.mean, f"scale{suffix}": term.scale, weights: term.weights[0]}
                added = f"({v} - mean{suffix}) / scale{suffix} * {weights}"
            lines.append(f"{total} += {missing} if {v} != {v} else {added}")
        return lines, constants


@dataclass(frozen=True)
class DesignColumn:
    """How one encoded feature enters a dense design: one-hot levels or a standardised number, and a mark of missing."""

    levels: int
    mean: float
    scale: float
    marked: bool

    @property
    def width(self) -> int:
        """Columns of the design that it takes."""
        return (self.levels or 1) + self.marked

    def dense(self, values: Array) -> Array:
        """Shape (rows, width)."""
        missing = np.isnan(values)
        if self.levels:
            out = (values[:, None] == np.arange(self.levels)).astype(np.float64)
        else:
            # Many estimators compute with 32 bits, in which a larger number is infinite, and refuse it.
            standard = np.clip((values - self.mean) / self.scale, -_LARGE, _LARGE)
            out = np.where(missing, 0.0, standard)[:, None]
        return np.column_stack([out, missing]) if self.marked else out

    def term(self, weights: Array, means: Array) -> Term:
        """The term of a linear model with these weights, of a design whose columns have these means."""
        missing, average = float(weights[-1]) if self.marked else 0.0, float((weights * means).sum())
        if self.levels:
            return Term(tuple(weights[: self.levels].tolist()), missing, average=average)
        return Term((float(weights[0]),), missing, self.mean, self.scale, average)


@dataclass(frozen=True)
class Design:
    """Encoded rows as the dense numbers that estimators want."""

    columns: tuple[DesignColumn, ...]

    @classmethod
    def fit(cls, encoder: Encoder, matrix: Array) -> Design:
        """Means and scales of the training rows."""
        columns = []
        for place, role in enumerate(encoder.roles):
            values = matrix[:, place]
            known = values[~np.isnan(values)]
            marked = bool(known.size < values.size)
            if role == CATEGORY:
                columns.append(DesignColumn(encoder.width(place), 0.0, 1.0, marked))
            else:
                mean, scale = (float(known.mean()), float(known.std())) if known.size else (0.0, 1.0)
                columns.append(DesignColumn(0, mean, scale or 1.0, marked))
        return cls(tuple(columns))

    def sum(self, intercept: float, weights: Array, means: Array) -> Sum:
        """The sum of terms that a linear model is.

        Args:
            intercept: Its own.
            weights: Of every column of the design.
            means: Of these columns, over the rows of the training.
        """
        parts = (slice(begin, begin + column.width) for begin, column in zip(self._begins, self.columns, strict=True))
        terms = (column.term(weights[p], means[p]) for p, column in zip(parts, self.columns, strict=True))
        return Sum(intercept, tuple(terms))

    def folded(self, parts: Array) -> Array:
        """Numbers of every column of the design, shape (rows, sum of the widths, ...), added up by feature."""
        return np.add.reduceat(parts, self._begins, axis=1)

    @property
    def _begins(self) -> list[int]:
        """The first column of every feature."""
        return list(accumulate((column.width for column in self.columns[:-1]), initial=0))

    def dense(self, matrix: Array) -> Array:
        """Shape (rows, sum of the widths)."""
        return np.column_stack([column.dense(matrix[:, i]) for i, column in enumerate(self.columns)])


@dataclass(frozen=True)
class FittedLinear(Fitted):
    """A fitted `Linear`: a sum of terms per score, and the `link` that makes scores of them."""

    link: str
    sums: tuple[Sum, ...]

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        totals = [total.of_matrix(rows.matrix) for total in self.sums]
        if self.link == SOFTMAX:
            return softmaxes(np.column_stack(totals))
        return logistics(totals[0]) if self.link == LOGISTIC else totals[0]

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`: plain arithmetic."""
        return self._of_row(encoded)

    def contributions(self, rows: Encoded) -> Contributions:
        """See `Fitted`: what each term adds beside what it adds on average."""
        parts = np.stack([total.parts(rows.matrix) for total in self.sums], axis=2)
        return Contributions(np.array([total.average for total in self.sums]), parts)

    @cached_property
    def _of_row(self) -> Callable[[list[float]], Any]:
        lines: list[str] = []
        names: dict[str, Any] = {"logistic": logistic, "softmax": softmax}
        for number, total in enumerate(self.sums):
            some, constants = total.source(number)
            lines += some
            names |= constants
        totals = ", ".join(f"total{number}" for number in range(len(self.sums)))
        result = {LOGISTIC: "logistic(total0)", IDENTITY: "total0", SOFTMAX: f"softmax([{totals}])"}[self.link]
        return function_of(len(self.sums[0].terms), lines, result, names)

    def save(self, path: Path) -> None:
        """Write it to one file."""
        sums = [{"intercept": total.intercept, "terms": [vars(term) for term in total.terms]} for total in self.sums]
        path.write_text(json.dumps({"link": self.link, "sums": sums}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Any:
        """Read what `save` wrote, here or of a sparse design."""
        if holds_arrays(path):
            return FittedSparseLinear.load(path)
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sums = tuple(Sum(item["intercept"], tuple(map(_term, item["terms"]))) for item in data["sums"])
        if data["link"] not in (LOGISTIC, SOFTMAX, IDENTITY) or not sums:
            raise ValueError(f"no linear model has the link {data['link']!r}")
        return cls(data["link"], sums)


def _term(data: dict[str, Any]) -> Term:
    return Term(**{**data, "weights": tuple(data["weights"])})


class Linear(Learner):
    """Logistic regression, or ridge regression of a number.

    Categories are one-hot, numbers standardised, and missing values have a weight of their own. Beside n-grams, or
    where categories have more than 1,000 levels in all, the rows stay sparse; a ridge is then solved by conjugate
    gradients.

    Attributes:
        C: Inverse of the L2 penalty, as in scikit-learn; of a number it is that of the standardised target.

    >>> Linear(C=0.3).model_dump()
    {'kind': 'linear', 'C': 0.3}
    """

    fitted: ClassVar[type[Fitted]] = FittedLinear
    kind: Literal["linear"] = "linear"
    reads_ngrams: ClassVar[bool] = True
    C: float = Field(default=1.0, gt=0)

    def fit(self, training: Training) -> Fitted:
        """Fit on encoded rows."""
        encoder = training.encoder
        if encoder.sparse or sum(map(encoder.width, encoder.categorical)) > _DENSE:
            return self._sparse(training)
        design = Design.fit(training.encoder, training.rows.matrix)
        dense = design.dense(training.rows.matrix)
        means = dense.mean(axis=0)
        if training.output == "regression":
            return self._ridge(design, dense, training.target)
        model = self._logistic(dense, training)
        if training.output == "binary":
            return FittedLinear(LOGISTIC, (design.sum(float(model.intercept_[0]), model.coef_[0], means),))
        weights, intercepts = _per_class(model, training.classes)
        sums = (design.sum(float(start), row, means) for start, row in zip(intercepts, weights, strict=True))
        return FittedLinear(SOFTMAX, tuple(sums))

    def _logistic(self, rows: Any, training: Training) -> Any:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.C, max_iter=2000, random_state=training.seed)
        return model.fit(rows, training.target)

    def _sparse(self, training: Training) -> FittedSparseLinear:
        design = SparseDesign.fit(training.rows)
        whole = design.rows(training.rows)
        columns = used(whole)
        if training.output == "regression":
            return self._sparse_ridge(training, design, columns.columns, [columns.rows])
        model = self._logistic(columns.rows.scipy, training)
        if training.output == "binary":
            link, starts, table = LOGISTIC, model.intercept_, model.coef_.T
        else:
            by_class, starts = _per_class(model, training.classes)
            link, table = SOFTMAX, by_class.T
        means = np.bincount(whole.columns, weights=whole.values, minlength=whole.width) / len(whole)
        weights, features = columns.spread(table, design.width), len(training.encoder.names)
        return FittedSparseLinear.of(link, design, starts, weights, means, features)

    def reads_parts(self, output: str) -> bool:
        """A ridge needs no more than one part of the rows at once."""
        return output == "regression"

    def fit_parts(self, training: TrainingParts) -> FittedSparseLinear:
        """See `Learner`: the bits of `fit`, where that is sparse, too."""
        design = SparseDesign.fit(training.rows)
        with training.files(map(design.rows, training)) as (blocks, columns):
            return self._sparse_ridge(training, design, columns, blocks)

    def _sparse_ridge(
        self, training: Training | TrainingParts, design: SparseDesign, columns: Places, blocks: Iterable[SparseRows]
    ) -> FittedSparseLinear:
        """The ridge on the columns of a design that some row has."""
        target = training.target
        mean, scale = float(target.mean()), float(target.std()) or 1.0
        fitted = ridge(blocks, (target - mean) / scale, 1 / self.C)
        weights, means = np.zeros((design.width, 1)), np.zeros(design.width)
        weights[columns, 0], means[columns] = fitted.weights * scale, fitted.means
        start, features = mean + fitted.intercept * scale, len(training.encoder.names)
        return FittedSparseLinear.of(IDENTITY, design, (start,), weights, means, features)

    def _ridge(self, design: Design, dense: Array, target: Array) -> FittedLinear:
        from sklearn.linear_model import Ridge

        mean, scale = float(target.mean()), float(target.std()) or 1.0
        model = Ridge(alpha=1 / self.C).fit(dense, (target - mean) / scale)
        intercept, weights = mean + float(model.intercept_) * scale, model.coef_ * scale
        return FittedLinear(IDENTITY, (design.sum(intercept, weights, dense.mean(axis=0)),))


def _per_class(model: Any, classes: int) -> tuple[Array, Array]:
    """Weights of shape (classes, columns) and intercepts of every class, of a model that may not have seen all.

    A class that no row had is less likely than every other; see `_ABSENT`.
    """
    there = model.classes_.astype(np.intp)
    weights, intercepts = np.zeros((classes, model.coef_.shape[1])), np.zeros(classes)
    if there.size == 2:  # scikit-learn has the odds of the second beside the first
        weights[there[1]], intercepts[there[1]] = model.coef_[0], model.intercept_[0]
    else:
        weights[there], intercepts[there] = model.coef_, model.intercept_
    absent = np.setdiff1d(np.arange(classes), there)
    intercepts[absent] = intercepts[there].min() - _ABSENT
    return weights, intercepts
