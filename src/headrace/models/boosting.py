"""Gradient boosting over encoded features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from headrace.models.arrays import holds_arrays, read_arrays, write_arrays
from headrace.models.base import Fitted, Learner, Training
from headrace.models.booster import Booster, fit_booster
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.projection import Projection

_NAN = float("nan")
_APART = 7_919
"""Between the seeds of copies: repeats of a fit have the next ones."""


def projected(rows: Encoded, projections: Sequence[Projection]) -> Array:
    """The floats of rows, and what becomes of their n-grams beside them: C-contiguous."""
    if not projections:
        return rows.matrix
    blocks = [projection.of_rows(rows.sparse(projection.place)) for projection in projections]
    return np.ascontiguousarray(np.column_stack([rows.matrix, *blocks]))


@dataclass(frozen=True)
class FittedBoosting(Fitted):
    """A fitted `Boosting`.

    Attributes:
        texts: The trees of every copy, in LightGBM's text form.
        projections: What becomes of the n-grams: columns after those of all features.
    """

    texts: tuple[str, ...]
    projections: tuple[Projection, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return FittedBoosting, (self.texts, self.projections)  # what LightGBM has loaded stays in its process

    @cached_property
    def _boosters(self) -> tuple[Booster, ...]:
        return tuple(map(Booster.from_text, self.texts))

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        matrix = projected(rows, self.projections)
        first, *others = (np.asarray(each.predict(matrix), dtype=np.float64) for each in self._boosters)
        for scores in others:
            first = first + scores
        return first / len(self.texts)

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`: LightGBM's own way for one row."""
        if self.projections:
            blocks = [encoded[projection.place] for projection in self.projections]
            encoded = [number if isinstance(number, float) else _NAN for number in encoded]
            for projection, block in zip(self.projections, blocks, strict=True):
                encoded += projection.of_row(block)
        first, *others = self._boosters
        if first.outputs == 1:
            total = first.predict_row(encoded)
            for booster in others:
                total += booster.predict_row(encoded)
            return total / len(self.texts)
        totals = first.predict_outputs(encoded)
        for booster in others:
            totals = [one + other for one, other in zip(totals, booster.predict_outputs(encoded), strict=True)]
        return [one / len(self.texts) for one in totals]

    def contributions(self, rows: Encoded) -> Contributions | None:
        """See `Fitted`: SHAP values of the trees. The mean of several copies' probabilities has none."""
        if len(self.texts) > 1 and "\nobjective=regression" not in self.texts[0]:
            return None
        base, by_column = self._by_column(rows)
        parts = by_column[:, : rows.matrix.shape[1]]
        for projection, columns in self._columns(rows.matrix.shape[1]):
            parts[:, projection.place] += by_column[:, columns].sum(axis=1)
        return Contributions(base, np.ascontiguousarray(parts))

    def gains(self, features: int) -> Array:
        """What all splits by each feature gain, n-grams as one: shape (features,)."""
        by_column: Array = np.sum([booster.gains() for booster in self._boosters], axis=0)
        gains = by_column[:features].copy()
        for projection, columns in self._columns(features):
            gains[projection.place] += by_column[columns].sum()
        return gains

    def of_ngrams(self, row: Encoded, place: int) -> Array:
        """See `Fitted`: each column of the projection is shared by the size of what the n-grams add to it."""
        _, by_column = self._by_column(row)
        projection, columns = next(pair for pair in self._columns(row.matrix.shape[1]) if pair[0].place == place)
        shared: Array = projection.shares(row.sparse(place).row(0)) @ by_column[0, columns]
        return shared

    def _by_column(self, rows: Encoded) -> tuple[Array, Array]:
        """What the trees say on average, and what every column adds: shape (rows, columns, outputs)."""
        matrix = projected(rows, self.projections)
        parts = np.mean([booster.contributions(matrix) for booster in self._boosters], axis=0)
        return parts[0, :, -1], parts[:, :, :-1].transpose(0, 2, 1)

    def _columns(self, features: int) -> Iterator[tuple[Projection, slice]]:
        """Which columns each projection gives."""
        for projection in self.projections:
            yield projection, slice(features, features + projection.components)
            features += projection.components

    def save(self, path: Path) -> None:
        """Write it to one file, in LightGBM's text form where there are no n-grams."""
        if not self.projections and len(self.texts) == 1:
            path.write_text(self.texts[0], encoding="utf-8")
            return
        places = [projection.place for projection in self.projections]
        arrays = {name: array for each in self.projections for name, array in each.arrays().items()}
        write_arrays(path, {"texts": list(self.texts), "places": places}, arrays)

    @classmethod
    def load(cls, path: Path) -> FittedBoosting:
        """Read what `save` wrote; a damaged text is refused."""
        if holds_arrays(path):
            data, arrays = read_arrays(path)
            texts = tuple(data["texts"]) if "texts" in data else (data["text"],)  # of before there were copies
            boosting = cls(texts, tuple(Projection.from_arrays(place, arrays) for place in data["places"]))
        else:
            boosting = cls((path.read_text(encoding="utf-8"),))
        _ = boosting._boosters
        return boosting


class Boosting(Learner):
    """LightGBM on log loss, or on squared errors of a number.

    The defaults suit a few hundred to a few hundred thousand rows. Of n-grams it reads the first `components` of their
    truncated singular value decomposition, fitted on the same rows.

    Attributes:
        n_estimators: Boosting rounds.
        components: Numbers that the n-grams of a feature become.
        copies: Models with other seeds, whose mean is taken: with few rows it is better than each, and costs as often.
        learning_rate, num_leaves, min_child_samples, colsample_bytree, subsample, reg_lambda: As in LightGBM.

    >>> Boosting(n_estimators=60, num_leaves=15).model_dump(include={"kind", "n_estimators", "num_leaves"})
    {'kind': 'boosting', 'n_estimators': 60, 'num_leaves': 15}
    """

    fitted: ClassVar[type[Fitted]] = FittedBoosting
    kind: Literal["boosting"] = "boosting"
    reads_ngrams: ClassVar[bool] = True
    n_estimators: int = Field(default=150, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    num_leaves: int = Field(default=7, ge=2)
    min_child_samples: int = Field(default=20, ge=1)
    colsample_bytree: float = Field(default=0.7, gt=0, le=1)
    subsample: float = Field(default=0.8, gt=0, le=1)
    reg_lambda: float = Field(default=5.0, ge=0)
    components: int = Field(default=20, ge=1, le=500)
    copies: int = Field(default=1, ge=1, le=64)

    def fit(self, training: Training) -> FittedBoosting:
        """Fit on encoded rows."""
        rows = training.rows
        projections = tuple(
            Projection.fit(place, rows.sparse(place), self.components, training.seed)
            for place in training.encoder.sparse
        )
        matrix = projected(rows, projections)
        params = {
            "objective": training.output,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "lambda_l2": self.reg_lambda,
            "num_threads": 1,
        }
        if training.output == "multiclass":
            params["num_class"] = training.classes
        texts = tuple(
            fit_booster(
                matrix,
                training.target,
                rounds=self.n_estimators,
                params={**params, "seed": training.seed + copy * _APART},
                feature_names=[f"f{i}" for i in range(matrix.shape[1])],
                categorical=training.encoder.categorical,
            )
            for copy in range(self.copies)
        )
        return FittedBoosting(texts, projections)
