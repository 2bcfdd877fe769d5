"""Weights of kernels by marginal likelihood (Rasmussen and Williams 2006, section 5.4.1), with a prior.

What few rows have, such as the words of a text, explains noise as well as the noise does: without a prior the weights
depend on which rows they are learnt from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.models.sparse import Array

_LEAST, _MOST = 1e-5, 1e2
"""Bounds of every weight, beside the variance of the target."""
_LEAST_NOISE = 1e-2
_NOISE = 0.4
"""The variance of the noise that is expected, beside that of the target."""
_SPREAD, _SPREAD_OF_NOISE = 1.0, 0.3
"""Standard deviations of the prior: of the logarithm of a weight, and of the noise."""
_ROUNDS = 60


@dataclass(frozen=True)
class MarginalLikelihood:
    """How likely the targets of a Gaussian process are, by the weights of its kernels and its noise.

    Attributes:
        kernels: One below the other: shape (kernels, rows, rows). Their lower triangles are read.
        target: Shape (rows,): standardised.
    """

    kernels: Array
    target: Array

    def minimised(self) -> tuple[Array, float]:
        """The weights of the kernels, shape (kernels,), and the variance of the noise, by L-BFGS on logarithms."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        count = len(self.kernels)
        start = self._expected
        bounds = [(math.log(_LEAST), math.log(_MOST))] * count + [(math.log(_LEAST_NOISE), math.log(_MOST))]
        options = {"maxiter": _ROUNDS, "ftol": 1e-6}
        with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
            found = minimize(self.with_prior, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        weights = np.exp(found.x)
        return np.where(weights[:-1] > 2 * _LEAST, weights[:-1], 0.0), float(weights[-1])

    @property
    def _expected(self) -> Array:
        """Logarithms: half of the variance is of all kernels alike, and nearly half of the noise."""
        count = len(self.kernels)
        return np.asarray(np.log(np.append(np.full(count, 0.5 / max(count, 1)), _NOISE)))

    def with_prior(self, logarithms: Array) -> tuple[float, Array]:
        """`at` less the logarithm of the prior, which is normal around what is expected."""
        spreads = np.append(np.full(len(self.kernels), _SPREAD), _SPREAD_OF_NOISE)
        gaps = (logarithms - self._expected) / spreads
        value, gradient = self.at(logarithms)
        return value + float(gaps @ gaps) / 2, gradient + gaps / spreads

    def at(self, logarithms: Array) -> tuple[float, Array]:
        """The negative logarithm of the likelihood, without its constant, and its gradient.

        Args:
            logarithms: Of the weights, then of the noise's variance: shape (kernels + 1,).
        """
        from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

        rows, weights, packed = self.target.size, np.exp(logarithms), self._packed
        covariance = np.zeros((rows, rows))
        covariance[self._below] = weights[:-1] @ packed
        covariance[np.diag_indices(rows)] += weights[-1] + 1e-9
        # LAPACK goes by columns: the lower triangle is the upper one of the transposed.
        factor, _ = dpotrf(covariance.T, lower=0, overwrite_a=1)
        logarithm = float(np.log(np.diag(factor)).sum())
        solved = dpotrs(factor, self.target, lower=0)[0]
        inverse: Any = dpotri(factor, lower=0, overwrite_c=1)[0].T
        slopes = inverse[self._below] * 2 - np.outer(solved, solved)[self._below] * 2
        diagonal = self._diagonal
        slopes[diagonal] /= 2
        gradient = np.append(packed @ slopes, slopes[diagonal].sum()) * weights / 2
        return float(self.target @ solved) / 2 + logarithm, gradient

    @cached_property
    def _below(self) -> NDArray[np.bool_]:
        """Where the lower triangle is: shape (rows, rows)."""
        return np.tri(self.target.size, dtype=bool)

    @cached_property
    def _packed(self) -> Array:
        """The lower triangle of every kernel, row after row: shape (kernels, pairs)."""
        return (
            np.stack([kernel[self._below] for kernel in self.kernels])
            if len(self.kernels)
            else np.empty((0, self._pairs))
        )

    @property
    def _pairs(self) -> int:
        return self.target.size * (self.target.size + 1) // 2

    @cached_property
    def _diagonal(self) -> NDArray[np.int64]:
        """Where the diagonal is among the pairs."""
        return np.cumsum(np.arange(1, self.target.size + 1)) - 1
