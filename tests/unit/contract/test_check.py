"""Good rows from bad: every row is somewhere, every bad row says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.contract import Column, Contract, KnownTimes, Validation, check
from headrace.errors import ContractBroken, DeclarationError, UsageError
from headrace.grid import Grid

AS_OF = datetime(2023, 1, 20, 16, tzinfo=UTC)
NOW = datetime(2023, 2, 1, tzinfo=UTC)
CONTRACT = Contract(
    columns=(
        Column("time", "time", zone="UTC"),
        Column("area", "category", values=("DK1", "DK2")),
        Column("consumption", "float", minimum=0, maximum=1000),
    ),
    max_invalid_fraction=0.5,
)
Row = tuple[str | None, str | None, str | None]


def run(rows: list[Row], contract: Contract = CONTRACT, **changes: Any) -> Validation:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(("time", "area", "consumption"), pl.String), orient="row")
    given: dict[str, Any] = {
        "keys": ("area",),
        "time": "time",
        "grid": Grid(timedelta(hours=1)),
        "as_of": AS_OF,
        "now": NOW,
    }
    return check(contract, frame, **{**given, **changes})


def test_every_reason_of_a_row() -> None:
    found = run([("2023-01-20T10:17:00", "DK3", "-5"), ("2023-01-20T10:00:00", "DK1", "5")])
    assert found.bad["reasons"].to_list() == [
        [
            "area: 'DK3' is not one of DK1, DK2",
            "consumption: -5.0 is below the minimum 0",
            "time: 2023-01-20T10:17:00Z is not a multiple of the step 1h",
        ]
    ]
    assert found.good.columns == ["time", "area", "consumption", "known_at"]
    assert json.loads(found.bad["row"].item()) == {
        "time": "2023-01-20T10:17:00",
        "area": "DK3",
        "consumption": "-5",
    }
    assert found.bad["time"].item() == datetime(2023, 1, 20, 10, 17, tzinfo=UTC)


@pytest.mark.parametrize("bad", [(0, 1), (2, 3), (2, 5), (3, 4), (5,)])
def test_bad_rows_anywhere_in_a_frame_of_several_chunks(bad: tuple[int, ...]) -> None:
    """As of large files, which are read in pieces."""
    places = [("2023-01-20T10:00:00", f"D{'X' if n in bad else 'K'}1", str(n)) for n in range(6)]
    names = dict.fromkeys(("time", "area", "consumption"), pl.String)
    pieces = [pl.DataFrame(places[n : n + 2], schema=names, orient="row") for n in (0, 2, 4)]
    found = check(CONTRACT, pl.concat(pieces, rechunk=False), as_of=AS_OF, now=NOW)
    assert found.bad["reasons"].to_list() == [["area: 'DX1' is not one of DK1, DK2"]] * len(bad)
    assert [json.loads(row)["consumption"] for row in found.bad["row"]] == [str(n) for n in bad]
    assert found.good["consumption"].to_list() == [float(n) for n in range(6) if n not in bad]


def test_bounds_include_themselves_and_patterns_search() -> None:
    found = run([("2023-01-20T10:00:00", "DK1", "0"), ("2023-01-20T11:00:00", "DK1", "1000")])
    assert found.bad.height == 0
    contract = Contract(columns=(Column("s", "text", pattern="^[a-z]{2}$"),))
    frame = pl.DataFrame({"s": ["ab", "abc", "{0}"]})
    found = check(contract, frame, as_of=AS_OF, now=NOW)
    assert found.bad["reasons"].to_list() == [
        ["s: 'abc' does not match the pattern ^[a-z]{2}$"],
        ["s: '{0}' does not match the pattern ^[a-z]{2}$"],
    ]


def test_future_is_bad_and_unknown_is_pending() -> None:
    rows: list[Row] = [
        ("2023-01-20T16:00:00", "DK1", "1"),
        ("2023-01-20T17:00:00", "DK1", "1"),
        ("2023-02-01T01:00:00", "DK1", "1"),
        ("2023-01-20T18:00:00", "DK1", "-1"),
    ]
    found = run(rows)
    assert (found.good.height, found.bad.height, found.pending) == (1, 1, 2)
    assert found.bad["reasons"].item().to_list() == [
        "time: 2023-02-01T01:00:00Z is in the future (after 2023-02-01T00:00:00Z)"
    ]
    assert found.invalid_fraction == 0.5


def test_lag_decides_what_is_known() -> None:
    found = run([("2023-01-20T14:00:00", "DK1", "1")], known=KnownTimes(lag="2h"))
    assert found.good["known_at"].to_list() == [AS_OF]
    found = run([("2023-01-20T14:00:00", "DK1", "1")], known=KnownTimes(lag="3h"))
    assert found.pending == 1


def test_own_known_time_and_corrections() -> None:
    frame = pl.DataFrame(
        {
            "time": ["2023-01-20T10:00:00"] * 5,
            "area": ["DK1"] * 5,
            "consumption": ["1", "2", "3", "4", "5"],
            "told": ["2023-01-20T11:00:00", "2023-01-20T12:00:00", "2023-01-21T00:00:00", "soon", None],
        }
    )
    found = check(CONTRACT, frame, keys=("area",), time="time", as_of=AS_OF, now=NOW, known=KnownTimes(column="told"))
    assert found.good["consumption"].to_list() == [1.0, 2.0]
    assert found.pending == 1
    assert found.bad["reasons"].to_list() == [["told: 'soon' is not a time"], ["told: is missing"]]
    assert found.bad["known_at"].null_count() == 0
    assert found.extra == ()


def test_duplicates() -> None:
    rows: list[Row] = [
        ("2023-01-20T10:00:00", "DK1", "1"),
        ("2023-01-20T10:00:00Z", "DK1", "1.0"),
        ("2023-01-20T10:00:00", "DK1", "1"),
        ("2023-01-20T11:00:00", "DK1", "1"),
        ("2023-01-20T11:00:00", "DK1", "2"),
        ("2023-01-20T12:00:00", "DK1", "1"),
        ("2023-01-20T12:00:00", "DK1", "-1"),
    ]
    found = run(rows, contract=CONTRACT.model_copy(update={"max_invalid_fraction": 1.0}))
    assert found.good["time"].dt.hour().to_list() == [10, 12]
    said = [row[0].split(":")[0] for row in found.bad["reasons"].to_list()]
    assert said == ["duplicate", "duplicate", "conflicting duplicate", "conflicting duplicate", "consumption"]
    assert found.bad["id"].n_unique() == found.bad.height


def test_rows_without_time_are_unique_by_key() -> None:
    contract = Contract(columns=(Column("id", "integer"), Column("x", "float")))
    frame = pl.DataFrame({"id": [1, 1, 2, 2, 3], "x": [1.0, 1.0, 1.0, 2.0, 3.0]})
    found = check(contract, frame, keys=("id",), as_of=AS_OF, now=NOW)
    assert found.good["id"].to_list() == [1, 3]
    assert found.good["known_at"].to_list() == [AS_OF, AS_OF]


def test_ids_are_stable_beside_other_rows() -> None:
    bad: Row = ("nonsense", "DK1", "1")
    alone = run([bad])
    beside = run([("2023-01-20T10:00:00", "DK1", "-1"), bad, bad])
    assert alone.bad["id"].to_list() == [beside.bad["id"].to_list()[1]]
    assert beside.bad["id"].n_unique() == 3


def test_rows_as_they_came_in_any_type() -> None:
    frame = pl.DataFrame(
        {
            "x": [float("nan"), -1.0],
            "blob": [b"\xff", None],
            "list": [[1.0, float("inf")], None],
            "at": [AS_OF, None],
            "text": ['a"\u2028\n<b>', "é"],
        }
    )
    found = check(Contract(columns=(Column("x", "float", minimum=0),)), frame, as_of=AS_OF, now=NOW)
    first, second = (json.loads(text, parse_constant=lambda _: pytest.fail("not JSON")) for text in found.bad["row"])
    assert first["x"] == "nan"
    assert first["text"] == 'a"\u2028\n<b>'
    assert second["x"] == -1.0
    assert found.extra == ("blob", "list", "at", "text")


def test_missing_columns_are_named_with_the_nearest() -> None:
    frame = pl.DataFrame({"Time": ["x"], "area": ["DK1"]})
    with pytest.raises(ContractBroken) as caught:
        check(CONTRACT, frame, keys=("area",), time="time", as_of=AS_OF, now=NOW)
    assert caught.value.where == "time"
    assert "Time, area" in str(caught.value.hint)
    assert "'time': 'Time'" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_empty_input() -> None:
    found = run([])
    assert found.rows == 0
    assert found.good.schema["consumption"] == pl.Float64
    with pytest.raises(ContractBroken, match="no rows"):
        found.raise_if_broken()
    run([], contract=CONTRACT.model_copy(update={"allow_empty": True})).raise_if_broken()
    with pytest.raises(ContractBroken, match=r"no rows are known at 2023-01-\S+Z;") as caught:
        run([("2023-01-20T18:00:00", "DK1", "1")]).raise_if_broken()
    assert "later --as-of" in str(caught.value.hint)


def test_broken_says_counts_and_reasons() -> None:
    found = run([("2023-01-20T10:00:00", "DK1", "-1"), ("x", "DK1", "1"), ("2023-01-20T11:00:00", "DK1", "-1")])
    with pytest.raises(ContractBroken) as caught:
        found.raise_if_broken(where="file:x.csv")
    assert "3 of 3 rows are bad (100.00%, allowed 50.00%)" in caught.value.message
    assert "consumption: below the minimum 0 (2)" in caught.value.message
    assert caught.value.where == "file:x.csv"


def test_usage() -> None:
    with pytest.raises(UsageError):
        run([], as_of=datetime(2023, 1, 1))  # noqa: DTZ001
    with pytest.raises(DeclarationError):
        run([], keys=("nobody",))


TIMES = st.one_of(
    st.datetimes(datetime(2023, 1, 18), datetime(2023, 2, 5)).map(lambda t: t.isoformat()),  # noqa: DTZ001
    st.integers(0, 400).map(lambda h: (AS_OF + timedelta(hours=h - 200)).isoformat()),
    st.sampled_from(["2023-01-20T10:00:00", "", "soon", None]),
)
NUMBERS = st.one_of(st.floats().map(str), st.integers(0, 3).map(str), st.sampled_from(["", "12abc", None]))
ROWS = st.lists(st.tuples(TIMES, st.sampled_from(["DK1", "DK2", "dk1", None]), NUMBERS), max_size=30)


@given(ROWS)
def test_nothing_is_lost(rows: list[Row]) -> None:
    found = run(rows)
    assert found.good.height + found.bad.height + found.pending == found.rows == len(rows)
    assert all(len(each) > 0 for each in found.bad["reasons"].to_list())
    assert found.bad["id"].n_unique() == found.bad.height
    assert found.good.null_count().sum_horizontal().sum() == 0
    assert found.good["consumption"].is_between(0, 1000).all()
    assert (found.good["known_at"] <= AS_OF).all()
    kept = [json.loads(text) for text in found.bad["row"]]
    came = [dict(zip(("time", "area", "consumption"), row, strict=True)) for row in rows]
    places = iter(came)
    assert all(row in places for row in kept), "bad rows are not in the order they came"


@given(ROWS)
def test_what_is_pending_changes_nothing(rows: list[Row]) -> None:
    """Rows that are not yet known play no part: taking them away gives the same result."""
    whole = run(rows)
    pending = [row for row in rows if row[0] and row[0].startswith("2023-") and AS_OF < _time(row[0]) <= NOW]
    assert whole.pending == len(pending)
    rest = run([row for row in rows if row not in pending])
    assert rest.good.equals(whole.good)
    assert rest.bad.equals(whole.bad)


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
