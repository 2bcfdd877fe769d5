"""Distances of counts, beside SciPy's of the values that were counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from headrace.drift import statistics
from headrace.drift.frames import CATEGORICAL, NUMERIC, BinLayout
from headrace.drift.scale import FINE

DRAWS = {
    "normal": lambda rng, n: rng.normal(5, 2, n),
    "skewed": lambda rng, n: rng.lognormal(0, 1.5, n),
    "whole": lambda rng, n: rng.integers(0, 6, n).astype(float),
    "two humps": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(-4, 1, n), rng.normal(9, 0.5, n)),
    "far from zero": lambda rng, n: 1e9 + rng.normal(0, 1, n),
    "mostly zero": lambda rng, n: np.where(rng.random(n) < 0.8, 0.0, rng.gamma(2, 3, n)),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize(("times", "plus"), [(1.0, 0.0), (1.0, 0.2), (1.3, 0.0)])
def test_distances_of_counts_are_those_of_the_values(draw, times, plus):
    rng = np.random.default_rng(7)
    before, now = draw(rng, 20_000), draw(rng, 15_000)
    now = (now - now.mean()) * times + now.mean() + plus * before.std()
    frame = BinLayout.of(pl.Series(before), NUMERIC)
    a, b = frame.count(pl.Series(before)), frame.count(pl.Series(now))
    means = tuple(each.sums[0] / FINE / each.known for each in (a, b))

    found = statistics.wasserstein(a.bins[0], b.bins[0], means, frame.scale.edges).item()
    largest = statistics.kolmogorov_smirnov(a.bins[0], b.bins[0]).item()

    assert found == pytest.approx(stats.wasserstein_distance(before, now) / before.std(), rel=0.03, abs=0.003)
    exact = stats.ks_2samp(before, now)
    assert largest == pytest.approx(exact.statistic, abs=0.02)
    assert largest <= exact.statistic + 1e-12  # never more, so that its p-value is never too small
    chance = statistics.kolmogorov_p(exact.statistic, before.size, now.size)
    assert chance == pytest.approx(stats.ks_2samp(before, now, method="asymp").pvalue, rel=0.15, abs=0.002)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8))
@settings(deadline=None)
def test_the_jensen_shannon_distance_is_scipys(pairs):
    before, now = np.array(pairs).T
    if not before.sum() or not now.sum():
        return
    expected = distance.jensenshannon(before, now, base=2)
    assert statistics.jensen_shannon(before, now).item() == pytest.approx(expected, abs=1e-7)


@given(st.lists(st.tuples(st.integers(20, 200), st.integers(20, 200)), min_size=2, max_size=6))
@settings(deadline=None)
def test_the_test_of_homogeneity_is_scipys_where_nothing_is_rare(pairs):
    table = np.array(pairs).T
    expected = stats.chi2_contingency(table, correction=False).pvalue
    if (stats.contingency.expected_freq(table) >= 5).all():
        assert statistics.homogeneity_p(*table) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(st.tuples(*[st.integers(0, 30)] * 4))
@settings(deadline=None)
def test_of_two_rare_categories_it_is_fishers(cells):
    table = np.array(cells).reshape(2, 2)
    if table.sum(axis=1).all() and (stats.contingency.expected_freq(table + 1e-12) < 5).any():
        assert statistics.homogeneity_p(*table) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_corrected_p_values_are_scipys(values):
    assert statistics.adjusted(values) == pytest.approx(stats.false_discovery_control(values).tolist())


def test_the_stability_index_is_that_of_deciles():
    rng = np.random.default_rng(1)
    before, now = rng.normal(0, 1, 50_000), rng.normal(0.5, 1, 50_000)
    frame = BinLayout.of(pl.Series(before), NUMERIC)
    a, b = (frame.count(pl.Series(each)).bins[0] for each in (before, now))
    groups = statistics.decile_groups(a)

    edges = np.quantile(before, np.arange(1, 10) / 10)
    p, q = (np.bincount(np.searchsorted(edges, each), minlength=10) / each.size for each in (before, now))
    found = statistics.stability(*(np.add.reduceat(each, groups) for each in (a, b))).item()

    assert groups.size == 10
    assert found == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=0.1)


def test_many_windows_at_once_give_what_each_gives_alone():
    rng = np.random.default_rng(2)
    reference, others = rng.integers(0, 50, 30), rng.integers(0, 9, (5, 30))
    edges = np.arange(29.0)
    means = rng.normal(0, 1, 30), rng.normal(0, 1, (5, 30))
    together = statistics.wasserstein(reference, others, means, edges)
    alone = [statistics.wasserstein(reference, others[i], (means[0], means[1][i]), edges).item() for i in range(5)]
    assert together.tolist() == pytest.approx(alone)
    for of in (statistics.jensen_shannon, statistics.stability, statistics.kolmogorov_smirnov):
        assert of(reference, others).tolist() == pytest.approx([of(reference, each).item() for each in others])


def test_distances_of_categories_are_those_of_the_values():
    rng = np.random.default_rng(3)
    before, now = (pl.Series(rng.choice(list("abcd"), 5000, p=p)) for p in ([0.4, 0.3, 0.2, 0.1], [0.25] * 4))
    frame = BinLayout.of(before, CATEGORICAL)
    a, b = frame.count(before, leave_out=True), frame.count(now)
    p, q = ([(each == level).sum() for level in frame.levels] for each in (before, now))
    assert statistics.jensen_shannon(a.bins[0], b.bins[0]).item() == pytest.approx(distance.jensenshannon(p, q, base=2))
