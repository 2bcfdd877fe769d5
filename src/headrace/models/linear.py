"""Logistic regression over encoded features, fitted by scikit-learn and asked without it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from headrace.declaration import Declared
from headrace.models.encoding import CATEGORY, Array, Encoder
from headrace.models.rowcode import function_of

_LARGE = 1e30


class Linear(Declared):
    """Logistic regression: categories one-hot, numbers standardised, missing values with a weight of their own.

    Attributes:
        strength: Inverse of the L2 penalty (scikit-learn's ``C``).
    """

    kind: ClassVar[str] = "linear"
    strength: float = Field(default=1.0, gt=0)

    def fit(self, encoder: Encoder, matrix: Array, target: Array, seed: int) -> LinearScorer:
        """Fit on encoded rows; `target` is 0 or 1."""
        from sklearn.linear_model import LogisticRegression

        design = Design.fit(encoder, matrix)
        model = LogisticRegression(C=self.strength, max_iter=2000, random_state=seed)
        model.fit(design.dense(matrix), target)
        weights = model.coef_[0]
        terms, at = [], 0
        for column in design.columns:
            size = column.width
            terms.append(column.term(weights[at : at + size]))
            at += size
        return LinearScorer(float(model.intercept_[0]), tuple(terms))


@dataclass(frozen=True)
class Term:
    """What one feature adds to the log odds.

    Attributes:
        weights: Of a category: what each level adds. Of a number: its one weight.
        mean, scale: Of a number; None for a category.
        missing: What a missing value adds.
    """

    weights: tuple[float, ...]
    missing: float
    mean: float | None = None
    scale: float = 1.0

    def of_column(self, values: Array) -> Array:
        """What the values of a column add: shape (rows,)."""
        gone = np.isnan(values)
        if self.mean is None:
            table = np.array((*self.weights, self.missing))
            return table[np.where(gone, len(self.weights), values).astype(np.intp)]
        return np.where(gone, self.missing, (values - self.mean) / self.scale * self.weights[0])


@dataclass(frozen=True)
class Column:
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
        gone = np.isnan(values)
        if self.levels:
            out = (values[:, None] == np.arange(self.levels)).astype(np.float64)
        else:
            # Many estimators compute with 32 bits, in which a larger number is infinite, and refuse it.
            standard = np.clip((values - self.mean) / self.scale, -_LARGE, _LARGE)
            out = np.where(gone, 0.0, standard)[:, None]
        return np.column_stack([out, gone]) if self.marked else out

    def term(self, weights: Array) -> Term:
        """The term of a linear model with these weights."""
        missing = float(weights[-1]) if self.marked else 0.0
        if self.levels:
            return Term(tuple(weights[: self.levels].tolist()), missing)
        return Term((float(weights[0]),), missing, self.mean, self.scale)


@dataclass(frozen=True)
class Design:
    """Encoded rows as the dense numbers that estimators want."""

    columns: tuple[Column, ...]

    @classmethod
    def fit(cls, encoder: Encoder, matrix: Array) -> Design:
        """Means and scales of the training rows."""
        columns = []
        for place, role in enumerate(encoder.roles):
            values = matrix[:, place]
            known = values[~np.isnan(values)]
            marked = bool(known.size < values.size)
            if role == CATEGORY:
                columns.append(Column(encoder.width(place), 0.0, 1.0, marked))
            else:
                mean, scale = (float(known.mean()), float(known.std())) if known.size else (0.0, 1.0)
                columns.append(Column(0, mean, scale or 1.0, marked))
        return cls(tuple(columns))

    def dense(self, matrix: Array) -> Array:
        """Shape (rows, sum of the widths)."""
        return np.column_stack([column.dense(matrix[:, i]) for i, column in enumerate(self.columns)])


def logistic(x: float) -> float:
    """1 / (1 + e^-x), without overflow."""
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    e = math.exp(x)
    return e / (1.0 + e)


def logistics(x: Array) -> Array:
    """`logistic` of many numbers, to the same bits.

    NumPy's exponential differs from the C library's in the last bit, and a row has only the latter.
    """
    e = np.array(list(map(math.exp, (-np.abs(x)).tolist())), dtype=np.float64)
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


@dataclass(frozen=True)
class LinearScorer:
    """A fitted `Linear`: the probability of the second class."""

    intercept: float
    terms: tuple[Term, ...]

    def scores(self, matrix: Array) -> Array:
        """Probabilities of encoded rows: shape (rows,)."""
        total = np.full(matrix.shape[0], self.intercept)
        for place, term in enumerate(self.terms):
            total = total + term.of_column(matrix[:, place])
        return logistics(total)

    def score(self, row: list[float]) -> float:
        """The probability of one encoded row: the same bits."""
        return logistic(self._log_odds(row))

    @cached_property
    def _log_odds(self) -> Callable[[list[float]], float]:
        names: dict[str, Any] = {"intercept": self.intercept}
        lines = ["total = intercept"]
        for place, term in enumerate(self.terms):
            v, gone, weights = f"v{place}", f"gone{place}", f"weights{place}"
            names |= {gone: term.missing, weights: term.weights}
            if term.mean is None:
                added = f"{weights}[int({v})]"
            else:
                names |= {f"mean{place}": term.mean, f"scale{place}": term.scale, weights: term.weights[0]}
                added = f"({v} - mean{place}) / scale{place} * {weights}"
            lines.append(f"total += {gone} if {v} != {v} else {added}")
        return function_of(len(self.terms), lines, "total", names)

    def save(self, path: Path) -> None:
        """Write it to one file."""
        data = {"intercept": self.intercept, "terms": [vars(term) for term in self.terms]}
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> LinearScorer:
        """Read what `save` wrote."""
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        terms = (Term(**{**term, "weights": tuple(term["weights"])}) for term in data["terms"])
        return cls(data["intercept"], tuple(terms))
