"""Any scikit-learn classifier as a member."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, field_validator

from headrace.declaration import Declared
from headrace.errors import ArtefactError, DeclarationError
from headrace.models.encoding import Array, Encoder
from headrace.models.linear import Design

BLOCK = 64
"""Rows that an estimator is always asked for at once."""


def in_blocks(matrix: Array, ask: Callable[[Array], Array]) -> Array:
    """What `ask` gives for the rows of a matrix, shape (rows,), asked for `BLOCK` of them at a time.

    Linear algebra rounds a product of matrices by their shapes. In blocks of one size, the last one filled up, a row
    gets the same bits whoever its neighbours are, and also when it has none.
    """
    found = np.empty(matrix.shape[0])
    for at in range(0, matrix.shape[0], BLOCK):
        block = matrix[at : at + BLOCK]
        full = np.vstack([block, np.repeat(block[-1:], BLOCK - len(block), axis=0)])
        found[at : at + BLOCK] = ask(full)[: len(block)]
    return found


class Estimator(Declared):
    """A scikit-learn classifier with ``predict_proba``, or one that keeps to its protocol, named by its path.

    It reads categories one-hot, numbers standardised and missing ones as their mean with a mark beside. One row takes
    the columnar way here: it costs as much as the estimator's own call.

    Attributes:
        path: Such as ``sklearn.ensemble.RandomForestClassifier``.
        params: Arguments of its constructor; JSON values.
    """

    kind: ClassVar[str] = "estimator"
    path: str
    params: dict[str, Any] = Field(default_factory=dict)

    @field_validator("path")
    @classmethod
    def _is_a_class(cls, value: str) -> str:
        if not all(part.isidentifier() for part in value.split(".")) or "." not in value:
            raise ValueError(f"{value!r} is not the path of a class, such as sklearn.svm.SVC")
        return value

    def fit(self, encoder: Encoder, matrix: Array, target: Array, seed: int) -> EstimatorScorer:
        """Fit on encoded rows; `target` is 0 or 1.

        Raises:
            DeclarationError: There is no such class, or it does not take these arguments.
        """
        module, _, name = self.path.rpartition(".")
        try:
            made = getattr(import_module(module), name)(**self.params)
        except (ImportError, AttributeError, TypeError) as error:
            raise DeclarationError(f"cannot be made: {error}", where=f"model.members: {self.path}") from error
        if "random_state" in made.get_params() and "random_state" not in self.params:
            made.set_params(random_state=seed)
        design = Design.fit(encoder, matrix)
        made.fit(design.dense(matrix), target.astype(np.int64))
        return EstimatorScorer(made, design)


@dataclass(frozen=True)
class EstimatorScorer:
    """A fitted `Estimator`: the probability of the second class."""

    estimator: Any
    design: Design

    def scores(self, matrix: Array) -> Array:
        """Probabilities of encoded rows: shape (rows,)."""
        return in_blocks(matrix, lambda block: self.estimator.predict_proba(self.design.dense(block))[:, 1])

    def score(self, row: list[float]) -> float:
        """The probability of one encoded row, through the columnar way."""
        return float(self.scores(np.array([row]))[0])

    def save(self, path: Path) -> None:
        """Write it to one file, pickled."""
        path.write_bytes(pickle.dumps((self.estimator, self.design), protocol=5))

    @classmethod
    def load(cls, path: Path) -> EstimatorScorer:
        """Read what `save` wrote.

        A pickle runs what it holds: only files whose digest the registry has checked come here.

        Raises:
            ArtefactError: It cannot be read with the libraries installed.
        """
        try:
            return cls(*pickle.loads(path.read_bytes()))  # noqa: S301
        except (pickle.UnpicklingError, ImportError, AttributeError, EOFError, TypeError) as error:
            hint = "install the versions it was trained with, or train again"
            raise ArtefactError(f"cannot be read: {error}", where=str(path), hint=hint) from error
