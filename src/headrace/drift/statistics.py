"""How far two samples are from each other, as pure functions of counts in the same bins.

Each takes counts of a reference and of one or more others: the last axis are the bins, and axes before it are further
samples. So the same line compares a window with the reference, and every window of the reference with the rest of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_EXPECTED = 5.0
"""Categories of which fewer rows are expected are tested together (Cochran, Biometrics 10, 1954)."""
_GROUPS = 10
"""Groups of a population stability index, by the reference's deciles."""
_EMPTY_SHARE = 1e-4
"""A group without a row counts as having this share, so that an index stays finite."""


def shares(counts: NDArray[Any]) -> Array:
    """BinCounts as shares of their sum; zero where there is none.

    >>> shares(np.array([1, 3])).tolist()
    [0.25, 0.75]
    """
    counts = np.asarray(counts, dtype=np.float64)
    total = counts.sum(axis=-1, keepdims=True)
    ratio: Array = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return ratio


def wasserstein(reference: NDArray[Any], current: NDArray[Any], means: tuple[Array, Array], edges: Array) -> Array:
    """The first Wasserstein distance, the area between two distribution functions (Vallender, 1974).

    Of a bin from a to b the area between the functions F and G is b D(b) - a D(a) - (s - t), where D = F - G and s, t
    are the sums of values in the bin by row: integration by parts. That is exact where F and G do not cross within the
    bin, and less than the true area by what crosses.

    Args:
        reference: BinCounts per bin, shape (bins,); the first bin lies before all edges, the last one after.
        current: The same of others, shape (..., bins).
        means: Per bin the sum of values divided by the rows of all bins, of the reference and of the others.
        edges: Between the bins, ascending, shape (bins - 1,).

    Returns:
        Shape (...,), in the unit of the edges.
    """
    gaps = np.cumsum(shares(reference) - shares(current), axis=-1)[..., :-1] * edges
    begin = np.zeros((*gaps.shape[:-1], 1))
    areas = np.concatenate([gaps, begin], axis=-1) - np.concatenate([begin, gaps], axis=-1)
    distance: Array = np.abs(areas - (means[0] - means[1])).sum(axis=-1)
    return distance


def kolmogorov_smirnov(reference: NDArray[Any], current: NDArray[Any]) -> Array:
    """The largest distance of two distribution functions at the edges of the bins: never more than the true one.

    >>> kolmogorov_smirnov(np.array([1, 1, 0]), np.array([0, 1, 1])).item()
    0.5
    """
    gaps = np.cumsum(shares(reference) - shares(current), axis=-1)
    distance: Array = np.abs(gaps).max(axis=-1, initial=0.0)
    return distance


def kolmogorov_p(distance: float, rows: int, rows_now: int) -> float:
    """How likely a distance so large is between two samples of one distribution (Smirnov 1948, with Stephens' term).

    Where values are in bins, or are discrete, it is at most that.

    >>> kolmogorov_p(0.0, 100, 100)
    1.0
    """
    from scipy.special import kolmogorov

    if not rows or not rows_now:
        return 1.0
    root = np.sqrt(rows * rows_now / (rows + rows_now))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * distance))


def jensen_shannon(reference: NDArray[Any], current: NDArray[Any]) -> Array:
    """The Jensen-Shannon distance with logarithms to base 2: 0 for equal shares, 1 for none in common.

    The root of the mean divergence from the mixture of both (Lin, IEEE Trans. Inf. Theory 37, 1991; Endres and
    Schindelin, 2003).

    >>> jensen_shannon(np.array([5, 0]), np.array([0, 5])).item()
    1.0
    """
    p, q = shares(reference), shares(current)
    middle = (p + q) / 2
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    distance: Array = np.sqrt(np.maximum(divergence, 0.0))
    return distance


