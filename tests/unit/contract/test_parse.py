"""Strict parsing: what each type takes, and what it says of the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from headrace.contract import Column, Contract, Validation, check
from headrace.contract.parse import parse_column
from headrace.errors import ContractBroken

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def one(column: Column, values: list[Any], dtype: Any = pl.String) -> Validation:
    frame = pl.DataFrame({column.name: pl.Series(values, dtype=dtype)})
    return check(Contract(columns=(column,)), frame, as_of=NOW, now=NOW)


def reasons(found: Validation) -> list[str]:
    return [reason for row in found.bad["reasons"] for reason in row]


def test_floats_from_text() -> None:
    texts = ["12", " 12.5 ", "+5", "1e3", "-0.5", ".5"]
    assert one(Column("x", "float"), texts).good["x"].to_list() == [12.0, 12.5, 5.0, 1000.0, -0.5, 0.5]
    bad = ["12abc", "nan", "NaN", "inf", "-Infinity", "1e999", "1,5", "1_000", "0x1f", "", "  ", None]
    found = one(Column("x", "float"), bad)
    assert found.good.height == 0
    assert reasons(found)[:4] == [
        "x: '12abc' is not a number",
        "x: 'nan' is not a finite number",
        "x: 'NaN' is not a finite number",
        "x: 'inf' is not a finite number",
    ]
    assert reasons(found)[-3:] == ["x: is missing"] * 3


def test_floats_with_a_decimal_comma() -> None:
    found = one(Column("x", "float", decimal=","), ["37842,849", "1.234", "5"])
    assert found.good["x"].to_list() == [37842.849, 5.0]


def test_typed_floats() -> None:
    found = one(Column("x", "float"), [1.0, float("nan"), float("inf"), None], pl.Float64)
    assert reasons(found) == [
        "x: NaN is not a finite number",
        "x: inf is not a finite number",
        "x: is missing",
    ]
    assert one(Column("x", "float"), [1, 2], pl.Int32).good["x"].to_list() == [1.0, 2.0]
    assert one(Column("x", "float"), [True], pl.Boolean).bad.height == 1
    assert one(Column("x", "float"), [NOW], pl.Datetime("us", "UTC")).bad.height == 1


def test_integers() -> None:
    texts = ["3", "3.0", " -7 ", "9223372036854775807", "+2"]
    assert one(Column("n", "integer"), texts).good["n"].to_list() == [3, 3, -7, 2**63 - 1, 2]
    found = one(Column("n", "integer"), ["3.5", "12abc", "9223372036854775808", "1e40", "nan"])
    assert found.bad.height == 5
    found = one(Column("n", "integer"), [3.0, 3.5, float("nan"), 1e300], pl.Float64)
    assert found.good["n"].to_list() == [3]


def test_booleans() -> None:
    texts = ["true", "False", "0", " 1 "]
    assert one(Column("b", "boolean"), texts).good["b"].to_list() == [True, False, False, True]
    assert one(Column("b", "boolean"), ["yes", "2"]).bad.height == 2
    assert one(Column("b", "boolean"), [0, 1, 2], pl.Int8).good["b"].to_list() == [False, True]


def test_text_stays_as_it_came() -> None:
    texts = ["0101", " DK1 ", "x\u2028y", "NA", "null", ""]
    assert one(Column("s", "text"), texts).good["s"].to_list() == texts[:-1]
    assert one(Column("s", "category"), texts).good["s"].to_list() == texts[:-1]
    assert one(Column("s", "category"), [111, 112], pl.Int64).good["s"].to_list() == ["111", "112"]
    assert one(Column("s", "category"), ["a", "b"], pl.Categorical).good["s"].to_list() == ["a", "b"]
    assert one(Column("s", "text"), [1.5], pl.Float64).bad.height == 1
    assert "List(Int64)" in reasons(one(Column("s", "text"), [[1]], pl.List(pl.Int64)))[0]


def test_times_of_every_iso_shape() -> None:
    texts = [
        "2023-01-20T15:00:00",
        "2023-01-20 15:00",
        "2023-01-20T15:00:00Z",
        "2023-01-20T16:00:00+01:00",
        "2023-01-20T16:00:00.000+0100",
        "2023-01-20T09:30:00-05:30",
        " 2023-01-20T15:00:00.0 ",
        "2023-01-20 15:00:00,000000000",
    ]
    good = one(Column("t", "time", zone="UTC"), texts).good["t"]
    assert good.to_list() == [datetime(2023, 1, 20, 15, tzinfo=UTC)] * len(texts)
    assert good.dtype == pl.Datetime("us", "UTC")
    found = one(Column("t", "time", zone="UTC"), ["2023-01-20", "2023-01-20T00:00:00.123456789Z"])
    assert found.good["t"].to_list() == [
        datetime(2023, 1, 20, tzinfo=UTC),
        datetime(2023, 1, 20, 0, 0, 0, 123456, tzinfo=UTC),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2023-02-30T00:00:00",
        "2023-01-20T24:00:01",
        "2023-01-20T25:00:00Z",
        "2023-01-20T23:59:60",
        "2023-01-20T23:59:60Z",
        "2023-1-2T00:00:00",
        "2023-01-20T15:00:00+99:00",
        "20230120",
        "1674226800",
        "2023-01-20T15:00:00Zjunk",
    ],
)
def test_what_is_no_time(text: str) -> None:
    assert reasons(one(Column("t", "time", zone="UTC"), [text])) == [f"t: '{text}' is not a time"]


def test_times_without_a_zone() -> None:
    found = one(Column("t", "time"), ["2023-01-20T15:00:00", "2023-01-20T15:00:00Z"])
    assert reasons(found) == ["t: '2023-01-20T15:00:00' time has no zone"]
    assert found.good.height == 1
    found = one(Column("t", "time"), [datetime(2023, 1, 1)], pl.Datetime("ms"))  # noqa: DTZ001
    assert "time has no zone" in reasons(found)[0]


def test_daylight_saving_hours() -> None:
    texts = ["2023-03-26T02:30:00", "2023-10-29T02:30:00", "2023-10-29T01:30:00", "2023-10-29T02:30:00+02:00"]
    found = one(Column("t", "time", zone="Europe/Copenhagen"), texts)
    assert reasons(found) == [
        "t: '2023-03-26T02:30:00' does not exist in Europe/Copenhagen (clocks go forward)",
        "t: '2023-10-29T02:30:00' happens twice in Europe/Copenhagen (clocks go back)",
    ]
    assert found.good["t"].to_list() == [
        datetime(2023, 10, 28, 23, 30, tzinfo=UTC),
        datetime(2023, 10, 29, 0, 30, tzinfo=UTC),
    ]
    for which, hour in (("earliest", 0), ("latest", 1)):
        column = Column("t", "time", zone="Europe/Copenhagen", ambiguous=which)
        found = one(column, texts[:2])
        assert found.good["t"].to_list() == [datetime(2023, 10, 29, hour, 30, tzinfo=UTC)]
        assert found.bad.height == 1


def test_typed_times_and_formats() -> None:
    column = Column("t", "time", zone="Europe/Copenhagen")
    assert one(column, [date(2023, 7, 1)], pl.Date).good["t"].item() == datetime(2023, 6, 30, 22, tzinfo=UTC)
    zoned = pl.Datetime("ns", "America/New_York")
    assert one(column, [NOW], zoned).good["t"].item() == NOW
    assert one(column, [5], pl.Int64).bad.height == 1
    column = Column("t", "time", zone="UTC", format="%d/%m/%Y %H:%M")
    found = one(column, ["1/2/2018 0:15", "2018-02-01 00:15"])
    assert found.good["t"].to_list() == [datetime(2018, 2, 1, 0, 15, tzinfo=UTC)]
    column = Column("t", "time", format="%d/%m/%Y %H:%M %z")
    assert one(column, ["1/2/2018 01:15 +0100"]).good["t"].item() == datetime(2018, 2, 1, 0, 15, tzinfo=UTC)


def test_nullable_columns() -> None:
    found = one(Column("x", "float", nullable=True), ["", None, "x", "1"])
    assert found.good["x"].to_list() == [None, None, 1.0]
    assert one(Column("x", "float", nullable=True), [None, None], pl.Null).good.height == 2


def test_times_outside_of_the_calendar() -> None:
    wrong = ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "0000-06-01T00:00:00Z"]
    found = one(Column("t", "time"), ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", *wrong])
    assert reasons(found) == [f"t: '{text}' is outside of the years 1 to 9999" for text in wrong]
    assert (found.good.height, found.bad.height) == (2, 3)
    frame = pl.DataFrame({"t": pl.Series([2**62]).cast(pl.Datetime("us", "UTC"))})
    assert check(Contract(columns=(Column("t", "time"),)), frame, as_of=NOW, now=NOW).bad.height == 1


def test_what_is_too_large_is_not_called_no_whole_number() -> None:
    large = "is not a whole number of 64 bits"
    found = one(Column("n", "integer"), [2**63, 5], pl.UInt64)
    assert (found.good["n"].to_list(), reasons(found)) == ([5], [f"n: {2**63} {large}"])
    found = one(Column("n", "integer"), [str(2**63), "1e300", "inf", "0.5"])
    assert [each.partition(" is ")[2] for each in reasons(found)] == [large[3:]] * 2 + ["not a whole number"] * 2


def test_decimals_are_exact() -> None:
    texts = ["9007199254740993.0", "12.00", "1.50", None]
    values = pl.Series(texts).cast(pl.Decimal(38, 2)).to_list()
    found = one(Column("n", "integer", nullable=True), values, pl.Decimal(38, 2))
    assert found.good["n"].to_list() == [9007199254740993, 12, None]
    assert reasons(found) == ["n: 1.50 is not a whole number"]


@pytest.mark.parametrize(
    ("dtype", "values", "good"),
    [
        (pl.String, ["NA", " - ", "null", "-9999", "-9999.00", "-9.999e3", "", "7"], [7.0]),
        (pl.Float64, [-9999.0, 7.0, None], [7.0]),
        (pl.Float32, [-9999.0, -0.1, 7.0], [7.0]),
        (pl.Int16, [-9999, 7], [7.0]),
        (pl.UInt64, [2**63 + 1, 7], [2.0**63, 7.0]),
        (pl.Float64, [float("nan"), 7.0], None),
    ],
)
def test_declared_spellings_of_missing(dtype: Any, values: list[Any], good: list[float] | None) -> None:
    spelled = ("NA", "-", "null", -9999, -0.1)
    found = one(Column("x", "float", missing=spelled), values, dtype)
    assert found.good["x"].to_list() == (good if good is not None else [7.0])
    wanted = "x: is missing" if good is not None else "x: NaN is not a finite number"
    assert set(reasons(found)) <= {wanted}
    spelled += ("NaN",)
    found = one(Column("x", "float", missing=spelled, nullable=True), values, dtype)
    assert found.bad.height == 0
    assert found.good["x"].drop_nulls().to_list() == (good if good is not None else [7.0])


def test_a_contracts_spellings_are_those_of_columns_without_their_own() -> None:
    columns = (
        Column("a", "category"),
        Column("b", "category", missing=()),
        Column("c", "float", decimal=",", missing=("x", -9.5)),
    )
    contract = Contract(columns=columns, missing=("NA",), max_invalid_fraction=1)
    frame = pl.DataFrame({"a": ["NA", "x", "x"], "b": ["NA", "NA", "NA"], "c": ["1,5", "-9,50", "2,5"]})
    found = check(contract, frame, as_of=NOW, now=NOW)
    assert found.good.select("a", "b", "c").rows() == [("x", "NA", 2.5)]
    assert reasons(found) == ["a: is missing", "c: is missing"]
    assert Contract.model_validate_json(contract.model_dump_json()) == contract


def test_a_hint_offers_no_column_that_is_taken() -> None:
    contract = Contract(columns=(Column("time", "time"), Column("temp", "float")))
    with pytest.raises(ContractBroken) as caught:
        check(contract, pl.DataFrame({"time": [NOW], "x": [1]}), as_of=NOW, now=NOW)
    assert "is meant" not in str(caught.value.hint)
    with pytest.raises(ContractBroken, match="no column 'temp'") as caught:
        check(contract, pl.DataFrame({"time": [NOW], "Temp": [1]}), as_of=NOW, now=NOW)
    assert "Source(columns={'temp': 'Temp'})" in str(caught.value.hint)


def test_where_steps_are_days_an_hour_of_a_clock_change_counts_for_its_day():
    column = Column("t", "time", zone="America/New_York").of_step(timedelta(days=30))
    for text, day in (("2016-03-13 02:30:00", 13), ("2016-11-06 01:30:00", 6)):
        found = parse_column(column, pl.Series("t", [text]))
        assert not found.faults
        assert found.values.dt.convert_time_zone("America/New_York").dt.day().to_list() == [day]
