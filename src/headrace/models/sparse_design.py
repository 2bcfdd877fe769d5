"""Encoded rows as the sparse numbers that learners of n-grams want: nothing is made dense, for one row or for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from headrace.models.encoding import CATEGORY, EMBEDDING, Array, Encoded
from headrace.models.sparse import Places, SparseRow, SparseRows, side_by_side

_LARGE = 1e30


class Part(NamedTuple):
    """How one feature enters the design.

    Attributes:
        place: Of the feature.
        levels: Of a category; -1 of n-grams; -2 of an embedding; 0 of a number.
        width: Columns that it takes; the last one marks what is missing, if `marked`.
        mean, scale: Of a number.
        marked: Whether a missing value has a column.
    """

    place: int
    levels: int
    width: int
    mean: float = 0.0
    scale: float = 1.0
    marked: bool = False

    def standard(self, value: float, limit: float) -> float:
        """A number as the design has it; 0 if it is missing."""
        return 0.0 if value != value else min(max((value - self.mean) / self.scale, -limit), limit)


@dataclass(frozen=True)
class SparseDesign:
    """Categories as one of their columns, numbers standardised with a mark of missing, then n-grams and embeddings.

    Attributes:
        parts: Of the features; those of n-grams and embeddings last.
        limit: Standard deviations that a number counts for at most.
    """

    parts: tuple[Part, ...]
    limit: float = _LARGE

    @classmethod
    def fit(cls, rows: Encoded, limit: float = _LARGE) -> SparseDesign:
        """Means and scales of the training rows."""
        encoder, parts = rows.encoder, []
        for place, role in enumerate(encoder.roles):
            if place in encoder.sparse:
                continue
            values = rows.matrix[:, place]
            known = values[~np.isnan(values)]
            marked = bool(known.size < values.size)
            if role == CATEGORY:
                levels = encoder.width(place)
                parts.append(Part(place, levels, levels + marked, marked=marked))
            else:
                mean, scale = (float(known.mean()), float(known.std())) if known.size else (0.0, 1.0)
                parts.append(Part(place, 0, 1 + marked, mean, scale or 1.0, marked))
        sparse = [
            Part(place, -2 if encoder.roles[place] == EMBEDDING else -1, encoder.sparse_rows(place).width)
            for place in encoder.sparse
        ]
        return cls((*parts, *sparse), limit)

    @property
    def width(self) -> int:
        """Columns of the design."""
        return sum(part.width for part in self.parts)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The first column of every part."""
        return tuple(accumulate((part.width for part in self.parts[:-1]), initial=0))

    def offset(self, place: int) -> int:
        """The first column of a feature."""
        return next(offset for offset, part in zip(self.offsets, self.parts, strict=True) if part.place == place)

    def columns(self, number: int) -> slice:
        """The columns of the part of that number."""
        return slice(self.offsets[number], self.offsets[number] + self.parts[number].width)

    def rows(self, rows: Encoded) -> SparseRows:
        """Many rows."""
        return side_by_side([self.block(part, rows) for part in self.parts])

    def block(self, part: Part, rows: Encoded) -> SparseRows:
        """The columns of one part."""
        if part.levels < 0:
            return rows.sparse(part.place)
        values = rows.matrix[:, part.place]
        missing = np.isnan(values)
        if part.levels == 0:
            return self._numbers(part, values, missing)
        columns = np.where(missing, part.levels, values).astype(np.int64)
        there = ~missing if not part.marked else np.ones(values.size, dtype=bool)
        begins = np.concatenate(([0], np.cumsum(there)))
        return SparseRows(begins, columns[there], np.ones(int(begins[-1])), part.width)

    def row(self, encoded: Sequence[Any]) -> SparseRow:
        """One row: the very numbers of `rows`.

        Args:
            encoded: As `Encoder.row` gives it.
        """
        columns, values, blocks = [], [], []
        for offset, part in zip(self.offsets, self.parts, strict=True):
            place, levels, _, _, _, marked = part
            value = encoded[place]
            if levels < 0:
                blocks.append((offset, value))
            elif value != value:  # missing
                if levels == 0:
                    columns.append(offset)
                    values.append(0.0)
                if marked:
                    columns.append(offset + (levels or 1))
                    values.append(1.0)
            elif levels:
                columns.append(offset + int(value))
                values.append(1.0)
            else:
                columns.append(offset)
                values.append(part.standard(value, self.limit))
        heads = np.array(columns, dtype=np.int64), np.array(values, dtype=np.float64)
        return SparseRow(
            np.concatenate([heads[0], *(block.columns + offset for offset, block in blocks)]),
            np.concatenate([heads[1], *(block.values for _, block in blocks)]),
        )

    def by_feature(self, rows: Encoded, weights: Array, features: int) -> Array:
        """What every feature adds to a sum of weights: shape (rows, features)."""
        added = np.zeros((len(rows), features))
        for offset, part in zip(self.offsets, self.parts, strict=True):
            added[:, part.place] = self.block(part, rows).dot(weights[offset : offset + part.width])
        return added

    def averages(self, means: Array, weights: Array, features: int) -> Array:
        """What every feature adds on average, where the columns have these means: shape (features,)."""
        added = np.zeros(features)
        for offset, part in zip(self.offsets, self.parts, strict=True):
            columns = slice(offset, offset + part.width)
            added[part.place] = float((means[columns] * weights[columns]).sum())
        return added

    def _numbers(self, part: Part, values: Array, missing: Any) -> SparseRows:
        standard = np.where(missing, 0.0, np.clip((values - part.mean) / part.scale, -self.limit, self.limit))
        marks = missing if part.marked else np.zeros(values.size, dtype=bool)
        begins = np.concatenate(([0], np.cumsum(1 + marks)))
        columns, numbers = np.ones(begins[-1], dtype=np.int64), np.ones(begins[-1])
        columns[begins[:-1]], numbers[begins[:-1]] = 0, standard
        return SparseRows(begins, columns, numbers, part.width)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it back."""
        return {"parts": [list(part) for part in self.parts], "limit": self.limit}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SparseDesign:
        """What `as_dict` described."""
        return cls(tuple(Part(*part) for part in data["parts"]), data["limit"])


class Used(NamedTuple):
    """The columns of a design that some row has: all that can have a weight.

    Attributes:
        columns: Their places, in order.
        rows: The rows, with these columns alone.
    """

    columns: Places
    rows: SparseRows

    def spread(self, weights: Array, width: int) -> Array:
        """Weights of the columns that are used among those of all; the others' are 0."""
        spread_weights = np.zeros((width, *weights.shape[1:]))
        spread_weights[self.columns] = weights
        return spread_weights


def used(rows: SparseRows) -> Used:
    """The columns that some row has."""
    columns = np.flatnonzero(np.bincount(rows.columns, minlength=rows.width))
    places = np.zeros(rows.width, dtype=np.int64)
    places[columns] = np.arange(columns.size)
    return Used(columns, SparseRows(rows.begins, places[rows.columns], rows.values, columns.size))


def kept(weights: Array) -> Mapping[str, Any]:
    """Weights for a file: those that are not 0."""
    columns = np.flatnonzero(weights.reshape(len(weights), -1).any(axis=1))
    return {"columns": columns, "weights": weights[columns]}
