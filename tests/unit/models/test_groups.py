"""The means of training rows are of other folds' rows, so that trees cannot read a row's own target in them."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from headrace.features import CompileTarget, Features, col, target_mean
from headrace.features.group import MISSING
from headrace.features.hashing import mix
from headrace.models import Boosting
from headrace.models.base import Training
from headrace.models.encoding import Encoder
from headrace.models.groups import FOLDS, GroupMeans, GroupSums

KIND = target_mean(col("kind"), prior=3)
PLACE = target_mean(col("place"), prior=2, towards=KIND)
ROWS = 300


def rows(groups=40):
    random = np.random.default_rng(1)
    place = random.integers(0, groups, ROWS)
    keys = [f"{MISSING if n % 17 == 0 else p}\x1f{p % 3}" for n, p in enumerate(place.tolist())]
    return keys, random.normal(size=ROWS)


def test_the_mean_of_a_training_row_is_that_of_the_other_folds():
    keys, target = rows()
    fitted = GroupMeans.fit(PLACE, keys, target)
    found = fitted.held_out(keys)
    fold = (mix(np.arange(ROWS, dtype=np.uint64)) % np.uint64(FOLDS)).astype(int)
    for held in range(FOLDS):
        others = np.flatnonzero(fold != held)
        narrow, _ = GroupMeans.fit(PLACE, [keys[row] for row in others], target[others]).sums
        expected = GroupMeans(PLACE, fitted.overall, (narrow, fitted.sums[1]))  # the broadest level is whole
        for row in np.flatnonzero(fold == held):
            assert found[row] == pytest.approx(expected.mean(keys[row]), abs=1e-12)


def test_rows_of_a_group_and_a_fold_have_the_same_mean_and_lone_ones_that_of_the_broader_group():
    keys = ["one\x1fa"] * 200 + [f"{n}\x1fb" for n in range(100)]
    target = np.random.default_rng(2).normal(size=ROWS)
    fitted = GroupMeans.fit(PLACE, keys, target)
    found = fitted.held_out(keys)
    assert len(set(found[:200].tolist())) == FOLDS
    assert set(found[200:].tolist()) == {fitted.mean(f"new{chr(31)}b")}


@pytest.mark.parametrize("edges", [(0, ROWS), (0, 1, 2, 150, ROWS)])
def test_rows_that_come_in_parts_have_the_same_means(edges):
    keys, target = rows()
    sums = GroupSums(PLACE)
    for begin, end in pairwise(edges):
        sums.add(keys[begin:end], target[begin:end])
    whole, fitted = GroupMeans.fit(PLACE, keys, target), sums.means(float(target.mean()))
    parts = [fitted.held_out(keys[begin:end], begin) for begin, end in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == whole.held_out(keys).tobytes()
    assert fitted.held_out([]).shape == (0,)


def test_trees_read_no_target_in_the_means_of_its_group():
    """Rows that were not seen are judged worse by far where each row is left out alone: 1.11 beside 1.06."""
    random = np.random.default_rng(3)
    frame = pl.DataFrame({"place": random.integers(0, 100, 2_000)})
    means = random.normal(size=100)[frame["place"].to_numpy()] / 2
    target, fresh = random.normal(size=2_000) + means, random.normal(size=2_000) + means
    features = Features({"mean": target_mean(col("place"))})
    table = features.over(frame, CompileTarget())
    rows = Encoder.fitted(features, table, target)
    fitted = Boosting(n_estimators=100, num_leaves=15).fit(Training(rows, rows.encoder, target, "regression", 0, 0))
    assert np.mean((fresh - fitted.scores(rows.encoder.of_frame(table))) ** 2) < 1.08
