"""Event times between two steps: moved down where the contract says so, bad rows otherwise."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.contract import Column, Contract, check
from headrace.errors import DeclarationError

NOW = datetime(2026, 3, 2, tzinfo=UTC)
ROWS = pl.DataFrame({"time": ["2026-03-01 00:04:10", "2026-03-01 00:05:00"], "value": ["1", "2"]})


def checked(align):
    contract = Contract(columns=(Column("time", "time", zone="UTC", align=align), Column("value", "float")))
    return check(contract, ROWS, time="time", step=timedelta(minutes=5), as_of=NOW, now=NOW)


def test_times_are_moved_down_and_known_when_they_were_said():
    good = checked(align=True).good
    assert good["time"].to_list() == [datetime(2026, 3, 1, 0, minute, tzinfo=UTC) for minute in (0, 5)]
    assert good["known_at"][0] == datetime(2026, 3, 1, 0, 4, 10, tzinfo=UTC)


def test_without_it_such_a_row_is_bad():
    assert checked(align=False).bad.height == 1


def test_only_times_are_aligned():
    with pytest.raises(DeclarationError, match="only a time column is aligned"):
        Contract(columns=(Column("value", "float", align=True),))
