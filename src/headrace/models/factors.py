"""The loss of a factorisation machine over sparse rows, and its least."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from headrace.models.links import LOGISTIC
from headrace.models.sparse import Array, SparseRows

_SPREAD = 0.05
"""Standard deviation of the factors to begin with."""


@dataclass(frozen=True)
class Loss:
    """Half the squared errors, or the log loss, of rows, and the penalty of weights and factors.

    Attributes:
        rows: The design.
        target: Shape (rows,): standardised numbers, or 0 and 1.
        link: What makes scores of sums.
        penalties: Of the weights, and of the factors.
    """

    rows: SparseRows
    target: Array
    link: str
    penalties: tuple[float, float]

    def minimised(self, factors: int, rounds: int, seed: int) -> tuple[float, Array, Array]:
        """Intercept, weights of shape (width,) and factors of shape (width, factors), after so many steps of L-BFGS."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        width = self.rows.width
        start = np.zeros(1 + width * (1 + factors))
        start[1 + width :] = np.random.default_rng(seed).normal(0.0, _SPREAD, width * factors)
        if self.link == LOGISTIC:
            share = float(np.clip(self.target.mean(), 1e-6, 1 - 1e-6))
            start[0] = np.log(share / (1 - share))
        with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
            result = minimize(self._at, start, jac=True, method="L-BFGS-B", options={"maxiter": rounds, "maxcor": 6})
        return float(result.x[0]), result.x[1 : 1 + width], result.x[1 + width :].reshape(width, factors)

    @cached_property
    def _matrices(self) -> tuple[Any, Any, Any, Any]:
        """The rows and their squares, and both of them transposed."""
        matrix = self.rows.scipy
        squares = matrix.copy()
        squares.data **= 2
        return matrix, squares, matrix.T.tocsr(), squares.T.tocsr()

    def _at(self, point: Array) -> tuple[float, Array]:
        """The loss and its gradient."""
        matrix, squares, transposed, squares_transposed = self._matrices
        width = self.rows.width
        weights, factors = point[1 : 1 + width], point[1 + width :].reshape(width, -1)
        sums = matrix @ factors
        totals = point[0] + matrix @ weights + ((sums**2).sum(axis=1) - squares @ (factors**2).sum(axis=1)) / 2
        loss, errors = self._errors(totals)
        of_weights, of_factors = self.penalties
        loss += of_weights / 2 * float((weights**2).sum()) + of_factors / 2 * float((factors**2).sum())
        gradient = np.empty(point.size)
        gradient[0] = errors.sum()
        gradient[1 : 1 + width] = transposed @ errors + of_weights * weights
        pairs = transposed @ (errors[:, None] * sums) - factors * (squares_transposed @ errors)[:, None]
        gradient[1 + width :] = (pairs + of_factors * factors).ravel()
        return loss, gradient

    def _errors(self, totals: Array) -> tuple[float, Array]:
        if self.link != LOGISTIC:
            errors = totals - self.target
            return float((errors**2).sum()) / 2, errors
        losses = np.logaddexp(0.0, totals) - self.target * totals
        return float(losses.sum()), np.exp(-np.logaddexp(0.0, -totals)) - self.target
