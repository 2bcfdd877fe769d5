"""Bins of numbers: fixed when a reference is looked at, so that counts of any days add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS = 1 << 16
"""Equal parts of the middle of a reference, which bins are made of."""
HUGE = 1e150
"""Values beyond count as if they lay there: their squares are numbers."""
FAR = 1e4
"""Values further away than so many spreads count as if they lay there."""
FINE = 1 << 16
"""Parts of a spread to which values are rounded before they are summed: sums of whole numbers are exact."""
_QUANTILES, _EQUAL, _DISTINCT = 50, 64, 64
_TAIL = 0.001


@dataclass(frozen=True)
class BinScale:
    """How numbers are counted: in units of the reference's spread, in bins that its values laid out.

    Attributes:
        anchor: What counts as zero.
        unit: The spread of the reference, or 1 where it has none.
        low: Where the first cell begins, in units from the anchor.
        width: Of a cell, in units.
        cells: The first cell of every bin but the first, ascending.
        varies: Whether the reference had more than one value.
    """

    anchor: float
    unit: float
    low: float
    width: float
    cells: tuple[int, ...]
    varies: bool

    @classmethod
    def of(cls, values: Array, spread: float | None = None) -> Self:
        """The scale of a reference's finite values; of none, one bin takes all.

        Some edges are quantiles, others lie at equal distances; where there are few distinct values, each has a bin of
        its own in place of quantiles.

        Args:
            values: Some of them, at equal distances, shape (rows,).
            spread: The standard deviation of all; None: these are all.
        """
        if not values.size:
            return cls(0.0, 1.0, 0.0, 1.0, (), varies=False)
        values = np.clip(values, -HUGE, HUGE)
        anchor = float(np.median(values))
        spread = float(np.std(values)) if spread is None else spread
        varies = bool(np.isfinite(spread) and spread > 1e-12 * max(abs(anchor), 1e-300))
        unit = spread if varies else max(abs(anchor), 1.0)
        units = np.clip((values - anchor) / unit, -FAR, FAR)
        distinct = np.unique(units)
        discrete = distinct.size <= _DISTINCT
        low, high = (distinct[0], distinct[-1]) if discrete else np.quantile(units, [_TAIL, 1 - _TAIL])
        margin = max((high - low) / 50, 1e-6)
        low, high = float(low - margin), float(high + margin)
        width = (high - low) / CELLS
        inner = distinct if discrete else np.quantile(units, np.arange(1, _QUANTILES) / _QUANTILES)
        cells = np.floor((inner - low) * (1 / width)).astype(np.int64)
        equal = np.linspace(0, CELLS, _EQUAL + 1).astype(np.int64)
        pair = np.unique(np.concatenate([cells, cells + 1, equal] if discrete else [cells, equal]))
        edges = pair[(pair >= 0) & (pair <= CELLS)].tolist()
        return cls(anchor, unit, low, width, tuple(edges), varies)

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self.cells) + 1

    @cached_property
    def edges(self) -> Array:
        """Between the bins, in units from the anchor."""
        return self.low + np.array(self.cells, dtype=np.float64) * self.width

    @cached_property
    def _bin_of(self) -> NDArray[np.uint8]:
        """The bin of every cell, those before and after all others included."""
        places = np.searchsorted(np.array(self.cells, dtype=np.int64), np.arange(-1, CELLS + 1), side="right")
        return places.astype(np.uint8)

    def count(self, values: Array, groups: Ints | None, size: int) -> tuple[Ints, Ints]:
        """Rows and sums per group and bin, shape (size, bins); sums are of values in `FINE` parts of a unit.

        Args:
            values: Finite, shape (rows,).
            groups: The group of every row, from 0; None: there is one.
            size: How many groups there are.
        """
        units = np.clip(values, -HUGE, HUGE)
        units -= self.anchor
        units /= self.unit
        np.clip(units, -FAR, FAR, out=units)
        cells = (units - self.low) * (1 / self.width)
        np.clip(cells, -1, CELLS, out=cells)
        np.floor(cells, out=cells)
        places = self._bin_of[cells.astype(np.int32) + 1].astype(np.intp)
        if groups is not None:
            places += groups * self.bins
        np.multiply(units, FINE, out=units)
        np.rint(units, out=units)
        length = size * self.bins
        rows = np.bincount(places, minlength=length)
        sums = np.bincount(places, weights=units, minlength=length).astype(np.int64)  # whole numbers: exact
        return rows.reshape(size, -1), sums.reshape(size, -1)

    def mean(self, rows: Ints, sums: Ints) -> float | None:
        """The mean of counted values, in their own unit; None where there is none."""
        count = int(rows.sum())
        return None if not count else float(self.anchor + self.unit * (int(sums.sum()) / FINE / count))

    def value(self, place: int) -> float:
        """Where a bin ends, in the values' own unit."""
        return float(self.anchor + self.unit * self.edges[place])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` reads it."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)} | {"cells": list(self.cells)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `as_dict` gave."""
        return cls(**{**data, "cells": tuple(data["cells"])})
