"""Sums over windows of known time, beside a plain count of what each window holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.tasks.watched import EPOCH, WatchRequest
from headrace.tasks.windows import by_rows, in_frame, in_windows, replaced, windowed

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
THING = st.integers(0, 5)
FACT = st.tuples(THING, st.integers(0, 12 * 24), st.floats(-1e3, 1e3))


def request(first: int, last: int, reach: int, turn: int) -> WatchRequest:
    times = tuple(FIRST + day * DAY for day in range(first, last + 1))
    since = tuple(FIRST if time < FIRST + turn * DAY else FIRST + turn * DAY for time in times)
    return WatchRequest(times, since, FIRST, DAY, reach * DAY, ("key",))


def prepared(rows: list[tuple[int, int, float]], asked: WatchRequest) -> pl.DataFrame:
    """Facts known by the last time; a thing's number says its scope (its half) and its era (whether it is odd)."""
    frame = pl.DataFrame(rows, schema={"thing": pl.Int64, "hour": pl.Int64, "value": pl.Float64}, orient="row")
    frame = frame.unique(["thing", "hour"], keep="first", maintain_order=True).sort("thing", "hour")
    known = pl.lit(FIRST, pl.Datetime("us", "UTC")) + pl.duration(hours="hour")
    frame = frame.with_columns(known_at=known).filter(pl.col("known_at") <= asked.times[-1])
    born = pl.when(pl.col("thing") % 2 == 1).then(pl.lit(asked.starts[-1])).otherwise(pl.lit(FIRST))
    era = pl.lit(-1, pl.Int64)
    for place, start in enumerate(asked.starts):
        era = pl.when(born >= pl.lit(start)).then(pl.lit(place, pl.Int64)).otherwise(era)
    frame = replaced(frame, ["thing"], asked)
    return frame.with_columns(scope=pl.col("thing") // 2, era=era)


def plain(rows: pl.DataFrame, asked: WatchRequest) -> dict[tuple[datetime, int], list[float]]:
    held: dict[tuple[datetime, int], list[float]] = {}
    for time, era in zip(asked.times, asked.eras, strict=True):
        place = (time - EPOCH) // DAY
        for row in rows.sort("begin", "thing", maintain_order=True).iter_rows(named=True):
            if place - asked.reach < row["begin"] <= place < row["end"] and row["era"] == era:
                held.setdefault((time, row["scope"]), []).append(row["value"])
    return held


def summed(rows: list[tuple[int, int, float]], asked: WatchRequest) -> dict[tuple[datetime, int], float]:
    scopes = pl.DataFrame({"key": [0, 1, 2]})
    frame = in_frame(windowed(prepared(rows, asked), asked, 3, by_rows(["value"])), asked, scopes)
    return {(time, key): value for time, key, value in frame.iter_rows()}


@settings(max_examples=60, deadline=None)
@given(st.lists(FACT, max_size=25), st.integers(1, 6), st.integers(0, 12))
def test_windows_hold_what_they_should_and_equal_bits_alone_and_together(rows, reach, turn):
    together = summed(rows, request(0, 12, reach, turn))
    expected = plain(prepared(rows, request(0, 12, reach, turn)), request(0, 12, reach, turn))
    assert together.keys() == expected.keys()
    assert all(abs(together[key] - sum(values)) < 1e-6 for key, values in expected.items())
    for day in (3, 9, 12):
        alone = summed(rows, request(day, day, reach, turn if turn <= day else 99))
        if turn <= day or turn > 12:
            assert alone == {key: value for key, value in together.items() if key[0] == FIRST + day * DAY}


@settings(max_examples=40, deadline=None)
@given(st.lists(FACT, max_size=25), st.integers(1, 6))
def test_rows_are_put_into_the_windows_that_they_are_in(rows, reach):
    asked = request(0, 12, reach, 0)
    facts = prepared(rows, asked)
    parts = list(in_windows(facts, asked))
    found: dict[tuple[datetime, int], list[float]] = {}
    for part in parts:
        for row in part.iter_rows(named=True):
            found.setdefault((asked.times[row["window"]], row["scope"]), []).append(row["value"])
    expected = plain(facts, asked)
    assert {key: sorted(values) for key, values in found.items()} == {k: sorted(v) for k, v in expected.items()}
