"""Gradient boosting over encoded features."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from headrace.declaration import Declared
from headrace.models.booster import Booster, fit_booster
from headrace.models.encoding import Array, Encoder


class Boosting(Declared):
    """LightGBM on log loss. The defaults suit a few hundred to a few hundred thousand rows.

    Attributes:
        trees, learning_rate, leaves, min_leaf, feature_share, row_share, l2: LightGBM's settings.
    """

    kind: ClassVar[str] = "boosting"
    trees: int = Field(default=150, ge=1)
    learning_rate: float = Field(default=0.05, gt=0, le=1)
    leaves: int = Field(default=7, ge=2)
    min_leaf: int = Field(default=20, ge=1)
    feature_share: float = Field(default=0.7, gt=0, le=1)
    row_share: float = Field(default=0.8, gt=0, le=1)
    l2: float = Field(default=5.0, ge=0)

    def fit(self, encoder: Encoder, matrix: Array, target: Array, seed: int) -> BoostingScorer:
        """Fit on encoded rows; `target` is 0 or 1."""
        params = {
            "objective": "binary",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_leaf,
            "feature_fraction": self.feature_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.l2,
            "seed": seed,
            "num_threads": 1,
        }
        text = fit_booster(
            matrix,
            target,
            rounds=self.trees,
            params=params,
            feature_names=[f"f{i}" for i in range(matrix.shape[1])],
            categorical=encoder.categorical,
        )
        return BoostingScorer(text)


@dataclass(frozen=True)
class BoostingScorer:
    """A fitted `Boosting`: the probability of the second class. Safe to use from any number of threads."""

    text: str

    @cached_property
    def _booster(self) -> Booster:
        return Booster.from_text(self.text)

    def scores(self, matrix: Array) -> Array:
        """Probabilities of encoded rows: shape (rows,)."""
        return np.asarray(self._booster.predict(matrix), dtype=np.float64)

    def score(self, row: list[float]) -> float:
        """The probability of one encoded row: the same bits."""
        return self._booster.predict_row(row)

    def save(self, path: Path) -> None:
        """Write it to one file, in LightGBM's text form."""
        path.write_text(self.text, encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> BoostingScorer:
        """Read what `save` wrote; a damaged text is refused."""
        made = cls(path.read_text(encoding="utf-8"))
        _ = made._booster
        return made
