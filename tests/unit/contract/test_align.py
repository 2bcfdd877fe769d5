"""Event times between two steps: moved down where the contract says so, bad rows otherwise."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.contract import Column, Contract, KnownTimes, check
from headrace.errors import DeclarationError
from headrace.grid import Grid

NOW = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = pl.DataFrame({"time": ["2026-03-01 00:04:10", "2026-03-01 00:05:00"], "value": ["1", "2"]})


def checked(align):
    contract = Contract(columns=(Column("time", "time", zone="UTC", align=align), Column("value", "float")))
    return check(contract, ROWS, time="time", grid=Grid(timedelta(minutes=5)), as_of=NOW, now=NOW)


def test_times_are_moved_down_and_known_when_they_were_said():
    good = checked(align=True).good
    assert good["time"].to_list() == [datetime(2026, 3, 1, 0, minute, tzinfo=UTC) for minute in (0, 5)]
    assert good["known_at"][0] == datetime(2026, 3, 1, 0, 4, 10, tzinfo=UTC)


def test_without_it_such_a_row_is_bad():
    assert checked(align=False).bad.height == 1


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0]])
@pytest.mark.parametrize("values", [("1", "2", "3"), ("1", "1", "1")])
@pytest.mark.parametrize("lag", ["0h", "1h"])
def test_two_rows_of_one_step_contradict_one_another(order, values, lag):
    times = ["2026-03-01 00:04:10", "2026-03-01 00:01:00", "2026-03-01 00:05:00"]
    rows = pl.DataFrame({"time": times, "value": values})[order]
    contract = Contract(columns=(Column("time", "time", zone="UTC", align=True), Column("value", "float")))
    known = KnownTimes(lag=lag)
    found = check(contract, rows, time="time", grid=Grid(timedelta(minutes=5)), as_of=NOW, now=NOW, known=known)
    assert (found.good.height, found.bad.height) == (1, 2)
    assert dict(found.reasons) == {"conflicting duplicate": 2}
    assert all("one step" in reason and "aggregate" in reason for [reason] in found.bad["reasons"])


def test_rows_that_say_when_they_became_known_correct_one_another():
    rows = (
        ROWS.head(1)
        .vstack(ROWS.head(1))
        .with_columns(value=pl.Series(["1", "2"]), known_at=pl.Series(["2026-03-01 00:06:00", "2026-03-01 00:09:00"]))
    )
    contract = Contract(columns=(Column("time", "time", zone="UTC", align=True), Column("value", "float")))
    known = KnownTimes(column="known_at")
    found = check(contract, rows, time="time", grid=Grid(timedelta(minutes=5)), as_of=NOW, now=NOW, known=known)
    assert (found.good.height, found.bad.height) == (2, 0)


def test_only_times_are_aligned():
    with pytest.raises(DeclarationError, match="only a time column is aligned"):
        Contract(columns=(Column("value", "float", align=True),))
