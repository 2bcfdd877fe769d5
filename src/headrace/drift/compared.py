"""A window beside the reference: distances of each variable, their limits, and whether they may be chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.drift import statistics
from headrace.drift.declared import DriftLimits
from headrace.drift.scale import FINE, BinScale

if TYPE_CHECKING:
    from headrace.drift.frames import BinCounts, BinLayout

FEWEST = 4
"""Windows of the reference, from which on they say what is usual."""
MARGIN = 1.2
"""How much more than the largest of these windows is unusual."""
NAMELIKE = 0.2
"""Where so many rows of the reference have a value that no other row has, values are names rather than categories."""
_SPARSE = 0.5
"""A window of the reference with fewer rows than this share of what is common says nothing."""


@dataclass(frozen=True)
class Distance:
    """One distance of one variable.

    Attributes:
        statistic: ``wasserstein``, ``stability``, ``jensen_shannon``, ``missing``, ``new``, ``outside_vocabulary`` or
            ``length``.
        value: How far the window is from the reference.
        threshold: The limit, or what is usual where that is more.
        p_value: How likely it is by chance; corrected for the number of all distances once `judged` made it so.
        drifted: Whether it counts as drift.
    """

    statistic: str
    value: float
    threshold: float
    p_value: float
    drifted: bool = False

    @property
    def excess(self) -> float:
        """The value in units of its threshold."""
        return self.value / self.threshold


@dataclass(frozen=True)
class _Statistic:
    """How a distance is computed of counts, of one sample or of many.

    Attributes:
        name: As `Distance.statistic`.
        limit: What is declared.
        of: Takes the reference and others, as counts: whose rows, missing, bins and sums have the groups first.
        chance: The p-value of the first others.
    """

    name: str
    limit: float
    of: Callable[[BinCounts, BinCounts], NDArray[Any]]
    chance: Callable[[BinCounts, BinCounts], float]


def distances(
    frame: BinLayout,
    reference: BinCounts,
    current: BinCounts,
    limits: DriftLimits,
    windows: BinCounts | UsualDistances | None = None,
) -> list[Distance]:
    """Every distance of a variable; not yet whether it is drift, which depends on how many there are.

    Args:
        frame: How its values are counted.
        reference: Of the whole reference: one group.
        current: Of the window: one group.
        limits: What is declared.
        windows: The reference in windows as long as the present one, a group each, where it has times; or what is
            usual among them.
    """
    usual = windows if isinstance(windows, UsualDistances) else UsualDistances(reference, windows)
    return [
        Distance(
            one.name,
            float(one.of(reference, current)[0]),
            max(one.limit, usual.of(one)),
            one.chance(reference, current),
        )
        for one in _statistics(frame, reference, limits)
    ]


def judged(results: Sequence[Sequence[Distance]], limits: DriftLimits) -> list[list[Distance]]:
    """The distances of all variables, corrected for their number, each with its verdict.

    Args:
        found: Of each variable what `distances` gave.
        limits: What is declared.
    """
    values = iter(statistics.adjusted([one.p_value for item in results for one in item]))

    def verdict(one: Distance) -> Distance:
        p_value = next(values)
        return replace(one, p_value=p_value, drifted=one.value >= one.threshold and p_value <= limits.false_alarms)

    return [[verdict(one) for one in item] for item in results]


def foremost(results: Sequence[Distance]) -> Distance:
    """The distance that stands for a variable: of those that drifted, if any did, the largest by its threshold."""
    return max(results, key=lambda one: (one.drifted, one.excess))


class UsualDistances:
    """How far windows of a reference are from the rest of it. It may be kept for many present windows as long.

    Args:
        reference: Of the whole reference: one group.
        windows: The reference in windows, a group each, where it has times.
    """

    def __init__(self, reference: BinCounts, windows: BinCounts | None) -> None:
        from headrace.drift.frames import BinCounts

        self._known: dict[str, float] = {}
        self._rest: BinCounts | None = None
        if windows is None:
            return
        chosen = windows.rows >= _SPARSE * np.median(windows.rows)
        if int(chosen.sum()) < FEWEST:
            return
        self._windows = windows.only(np.flatnonzero(chosen))
        rows, missing, bins, sums = (
            total - part for total, part in zip(reference.arrays, self._windows.arrays, strict=True)
        )
        self._rest = BinCounts(rows, missing, bins, sums)

    def of(self, one: _Statistic) -> float:
        """The largest distance, and a margin; 0 where there are too few windows."""
        if self._rest is None:
            return 0.0
        if one.name not in self._known:
            self._known[one.name] = MARGIN * float(np.max(one.of(self._rest, self._windows)))
        return self._known[one.name]


def _statistics(frame: BinLayout, reference: BinCounts, limits: DriftLimits) -> Iterator[_Statistic]:
    yield _Statistic("missing", limits.missing, _missing, _missing_chance)
    if not reference.known:
        return
    if frame.kind == "categorical":
        if reference.bins[:, -1].sum() > NAMELIKE * reference.known:
            return  # names, numbers of tickets: new ones are what such a column is made of
        yield _Statistic("jensen_shannon", limits.jensen_shannon, _divergence, _homogeneity)
        yield _Statistic("new", limits.new, _new, _new_chance)
        return
    begin = 0
    parts = zip(frame.parts, frame.scales, strict=True)
    for place, (bins, scale) in enumerate(parts):
        part = _NumberBins(scale, slice(begin, begin + bins))
        begin += bins
        if frame.kind == "text" and place == 0:
            yield _Statistic("outside_vocabulary", limits.new, part.growth, part.kolmogorov)
            continue
        if scale.varies:
            name = "length" if frame.kind == "text" else "wasserstein"
            yield _Statistic(name, limits.wasserstein, part.wasserstein, part.kolmogorov)
        if frame.kind == "numeric":
            groups = statistics.decile_groups(reference.bins[0])
            yield _Statistic("stability", limits.stability, part.stability(groups), part.homogeneity(groups))


@dataclass(frozen=True)
class _NumberBins:
    """Numbers among the bins of a variable."""

    scale: BinScale
    bins: slice

    def _means(self, counts: BinCounts) -> NDArray[np.float64]:
        bins, sums = counts.bins[:, self.bins], counts.sums[:, self.bins]
        means: NDArray[np.float64] = sums / (FINE * np.maximum(bins.sum(axis=1, keepdims=True), 1))
        return means

    def wasserstein(self, reference: BinCounts, current: BinCounts) -> NDArray[Any]:
        counted = (reference.bins[:, self.bins], current.bins[:, self.bins])
        pair = (self._means(reference), self._means(current))
        return np.where(current.rows > current.missing, statistics.wasserstein(*counted, pair, self.scale.edges), 0.0)

    def growth(self, reference: BinCounts, current: BinCounts) -> NDArray[Any]:
        """By how much the mean grows."""
        growth = self._means(current).sum(axis=1) - self._means(reference).sum(axis=1)
        return np.where(current.rows > current.missing, np.maximum(growth, 0.0), 0.0)

    def kolmogorov(self, reference: BinCounts, current: BinCounts) -> float:
        pair = reference.bins[0, self.bins], current.bins[0, self.bins]
        distance = float(statistics.kolmogorov_smirnov(*pair))
        return statistics.kolmogorov_p(distance, int(pair[0].sum()), int(pair[1].sum()))

    def stability(self, groups: NDArray[np.int64]) -> Callable[[BinCounts, BinCounts], NDArray[Any]]:
        def of(reference: BinCounts, current: BinCounts) -> NDArray[Any]:
            pair = (np.add.reduceat(item.bins[:, self.bins], groups, axis=1) for item in (reference, current))
            return np.where(current.rows > current.missing, statistics.stability(*pair), 0.0)

        return of

    def homogeneity(self, groups: NDArray[np.int64]) -> Callable[[BinCounts, BinCounts], float]:
        def of(reference: BinCounts, current: BinCounts) -> float:
            pair = (np.add.reduceat(item.bins[0, self.bins], groups) for item in (reference, current))
            return statistics.homogeneity_p(*pair)

        return of


def _share(counts: BinCounts, chosen: NDArray[Any]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = chosen / np.maximum(counts.rows, 1)
    return share


def _missing(reference: BinCounts, current: BinCounts) -> NDArray[Any]:
    return np.abs(_share(current, current.missing) - _share(reference, reference.missing))


def _missing_chance(reference: BinCounts, current: BinCounts) -> float:
    tables = (np.array([item.missing[0], item.rows[0] - item.missing[0]]) for item in (reference, current))
    return statistics.homogeneity_p(*tables)


def _divergence(reference: BinCounts, current: BinCounts) -> NDArray[Any]:
    distance = statistics.jensen_shannon(reference.bins, current.bins)
    return np.where(current.rows > current.missing, distance, 0.0)


def _homogeneity(reference: BinCounts, current: BinCounts) -> float:
    """Categories that are not told apart are one: whether they are new is a question of its own."""
    pair = (np.append(item.bins[0, :-2], item.bins[0, -2:].sum()) for item in (reference, current))
    return statistics.homogeneity_p(*pair)


def _new(reference: BinCounts, current: BinCounts) -> NDArray[Any]:
    growth = _share(current, current.bins[:, -1]) - _share(reference, reference.bins[:, -1])
    return np.maximum(growth, 0.0)


def _new_chance(reference: BinCounts, current: BinCounts) -> float:
    """How many values of the reference stand alone varies about twice as much as a count of rows (Robbins, 1968)."""
    now = np.array([current.bins[0, -1], current.bins[0, :-1].sum()])
    before = np.array([reference.bins[0, -1], reference.bins[0, :-1].sum()]) // 2
    return statistics.homogeneity_p(before, now)