def _divergence(p: Array, q: Array) -> Array:
    """The Kullback-Leibler divergence to base 2; q is not zero where p is not."""
    p, q = np.broadcast_arrays(p, q)
    ratio = np.divide(p, q, out=np.ones(p.shape), where=(p > 0) & (q > 0))
    divergence: Array = (p * np.log2(ratio)).sum(axis=-1)
    return divergence


def stability(reference: NDArray[Any], current: NDArray[Any]) -> Array:
    """The population stability index: the sum of (p - q) ln(p / q) (Siddiqi, Credit Risk Scorecards, 2006).

    A group without a row counts as having a share of 0.0001.
    """
    p, q = (np.maximum(shares(counts), _EMPTY_SHARE) for counts in (reference, current))
    index: Array = ((p - q) * np.log(p / q)).sum(axis=-1)
    return index


def decile_groups(reference: NDArray[Any]) -> NDArray[np.int64]:
    """The first bin of each group of bins that holds a tenth of the reference, as near as bins allow.

    Bins above all of the reference are a group of their own.

    >>> decile_groups(np.array([0, 5, 5, 0])).tolist()
    [0, 2, 3]
    """
    counts = np.asarray(reference)
    before = np.concatenate([[0], np.cumsum(counts)[:-1]])
    tenths = np.floor(before * _GROUPS / max(int(counts.sum()), 1) + 1e-9)
    first: NDArray[np.int64] = np.flatnonzero(np.concatenate([[True], np.diff(tenths) > 0])).astype(np.int64)
    return first


def homogeneity_p(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """How likely counts so different are of one distribution: Pearson's test of homogeneity, rare categories pooled.

    Args:
        reference: Rows per category, shape (categories,).
        current: The same of the other sample.

    >>> homogeneity_p(np.array([10, 10]), np.array([10, 10]))
    1.0
    """
    from scipy.special import chdtrc

    table = np.stack([reference, current]).astype(np.float64)
    rows, pair = table.sum(axis=1), table.sum(axis=0)
    if not rows.all():
        return 1.0
    order = np.argsort(pair)
    least = LEAST_EXPECTED * rows.sum() / rows.min()
    rare = int((pair < least).sum())
    pooled = max(rare, int(np.searchsorted(np.cumsum(pair[order]), least)) + 1) if rare else 1
    pooled = min(pooled, max(table.shape[1] - 1, 1))
    first = table[:, order[:pooled]].sum(axis=1, keepdims=True)
    table = np.concatenate([first, table[:, order[pooled:]]], axis=1)
    expected = np.outer(rows, table.sum(axis=0)) / rows.sum()
    if table.shape[1] == 2 and expected.min() < LEAST_EXPECTED:
        return _fisher(table)
    squares = np.divide((table - expected) ** 2, expected, out=np.zeros_like(table), where=expected > 0)
    return float(chdtrc(max(table.shape[1] - 1, 1), squares.sum()))


def _fisher(table: Array) -> float:
    """Fisher's exact test, two-sided, of two categories."""
    from scipy.stats import hypergeom

    (a, _), (c, _) = table.astype(int).tolist()
    total, first, drawn = int(table.sum()), a + c, int(table[0].sum())
    low, high = max(0, drawn - (total - first)), min(first, drawn)
    # The rarer category is small: what it can be is looked at whole.
    chances = hypergeom.pmf(np.arange(low, high + 1), total, first, drawn)
    return float(min(chances[chances <= chances[a - low] * (1 + 1e-7)].sum(), 1.0))


def adjusted(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: those up to q hold a share of false discoveries of at most q.

    Where nothing differs at all, the chance of any false alarm is at most q (Benjamini and Hochberg, J. R. Stat. Soc. B
    57, 1995).

    >>> adjusted([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p_values, dtype=np.float64)
    if not values.size:
        return []
    order = np.argsort(values)[::-1]
    ranks = np.arange(values.size, 0, -1)
    least = np.minimum.accumulate(values[order] * (values.size / ranks))
    result = np.empty_like(values)
    result[order] = np.minimum(least, 1.0)
    rounded: list[float] = result.tolist()
    return rounded
