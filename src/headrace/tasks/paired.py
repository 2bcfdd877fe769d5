"""Two versions on the same pairs: how far their answers lie apart, and whether one is better by more than noise.

Everything is added up part by part, so that any number of pairs takes the memory of one part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[np.float64]

LARGEST = 10
"""So many of the largest differences are told."""
BLOCK = "block"
"""Pairs of one block may depend on one another; those of different ones count as independent."""
DIFFERENCE = "difference"
FEWEST = 10
"""Of fewer blocks no winner is told."""
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_WIDTH = np.log(1.01)
_LEAST, _MOST = 1e-12, 1e290
_NOISE = 1e-12
_Z, _SMALL = 1.96, 2.4


@dataclass
class Spread:
    """Quantiles of sizes (no less than zero), each to one part in a hundred, in bounded memory.

    Attributes:
        total: Their sum.
        most: The largest.
    """

    total: float = 0.0
    most: float = 0.0
    _counts: dict[int, int] = field(default_factory=dict)

    def add(self, sizes: Array) -> None:
        """Count sizes; none of them is NaN."""
        if not sizes.size:
            return
        self.total += float(sizes.sum())
        self.most = max(self.most, float(sizes.max()))
        place = np.ceil(np.log(np.clip(sizes, _LEAST, _MOST) / _LEAST) / _WIDTH).astype(np.int64)
        for size, count in zip(*np.unique(place, return_counts=True), strict=True):
            self._counts[int(size)] = self._counts.get(int(size), 0) + int(count)

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self._counts.values())

    def quantile(self, share: float) -> float:
        """The size that this share of them does not pass."""
        left = share * self.count
        for count in sorted(self._counts):
            left -= self._counts[count]
            if left <= 0:
                return 0.0 if count == 0 else min(_LEAST * float(np.exp(count * _WIDTH)), self.most)
        return self.most

    def as_dict(self) -> dict[str, float | None]:
        """JSON-ready: ``mean p50 p90 p99 max``."""
        if not self.count:
            return dict.fromkeys(("mean", *QUANTILES, "max"))
        quantiles = {name: self.quantile(share) for name, share in QUANTILES.items()}
        return {"mean": self.total / self.count, **quantiles, "max": self.most}


@dataclass
class Sums:
    """Sums from which metrics follow, by block, of two versions on the same pairs.

    Args:
        of: Columns that are added up.
        within: Columns beside the block that they are added up by.
        measures: Metrics of such sums by columns, as `scores.measures` and `row_scores.measures` give them.
    """

    of: Sequence[str]
    within: Sequence[str]
    measures: Callable[[pl.DataFrame, Sequence[str]], pl.DataFrame]
    totals: list[pl.DataFrame] = field(default_factory=list)

    def add(self, both: Sequence[pl.DataFrame]) -> None:
        """Add the sums of the two versions."""
        import polars as pl

        by = [BLOCK, *self.within]
        self.totals = [
            pl.concat([*known, new.select(*by, *self.of)]).group_by(by).agg(pl.col(self.of).sum()).sort(by)
            for known, new in zip([[total] for total in self.totals] or [[], []], both, strict=True)
        ]

    def metrics(self, side: int) -> dict[str, Any]:
        """All metrics of the first (0) or second (1) version, as one row."""
        return self.measures(self.totals[side], []).row(0, named=True)

    @property
    def blocks(self) -> int:
        """How many blocks have anything."""
        return self.totals[0][BLOCK].n_unique() if self.totals else 0

    def differences(self, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Per metric the first version's less the second's (``value``), and the standard ``error`` of that.

        The error is that of the jackknife: how much the difference changes when one block is left out.
        """
        metrics = [self.metrics(side) for side in (0, 1)]
        partial = [self.measures(_left_out(total, self.of, self.within), [BLOCK]).sort(BLOCK) for total in self.totals]
        return {name: _difference(metrics, partial, name) for name in names if metrics[0].get(name) is not None}


def _difference(metrics: Sequence[Mapping[str, Any]], partial: Sequence[pl.DataFrame], name: str) -> dict[str, Any]:
    value = metrics[0][name] - metrics[1][name]
    difference = (partial[0][name].cast(float) - partial[1][name].cast(float)).drop_nulls().to_numpy()
    count = partial[0].height
    if difference.size < max(count, 2):  # of some block, nothing is left without it
        return {"value": value, "error": None}
    error = sqrt((count - 1) / count * float(((difference - difference.mean()) ** 2).sum()))
    return {"value": value, "error": error}


