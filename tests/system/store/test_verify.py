"""Tables that lose commits and files, or whose bytes change, are found out; what the records hold is put back."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.facts import IDENTITY, append, hourly

from headrace.errors import CorruptTableError, HeadraceError
from headrace.store import Store, Table
from headrace.store.upkeep import Upkeep
from headrace.store.verify import check, refuse_altered, restore


def made(folder: Path, hours: int = 7, small_files: int = 64) -> Table:
    table = Table(folder / "raw", upkeep=Upkeep(small_files=small_files))
    for hour in range(hours):
        append(table, hourly(hour))
    return table


def log(table: Table) -> list[Path]:
    return sorted(Path(table.uri, "_delta_log").glob("*.json"))


def data(table: Table) -> list[Path]:
    return [Path(table.uri, name) for name in table.files()["path"]]


@pytest.mark.parametrize("small_files", [3, 64])
def test_a_whole_table_has_no_problem(tmp_path, small_files):
    table = made(tmp_path, 25, small_files)
    assert check(table).problems == ()
    assert check(table, deep=True) == check(table)
    assert check(table).rows == 100
    table.compact()
    assert check(table, deep=True).problems == ()
    assert check(Table(tmp_path / "none"), deep=True).problems == ()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_lost_commits_are_found_refused_and_put_back(tmp_path, count):
    table = made(tmp_path)
    before = table.read(identity=IDENTITY)
    for path in log(table)[-count:]:
        path.unlink()
    assert any("behind its records" in each for each in check(table).problems)
    with pytest.raises(CorruptTableError, match="behind its records"):
        append(table, hourly(9))
    assert restore(table) == list(range(8 - count, 8))
    assert check(table, deep=True).problems == ()
    assert table.read(identity=IDENTITY).equals(before)
    assert append(table, hourly(9)).added == 4


@pytest.mark.parametrize("left", [b"", b'{"commitInfo":{"timest', b'{"commitInfo":{}}\n{"add":{"pa'])
def test_a_commit_whose_writer_was_killed_in_the_middle_is_taken_away(tmp_path, left):
    table = made(tmp_path)
    before = table.read(identity=IDENTITY)
    half = log(table)[-1].with_name(f"{8:020}.json")
    half.write_bytes(left)
    assert check(Table(table.uri)).problems != ()
    restore(Table(table.uri))
    assert not half.exists()
    again = Table(table.uri)
    assert check(again, deep=True).problems == ()
    assert again.read(identity=IDENTITY).equals(before)
    assert append(again, hourly(9)).added == 4
    newest = log(again)[-1]
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-5])  # but one that was told is put back
    assert restore(Table(table.uri)) == [8]
    assert newest.read_bytes() == whole


def test_a_table_that_loses_its_log_is_not_made_anew(tmp_path):
    table = made(tmp_path)
    for path in Path(table.uri, "_delta_log").iterdir():
        path.unlink()
    with pytest.raises(CorruptTableError, match="behind its records"):
        append(table, hourly(0))


def test_a_lost_file_is_named(tmp_path):
    table = made(tmp_path)
    lost = data(table)[3]
    lost.unlink()
    assert check(table).problems == (f"{lost.name} is gone (4 rows of version 4)",)
    assert check(table).files == (lost.name,)
    with lost.open("wb") as file:
        file.write(b"short")
    assert "has 5 bytes and should have" in check(table).problems[0]


def test_commits_that_were_cleaned_away_are_no_loss(tmp_path):
    from datetime import timedelta

    table = Table(tmp_path / "raw", upkeep=Upkeep(4, timedelta(0), timedelta(0)))
    for hour in range(30):
        append(table, hourly(hour))
    assert check(table, deep=True).problems == ()
    assert len(list(Path(table.uri, "_records").iterdir())) < 30


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a table of twelve commits, to be copied."""
    folder = tmp_path_factory.mktemp("whole")
    made(folder, 12, 5)
    return folder


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_anywhere_is_found_or_changes_nothing(tmp_path, whole, seed):
    table, chance = made(shutil.copytree(whole, tmp_path / "copy"), 0, 5), random.Random(seed)
    before = table.read(identity=IDENTITY)
    path = chance.choice([each for each in sorted(Path(table.uri).rglob("*")) if each.is_file()])
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    if check(table, deep=True).problems:
        return
    try:
        after: pl.DataFrame | None = table.read(identity=IDENTITY)
    except HeadraceError:
        after = None
    assert after is not None
    assert after.equals(before)


@pytest.mark.parametrize("text", [b"", b"{}", b"{}\n{}\n"])
@pytest.mark.parametrize("place", [0, 3, -1])
def test_a_commit_that_became_another_is_never_read_as_less(tmp_path, text, place):
    store = Store(tmp_path)
    table = store.table("shop", "raw")
    for hour in range(7):
        append(table, hourly(hour))
    before = table.read(identity=IDENTITY)
    log(table)[place].write_bytes(text)
    with pytest.raises(CorruptTableError):
        refuse_altered(store, "shop")
    if not text:
        with pytest.raises(CorruptTableError, match="empty"):
            table.read(identity=IDENTITY)
        with pytest.raises(CorruptTableError, match="empty"):
            append(table, hourly(9))
    assert check(table).problems
    assert restore(table)
    refuse_altered(store, "shop")
    assert table.read(identity=IDENTITY).equals(before)


def test_a_lost_commit_is_told_to_who_reads(tmp_path):
    table = made(tmp_path)
    log(table)[-1].unlink()
    with pytest.raises(CorruptTableError, match="behind its records"):
        table.read(identity=IDENTITY)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"null", b"\xff\xfe junk", b'{"log": 1, "digests": 2}'])
def test_a_damaged_record_is_a_problem_and_no_traceback(tmp_path, text):
    table = made(tmp_path, 3)
    before = table.read(identity=IDENTITY)
    record = sorted(Path(table.uri, "_records").glob("*.json"))[1]
    record.write_bytes(text)
    for deep in (False, True):
        assert check(table, deep=deep).problems == (f"_records/{record.name} is damaged: it records nothing any more",)
    assert restore(table) == []
    append(table, hourly(9))
    table.compact()
    assert table.read(identity=IDENTITY).height == before.height + 4
