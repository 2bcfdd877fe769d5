"""Rows of the quarantine after the contract or the source was mended: known from then on, counted, once."""

import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from headrace import Column, Contract, Forecaster, Linear, Regressor, Schedule, Source, System
from headrace.contract import ZScore
from headrace.errors import UsageError
from headrace.features import col, seasonal_features
from headrace.home import QUARANTINE, RELEASES, Home
from headrace.pipelines.apart import ApartChoice, counted, every_apart, quarantined, set_apart
from headrace.pipelines.ingest import read, validate
from headrace.pipelines.release import release
from headrace.pipelines.validations import history, validation_of
from headrace.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal, sys
from headrace.home import Home
from headrace.pipelines import release
from headrace.settings import Settings
from tests.system.pipelines.test_release import free, system
release._ReleaseTally.note = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
free(system(maximum=20), Home(Settings(home=sys.argv[1])))
"""
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
AS_OF = FIRST + timedelta(days=1)
LATER = AS_OF + timedelta(days=2)
HEADER = "meter,time,kwh,note"


def system(maximum=10, rules=(), kwh="float", **more):
    columns = (
        Column("meter", "category"),
        Column("time", "time"),
        Column("kwh", kwh, minimum=0, maximum=maximum),
        Column("note", "text", nullable=True),
    )
    return System(
        name="meters",
        source=more.pop("source", Source(uri="file:in.csv")),
        contract=Contract(columns=columns, rules=rules, max_invalid_fraction=0.9),
        keys=("meter",),
        time="time",
        step="1h",
        target="kwh",
        horizon="2h",
        features=seasonal_features("kwh", step="1h", seasons=("2h",)),
        model=Forecaster(seasons=("2h",)),
        **more,
    )


def people(oldest=100):
    """A system of rows without event times."""
    columns = (Column("person", "integer"), Column("age", "integer", minimum=0, maximum=oldest))
    return System(
        name="people",
        source=Source(uri="file:in.csv"),
        contract=Contract(columns=columns, max_invalid_fraction=0.9),
        keys=("person",),
        target="age",
        schedule=Schedule(predict="never", train="never"),
        features={"person": col("person")},
        model=Regressor(members=(Linear(),)),
    )


def lines(*changed):
    rows = {
        (meter, hour): f"{meter},{FIRST + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"
        for meter in "ab"
        for hour in range(6)
    }
    values = dict.fromkeys(rows, "1.5") | {(meter, hour): value for meter, hour, value in changed}
    return [f"{rows[key]},{values[key]}," for key in rows]


@pytest.fixture
def home(tmp_path):
    return Home(Settings(home=tmp_path / "home"))


def ingest(declared, home, tmp_path, rows, as_of=AS_OF, header=HEADER):
    path = tmp_path / "in.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    records = read(declared, home, source=f"file:{path}", as_of=as_of, now=as_of)
    return validate(declared, home, records, as_of=as_of, now=as_of)


def free(declared, home, as_of=LATER, **choice):
    return release(declared, home, ApartChoice(**choice), as_of=as_of, now=as_of)


def values(declared, home, as_of=None):
    rows = home.raw(declared).read(identity=declared.identity, as_of=as_of)
    return {(row["meter"], row["time"].hour): row["kwh"] for row in rows.to_dicts()}


def test_rows_re_enter_by_known_time_now_and_the_past_stays(home, tmp_path):
    validated = ingest(system(), home, tmp_path, lines(("a", 2, "12"), ("b", 3, "many"), ("b", 4, "99")))
    assert validated.rows == {"read": 12, "ingested": 9, "quarantined": 3, "repeated": 0, "pending": 0}
    before = values(system(), home, AS_OF)
    mended = system(maximum=20)
    done = free(mended, home)
    assert (done.read, done.released, done.kept, done.repeated, done.superseded, done.pending) == (3, 1, 2, 0, 0, 0)
    assert done.reasons == {"kwh: is not a number": 1, "kwh: above the maximum 20": 1}
    assert values(mended, home, AS_OF) == values(mended, home, LATER - timedelta(seconds=1)) == before
    assert values(mended, home, LATER) == before | {("a", 2): 12.0}
    # What still breaks has the reasons of the contract as it is now.
    assert sorted(reason for reasons in quarantined(home, "meters")["reasons"] for reason in reasons) == [
        "kwh: 'many' is not a number",
        "kwh: 99.0 is above the maximum 20",
    ]
    every = set_apart(home, "meters", mended.contract, ApartChoice(), released=True)
    assert (every.apart, every.released, every.rows.height) == (2, 1, 3)
    # Again: nothing is released twice, and no row is lost.
    version, notes = home.raw(mended).version(), home.table("meters", RELEASES).version()
    again = free(mended, home, LATER + timedelta(days=1))
    assert (again.read, again.released, again.kept) == (2, 0, 2)
    assert (home.raw(mended).version(), home.table("meters", RELEASES).version()) == (version, notes)


def test_rows_are_counted_by_reason_and_column_and_chosen_by_them(home, tmp_path):
    bad = lines(("a", 2, "12"), ("b", 3, "many"), ("b", 4, "99"), ("a", 5, "is it?"))
    ingest(system(), home, tmp_path, [*bad, "a,2026-03-01T09:00:00Z"])
    counts = counted(every_apart(home, "meters"), system().contract)
    assert counts.drop("released").rows() == [
        ("kwh", "is above the maximum 10", 2),
        ("kwh", "is not a number", 2),
        (None, "too few fields", 1),
    ]
    rows = every_apart(home, "meters")
    assert set(rows["place"].to_list()) == {3, 10, 11, 6, 13}
    assert ApartChoice(columns=("kwh",)).of(rows, system().contract).height == 4
    assert ApartChoice(reasons=("NOT A number",)).of(rows, system().contract).height == 2
    assert ApartChoice(source="in.csv").of(rows, system().contract).height == 5
    with pytest.raises(UsageError, match="no column 'watts'"):
        free(system(), home, columns=("watts",))
    with pytest.raises(UsageError, match="no row 0000"):
        free(system(), home, ids=("0000",))
    chosen = rows.filter(pl.col("place") == 3)["id"].to_list()
    assert free(system(maximum=100), home, ids=chosen).released == 1
    assert free(system(maximum=100), home, columns=("kwh",)).as_dict() | {"reasons": {}} == {
        "system": "meters",
        "as_of": "2026-03-04T00:00:00Z",
        "read": 3,
        "released": 1,
        "repeated": 0,
        "superseded": 0,
        "pending": 0,
        "kept": 2,
        "reasons": {},
        "version": home.raw(system()).version(),
    }


def test_a_row_that_came_mended_since_is_not_overwritten(home, tmp_path):
    ingest(system(), home, tmp_path, lines(("a", 2, "12"), ("b", 2, "13")))
    ingest(system(), home, tmp_path, lines(("a", 2, "1.2"), ("b", 2, "13")), AS_OF + timedelta(hours=1))
    done = free(system(maximum=20), home)
    assert (done.read, done.released, done.superseded) == (2, 1, 1)
    assert {key: values(system(), home)[key] for key in (("a", 2), ("b", 2))} == {("a", 2): 1.2, ("b", 2): 13.0}
    # The file read once more by the mended contract says nothing new.
    assert ingest(system(maximum=20), home, tmp_path, lines(("a", 2, "1.2"), ("b", 2, "13")), LATER).added == 0


def test_a_bad_correction_takes_the_place_of_the_value_before(home, tmp_path):
    ingest(system(), home, tmp_path, lines())
    ingest(system(), home, tmp_path, lines(("a", 2, "12")), AS_OF + timedelta(hours=1))
    assert free(system(maximum=20), home).released == 1
    assert (values(system(), home, AS_OF)["a", 2], values(system(), home)["a", 2]) == (1.5, 12.0)


def test_contradictions_are_settled_by_naming_one_of_them(home, tmp_path):
    ingest(system(), home, tmp_path, [*lines(("a", 2, "2")), *lines(("a", 2, "3"))[2:3]])
    rows = every_apart(home, "meters")
    assert rows.height == 2
    assert free(system(), home).kept == 2
    (chosen,) = rows.filter(pl.col("row").str.contains('"3"'))["id"]
    assert free(system(), home, ids=(chosen,)).released == 1
    assert values(system(), home)["a", 2] == 3.0
    assert free(system(), home).superseded == 1


def test_a_column_of_the_source_is_looked_for_again(home, tmp_path):
    rows = [line + "x" for line in lines(("a", 2, "12"))]
    ingest(system(), home, tmp_path, rows, header="meter,time,kwh,remark")
    mended = system(maximum=20, source=Source(uri="file:in.csv", columns={"note": "remark"}))
    assert free(mended, home).released == 1
    notes = home.raw(mended).read(identity=mended.identity).filter(pl.col("kwh") > 10)["note"]
    assert notes.to_list() == ["x"]


def test_rows_beyond_their_series_are_judged_beside_what_is_stored(home, tmp_path):
    rule = ZScore(column="kwh", limit=4, min_periods=5, severity="quarantine")
    rows = [line.replace(",1.5,", f",{1 + n % 3},") for n, line in enumerate(lines())]
    ingest(system(rules=(rule,)), home, tmp_path, [*rows, "a,2026-03-01T07:00:00Z,9.9,"])
    far = every_apart(home, "meters").height
    if far:
        assert free(system(rules=(rule,)), home).kept == far
    assert free(system(), home).released == far


def test_rows_without_event_times(home, tmp_path):
    ingest(people(), home, tmp_path, ["1,20", "2,130", "3,old", "2,130"], header="person,age")
    assert every_apart(home, "people").height == 3
    done = free(people(oldest=150), home)
    assert (done.read, done.released, done.repeated, done.kept) == (3, 1, 1, 1)
    table = home.raw(people())
    assert table.read(identity=["person"], as_of=AS_OF).height == 1
    assert sorted(table.read(identity=["person"])["age"]) == [20, 130]
    assert free(people(oldest=150), home).as_dict()["released"] == 0


def test_killed_between_facts_and_notes_nothing_is_lost_or_doubled(home, tmp_path):
    ingest(system(), home, tmp_path, lines(("a", 2, "12"), ("b", 4, "13")))
    mended = system(maximum=20)
    code = subprocess.run([sys.executable, "-c", KILLED, str(home.path)], cwd=ROOT, timeout=60, check=False).returncode
    assert code == -signal.SIGKILL
    assert (home.raw(mended).version(), quarantined(home, "meters").height) == (2, 2)
    done = free(mended, home, LATER + timedelta(hours=1))
    assert (done.read, done.released, done.repeated) == (2, 0, 2)
    table = home.raw(mended)
    facts = table.collect(table.scan()).filter(pl.col("kwh") > 10)
    assert facts["known_at"].to_list() == [LATER, LATER]
    assert quarantined(home, "meters").is_empty()


def test_a_row_of_the_future_waits_and_an_unknown_one_is_not_looked_at(home, tmp_path):
    ingest(system(), home, tmp_path, lines(("a", 2, "12")))
    assert free(system(maximum=20), home, FIRST).pending == 1
    assert home.table("meters", QUARANTINE).version() == 1


def test_every_ingest_keeps_what_the_contract_said(home, tmp_path):
    ingest(system(), home, tmp_path, lines(("a", 2, "12"), ("b", 3, "many")))
    ingest(system(), home, tmp_path, lines(), AS_OF + timedelta(hours=1))
    past = history(home, "meters")
    assert past["bad"].to_list() == [0, 2]
    assert past["as_of"].to_list() == [AS_OF + timedelta(hours=1), AS_OF]
    report = validation_of(home, "meters")
    assert (report["good"], report["broken"], report["as_of"]) == (12, False, "2026-03-02T01:00:00Z")
    home.raw(system())
    ingest(system(), home, tmp_path, lines(("a", 2, "12"), ("b", 3, "many")), AS_OF + timedelta(hours=2))
    rules = {(rule["column"], rule["rule"]): rule for rule in validation_of(home, "meters")["rules"]}
    broken = rules["kwh", "maximum"]
    assert (broken["failed"], broken["rows"], broken["share"], broken["severity"]) == (1, 12, 1 / 12, "quarantine")
    assert broken["examples"][0]["reason"] == "kwh: 12.0 is above the maximum 10"
    assert rules["kwh", "type"]["examples"][0]["row"].count('"many"') == 1
    assert rules["kwh", "minimum"]["passed"]
    assert rules["kwh", "minimum"]["examples"] == []
