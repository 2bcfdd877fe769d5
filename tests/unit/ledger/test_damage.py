"""A flipped byte in a logged prediction is noticed by whoever reads it, and by `verify --deep`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from tests.commands import headrace

from headrace.errors import HeadraceError, KeyConflictError, LedgerDamagedError, StoreError
from headrace.home import Home
from headrace.ledger import Entry
from headrace.settings import Settings
from headrace.store import FeatureGroup

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def entry(number: int, digest: str) -> Entry:
    name = f"01a2262e-012d-790e-80fd-{number:012}"
    said = f'{{"value": {number}.25}}'.encode()
    return Entry("shop", f'["k{number}"]', name, f"{number:064}", b'{"x": 1}', said, digest, 1, NOW)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    kept = Home(Settings(home=tmp_path / "home"))
    digest = kept.ledger.pin({"model": "one", "as_of": "2026-03-01"})
    kept.ledger.write([entry(n, digest) for n in range(40)])
    kept.ledger.close()
    return kept.path


def change(home: Path, statement: str, name: str = "ledger.db") -> None:
    with closing(sqlite3.connect(home / name)) as connection:
        connection.execute(statement)
        connection.commit()


def bad(home: Path, *options: str) -> list[str]:
    done = headrace("verify", "--home", home, "--deep", "--json", *options)
    problems = [said for each in done.json["tables"] for said in each["problems"]]
    assert done.code == (1 if problems else 0)
    return problems


@pytest.mark.parametrize(
    "flip",
    [
        "answer = CAST(replace(CAST(answer AS TEXT), '7.25', '9.25') AS BLOB)",
        "inputs = CAST('{\"x\": 3}' AS BLOB)",
        "digest = 'a' || substr(digest, 2)",
        "model_version = 3",
        "created_at = replace(created_at, '2026', '2024')",
        "created_at = replace(created_at, '2026', '2o26')",
        "id = replace(id, '01a', '01b')",
        "system = 'shop'||'', answer = CAST(answer AS TEXT)",
    ],
)
def test_a_changed_row_is_named_and_nobody_reads_it(home: Path, flip: str) -> None:
    assert bad(home) == []
    change(home, f"UPDATE predictions SET {flip} WHERE key = '[\"k7\"]'")
    (said,) = bad(home)
    assert "k7" in said
    assert headrace("doctor", "--home", home).code == 0  # which reads no rows
    ledger = Home(Settings(home=home)).ledger
    with pytest.raises(LedgerDamagedError, match="written"):
        ledger.read("shop")  # and so nothing is exported
    with pytest.raises(LedgerDamagedError):
        ledger.find("shop", '["k7"]')
    assert ledger.find("shop", '["k8"]') is not None
    ledger.close()


def test_a_request_with_the_key_of_a_damaged_row_is_refused_alone(home: Path) -> None:
    change(home, "UPDATE predictions SET answer = CAST('{\"value\": 1}' AS BLOB) WHERE key = '[\"k7\"]'")
    ledger = Home(Settings(home=home)).ledger
    digest = ledger.pin({"model": "one", "as_of": "2026-03-01"})
    again, fresh, other = ledger.write([entry(7, digest), entry(99, digest), entry(8, digest)])
    assert isinstance(again, KeyConflictError)
    assert "damaged" in again.message
    assert fresh == entry(99, digest)
    assert other == entry(8, digest)
    ledger.close()


def test_pins_and_texts_that_are_none(home: Path) -> None:
    change(home, "UPDATE pins SET record = replace(record, 'one', 'two')")
    assert "pins record" in bad(home)[0]
    ledger = Home(Settings(home=home)).ledger
    with pytest.raises(LedgerDamagedError, match="pins record"):
        ledger.get(entry(3, "").id)
    ledger.close()
    change(home, "UPDATE predictions SET id = CAST(x'ff30' AS TEXT) WHERE key = '[\"k2\"]'")
    assert len(bad(home)) == 2
    with pytest.raises(HeadraceError, match=r"UTF-8|written"):
        Home(Settings(home=home)).ledger.find("shop", '["k2"]')


def test_every_byte_of_every_page_is_watched(home: Path) -> None:
    """Of bytes that hold rows a flip is told; of free room and counters there is nothing to tell."""
    with closing(sqlite3.connect(home / "ledger.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path, whole = home / "ledger.db", (home / "ledger.db").read_bytes()
    places = [whole.index(f'{{"value": {n}.25}}'.encode()) + 10 for n in range(10, 40, 5)]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert bad(home), place
    path.write_bytes(whole)
    assert bad(home) == []


def test_a_ledger_that_is_gone_or_begun_anew_is_noticed(home: Path) -> None:
    for each in home.glob("ledger.db*"):
        each.unlink()
    (said,) = bad(home)
    assert "is gone, with all that was logged" in said
    assert headrace("doctor", "--home", home).code == 1
    Home(Settings(home=home)).ledger.close()
    (said,) = bad(home)
    assert "another ledger than the one that began here" in said
    (home / "ledger.json").unlink()
    assert bad(home) == []


def test_rows_of_an_earlier_headrace_are_sealed_as_they_are(home: Path) -> None:
    change(home, "ALTER TABLE predictions DROP COLUMN seal")
    done = headrace("verify", "--home", home, "--deep", "--json").json
    (ledger,) = [each for each in done["tables"] if each["name"] == "ledger.db"]
    assert (ledger["ok"], ledger["rows"], "--repair" in ledger["hint"]) == (True, 40, True)
    kept = Home(Settings(home=home)).ledger  # opening it adds the column
    digest = kept.pin({"model": "one", "as_of": "2026-03-01"})
    assert kept.write([entry(7, digest), entry(77, digest)]) == [entry(7, digest), entry(77, digest)]
    kept.close()
    assert "40 rows" in headrace("verify", "--home", home, "--deep", "--repair").out
    change(home, "UPDATE predictions SET model_version = 2 WHERE key = '[\"k7\"]'")
    assert len(bad(home)) == 1


@pytest.mark.parametrize(
    "flip", ["payload = CAST(replace(CAST(payload AS TEXT), 'spend', 'spenf') AS BLOB)", "time = 1", "key = '[\"z\"]'"]
)
def test_a_changed_fact_of_the_online_side(tmp_path: Path, flip: str) -> None:
    home = Home(Settings(home=tmp_path / "home"))
    group = FeatureGroup(
        home.store, "shop", "customers", keys=["customer"], time="day", columns={"spend": pl.Int64()}, online=1
    )
    rows = {"customer": ["a", "b"], "day": [NOW, NOW], "known_at": [NOW, NOW + timedelta(hours=1)], "spend": [1, 2]}
    group.write(pl.DataFrame(rows))
    assert home.online.get(group, "a") == {"spend": 1}
    assert bad(home.path) == []
    change(home.path, f"UPDATE facts SET {flip} WHERE key = '[\"a\"]'", "online.db")
    (said,) = bad(home.path)
    assert "headrace materialize online SYSTEM makes it anew" in said
    if "payload" in flip:
        with pytest.raises(StoreError, match="not what was written"):
            home.online.get(group, "a")
    assert home.online.get(group, "b") == {"spend": 2}
