"""BinCounts of days add up to those of all at once; and what may stand in a column."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.drift.compared import distances, foremost, judged
from headrace.drift.declared import DriftLimits
from headrace.drift.frames import CATEGORICAL, NUMERIC, TEXT, BinLayout

LIMITS = DriftLimits()
NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float))
WORDS = st.one_of(
    st.none(), st.lists(st.sampled_from(["red", "green", "blue", "old", "new", "coat", "ring"])).map(" ".join)
)
COLUMNS = {
    NUMERIC: (st.lists(NUMBERS, max_size=60), pl.Float64),
    CATEGORICAL: (st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh")), max_size=60), pl.String),
    TEXT: (st.lists(WORDS, max_size=60), pl.String),
}


def equal(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("rows", "missing", "bins", "sums"))


@pytest.mark.parametrize("kind", COLUMNS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_days_add_up_to_all_at_once_whatever_the_order(kind, data):
    values, dtype = COLUMNS[kind]
    reference, now = (pl.Series("v", data.draw(values), dtype, strict=False) for _ in range(2))
    frame = BinLayout.from_dict(json.loads(json.dumps(BinLayout.of(reference, kind).as_dict())))
    days = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(now), max_size=len(now))), dtype=np.int64)

    whole = frame.count(now)
    by_day = frame.count(now, days, 4)
    order = np.array(data.draw(st.permutations(range(len(now)))), dtype=np.int64)
    apart = [frame.count(now.gather(np.flatnonzero(days == day))) for day in range(4)]

    assert equal(by_day.total(), whole)
    assert equal(apart[0] + apart[1] + apart[2] + apart[3], whole)
    assert equal(frame.count(now.gather(order)), whole)
    assert by_day.rows.tolist() == [int((days == day).sum()) for day in range(4)]
    assert (by_day.rows >= by_day.missing).all()


def verdict(before, now, kind, limits=LIMITS):
    before, now = (
        each if isinstance(each, pl.Series) else pl.Series("v", each, strict=False) for each in (before, now)
    )
    frame = BinLayout.of(before, kind)
    found = distances(frame, frame.count(before, leave_out=True), frame.count(now), limits)
    return foremost(judged([found], limits)[0])


def draw(seed, n, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, n).tolist()


@pytest.mark.parametrize(
    ("before", "now", "kind", "statistic"),
    [
        (draw(1, 500), draw(2, 500, 0.7), NUMERIC, "wasserstein"),
        (draw(1, 500), [None] * 500, NUMERIC, "missing"),
        (draw(1, 500), [float("nan")] * 500, NUMERIC, "missing"),
        (draw(1, 500), [float("inf")] * 500, NUMERIC, "missing"),
        ([None] * 500, draw(1, 500), NUMERIC, "missing"),
        ([3.0] * 500, [4.0] * 500, NUMERIC, "stability"),
        (["a", "b"] * 250, ["a", "b", "c", "c"] * 125, CATEGORICAL, "new"),
        (["a", "b"] * 250, ["a", "a", "a", "b"] * 125, CATEGORICAL, "jensen_shannon"),
        (["a", "b"] * 250, [None] * 500, CATEGORICAL, "missing"),
        (["red coat", "blue ring"] * 250, ["der Mantel", "blue ring"] * 250, TEXT, "outside_vocabulary"),
        (["red coat", "blue red ring"] * 250, ["red coat " * 9, "ring"] * 250, TEXT, "length"),
        (["red coat", "blue ring"] * 250, ["", "  "] * 250, TEXT, "missing"),
    ],
)
def test_what_changed_is_found_and_told(before, now, kind, statistic):
    dtype = pl.Float64 if kind == NUMERIC else pl.String
    found = verdict(*(pl.Series("v", each, dtype) for each in (before, now)), kind)
    assert (found.drifted, found.statistic) == (True, statistic)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (draw(1, 400), NUMERIC),
        ([3.0] * 400, NUMERIC),
        ([float("nan")] * 400, NUMERIC),
        ([1e308, -1e308] * 200, NUMERIC),
        ([1e-300, 2e-300] * 200, NUMERIC),
        (["a"] * 400, CATEGORICAL),
        ([str(i) for i in range(400)], CATEGORICAL),
        (["red coat"] * 400, TEXT),
        ([None] * 400, TEXT),
    ],
)
def test_what_did_not_change_is_not(values, kind):
    dtype = pl.Float64 if kind == NUMERIC else pl.String
    series = pl.Series("v", values, dtype)
    for now in (series, series.reverse(), series.head(1), series.head(0), series.head(60)):
        assert not verdict(series, now, kind).drifted


def test_names_of_which_each_row_has_its_own_do_not_drift_by_being_new():
    before, now = (pl.Series("v", [f"{who} {i}" for i in range(300)]) for who in ("Ann", "Bob"))
    assert not verdict(before, now, CATEGORICAL).drifted


def test_a_million_rows_do_not_alarm_by_themselves():
    rng = np.random.default_rng(5)
    before, now = (pl.Series("v", rng.normal(0, 1, 1_000_000) + plus) for plus in (0.0, 0.01))
    small = verdict(before, now, NUMERIC)
    assert small.p_value < 1e-6  # it is no chance
    assert not small.drifted  # and nothing that matters
    assert verdict(before, now + 0.2, NUMERIC).drifted


def test_what_windows_of_the_training_differed_by_is_usual():
    rng = np.random.default_rng(6)
    days = np.repeat(np.arange(80), 50)
    season = np.where(days // 10 % 2, 1.0, -1.0)  # ten days up, ten days down
    before, now = pl.Series("v", season + rng.normal(0, 0.3, days.size)), pl.Series("v", rng.normal(1, 0.3, 500))
    frame = BinLayout.of(before, NUMERIC)
    reference, current = frame.count(before), frame.count(now)
    windows = frame.count(before, days // 10, 8)
    told = judged([distances(frame, reference, current, LIMITS, windows)], LIMITS)[0]
    assert not any(each.drifted for each in told)
    assert any(each.drifted for each in judged([distances(frame, reference, current, LIMITS)], LIMITS)[0])
    far = frame.count(now + 3)
    assert any(each.drifted for each in judged([distances(frame, reference, far, LIMITS, windows)], LIMITS)[0])


def test_false_alarms_over_stable_draws_are_no_more_than_declared():
    """First with limits so low that chance alone decides, then with the usual ones."""
    limits = DriftLimits(
        false_alarms=0.05, wasserstein=1e-6, stability=1e-6, jensen_shannon=1e-6, missing=1e-6, new=1e-6
    )
    rng = np.random.default_rng(11)

    def columns(n):
        numbers = [rng.normal(0, 1, n), rng.lognormal(0, 1, n), rng.integers(0, 5, n).astype(float)]
        numbers[0][rng.random(n) < 0.1] = np.nan
        levels = [f"level {i}" for i in range(200)]
        weights = 1 / np.arange(1, 201)
        return [
            *((pl.Series("v", each), NUMERIC) for each in numbers),
            (pl.Series("v", rng.choice(levels, n, p=weights / weights.sum())), CATEGORICAL),
            (pl.Series("v", rng.choice(["x", "y"], n)), CATEGORICAL),
        ]

    alarms = usual = 0
    for _ in range(20):
        reference = [(values, BinLayout.of(values, kind)) for values, kind in columns(2000)]
        counted = [(frame, frame.count(values, leave_out=True)) for values, frame in reference]
        for _ in range(10):
            now = [frame.count(values) for (frame, _), (values, _) in zip(counted, columns(400), strict=True)]
            for given_limits in (limits, LIMITS):
                found = [
                    distances(frame, before, after, given_limits)
                    for (frame, before), after in zip(counted, now, strict=True)
                ]
                any_drifted = any(each.drifted for told in judged(found, given_limits) for each in told)
                alarms += any_drifted and given_limits is limits
                usual += any_drifted and given_limits is LIMITS
    assert alarms <= 0.05 * 200 + 3 * np.sqrt(0.05 * 0.95 * 200)  # what is declared, within the chance of 200 draws
    assert usual <= 0.01 * 200  # with the usual limits far fewer
