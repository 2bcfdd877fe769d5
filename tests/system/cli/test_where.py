"""`predictions --where`: a text is read as the type of its column, whatever form it is written in."""

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.commands import ENERGY, headrace

from headrace.contract.value import value_of

FIRST = "2023-01-20T17:00:00Z"


def where(home, *conditions, form="json"):
    texts = [text for condition in conditions for text in ("--where", condition)]
    return headrace("predictions", ENERGY, "--home", home, "--format", form, *texts)


@pytest.mark.parametrize(
    "text",
    [
        FIRST,
        "2023-01-20T17:00Z",
        "2023-01-20 17:00",
        "2023-01-20 17:00:00",
        "2023-01-20 17:00:00.000000+00:00",
        "2023-01-20T18:00:00+01:00",
        "2023-01-20T11:00:00-0600",
        "20230120T170000Z",
        "2023-W03-5T17:00Z",
    ],
)
def test_a_time_in_any_form_and_zone(home, text):
    rows = where(home, f"time={text}").out
    assert rows.count(f'"time": "{FIRST}"') == 4 == rows.count('"id"')


def test_every_value_that_is_shown_finds_its_row(home):
    row = json.loads(where(home, "ahead=3", "area=DK2", "industry=215").out)[0]
    for name, value in row.items():
        if value is not None:
            found = json.loads(where(home, f"{name}={value}", f"id={row['id']}" if name != "id" else "ahead=3").out)
            assert [each["id"] for each in found] == [row["id"]], name


def test_numbers_are_compared_as_numbers(home):
    for text in ("3", "3.0", " 3", "+3"):
        assert where(home, f"ahead={text}").out.count('"ahead": 3,') == 4


@pytest.mark.parametrize(
    "text", ["ahead=three", "ahead=3.5", "time=noon", "time=2023-13-01", "value=much", "value=nan"]
)
def test_what_is_no_value_of_its_column_is_refused(home, text):
    for form in ("table", "json", "csv"):
        told = where(home, text, form=form)
        assert (told.code, told.out) == (2, "")
        assert f"--where {text.partition('=')[0]}" in told.err


def test_a_column_that_there_is_not_or_twice(home):
    assert "there are" in where(home, "colour=red").err
    assert where(home, "known_at=2023-01-20").code == 2  # no output shows it
    assert "twice" in where(home, "area=DK1", "area=DK2").err


def test_no_such_series_is_told_as_the_api_does(home):
    for form in ("table", "json", "csv"):
        told = where(home, "area=DK1", "industry=999", form=form)
        assert (told.code, told.out) == (2, "")
        assert "energy has no series DK1, 999" in told.err


def test_a_series_without_what_was_asked_is_empty(home):
    assert (where(home, "area=DK1", "ahead=99").code, where(home, "area=DK1", "ahead=99").out) == (0, "[]\n")


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("true", pl.Boolean(), True),
        ("FALSE", pl.Boolean(), False),
        ("1", pl.Boolean(), True),
        ("-0.5", pl.Float64(), -0.5),
        ("1e3", pl.Float64(), 1000.0),
        ("007", pl.String(), "007"),
        (" 7", pl.String(), " 7"),
        ("", pl.String(), ""),
        ("", pl.Int64(), None),
        ("9007199254740993", pl.Int64(), 9007199254740993),
        ("2023-01-20", pl.Datetime("us", "UTC"), datetime(2023, 1, 20, tzinfo=UTC)),
        ("2023-01-20T00:00+05:45", pl.Datetime("us", "UTC"), datetime(2023, 1, 20, tzinfo=UTC) - timedelta(hours=5.75)),
    ],
)
def test_values(text, dtype, value):
    assert value_of(text, dtype) == value
    assert type(value_of(text, dtype)) is type(value)
