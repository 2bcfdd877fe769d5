"""Grids: slots and times of fixed steps, days of a zone, weeks, months and business days."""

# ruff: noqa: DTZ001 (what the clocks of a zone show has no zone of its own)

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.declaration import parse_duration
from headrace.errors import DeclarationError
from headrace.grid import Cadence, Grid, later, steps_of
from headrace.grid.calendars import spelled

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/London", "Europe/Copenhagen", "America/Sao_Paulo", "America/Havana", "Asia/Kolkata",
         "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut", "Pacific/Auckland")  # fmt: skip
STEPS = ("1m", "15m", "1h", "3h", "6h", "1d", "2d", "1w", "2w", "1b", "1mo", "1q", "1y")


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def local(zone: str, *moments: datetime) -> np.ndarray:
    return np.array([us(m.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)) for m in moments])


def days(first: datetime, count: int, by: int = 1) -> list[datetime]:
    return [first + timedelta(days=by * i) for i in range(count)]


def cadence(step: str, zone: str | None = None, **more: object) -> Cadence:
    return Cadence(parse_duration(step), zone, **more)  # type: ignore[arg-type]


def test_fixed_steps_count_as_ever() -> None:
    grid = Grid(timedelta(hours=1))
    times = np.array([0, 1, 3_600_000_000, -1])
    assert grid.slots(times).tolist() == [0, 0, 1, -1]
    assert grid.times(np.array([5])).tolist() == [5 * 3_600_000_000]


def test_local_days_over_both_changes_of_the_clock() -> None:
    spring = local("Europe/London", *days(datetime(2011, 3, 24), 8))
    grid = cadence("1d", "Europe/London").grid(spring)
    slots = grid.slots(spring)
    assert np.diff(slots).tolist() == [1] * 7
    assert (grid.times(slots) == spring).all()
    autumn = local("Europe/London", *days(datetime(2011, 10, 28), 6))
    assert (grid.floor(autumn) == autumn).all()


def test_a_midnight_that_does_not_exist() -> None:
    # In São Paulo the clocks went from 00:00 to 01:00 on 2018-11-04.
    grid = Grid(timedelta(days=1), "America/Sao_Paulo")
    noon = local("America/Sao_Paulo", datetime(2018, 11, 4, 12))
    assert grid.floor(noon).tolist() == [us(datetime(2018, 11, 4, 3, tzinfo=UTC))]


def test_the_phase_is_that_of_most_rows_in_any_order() -> None:
    mondays = local("UTC", *days(datetime(2023, 1, 2), 160, 7))
    odd = np.append(mondays, us(datetime(2023, 3, 1, tzinfo=UTC)))
    for step in ("1w", "7d"):
        grid = cadence(step).grid(odd)
        assert (grid.floor(mondays) == mondays).all()
        assert grid == cadence(step).grid(odd[::-1])
    kolkata = local("Asia/Kolkata", *[datetime(2024, 1, 1, h) for h in range(24)])
    assert cadence("1h", "Asia/Kolkata").grid(kolkata) == Grid(timedelta(hours=1), "UTC", timedelta(minutes=30))


def test_days_of_utc_in_a_column_with_a_zone_stay_days_of_utc() -> None:
    utc = local("UTC", *days(datetime(2024, 1, 1), 300))
    assert cadence("1d", "Europe/Copenhagen").grid(utc) == Grid(timedelta(days=1))
    assert cadence("1d", "Europe/Copenhagen").grid(utc[:20]) == Grid(timedelta(days=1))


def test_six_hours_by_the_zone_s_clocks() -> None:
    quarters = [day + timedelta(hours=h) for day in days(datetime(2024, 1, 1), 360) for h in (0, 6, 12, 18)]
    rows = local("Europe/Copenhagen", *quarters)
    grid = cadence("6h", "Europe/Copenhagen").grid(rows)
    assert (grid.floor(rows) == rows).all()
    assert np.diff(grid.slots(rows)).tolist() == [1] * (rows.size - 1)


