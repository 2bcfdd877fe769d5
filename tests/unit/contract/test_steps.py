"""Rows against the steps of a calendar: each is a step of its own zone, or a bad row that says why."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from headrace.contract import Column, Contract, check
from headrace.declaration import parse_duration
from headrace.grid import Cadence, Grid

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def checked(times, step, zone, **column):
    rows = pl.DataFrame({"time": times, "value": range(len(times))})
    contract = Contract(columns=(Column("time", "time", zone=zone, **column), Column("value", "integer")))
    cadence = Cadence(parse_duration(step), zone, moved=contract.columns[0].align)
    return check(contract, rows, time="time", grid=cadence, as_of=NOW, now=NOW)


def days(first, count):
    return [first + timedelta(days=i) for i in range(count)]


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("kind", [str, lambda day: f"{day} 00:00:00", lambda day: day])
@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/London", date(2011, 3, 24)),
        ("Europe/London", date(2011, 10, 27)),
        ("America/Sao_Paulo", date(2018, 11, 1)),  # no midnight on the 4th
        ("America/Sao_Paulo", date(2018, 2, 15)),
        ("America/Havana", date(2023, 11, 1)),  # two midnights on the 5th
        ("Asia/Beirut", date(2022, 3, 24)),
        ("Asia/Kathmandu", date(2022, 3, 24)),
    ],
)
def test_eight_local_days_are_eight_facts(zone, first, kind, align):
    found = checked([kind(day) for day in days(first, 8)], "1d", zone, align=align)
    assert found.bad.is_empty()
    local = found.good["time"].dt.convert_time_zone(zone)
    assert local.dt.date().to_list() == days(first, 8)
    assert found.good["value"].to_list() == list(range(8))
    assert found.grid is not None
    assert (found.grid.off(found.good["time"]).sum(), found.grid.zone) == (0, zone)


def test_a_saturday_is_a_bad_row_that_says_so():
    found = checked([str(day) for day in days(date(2024, 1, 1), 7)], "1b", "Europe/London")
    assert found.good.height == 5
    (reason,) = set(found.reasons)
    assert "no business day (Monday to Friday)" in reason


def test_one_odd_row_moves_no_other():
    mondays = [str(date(2024, 1, 1) + timedelta(days=7 * i)) for i in range(20)]
    for odd in ([*mondays, "2024-01-03"], ["2024-01-03", *mondays]):
        found = checked(odd, "1w", "Europe/Paris")
        assert (found.good.height, found.bad.height) == (20, 1)
        (reason,) = found.reasons
        assert "which begins on Monday at 00:00 in Europe/Paris" in reason


def test_days_of_utc_stay_days_of_utc():
    found = checked([f"{day}T00:00:00Z" for day in days(date(2024, 3, 1), 60)], "1d", "Europe/Copenhagen")
    assert found.bad.is_empty()
    assert found.grid == Grid(timedelta(days=1))


def test_months_by_name():
    found = checked([f"{2020 + i // 12}-{i % 12 + 1:02}" for i in range(24)], "1mo", "Europe/Paris")
    assert found.bad.is_empty()
    assert found.good["time"][3] == datetime(2020, 3, 31, 22, tzinfo=UTC)


def test_a_missing_time_is_missing_and_no_more():
    found = checked(["2024-01-01 00:30", None, "2024-01-01 01:30"], "1h", "UTC")
    assert (found.good.height, dict(found.reasons)) == (2, {"time: is missing": 1})
