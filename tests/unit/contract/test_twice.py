"""The hour that happens twice, read from local times: every row is a fact, or is set apart with a reason."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import Column, Contract, KnownTimes, Validation, check

ZONE = "Europe/Copenhagen"
NOW, HOUR, DAY = datetime(2026, 6, 1, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
NIGHT = datetime(2025, 10, 25, 22, tzinfo=UTC)  # 00:00 of the day with 25 hours


def checked(rows: list[tuple[Any, ...]], ambiguous: Any = "in_order", zone: str = ZONE, **more: Any) -> Validation:
    contract = Contract(
        columns=(
            Column("series", "category"),
            Column("time", "time", zone=zone, ambiguous=ambiguous),
            Column("value", "float"),
        ),
        max_invalid_fraction=1,
    )
    frame = pl.DataFrame(rows, schema=["series", "time", "value"], orient="row")
    found = check(contract, frame, keys=more.get("keys", ("series",)), time="time", as_of=NOW, now=NOW)
    assert found.good.height + found.bad.height == len(rows)
    return found


def day(
    step: int, name: str = "a", zone: str = ZONE, start: datetime = NIGHT, hours: int = 25
) -> list[tuple[Any, ...]]:
    """A day in local time, with the values that it has in the order of time."""
    times = [start + timedelta(minutes=step) * i for i in range(hours * 60 // step)]
    return [(name, f"{t.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M:%S}", float(i)) for i, t in enumerate(times)]


def values(found: Validation, name: str = "a") -> list[float]:
    return found.good.filter(pl.col("series") == name).sort("time")["value"].to_list()


@pytest.mark.parametrize("step", [60, 30, 15, 5])
@pytest.mark.parametrize("typed", [False, True])
def test_the_first_in_the_file_is_the_earlier(step: int, typed: bool) -> None:
    rows = day(step)
    if typed:
        rows = [(a, datetime.fromisoformat(t), v) for a, t, v in rows]
    found = checked(rows)
    assert found.bad.height == 0
    assert values(found) == [row[2] for row in rows]
    assert found.good["time"].to_list() == [NIGHT + timedelta(minutes=step) * i for i in range(len(rows))]


def test_copies_side_by_side() -> None:
    """The order of some meter exports: each half hour of the two hours beside its twin."""
    rows = day(30)
    mixed = [*rows[:4], rows[4], rows[6], rows[5], rows[7], *rows[8:]]
    assert values(checked(mixed)) == [row[2] for row in rows]


def test_every_series_for_itself_in_any_arrangement() -> None:
    a, b = day(60, "a"), [(n, t, v + 100) for n, t, v in day(60, "b")]
    turns = [row for pair in zip(a, b, strict=True) for row in pair]
    for rows in ([*a, *b], turns, [*a[:12], *b, *a[12:]]):
        found = checked(rows)
        assert values(found, "a") == [float(i) for i in range(25)]
        assert values(found, "b") == [100.0 + i for i in range(25)]


def test_the_newest_first() -> None:
    rows = day(30)
    assert values(checked(rows[::-1])) == [row[2] for row in rows]


def test_several_years_and_zones() -> None:
    rows = [*day(60), *day(60, start=datetime(2024, 10, 26, 22, tzinfo=UTC))]
    assert checked(rows).bad.height == 0
    start = datetime(2026, 4, 4, 13, tzinfo=UTC)  # half an hour happens twice
    rows = day(15, zone="Australia/Lord_Howe", start=start, hours=24)
    found = checked(rows, zone="Australia/Lord_Howe")
    assert (found.bad.height, values(found)) == (0, [row[2] for row in rows])


def test_one_of_two_is_missing() -> None:
    rows = day(30)
    for lost in (4, 7):  # the step back from the first block to the second is there
        left = [*rows[:lost], *rows[lost + 1 :]]
        found = checked(left)
        assert (found.bad.height, values(found)) == (0, [row[2] for row in left])
    for lost in (5, 6):  # 02:00 02:00 02:30 may be two blocks, or pairs of which one lacks its twin
        found = checked([*rows[:lost], *rows[lost + 1 :]])
        assert found.bad.height == 1
    hourly = day(60)
    for lost in (2, 3):
        found = checked([*hourly[:lost], *hourly[lost + 1 :]])
        assert [list(each) for each in found.bad["reasons"]] == [
            [
                "time: '2025-10-26T02:00:00' happens twice in Europe/Copenhagen (clocks go back), "
                "and the order of the rows does not tell which is meant"
            ]
        ]


def test_three_of_one_kind_are_no_two() -> None:
    rows = day(60)
    found = checked([*rows[:4], rows[3], *rows[4:]])
    assert found.bad.height == 3
    assert all("clocks go back" in each for reasons in found.bad["reasons"] for each in reasons)


def test_events_at_any_time_are_told_by_the_step_back() -> None:
    """Several may have one time, as where they are put together to the values of steps."""
    local = ["01:50", "02:07", "02:07", "02:41", "02:03", "02:03", "02:03", "02:07", "02:59", "03:01"]
    found = checked([("a", f"2025-10-26T{each}:00", float(i)) for i, each in enumerate(local)])
    assert found.good["time"].dt.strftime("%H:%M").to_list() == ["23:50", "00:41", "01:07", "01:59", "02:01"]
    told = [each for reasons in found.bad["reasons"] for each in reasons]  # without an aggregate they contradict
    assert told == ["conflicting duplicate: different values for one series, time"] * 5


@pytest.mark.parametrize("step", [60, 30, 15])
def test_a_file_cut_in_two_gives_the_same_facts(step: int) -> None:
    rows = day(step)
    whole = checked(rows).good
    for cut in range(1, len(rows)):
        parts = [checked(rows[:cut]), checked(rows[cut:])]
        assert pl.concat(part.good for part in parts).sort("time").equals(whole), cut


def test_a_piece_that_cannot_tell_says_so() -> None:
    rows = day(60)
    found = checked(rows[3:4])
    assert found.bad["reasons"].to_list()[0][0].endswith("the order of the rows does not tell which is meant")


def test_without_keys_all_rows_are_one_series() -> None:
    assert values(checked(day(60), keys=())) == [float(i) for i in range(25)]


@pytest.mark.parametrize("declared", [False, True])
def test_known_times_are_told_by_the_order_too(declared: bool) -> None:
    columns = (
        Column("series", "category"),
        Column("time", "time", zone=ZONE, ambiguous="in_order"),
        Column("value", "float"),
    )
    if declared:
        columns += (Column("seen", "time", zone=ZONE, ambiguous="in_order"),)
    rows = [(*row, datetime.fromisoformat(row[1]) + timedelta(minutes=15)) for row in day(60)]
    frame = pl.DataFrame(rows, schema=["series", "time", "value", "seen"], orient="row")
    known = KnownTimes(column="seen")
    found = check(Contract(columns=columns), frame, keys=("series",), time="time", as_of=NOW, now=NOW, known=known)
    assert found.bad.height == 0
    assert (found.good["known_at"] - found.good["time"]).to_list() == [timedelta(minutes=15)] * 25


def test_offsets_say_it_themselves() -> None:
    rows = [("a", "2025-10-26T02:00:00+01:00", 3.0), ("a", "2025-10-26T02:00:00+02:00", 2.0)]
    found = checked(rows)
    assert (found.bad.height, values(found)) == (0, [2.0, 3.0])


@pytest.mark.parametrize("ambiguous", ["raise", "earliest", "latest"])
@pytest.mark.parametrize("same", [False, True])
def test_the_reasons_mention_the_clocks(ambiguous: str, same: bool) -> None:
    rows = [(n, t, 1.0 if same else v) for n, t, v in day(60)]
    found = checked(rows, ambiguous)
    assert found.bad.height == (1 if same and ambiguous != "raise" else 2)
    reasons = [each for row in found.bad["reasons"] for each in row]
    assert all("happens twice in Europe/Copenhagen (clocks go back)" in each for each in reasons)
    if ambiguous != "raise":
        assert all(each.startswith("duplicate" if same else "conflicting duplicate") for each in reasons)
    ordinary = checked([*rows[:3], ("a", rows[1][1], 99.0)], ambiguous)
    told = [each for row in ordinary.bad["reasons"] for each in row if "conflicting" in each]
    assert told == ["conflicting duplicate: different values for one series, time"] * 2


@given(st.randoms(use_true_random=False), st.sampled_from([15, 30, 60]), st.integers(1, 3))
def test_property_the_order_of_the_other_rows_is_of_no_account(rng: random.Random, step: int, series: int) -> None:
    """However rows of several series are mixed, as long as those of each keep their order."""
    parts = [day(step, f"s{i}") for i in range(series)]
    rows = []
    while any(parts):
        rows.append(rng.choice([part for part in parts if part]).pop(0))
    found = checked(rows)
    assert found.bad.height == 0
    for i in range(series):
        assert values(found, f"s{i}") == [row[2] for row in day(step, f"s{i}")]


def test_the_time_of_rows_may_be_their_key():
    frame = pl.DataFrame({"time": [NOW, NOW + HOUR, NOW], "value": [1.0, 2.0, 3.0]})
    contract = Contract(columns=(Column("time", "time"), Column("value", "float")), max_invalid_fraction=1)
    validation = check(contract, frame, keys=("time",), time="time", as_of=NOW + DAY, now=NOW + DAY)
    assert validation.good["value"].to_list() == [2.0]
    assert validation.bad.height == 2
