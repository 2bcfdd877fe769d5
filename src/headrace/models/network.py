"""Neural networks over sparse rows: for many rows of texts and categories, and beside others for few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from headrace.models.arrays import read_arrays, write_arrays
from headrace.models.base import Fitted, Learner, Training
from headrace.models.contributions import Contributions
from headrace.models.encoding import Array, Encoded, Encoder
from headrace.models.links import IDENTITY, LOGISTIC, SOFTMAX, logistic, logistics, softmax, softmaxes
from headrace.models.perceptron import DenseLayer, Perceptron
from headrace.models.sparse import Places, SparseRow, SparseRows
from headrace.models.sparse_design import SparseDesign, used

_LIMIT = 5.0
"""Standard deviations that a number counts for at most."""
_BLOCK = 4_096
"""Rows that are asked for at once."""
_LITTLE = 1e-9
"""Below such a difference from the usual a unit's slope is that of the point itself."""


class Upper(NamedTuple):
    """A layer of every copy beyond the first.

    Attributes:
        weights: Shape (copies, in, out).
        biases: Shape (copies, out).
    """

    weights: Array
    biases: Array


@dataclass(frozen=True)
class FittedNetwork(Fitted):
    """A fitted `Network`: the mean of its copies, before the link.

    Attributes:
        link: What makes scores of what the last layer gives.
        design: How rows become sparse ones.
        slots: The row of `table` that each column of the design has; 0 of columns that no row had.
        table: The first layer of all copies: shape (columns that are used + 1, copies x units).
        biases: What is added there: shape (copies x units,).
        uppers: The layers beyond.
        scaling: Mean and scale of the target.
        averages: What every part of the design gives to the first layer on average: shape (parts, copies x units).
    """

    link: str
    design: SparseDesign
    slots: Places
    table: Array
    biases: Array
    uppers: tuple[Upper, ...]
    scaling: tuple[float, float]
    averages: Array

    def scores(self, rows: Encoded) -> Array:
        """See `Fitted`."""
        every = self._placed(self.design.rows(rows))
        return np.concatenate([self._linked(self._given(first)) for first in self._blocks(every)])

    def score(self, encoded: list[Any], features: Sequence[Any], encoder: Encoder) -> Any:
        """See `Fitted`."""
        columns, values = self.design.row(encoded)
        given = SparseRow(self.slots[columns], values).product(self.table) + self.biases
        units = given.reshape(self._copies, -1)
        for (_, biases), (begins, columns, table) in zip(self.uppers, self._tables, strict=True):
            # A sparse row of every copy, added up from left to right, as `_given` adds.
            units = SparseRows(begins, columns, np.maximum(units, 0.0).ravel(), len(table)).product(table) + biases
        mean, scale = self.scaling
        outputs = (np.add.accumulate(units, axis=0)[-1] / self._copies * scale + mean).tolist()
        if self.link == SOFTMAX:
            return softmax(outputs)
        return logistic(outputs[0]) if self.link == LOGISTIC else outputs[0]

    @property
    def _copies(self) -> int:
        return len(self.uppers[0].biases)

    @cached_property
    def _tables(self) -> tuple[tuple[Places, Places, Array], ...]:
        """Of every layer beyond the first where the units of each copy begin, their places, and the weights of all."""
        tables = []
        for weights, _ in self.uppers:
            copies, inside, outside = weights.shape
            begins = np.arange(copies + 1) * inside
            tables.append((begins, np.arange(copies * inside), np.ascontiguousarray(weights.reshape(-1, outside))))
        return tuple(tables)

    def _placed(self, rows: SparseRows, offset: int = 0) -> SparseRows:
        return SparseRows(rows.begins, self.slots[rows.columns + offset], rows.values, len(self.table))

    def _blocks(self, rows: SparseRows) -> Iterator[Array]:
        """What the first layer gives, for so many rows at once: shape (rows, copies x units)."""
        for begin in range(0, len(rows), _BLOCK):
            begins = rows.begins[begin : begin + _BLOCK + 1]
            part = slice(begins[0], begins[-1])
            block = SparseRows(begins - begins[0], rows.columns[part], rows.values[part], rows.width)
            yield block.product(self.table) + self.biases

    def _given(self, first: Array) -> Array:
        """What the last layer gives, the mean of the copies: shape (rows, outputs)."""
        units = self._through(first)[-1]
        mean, scale = self.scaling
        outputs: Array = np.add.accumulate(units, axis=1)[:, -1] / self._copies * scale + mean
        return outputs

    def _through(self, first: Array) -> list[Array]:
        """What every layer gives: each of shape (rows, copies, units)."""
        layers = [first.reshape(len(first), self._copies, -1)]
        for weights, biases in self.uppers:
            units = np.maximum(layers[-1], 0.0)
            total = units[:, :, 0, None] * weights[:, 0]
            for unit in range(1, weights.shape[1]):
                total = total + units[:, :, unit, None] * weights[:, unit]
            layers.append(total + biases)
        return layers

    def _linked(self, outputs: Array) -> Array:
        if self.link == SOFTMAX:
            return softmaxes(outputs)
        return logistics(outputs[:, 0]) if self.link == LOGISTIC else outputs[:, 0]

    def contributions(self, rows: Encoded) -> Contributions:
        """See `Fitted`: what each unit changes, beside the usual row, is shared by what changed it (DeepLIFT's rescale
        rule, Shrikumar et al. 2017)."""
        firsts = [self._firsts(number, rows) for number in range(len(self.design.parts))]
        slopes = self._slopes(sum(firsts, np.zeros_like(firsts[0])) + self.biases)
        parts = np.zeros((len(rows), len(rows.encoder.names), slopes.shape[2]))
        for part, first, average in zip(self.design.parts, firsts, self.averages, strict=True):
            parts[:, part.place] = np.einsum("ru,ruo->ro", first - average, slopes)
        return Contributions(self._given(self._usual)[0], parts)

    def of_ngrams(self, row: Encoded, place: int) -> Array:
        """See `Fitted`."""
        number = next(number for number, part in enumerate(self.design.parts) if part.place == place)
        columns, values = row.sparse(place).row(0)
        first = self._blocks(self._placed(self.design.rows(row)))
        added: Array = values[:, None] * self.table[self.slots[columns + self.design.offsets[number]]]
        shared: Array = added @ self._slopes(next(first))[0]
        return shared

    @cached_property
    def _usual(self) -> Array:
        """What the first layer gives for a row that is the mean of the training: shape (1, copies x units)."""
        usual: Array = self.averages.sum(axis=0) + self.biases
        return usual[None, :]

    def _firsts(self, number: int, rows: Encoded) -> Array:
        """What one part of the design gives to the first layer: shape (rows, copies x units)."""
        part, offset = self.design.parts[number], self.design.offsets[number]
        block = self.design.block(part, rows)
        return self._placed(block, offset).product(self.table)

    def _slopes(self, first: Array) -> Array:
        """How much the outputs change with what the first layer gives: shape (rows, copies x units, outputs)."""
        here, usual = self._through(first), self._through(self._usual)
        slopes = np.broadcast_to(self.uppers[-1].weights, (len(first), *self.uppers[-1].weights.shape))
        for place in reversed(range(len(self.uppers))):
            if place < len(self.uppers) - 1:
                slopes = np.einsum("cio,rcok->rcik", self.uppers[place].weights, slopes)
            at, beside = here[place], usual[place]
            gap = at - beside
            far = np.abs(gap) > _LITTLE
            share = (np.maximum(at, 0.0) - np.maximum(beside, 0.0)) / np.where(far, gap, 1.0)
            slopes = slopes * np.where(far, share, at > 0)[:, :, :, None]
        scaled: Array = slopes.reshape(len(first), -1, slopes.shape[3]) * (self.scaling[1] / self._copies)
        return scaled

    def averaged(self, rows: Encoded) -> FittedNetwork:
        """The same with the averages of the training rows."""
        means = [self._firsts(number, rows).mean(axis=0) for number in range(len(self.design.parts))]
        return replace(self, averages=np.array(means))

    def save(self, path: Path) -> None:
        """Write it to one file: weights were learnt in single precision."""
        description = {"link": self.link, "design": self.design.as_dict(), "scaling": self.scaling}
        arrays: dict[str, Any] = {"slots": self.slots.astype(np.int32), "table": self.table.astype(np.float32)}
        for place, upper in enumerate(self.uppers):
            arrays |= {f"weights_{place}": upper.weights, f"biases_{place}": upper.biases}
        write_arrays(
            path,
            {**description, "uppers": len(self.uppers)},
            {**arrays, "biases": self.biases, "averages": self.averages},
        )

    @classmethod
    def load(cls, path: Path) -> FittedNetwork:
        """Read what `save` wrote."""
        data, arrays = read_arrays(path)
        uppers = tuple(Upper(arrays[f"weights_{place}"], arrays[f"biases_{place}"]) for place in range(data["uppers"]))
        slots, table = arrays["slots"].astype(np.int64), arrays["table"].astype(np.float64)
        scaling = float(data["scaling"][0]), float(data["scaling"][1])
        design = SparseDesign.from_dict(data["design"])
        return cls(data["link"], design, slots, table, arrays["biases"], uppers, scaling, arrays["averages"])


