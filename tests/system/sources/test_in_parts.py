"""A large file of rows without event times: read, judged and stored in parts, it is what it is in one."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from tests.worlds.listings import system

from headrace.errors import ContractBroken
from headrace.home import Home
from headrace.pipelines import held
from headrace.pipelines.ingest import read, validate
from headrace.settings import Settings
from headrace.sources import files

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def lines(*rows):
    return "\n".join(["id\tname\tprice\tseen", *("\t".join(row) for row in rows)]) + "\n"


def listing(n, price="10"):
    return (str(n), f'"thing \t\u2028 {n}"', price, "")


ROWS = [listing((n * 37) % 101) for n in range(101)]
ODD = [listing(5), listing(7, "12"), listing(-1), ("x", "y"), listing(90, "cheap"), listing(300)]


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(files, "PIECE", 256)
    monkeypatch.setattr(held, "PORTION", 30)


def ingested(folder, text, *, at=NOW, seen=None):
    folder.mkdir(exist_ok=True)
    (folder / "rows.tsv").write_text(text)
    home = Home(Settings(home=folder / "home"))
    records = read(system, home, source=f"file:{folder}/rows.tsv", as_of=at, now=at)
    assert seen is None or bool(records.more) == seen
    return home, validate(system, home, records, as_of=at, now=at)


def table(home, name="raw"):
    stored = home.raw(system) if name == "raw" else home.table(system.name, name)
    frame = stored.collect(stored.scan()).drop("_version", "source", strict=False)
    return frame.sort([name for name, dtype in frame.schema.items() if not isinstance(dtype, pl.List)])


def test_the_same_is_stored_set_apart_and_told(tmp_path, monkeypatch):
    text = lines(*ROWS, *ODD)
    one_home, one = ingested(tmp_path / "one", text, seen=False)
    monkeypatch.setattr(files, "PIECE", 256)
    monkeypatch.setattr(held, "PORTION", 30)
    home, parts = ingested(tmp_path / "parts", text, seen=True)
    assert table(home).equals(table(one_home))
    apart, one_apart = table(home, "quarantine"), table(one_home, "quarantine")
    assert apart.drop("place").equals(one_apart.drop("place"))  # of parts nothing says which line a row was
    assert parts.rows == one.rows == {"read": 107, "ingested": 101, "quarantined": 5, "repeated": 1, "pending": 0}
    assert parts.validation.as_dict() == one.validation.as_dict()
    assert home.raw(system).version() == 4
    assert not list((home.path / "scratch").glob("*/*"))


def test_what_is_stored_already_is_not_stored_again(tmp_path, small):
    ingested(tmp_path, lines(*ROWS))
    home, found = ingested(
        tmp_path, lines(*ROWS[:50], *ROWS[51:], listing(500), listing(0, "11")), at=NOW + timedelta(days=1)
    )
    assert (found.added, found.repeated) == (1, 99)
    assert found.rows["quarantined"] == 2
    home, found = ingested(tmp_path, lines(*ROWS[:50]), at=NOW + timedelta(days=2), seen=True)
    assert (found.added, found.repeated) == (0, 50)
    assert found.lost == f"51 rows that file:{tmp_path}/rows.tsv had are no longer in it; what they said stays"
    assert table(home).height == 102


def test_a_batch_that_is_refused_stores_nothing(tmp_path, small):
    with pytest.raises(ContractBroken, match="mean"):
        ingested(tmp_path, lines(*ROWS, *(listing(n, "90000") for n in range(200, 260))))
    home = Home(Settings(home=tmp_path / "home"))
    assert not home.raw(system).exists()
    assert not list((home.path / "scratch").glob("*/*"))
