"""A scikit-learn regressor that learns behind the features of series, in place of a booster."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.errors import ModelError
from headrace.features.arrays import Array
from headrace.models import pickles
from headrace.models.brought import named
from headrace.models.estimator import Estimator, in_blocks, seeded

BLOCK = 512
"""Examples that a regressor is always asked for at once."""


@dataclass(frozen=True)
class RegressorMember:
    """A fitted regressor over a matrix of features. Safe to use from any number of threads.

    Attributes:
        regressor: The object itself.
        stored: It as it was right after the fit, before anything was asked of it; None where it was read.
    """

    regressor: Any
    stored: pickles.Pickled | None = field(default=None, repr=False, compare=False)

    def predict(self, matrix: Array, threads: int = 1) -> Array:
        """Predict examples, the same bits for each whoever its neighbours are: shape (rows,).

        Args:
            matrix: Shape (rows, features).
            threads: Not used: the regressor has its own.

        Raises:
            ModelError: It fails.
        """
        if not matrix.shape[0]:
            return np.empty(0)
        return in_blocks(matrix, self._ask, BLOCK)

    def _ask(self, block: Array) -> Array:
        try:
            return np.asarray(self.regressor.predict(block), dtype=np.float64).reshape(len(block))
        except Exception as error:  # another's estimator may raise anything
            raise ModelError(f"cannot be asked: {type(error).__name__}: {error}", where="model.learner") from error

    def save(self, folder: Path) -> None:
        """Write it to a folder: pickled, with the code of yours that it needs."""
        pickles.save(self.stored or self.regressor, folder)

    @classmethod
    def load(cls, folder: Path) -> RegressorMember:
        """Read what `save` wrote.

        Raises:
            ArtefactError: It cannot be read with the libraries installed.
        """
        return cls(pickles.load(folder))


def fit_regressor(learner: Estimator, matrix: Array, target: Array, seed: int) -> RegressorMember:
    """Fit a regressor on examples; one that reads no missing values gets their mean, with a mark beside.

    Args:
        learner: What to fit.
        matrix: Shape (rows, features), NaN where missing.
        target: Shape (rows,), finite.
        seed: For all that is random in it.

    Raises:
        ModelError: It cannot be fitted.
        ArtefactError: What was fitted cannot be pickled.
    """
    regressor = learner.make()
    seeded(regressor, seed)
    if not _reads_missing(regressor):
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline

        regressor = make_pipeline(SimpleImputer(add_indicator=True, keep_empty_features=True), regressor)
    try:
        regressor.fit(matrix, target)
    except Exception as error:  # as above
        message = f"{named(regressor)} cannot be fitted: {type(error).__name__}: {error}"
        raise ModelError(message, where="model.learner") from error
    return RegressorMember(regressor, pickles.pickled(regressor))


def _reads_missing(regressor: Any) -> bool:
    """Whether an estimator says that it reads NaN."""
    try:
        return bool(regressor.__sklearn_tags__().input_tags.allow_nan)
    except (AttributeError, TypeError):  # no estimator of scikit-learn's
        return False