class Network(Learner):
    """Small neural networks over n-grams, categories and numbers, the mean of a few that begin elsewhere.

    Categories are one-hot, numbers standardised, and n-grams as they are: nothing is made dense. Layers of rectified
    linear units find what words mean together. Learning stops after few `epochs` while the rate falls, and each copy
    errs elsewhere, so that their mean errs less. One step costs what its rows have in columns, however many columns
    there are: of a million rows see `batch`.

    Attributes:
        hidden: Units of each layer between; one layer at least.
        copies: Networks whose mean is taken.
        epochs: How often each sees every row.
        batch: Rows of a step. Of very many rows use more, such as 1,024.
        learning_rate: How far weights move in the first step; it falls to 0 in a line.
        penalty: Of the squares of weights.

    >>> Network(hidden=(32,), copies=2).model_dump(include={"kind", "hidden", "copies"})
    {'kind': 'network', 'hidden': (32,), 'copies': 2}
    """

    fitted: ClassVar[type[Fitted]] = FittedNetwork
    reads_ngrams: ClassVar[bool] = True
    kind: Literal["network"] = "network"
    hidden: tuple[int, ...] = Field(default=(64, 32), min_length=1, max_length=8)
    copies: int = Field(default=4, ge=1, le=64)
    epochs: int = Field(default=4, ge=1)
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=0.02, gt=0, le=1)
    penalty: float = Field(default=5e-4, ge=0)

    def fit(self, training: Training) -> FittedNetwork:
        """Fit on encoded rows."""
        design = SparseDesign.fit(training.rows, limit=_LIMIT)
        columns = used(design.rows(training.rows))
        link, mean, scale = _LINKS[training.output], 0.0, 1.0
        if link == IDENTITY:
            mean, scale = float(training.target.mean()), float(training.target.std()) or 1.0
            target = ((training.target - mean) / scale)[:, None]
        elif link == LOGISTIC:
            target = training.target[:, None]
        else:
            target = (training.target[:, None] == np.arange(training.classes)).astype(np.float64)
        how = Perceptron(self.hidden, self.epochs, self.batch, self.learning_rate, self.penalty, link)
        seeds = np.random.SeedSequence(training.seed).generate_state(self.copies).tolist()
        copies = [how.learnt(columns.rows, target, seed) for seed in seeds]
        slots = np.zeros(design.width, dtype=np.int64)
        slots[columns.columns] = np.arange(1, columns.columns.size + 1)
        first = np.hstack([layers[0].weights for layers in copies]).astype(np.float64)
        table = np.vstack([np.zeros((1, first.shape[1])), first])
        biases = np.concatenate([layers[0].biases for layers in copies]).astype(np.float64)
        uppers = _uppers(copies)
        bare = FittedNetwork(link, design, slots, table, biases, uppers, (mean, scale), np.empty(0))
        return bare.averaged(training.rows)


_LINKS = {"regression": IDENTITY, "binary": LOGISTIC, "multiclass": SOFTMAX}


def _uppers(copies: Sequence[Sequence[DenseLayer]]) -> tuple[Upper, ...]:
    """The layers of all copies beyond the first, each one table."""
    layers = zip(*(layers[1:] for layers in copies), strict=True)
    return tuple(
        Upper(
            np.stack([layer.weights for layer in each]).astype(np.float64),
            np.stack([layer.biases for layer in each]).astype(np.float64),
        )
        for each in layers
    )
