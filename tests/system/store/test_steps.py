"""Events become the values of steps: whatever their order and parts, as of any time, to the last bit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.contract.aggregation import Aggregate
from headrace.grid import Grid
from headrace.store import Table
from headrace.store.history import KnownAsOf, SeriesLayout, read_steps

HOUR, START = timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC)
UTC_TIME = pl.Datetime("us", "UTC")
KINDS = ("sum", "mean", "last", "first", "min", "max", "count")
END = START + 12 * HOUR


def series_of(*how: Aggregate, lag: timedelta = timedelta(), keys=("s",)) -> SeriesLayout:
    names = tuple(f"v{i}" for i in range(len(how)))
    return SeriesLayout(keys, "time", Grid(HOUR), names, aggregates=how, lag=lag)


def table_of(folder, batches, columns=1) -> Table:
    """A table of events, appended batch by batch: (series, minutes, value or None, minutes until it is known)."""
    table = Table(folder)
    for batch in batches:
        rows = pl.DataFrame(
            {
                "s": [e[0] for e in batch],
                "time": pl.Series([START + timedelta(minutes=e[1]) for e in batch], dtype=UTC_TIME),
                **{f"v{i}": pl.Series([e[2] for e in batch], dtype=pl.Float64) for i in range(columns)},
                "known_at": pl.Series([START + timedelta(minutes=e[1] + e[3]) for e in batch], dtype=UTC_TIME),
            }
        )
        if rows.height:
            names = ["s", "time", "v0", "known_at"]
            table.append(rows, identity=names, compare=[], window="time")
    return table


def naive(kind, events):
    """The value of one step from its events (known, time, value), in the order that is promised."""
    events = sorted((e for e in events if e[2] is not None), key=lambda e: e)
    values = [value for _, _, value in events]
    if not values:
        return None
    total = 0.0
    for value in values:
        total += value
    chosen = {"last": max(enumerate(events), key=lambda e: (e[1][1], e[0])), "first": None}
    first = min(enumerate(events), key=lambda e: (e[1][1], e[0]))
    return {
        "sum": total,
        "mean": total / len(values),
        "count": float(len(values)),
        "min": min(values),
        "max": max(values),
        "last": chosen["last"][1][2],
        "first": first[1][2],
    }[kind]


def oracle(events, kind, empty, as_of, lag):
    """Value of every (series, step) as of a time, by hand."""
    seen = [e for e in events if START + timedelta(minutes=e[1] + e[3]) <= as_of]
    steps = {}
    for s, at, value, wait in seen:
        steps.setdefault((s, at // 60), []).append((at + wait, at, value))
    found = {key: naive(kind, some) for key, some in steps.items()}
    if empty == "zero":
        found = {key: 0.0 if value is None else value for key, value in found.items()}
        last = max((at // 60 for _, at, _, _ in seen), default=-1)
        for s in {e[0] for e in seen}:
            begun = min(at // 60 for other, at, _, _ in seen if other == s)
            for step in range(begun + 1, last + 1):
                if START + (step + 1) * HOUR + lag <= as_of:
                    found.setdefault((s, step), 0.0)
    return found


def values_of(table, series, as_of, between=(START - HOUR, END), column="v0"):
    facts = read_steps(table, series, KnownAsOf(as_of, table.version()), between)
    assert facts.filter(pl.col("known_at") > as_of).is_empty()
    facts = facts.sort("known_at", "_version").unique([*series.keys, "time"], keep="last")
    facts = facts if series.keys else facts.with_columns(s=pl.lit("a"))
    rows = facts.select("s", "time", column).iter_rows()
    return {(s, (time - START) // HOUR): value for s, time, value in rows}


TEN = [("a", minute, float(minute), 0) for minute in range(0, 60, 10)]


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
@pytest.mark.parametrize("cut", [0, 2, 5])
def test_rows_of_an_hour_in_any_order_and_split(tmp_path, order, cut):
    rows = [TEN[i] for i in order]
    series = series_of(*map(Aggregate, KINDS))
    table = table_of(tmp_path / "t", [rows[:cut], rows[cut:]], columns=7)
    want = {"sum": 150.0, "mean": 25.0, "last": 50.0, "first": 0.0, "min": 0.0, "max": 50.0, "count": 6.0}
    early = {"sum": 30.0, "mean": 10.0, "last": 20.0, "first": 0.0, "min": 0.0, "max": 20.0, "count": 3.0}
    for place, kind in enumerate(KINDS):
        assert values_of(table, series, END, column=f"v{place}") == {("a", 0): want[kind]}
        then = values_of(table, series, START + timedelta(minutes=25), column=f"v{place}")
        assert then == {("a", 0): early[kind]}


event = st.tuples(
    st.sampled_from("ab"),
    st.integers(0, 11 * 60 + 59),
    st.none() | st.floats(-1e9, 1e9) | st.sampled_from([0.1, 0.2, 0.3]),
    st.sampled_from([0, 0, 0, 7, 90, 400]),
)
alone = st.tuples(st.just("a"), *(st.integers(0, 700), st.floats(0, 9), st.sampled_from([0, 100])))


@given(
    events=st.lists(event, max_size=40, unique=True) | st.lists(alone, max_size=15, unique=True),
    cuts=st.lists(st.integers(0, 40), max_size=3),
    order=st.randoms(use_true_random=False),
    as_of=st.integers(0, 20 * 60),
    kind=st.sampled_from(KINDS),
    empty=st.sampled_from(["missing", "zero"]),
    lag=st.sampled_from([0, 45]),
    window=st.tuples(st.integers(-1, 11), st.integers(0, 11)),
)
@settings(max_examples=60, deadline=None)
def test_any_events_order_split_and_time(tmp_path_factory, events, cuts, order, as_of, kind, empty, lag, window):
    shuffled = list(events)
    order.shuffle(shuffled)
    ends = [0, *sorted(min(cut, len(events)) for cut in cuts), len(events)]
    folder = tmp_path_factory.mktemp("events")
    table = table_of(folder / "t", [shuffled[a:b] for a, b in pairwise(ends)])
    if not table.exists():
        return
    moment, wait = START + timedelta(minutes=as_of), timedelta(minutes=lag)
    series = series_of(Aggregate(kind, empty), lag=wait)
    want = oracle(events, kind, empty, moment, wait)
    assert values_of(table, series, moment) == want
    # A part of the steps says the same about them, whatever lies around it; a later reader sees the past as it was.
    lo, hi = min(window), max(window)
    between = START + (lo - 1) * HOUR, START + hi * HOUR
    part = {key: value for key, value in want.items() if lo <= key[1] <= hi}
    assert values_of(table, series, moment, between) == part
    later = read_steps(table, series, KnownAsOf(END + timedelta(days=9), table.version()), between)
    later = later.filter(pl.col("known_at") <= moment).sort("known_at", "_version").unique(["s", "time"], keep="last")
    told = {(s, (at - START) // HOUR): value for s, at, value in later.select("s", "time", "v0").iter_rows()}
    assert told == part
    if {e[0] for e in events} == {"a"}:
        assert values_of(table, series_of(Aggregate(kind, empty), lag=wait, keys=()), moment, between) == part