def _left_out(totals: pl.DataFrame, columns: Sequence[str], within: Sequence[str]) -> pl.DataFrame:
    """For each block the sums of all the others."""
    import polars as pl

    blocks = totals.select(BLOCK).unique()
    totals_all = totals.group_by(within or pl.lit(0).alias("_")).agg(pl.col(columns).sum()).drop("_", strict=False)
    blocks_own = blocks.join(totals_all, how="cross").join(totals, on=[BLOCK, *within], how="left", suffix="_own")
    rest = [(pl.col(name) - pl.col(f"{name}_own").fill_null(0.0)).alias(name) for name in columns]
    clean = [
        pl.when(pl.col(name).abs() > pl.col(name).abs().max() * _NOISE).then(name).otherwise(0.0) for name in columns
    ]
    left = blocks_own.with_columns(rest)
    return left.select(BLOCK, *within, *(column.alias(name) for column, name in zip(clean, columns, strict=True)))


def told_apart(difference: Mapping[str, float | None], blocks: int) -> bool:
    """Whether a difference is more than noise: zero lies outside of its 95 % interval, on enough blocks.

    The interval is Student's for `blocks` - 1 degrees of freedom, to within a hundredth.
    """
    value, error = difference["value"], difference["error"]
    if blocks < FEWEST or value is None or error is None or value == 0:
        return False
    return abs(value) > (_Z + _SMALL / (blocks - 1)) * error


@dataclass
class Apart:
    """How far the answers of two versions lie apart.

    Args:
        most: So many of the largest differences are kept.
    """

    most: int = LARGEST
    pairs: int = 0
    differ: int = 0
    spread: Spread = field(default_factory=Spread)
    _largest: pl.DataFrame | None = None

    def add(self, pairs: pl.DataFrame) -> None:
        """Count pairs: the `difference` of each, null where one of the two is not known; `differs`; what is shown."""
        import polars as pl

        self.pairs += pairs.height
        self.differ += int(pairs["differs"].sum())
        known = pairs.filter(pl.col(DIFFERENCE).is_not_null())
        self.spread.add(known[DIFFERENCE].to_numpy().astype(np.float64))
        chosen = known.filter("differs").drop("differs")
        chosen = chosen if self._largest is None else pl.concat([self._largest, chosen])
        self._largest = chosen.sort(DIFFERENCE, "id", descending=[True, False]).head(self.most)

    @property
    def largest(self) -> list[dict[str, Any]]:
        """The pairs that lie furthest apart, the furthest first."""
        return [] if self._largest is None else self._largest.to_dicts()


@dataclass(frozen=True)
class PairRequest:
    """What is to be compared.

    Attributes:
        first: One version.
        second: The other.
        replay: Whether requests that only one of them answered, or neither, are put to the other offline.
        since: No request before it, UTC; None: all.
        until: None at or after it, UTC; None: all.
        as_of: What is known at this time counts, UTC; None: all that is known.
        largest: So many of the largest differences are told.
        on_progress: Told what is being done, how many requests of it are done, and of how many.
    """

    first: int
    second: int
    replay: bool = False
    since: datetime | None = None
    until: datetime | None = None
    as_of: datetime | None = None
    largest: int = LARGEST
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None

    @property
    def versions(self) -> tuple[int, int]:
        """Both."""
        return self.first, self.second


@dataclass
class ComparedPairs:
    """What was added up.

    Attributes:
        apart: How far the answers lie apart, of all pairs.
        sums: Of pairs whose truth became known after both versions had answered, and had been trained.
        seen: Of the other pairs with a truth: a version may have been trained on it.
        names: The metrics; the first that is known decides.
        better: Metrics of which more is better.
        flips: How many labels differ; None where answers are numbers.
        answered: By version, how many of the requests it had answered itself.
        again: By version, how many were put to it offline.
        failed: By version, how many of these it could not answer.
        baselines: What needs no model, on the pairs of `sums`, by name.
    """

    apart: Apart
    sums: Sums
    seen: Sums
    names: tuple[str, ...]
    better: tuple[str, ...] = ()
    flips: int | None = None
    answered: Counter[int] = field(default_factory=Counter)
    again: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    baselines: Callable[[Mapping[str, Any]], dict[str, dict[str, Any]]] = lambda metrics: {}


def span_of(request: PairRequest) -> pl.Expr:
    """Whether a row's `as_of` lies in the span that is asked for."""
    import polars as pl

    utc, where = pl.Datetime("us", "UTC"), pl.lit(True)
    if request.since is not None:
        where &= pl.col("as_of") >= pl.lit(request.since, utc)
    if request.until is not None:
        where &= pl.col("as_of") < pl.lit(request.until, utc)
    return where
