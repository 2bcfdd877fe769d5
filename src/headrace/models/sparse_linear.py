"""Linear and logistic regression on a sparse design: what `Linear` fits where there are n-grams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace.models.arrays import read_arrays, write_arrays
from headrace.models.base import Fitted
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.links import LOGISTIC, SOFTMAX, logistic, logistics, softmax, softmaxes
from headrace.models.sparse_design import SparseDesign, kept


@dataclass(frozen=True)
class FittedSparseLinear(Fitted):
    """A fitted `Linear` on a sparse design.

    Attributes:
        link: What makes scores of sums.
        design: How rows become sparse ones.
        intercepts: Of every sum.
        weights: Of every column of the design: shape (width, sums), columns contiguous.
        averages: What every feature adds on average: shape (features, sums).
    """

    link: str
    design: SparseDesign
    intercepts: tuple[float, ...]
    weights: Array
    averages: Array

    @classmethod
    def of(
        cls, link: str, design: SparseDesign, intercepts: Sequence[float], weights: Array, means: Array, features: int
    ) -> FittedSparseLinear:
        """What was fitted, where the columns of the design have these means over the rows of the training.

        Args:
            link: See above.
            design: Of so many features.
            intercepts: Of every sum.
            weights: Of every column, for every sum.
            means: Of every column.
            features: How many there are.
        """
        spread = np.asfortranarray(weights)
        averages = np.column_stack([design.averages(means, column, features) for column in spread.T])
        return cls(link, design, tuple(map(float, intercepts)), spread, averages)

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        totals = self.design.rows(rows).product(self.weights) + np.array(self.intercepts)
        if self.link == SOFTMAX:
            return softmaxes(totals)
        return logistics(totals[:, 0]) if self.link == LOGISTIC else totals[:, 0]

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`: a sum over the columns that the row has."""
        row = self.design.row(encoded)
        if self.link == SOFTMAX:
            pairs = zip(self.weights.T, self.intercepts, strict=True)
            return softmax([row.dot(weights) + intercept for weights, intercept in pairs])
        total = row.dot(self.weights[:, 0]) + self.intercepts[0]
        return logistic(total) if self.link == LOGISTIC else total

    def contributions(self, rows: Encoded) -> Contributions:
        """See `Fitted`: what each feature adds beside what it adds on average."""
        features = len(rows.encoder.names)
        parts = [self.design.by_feature(rows, weights, features) for weights in self.weights.T]
        base = np.array(self.intercepts) + self.averages.sum(axis=0)
        return Contributions(base, np.stack(parts, axis=2) - self.averages)

    def of_ngrams(self, row: Encoded, place: int) -> Array:
        """See `Fitted`: each one's weight times its value."""
        columns, values = row.sparse(place).row(0)
        return values[:, None] * self.weights[columns + self.design.offset(place)]

    def save(self, path: Path) -> None:
        """Write it to one file."""
        description = {"link": self.link, "design": self.design.as_dict(), "intercepts": self.intercepts}
        write_arrays(path, description, {"averages": self.averages, **kept(self.weights)})

    @classmethod
    def load(cls, path: Path) -> FittedSparseLinear:
        """Read what `save` wrote."""
        data, arrays = read_arrays(path)
        design = SparseDesign.from_dict(data["design"])
        weights = np.zeros((design.width, len(data["intercepts"])), order="F")
        weights[arrays["columns"]] = arrays["weights"]
        return cls(data["link"], design, tuple(data["intercepts"]), weights, arrays["averages"])
