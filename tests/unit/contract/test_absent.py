"""A column that a whole batch lacks: missing in every row where it may be, at every door alike; otherwise refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from headrace.contract import Column, Contract, KnownTimes, check, check_parts
from headrace.contract.row import RowDecoder
from headrace.errors import ContractBroken
from headrace.grid import Grid
from headrace.sources.events import EventDecoder, EventFacts, EventShape

NOW = datetime(2026, 3, 2, tzinfo=UTC)
KINDS = ("float", "integer", "boolean", "text", "category", "time")
COLUMNS = (
    Column("time", "time", zone="UTC"),
    Column("place", "category"),
    Column("load", "float"),
    *(Column(kind, kind, nullable=True) for kind in KINDS[:-1]),
    Column("moment", "time", nullable=True, zone="UTC"),
    Column("bounded", "float", nullable=True, minimum=0, missing=(-1,)),
    Column("chosen", "text", nullable=True, pattern="^a", missing=("NA",)),
)
CONTRACT = Contract(columns=COLUMNS)
ROWS = [{"time": f"2026-03-01T0{hour}:00:00Z", "place": "a", "load": float(hour)} for hour in range(4)]


def checked(frame: pl.DataFrame, contract: Contract = CONTRACT, **more):
    return check(contract, frame, keys=("place",), time="time", as_of=NOW, now=NOW, **more)


def test_rows_without_it_are_those_in_which_it_is_missing() -> None:
    named = pl.DataFrame([row | dict.fromkeys(c.name for c in COLUMNS[3:]) for row in ROWS])
    with_it, without = checked(named), checked(pl.DataFrame(ROWS))
    assert without.good.equals(with_it.good)
    assert without.good.schema == with_it.good.schema
    assert (with_it.findings, with_it.remarkable) == ((), False)
    said = [each.message for each in without.findings]
    assert len(said) == len(COLUMNS) - 3
    assert "the source has no column 'float': it is missing in every row" in said
    assert not any(each.passed or each.stops for each in without.findings)
    assert not without.broken


def test_a_request_and_an_event_say_the_same() -> None:
    good = checked(pl.DataFrame(ROWS)).good
    row, faults = RowDecoder(CONTRACT)(ROWS[1])
    assert (faults, row) == ([], good.drop("known_at").row(1, named=True))
    zero = timedelta(0)
    shape = EventShape(CONTRACT, ("place",), "time", ("load",), Grid(timedelta(hours=1)), zero, zero, zero)
    decode = EventDecoder(shape)
    events, facts = decode([json.dumps(each).encode() for each in ROWS], [2**52] * 4), EventFacts(shape, decode)
    for i in range(4):
        facts.add(events, i, int(events.at[i]))
    assert facts.frame().equals(good)


@pytest.mark.parametrize("lacking", ["time", "place", "load", "said"])
def test_what_may_not_be_missing_is_refused(lacking: str) -> None:
    frame = pl.DataFrame(ROWS).with_columns(said=pl.lit("2026-03-01T05:00:00Z")).drop(lacking)
    nullable = Contract(columns=(COLUMNS[0].model_copy(update={"nullable": True}), *COLUMNS[1:]))
    with pytest.raises(ContractBroken, match=f"the source has no column '{lacking}'"):
        checked(frame, nullable, known=KnownTimes(column="said"))


def test_one_that_may_be_meant_is_named() -> None:
    contract = Contract(columns=(*COLUMNS[:3], Column("warmth", "float", nullable=True)))
    found = checked(pl.DataFrame(ROWS).with_columns(Warmth_C=1), contract)
    (finding,) = found.findings
    assert "is it 'Warmth_C'? then say so: Source(columns={'warmth': 'Warmth_C'})" in finding.message


def test_bad_rows_are_kept_as_they_came() -> None:
    frame = pl.DataFrame([ROWS[0] | {"load": "many"}])
    (row,) = checked(frame).bad["row"]
    assert json.loads(row) == ROWS[0] | {"load": "many"}


def test_in_parts_it_is_said_once() -> None:
    frame = pl.DataFrame(ROWS)
    seen = {"keys": ("place",), "time": "time", "grid": None, "as_of": NOW, "now": NOW, "known": KnownTimes()}
    found = check_parts(CONTRACT, [frame[:2], frame[2:].with_columns(float=1.0)], lambda rows: rows, **seen)
    assert found.good["float"].to_list() == [None, None, 1.0, 1.0]
    assert len(found.findings) == len(COLUMNS) - 3
