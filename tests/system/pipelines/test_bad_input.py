"""Bad input through a whole run: a typed error or quarantine with a reason, and no row lost."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.commands import AS_OF, ENERGY, HEADER, Ran, energy, headrace, rows, write

from headrace.home import PREDICTIONS, QUARANTINE, RAW, Home
from headrace.settings import Settings

LATER = AS_OF + timedelta(hours=48)
FIRST = AS_OF + timedelta(hours=1)
COUNT = 49 * 4
"""Rows of a file that reaches one hour past `LATER`: its last four are pending."""


@pytest.fixture
def lines() -> list[str]:
    return rows(FIRST, 49)


def run(home: Path, tmp_path: Path, lines: list[str], *more: object, header: str = HEADER) -> Ran:
    return energy("run", home, "--source", write(tmp_path / "in.csv", lines, header), *more, as_of=LATER)


def facts(home: Path, name: str = RAW) -> pl.DataFrame:
    table = Home(Settings(home=home)).table("energy", name)
    return table.collect(table.scan()) if table.exists() else pl.DataFrame()


def report(home: Path) -> dict[str, object]:
    return json.loads((home / "reports" / "energy" / "validation.json").read_text())


def reasons(home: Path) -> list[str]:
    return [reason for each in facts(home, QUARANTINE)["reasons"].to_list() for reason in each]


def changed(line: str, **fields: str) -> str:
    names = ("time", "area", "industry", "value")
    return ",".join(fields.get(name, old) for name, old in zip(names, line.split(","), strict=True))


def refused(ran: Ran, code: int, error: str, text: str) -> None:
    assert ran.code == code, ran.err
    assert ran.json["error"] == error
    assert text in f"{ran.json['where']}: {ran.json['message']} {ran.json['hint']}"
    assert "Traceback" not in ran.err


def untouched(home: Path, before: pl.DataFrame) -> None:
    assert facts(home).equals(before)
    assert set(facts(home, PREDICTIONS)["as_of"]) == {AS_OF}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"value": "many"}, "consumption: 'many' is not a number"),
        ({"value": "NaN"}, "is not a finite number"),
        ({"value": "inf"}, "is not a finite number"),
        ({"value": "-inf"}, "is not a finite number"),
        ({"value": "-5"}, "consumption: -5.0 is below the minimum 0"),
        ({"value": ""}, "consumption: is missing"),
        ({"time": "yesterday"}, "time: 'yesterday' is not a time"),
        ({"time": ""}, "time: is missing"),
        ({"time": "2023-02-30T00:00:00"}, "is not a time"),
        ({"time": "2023-01-21T00:30:00"}, "time: "),
        ({"time": "2199-01-01T00:00:00"}, "time: "),
        ({"area": "DK9"}, "area: 'DK9'"),
        ({"industry": "11"}, "industry: '11'"),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason(home, tmp_path, lines, fields, said):
    bad = changed(lines[9], **fields)
    ran = run(home, tmp_path, [*lines[:9], bad, *lines[10:]])
    assert ran.code == 0, ran.err
    assert (ran.json["ingested"], ran.json["quarantined"], ran.json["pending"]) == (COUNT - 5, 1, 4)
    assert ran.json["predictions"] == 4 * 24
    assert [said in reason for reason in reasons(home)] == [True]
    kept = facts(home, QUARANTINE)
    came = dict(zip(HEADER.split(","), bad.split(","), strict=True))
    assert sorted(v or "" for v in json.loads(kept["row"][0]).values()) == sorted(came.values())
    # The same file again: nothing twice.
    again = run(home, tmp_path, [*lines[:9], bad, *lines[10:]])
    assert (again.json["ingested"], again.json["stored"]) == (0, 0)
    assert facts(home, QUARANTINE).equals(kept)


def test_every_row_is_good_bad_or_pending(home, tmp_path, lines):
    broken = [changed(lines[0], value="x"), changed(lines[5], value="-1", area="DK3"), changed(lines[8], time="?")]
    ran = run(home, tmp_path, [*lines, *broken, lines[20]])
    assert ran.code == 0, ran.err
    found = report(home)
    assert found["rows"] == COUNT + 4
    assert found["good"] + found["bad"] + found["pending"] == found["rows"]
    assert (ran.json["quarantined"], ran.json["pending"]) == (found["bad"], found["pending"])
    assert facts(home, QUARANTINE).height == found["bad"]
    assert ran.json["ingested"] == found["good"]
    assert sorted(facts(home, QUARANTINE)["reasons"].list.len()) == [1] * (found["bad"] - 1) + [2]


def test_duplicated_hours_with_other_values_are_set_apart(home, tmp_path, lines):
    ran = run(home, tmp_path, [*lines, changed(lines[3], value="77")])
    assert ran.code == 0, ran.err
    found = report(home)
    assert found["bad"] >= 1
    assert found["good"] + found["bad"] + found["pending"] == COUNT + 1
    stored = facts(home).filter(pl.col("time") == FIRST, pl.col("area") == "DK2", pl.col("industry") == "215")
    assert stored.height <= 1
    assert 77.0 not in stored["consumption"] or stored.height == 1


def test_lines_of_another_width_are_set_apart(home, tmp_path, lines):
    ran = run(home, tmp_path, [lines[0], lines[1] + ",more", *lines[2:], "2023-01-01T00:00,DK1"])
    assert ran.code == 0, ran.err
    found = report(home)
    assert (found["rows"], found["bad"]) == (COUNT + 1, 2)
    assert found["good"] + found["bad"] + found["pending"] == found["rows"]
    assert found["reasons"] == {"too few fields": 1, "too many fields": 1}
    apart = facts(home, QUARANTINE)
    assert sorted(each for reasons in apart["reasons"] for each in reasons) == [
        f"line {COUNT + 2} has too few fields: 2 where 4 columns are named",
        "line 3 has too many fields: 5 where 4 columns are named",
    ]


def test_too_many_bad_rows_stop_the_run(home, tmp_path, lines):
    before = facts(home)
    ran = run(home, tmp_path, [*(changed(each, value="-1") for each in lines[:40]), *lines[40:]])
    refused(ran, 3, "ContractBroken", "40 of 192 rows are bad")
    untouched(home, before)
    assert facts(home, QUARANTINE).height == 40
    mended = run(home, tmp_path, lines)
    assert (mended.code, mended.json["ingested"]) == (0, COUNT - 4)


@pytest.mark.parametrize(
    ("header", "code", "error", "text"),
    [
        ("HourUTC,PriceArea,ConsumerType_DE35,Total", 3, "ContractBroken", "has no column"),
        ("HourUTC,PriceArea,PriceArea,TotalCon", 1, "SourceError", "two columns are called 'PriceArea'"),
        ("HourUTC,PriceArea,ConsumerType_DE35", 3, "ContractBroken", "has no column 'TotalCon'"),
    ],
)
def test_a_wrong_header_is_refused(home, tmp_path, lines, header, code, error, text):
    before = facts(home)
    refused(run(home, tmp_path, lines, header=header), code, error, text)
    untouched(home, before)


def test_a_file_of_names_only_holds_no_rows(home, tmp_path):
    before = facts(home)
    refused(run(home, tmp_path, []), 3, "ContractBroken", "no rows")
    untouched(home, before)


@pytest.mark.parametrize(
    ("name", "spoil", "text"),
    [
        ("in.csv", lambda data: b"", "the file is empty"),
        ("in.csv.gz", lambda data: gzip.compress(data, mtime=0)[:-40], "the gzip file is truncated"),
        (
            "in.csv.gz",
            lambda data: gzip.compress(data, mtime=0)[:200] + b"\xff" * 90 + gzip.compress(data)[290:],
            "damaged",
        ),
        ("in.csv", gzip.compress, "name it .gz"),
        ("in.csv", lambda data: data.replace(b"DK1", b"DK\xe6", 1), "is not UTF-8"),
        ("in.parquet", lambda data: data, "not readable as Parquet"),
    ],
)
def test_an_unreadable_file_is_named(home, tmp_path, lines, name, spoil, text):
    before, path = facts(home), tmp_path / name
    path.write_bytes(spoil("\n".join([HEADER, *lines]).encode()))
    ran = energy("run", home, "--source", f"file:{path}", as_of=LATER)
    refused(ran, 1, "SourceError", text)
    assert ran.json["where"] == str(path)
    untouched(home, before)


def test_a_file_that_is_not_there_is_told_with_its_neighbours(home, tmp_path, lines):
    write(tmp_path / "other.csv", lines)
    ran = energy("run", home, "--source", f"file:{tmp_path}/in.csv", as_of=LATER)
    refused(ran, 1, "SourceError", "other.csv")


def local(folder: Path, zone: str | None) -> str:
    """The energy system with times in local time, or in none."""
    text = (Path(ENERGY) / "system.py").read_text()
    column = 'Column("time", "time")' if zone is None else f'Column("time", "time", zone="{zone}")'
    assert 'Column("time", "time", zone="UTC")' in text
    folder.mkdir()
    (folder / "system.py").write_text(text.replace('Column("time", "time", zone="UTC")', column))
    return str(folder)


def ingest(system: str, home: Path, tmp_path: Path, lines: list[str]) -> Ran:
    uri, when = write(tmp_path / "in.csv", lines), "2022-12-01T00:00:00Z"
    words = ("--set", "source.lag=0h", "--set", "contract.max_invalid_fraction=0.5", "--source", uri, "--as-of", when)
    return headrace("ingest", system, "--home", home, "--json", *words)


def test_times_without_a_zone_are_bad_where_none_is_declared(tmp_path):
    home, system = tmp_path / "home", local(tmp_path / "local", None)
    naive, zoned = "2022-11-01T00:00:00,DK1,111,5", "2022-11-01T01:00:00+01:00,DK2,111,6"
    ran = ingest(system, home, tmp_path, [naive, zoned])
    assert (ran.code, ran.json["ingested"], ran.json["quarantined"]) == (0, 1, 1), ran.err
    assert "time has no zone" in reasons(home)[0]
    assert facts(home)["time"].to_list() == [datetime(2022, 11, 1, tzinfo=UTC)]


def test_hours_around_a_change_of_clocks(tmp_path):
    home, system = tmp_path / "home", local(tmp_path / "local", "Europe/Copenhagen")
    autumn = [f"2022-10-30T{h:02}:00:00,DK1,111,{h}" for h in range(6)]  # 02:00 happens twice
    spring = [f"2022-03-27T{h:02}:00:00,DK1,111,{h}" for h in range(6)]  # 02:00 does not exist
    exact = ["2022-10-30T02:00:00+02:00,DK1,111,20", "2022-10-30T02:00:00+01:00,DK1,111,21"]
    ran = ingest(system, home, tmp_path, [*autumn, *spring, *exact])
    assert (ran.code, ran.json["ingested"], ran.json["quarantined"]) == (0, 12, 2), ran.err
    told = sorted(reasons(home))
    assert "does not exist in Europe/Copenhagen" in told[0]
    assert "happens twice in Europe/Copenhagen" in told[1]
    stored = facts(home).filter(pl.col("time") >= datetime(2022, 10, 1, tzinfo=UTC)).sort("time")
    first = datetime(2022, 10, 29, 22, tzinfo=UTC)
    assert stored["time"].to_list() == [first + timedelta(hours=n) for n in range(7)]


def test_a_typo_in_the_configuration_names_its_path(tmp_path):
    system = Path(local(tmp_path / "local", "UTC"))
    (system / "config.yaml").write_text("schedule:\n  trane: 7d\n")
    ran = headrace("run", system, "--home", tmp_path / "home", "--json")
    refused(ran, 2, "ConfigError", "schedule.trane: no such setting did you mean 'train'?")
    (system / "config.yaml").write_text("schedule: {")
    refused(headrace("run", system, "--json"), 2, "ConfigError", "config.yaml: not readable as YAML")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("harm", ["shortened", "gone"])
def test_a_damaged_file_of_the_raw_table_is_named(home, tmp_path, lines, harm):
    damaged = sorted((home / "store" / "energy" / RAW).glob("*.parquet"))[0]
    whole = damaged.read_bytes()
    if harm == "shortened":
        damaged.write_bytes(whole[: len(whole) // 2])
    else:
        damaged.unlink()
    refused(energy("predict", home), 1, "CorruptTableError", damaged.name)
    # Overlaps with what is stored, so the damaged file has to be looked at.
    overlapping = [*rows(AS_OF - timedelta(hours=5), 6), *lines]
    refused(run(home, tmp_path, overlapping), 1, "CorruptTableError", damaged.name)
    damaged.write_bytes(whole)
    assert run(home, tmp_path, lines).code == 0


def test_a_store_of_a_newer_version_is_left_alone(home, tmp_path, lines):
    written = home / "store" / "format.json"
    written.write_text('{"format": 99}')
    before = sorted(path for path in (home / "store").rglob("*") if path.is_file())
    for command in ("run", "predict", "train", "monitor"):
        refused(energy(command, home, as_of=LATER), 1, "StoreTooNewError", "format 99")
    refused(run(home, tmp_path, lines), 1, "StoreTooNewError", "upgrade headrace")
    assert sorted(path for path in (home / "store").rglob("*") if path.is_file()) == before
    assert headrace("doctor", "--home", home, "--json").code == 1