@pytest.mark.parametrize(
    ("step", "moments"),
    [
        ("1mo", [datetime(2023, m, 1) for m in range(1, 13)]),
        ("1mo", [datetime(2023, 1, 31), datetime(2023, 2, 28), datetime(2023, 3, 31), datetime(2023, 4, 30)]),
        ("1mo", [datetime(2023, m, 15, 6) for m in range(1, 13)]),
        ("1q", [datetime(2023, m, 1) for m in (2, 5, 8, 11)]),
        ("1q", [datetime(2023, 3, 31), datetime(2023, 6, 30), datetime(2023, 9, 30), datetime(2023, 12, 31)]),
        ("1y", [datetime(y, 4, 1) for y in range(2010, 2020)]),
        ("1y", [datetime(y, 12, 31) for y in range(2010, 2020)]),
        ("6mo", [datetime(2023, 1, 1), datetime(2023, 7, 1), datetime(2024, 1, 1)]),
        ("2w", days(datetime(2024, 1, 10), 20, 14)),
        ("1b", [d for d in days(datetime(2024, 1, 1), 60) if d.weekday() < 5]),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Copenhagen", "America/Sao_Paulo"])
def test_calendar_steps(step: str, moments: list[datetime], zone: str) -> None:
    rows = local(zone, *moments)
    grid = cadence(step, zone).grid(rows)
    assert (grid.floor(rows) == rows).all()
    assert np.diff(grid.slots(rows)).tolist() == [1] * (rows.size - 1)
    assert Grid.from_dict(grid.as_dict()) == grid


def test_a_saturday_is_no_business_day() -> None:
    grid = Grid(parse_duration("1b"))
    saturday, friday = datetime(2024, 1, 6, tzinfo=UTC), datetime(2024, 1, 5, tzinfo=UTC)
    assert not grid.holds(us(saturday))
    assert grid.floor(np.array([us(saturday)])).tolist() == [us(friday)]
    assert "business day" in grid.fault


def test_durations_count_in_steps() -> None:
    whole = [("1y", "1mo", 12), ("1y", "1q", 4), ("1w", "1b", 5), ("7d", "1d", 7), ("52w", "1w", 52)]
    for duration, step, steps in whole:
        assert steps_of(parse_duration(duration), parse_duration(step)) == steps
    for duration, step in [("90d", "1mo"), ("1y", "1d"), ("1d", "1b"), ("90m", "1h")]:
        with pytest.raises(DeclarationError, match="not a multiple of the step"):
            steps_of(parse_duration(duration), parse_duration(step))


def test_a_declared_phase_wins_and_moved_times_have_none() -> None:
    wednesday = us(datetime(2024, 1, 3, tzinfo=UTC))
    monday = local("UTC", datetime(2024, 1, 1))
    assert cadence("1w", phase=wednesday).grid(monday).holds(wednesday)
    assert cadence("1w", moved=True).grid(np.array([wednesday])).holds(int(monday[0]))
    assert cadence("1d", "Europe/London", moved=True).grid(monday + 5).zone == "Europe/London"


def test_durations_later_by_the_calendar() -> None:
    at = datetime(2024, 1, 31, 6, tzinfo=UTC)
    assert later(at, parse_duration("1mo")) == datetime(2024, 2, 29, 6, tzinfo=UTC)
    assert later(at, parse_duration("1mo"), 2) == datetime(2024, 3, 31, 6, tzinfo=UTC)
    assert later(at, parse_duration("1y"), -1) == datetime(2023, 1, 31, 6, tzinfo=UTC)
    assert later(at, parse_duration("1d"), 60, zone="Europe/London") == datetime(2024, 3, 31, 5, tzinfo=UTC)
    assert later(at, parse_duration("1d"), 60) == datetime(2024, 3, 31, 6, tzinfo=UTC)
    friday = datetime(2024, 1, 5, 6, tzinfo=UTC)
    assert later(friday, parse_duration("1b")) == datetime(2024, 1, 8, 6, tzinfo=UTC)
    assert later(friday, parse_duration("1b"), -5) == datetime(2023, 12, 29, 6, tzinfo=UTC)


@settings(deadline=None)  # the first look at a zone makes its calendar
@given(
    st.sampled_from(STEPS),
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2090, 1, 1)), min_size=1, max_size=20),
    st.booleans(),
)
def test_slots_and_times_are_each_other_s_way_back(step: str, zone: str, moments: list[datetime], voted: bool) -> None:
    times = np.array([us(moment.replace(tzinfo=UTC)) for moment in moments])
    grid = cadence(step, zone).grid(times if voted else None)
    slots = grid.slots(times)
    begin, end = grid.times(slots), grid.times(slots + 1)
    assert (begin <= times).all()
    assert (times < end).all()
    assert (grid.slots(begin) == slots).all()
    for time, slot in zip(times.tolist(), slots.tolist(), strict=True):
        assert grid.slot_at(time) == slot
        assert grid.time_at(slot) == grid.floor(np.array([time]))[0]
    on = int((begin == times).sum())
    plain = cadence(step, zone).grid()
    assert grid == plain or 2 * on > times.size  # a phase of the data is that of most rows


def test_months_quarters_and_years_by_name() -> None:
    texts = pl.Series(["2024-03", "2024M03", "2024-Q4", "2024Q1", "2024", "2024-03-05"])
    months = ["2024-03-01", "2024-03-01", "2024-Q4", "2024Q1", "2024", "2024-03-05"]
    assert spelled(texts, parse_duration("1mo")).to_list() == months
    assert spelled(texts, parse_duration("1q")).to_list() == [*months[:2], "2024-10-01", "2024-01-01", *months[4:]]
    assert spelled(texts, parse_duration("1y"))[4] == "2024-01-01"
    assert spelled(texts, parse_duration("1d")).equals(texts)
