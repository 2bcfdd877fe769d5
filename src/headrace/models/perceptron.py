"""The layers of a neural network over sparse rows, learnt by Adam (Kingma and Ba 2015) from small batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headrace.models.links import IDENTITY, LOGISTIC
from headrace.models.sparse import Array, SparseRows

Single = NDArray[np.float32]
_FIRST, _SECOND, _LEAST = np.float32(0.9), np.float32(0.999), np.float32(1e-8)
"""Of Adam: how long it remembers slopes and their squares, and what it adds to a root."""
_USUAL = 30.0
"""Of the first layer, whose rows have few numbers, in place of the number of columns."""


class DenseLayer(NamedTuple):
    """Weights of shape (in, out), and what is added, shape (out,)."""

    weights: Single
    biases: Single


@dataclass
class Slopes:
    """What Adam remembers of a table of weights."""

    first: Single
    second: Single

    @classmethod
    def of(cls, weights: Single) -> Slopes:
        """Of weights that were not moved."""
        return cls(np.zeros_like(weights), np.zeros_like(weights))

    def moved(self, weights: Single, slope: Single, rate: np.float32, step: int, rows: Any = slice(None)) -> Single:
        """Some rows of weights after a step.

        Args:
            weights: Those of the rows.
            slope: Of the loss, likewise.
            rate: How far weights move.
            step: From 1.
            rows: Of the table; the others are left as they were.
        """
        first = self.first[rows] * _FIRST + (1 - _FIRST) * slope
        second = self.second[rows] * _SECOND + (1 - _SECOND) * slope * slope
        self.first[rows], self.second[rows] = first, second
        far = rate / np.float32(1 - float(_FIRST) ** step)
        root = np.sqrt(second / np.float32(1 - float(_SECOND) ** step))
        return np.asarray(weights - far * first / (root + _LEAST), dtype=np.float32)


class Batch(NamedTuple):
    """Some rows, with the columns alone that they have."""

    columns: NDArray[np.int64]
    rows: Any
    target: Single


@dataclass(frozen=True)
class Perceptron:
    """How a network is learnt.

    Attributes:
        hidden: Units of the layers between; each gives what is above 0 (rectified linear units).
        epochs: How often it sees every row.
        batch: Rows of a step.
        rate: How far weights move in the first step; it falls to 0 in a line.
        penalty: Of the square of weights.
        link: What makes scores of what the last layer gives.
    """

    hidden: tuple[int, ...]
    epochs: int
    batch: int
    rate: float
    penalty: float
    link: str

    def learnt(self, rows: SparseRows, target: Array, seed: int) -> list[DenseLayer]:
        """The layers.

        Args:
            rows: With no column that none of them has.
            target: Shape (rows, outputs): standardised numbers, or 1 for the class of a row and 0 else.
            seed: Of the weights to begin with, and of the batches.
        """
        from threadpoolctl import threadpool_limits

        random = np.random.default_rng(seed)
        layers = self._begun(rows.width, target.shape[1], random)
        slopes = [(Slopes.of(layer.weights), Slopes.of(layer.biases)) for layer in layers]
        steps = self.epochs * -(-len(rows) // self.batch)
        with threadpool_limits(limits=1, user_api="blas"):  # sums are added up in an order that depends on the threads
            for step, batch in enumerate(self._batches(rows, target, random), 1):
                self._step(layers, slopes, batch, step, np.float32(self.rate * (1 - (step - 1) / steps)))
        return layers

    def _begun(self, width: int, outputs: int, random: np.random.Generator) -> list[DenseLayer]:
        """Random weights, such that what goes through them keeps its size (He et al. 2015)."""
        layers, sizes = [], (width, *self.hidden, outputs)
        for place, (inside, outside) in enumerate(pairwise(sizes)):
            spread = np.sqrt(2.0 / (inside if place else _USUAL)) * (0.5 if place == len(self.hidden) else 1.0)
            weights = random.standard_normal((inside, outside)) * spread
            layers.append(DenseLayer(weights.astype(np.float32), np.zeros(outside, dtype=np.float32)))
        return layers

    def _batches(self, rows: SparseRows, target: Array, random: np.random.Generator) -> Iterator[Batch]:
        from scipy.sparse import csr_array

        matrix: Any = rows.scipy.astype(np.float32)
        single = target.astype(np.float32)
        for _ in range(self.epochs):
            order = random.permutation(len(rows))
            for begin in range(0, order.size, self.batch):
                some = order[begin : begin + self.batch]
                part = matrix[some]
                columns, places = np.unique(part.indices, return_inverse=True)
                narrow = csr_array((part.data, places, part.indptr), shape=(some.size, columns.size))
                yield Batch(columns, narrow, single[some])

    def _step(
        self, layers: list[DenseLayer], slopes: list[tuple[Slopes, Slopes]], batch: Batch, step: int, rate: np.float32
    ) -> None:
        """Move the weights: of the first layer those of the columns that the batch has."""
        tables = [layers[0].weights[batch.columns], *(layer.weights for layer in layers[1:])]
        inputs: list[Any] = [batch.rows]
        given = batch.rows @ tables[0] + layers[0].biases
        for table, layer in zip(tables[1:], layers[1:], strict=True):
            inputs.append(np.maximum(given, 0))
            given = inputs[-1] @ table + layer.biases
        errors = self._errors(given, batch.target) / np.float32(batch.target.shape[0])
        moved = []
        for place in reversed(range(len(layers))):
            of_weights = inputs[place].T @ errors + np.float32(self.penalty) * tables[place]
            of_biases = errors.sum(axis=0)
            if place:
                errors = (errors @ tables[place].T) * (inputs[place] > 0)
            rows = batch.columns if place == 0 else slice(None)
            weights = slopes[place][0].moved(tables[place], of_weights, rate, step, rows)
            moved.append((place, rows, weights, slopes[place][1].moved(layers[place].biases, of_biases, rate, step)))
        for place, rows, weights, biases in moved:
            layers[place].weights[rows], layers[place].biases[:] = weights, biases

    def _errors(self, given: Single, target: Single) -> Single:
        """The slope of every row's loss by what the last layer gives: the squared error, or the log loss."""
        if self.link == IDENTITY:
            return 2 * (given - target)
        if self.link == LOGISTIC:
            return np.asarray(1 / (1 + np.exp(-np.clip(given, -30, 30))) - target, dtype=np.float32)
        odds = np.exp(given - given.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True) - target, dtype=np.float32)
