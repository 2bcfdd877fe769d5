"""What was changed on the disk is never read in silence, and what is gone is named, whatever file it is."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
from tests.facts import IDENTITY, append, hour, hourly

from headrace.errors import CorruptTableError, HeadraceError
from headrace.store import Store, Table, Upkeep
from headrace.store.between import Between
from headrace.store.verify import check, note_problem, refuse_altered, restore


def made(folder: Path, hours: int = 12, small_files: int = 5) -> Table:
    table = Store(folder, upkeep=Upkeep(small_files=small_files)).table("shop", "raw")
    for n in range(hours):
        append(table, hourly(n))
    return table


def flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with a store whose table has twelve commits, to be copied."""
    folder = tmp_path_factory.mktemp("whole")
    made(folder)
    return folder


@pytest.mark.parametrize("seed", range(30))
def test_a_flipped_bit_is_told_by_a_plain_read_or_changes_nothing(tmp_path, whole, seed, capfd):
    table, chance = made(shutil.copytree(whole, tmp_path / "copy"), 0), random.Random(seed)
    before = table.read(identity=IDENTITY)
    files = [*Path(table.uri).glob("*.parquet"), *Path(table.uri, "_delta_log").iterdir()]
    damaged = chance.choice(sorted(each for each in files if each.is_file()))
    flip(damaged, chance)
    try:
        assert table.read(identity=IDENTITY).equals(before)
    except CorruptTableError as error:
        told = str(error)
    else:
        told = f"{damaged.name}\n  hint: none needed"
    assert damaged.name in told
    assert "hint" in told
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("path", ["my [store]", "plain"])
def test_a_changed_file_is_refused_by_whoever_writes_beside_it(tmp_path, path):
    table = made(tmp_path / path, 3)
    for each in Path(table.uri).glob("*.parquet"):
        flip(each, random.Random(1))
    with pytest.raises(CorruptTableError, match="not what was written"):
        append(table, hourly(1))
    assert append(table, hourly(9)).added == 4  # about another time: no stored fact is looked at


def test_only_files_that_may_hold_what_is_asked_for_are_looked_at(tmp_path):
    table = made(tmp_path, 6, 64)
    first = min(Path(table.uri).glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    flip(first, random.Random(1))
    later = Between("time", hour(3), hour(5))
    assert table.read(identity=IDENTITY, between=later).height == 12
    with pytest.raises(CorruptTableError):
        table.read(identity=IDENTITY)


def test_a_file_is_compared_once_and_again_where_it_changed(tmp_path, monkeypatch):
    table, looked = made(tmp_path, 6), []
    digest = type(table.witness).digest

    def counting(self, path):
        looked.append(path)
        return digest(self, path)

    monkeypatch.setattr(type(table.witness), "digest", counting)
    table.read(identity=IDENTITY)
    looked.clear()
    table.read(identity=IDENTITY)
    assert looked == []
    path = next(iter(Path(table.uri).glob("*.parquet")))
    os.utime(path)
    table.read(identity=IDENTITY)
    assert looked in ([path.name], [])  # none: an older file, which the table no longer uses


@pytest.mark.parametrize("what", ["commit and record", "the whole table", "records", "all of the log and records"])
def test_what_goes_back_as_a_whole_is_noticed(tmp_path, what):
    table = made(tmp_path, 7, 64)
    before = table.read(identity=IDENTITY)
    folder, store = Path(table.uri), Store(tmp_path)
    kept = tmp_path / "kept"
    shutil.copytree(folder, kept)
    if what == "commit and record":
        max((folder / "_delta_log").glob("*.json")).unlink()
        max((folder / "_records").glob("*.json")).unlink()
    elif what == "the whole table":
        shutil.rmtree(folder)
    elif what == "records":
        shutil.rmtree(folder / "_records")
    else:
        shutil.rmtree(folder / "_records")
        shutil.rmtree(folder / "_delta_log")
    assert store.tables("shop") == ["raw"]
    assert check(table).problems
    if what == "records":
        assert table.read(identity=IDENTITY).equals(before)
        append(table, hourly(9))
        assert len(check(table).problems) == 8  # a writer makes no record of what it did not write
        restore(table)
        assert check(table, deep=True).problems == ()
        return
    for work in (lambda: table.read(identity=IDENTITY), lambda: append(table, hourly(9)), table.version):
        with pytest.raises(CorruptTableError, match="behind its records") as caught:
            work()
        assert str(tmp_path / "shop" / "_tables" / "raw.json") in str(caught.value.hint)
    with pytest.raises(CorruptTableError, match="behind its records"):
        refuse_altered(store, "shop")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(kept, folder)
    assert check(table, deep=True).problems == ()


@pytest.mark.parametrize("seed", range(16))
def test_any_file_that_is_gone_is_named_or_changes_nothing(tmp_path, whole, seed):
    folder = shutil.copytree(whole, tmp_path / "copy")
    table, chance = made(folder, 0), random.Random(seed)
    before = table.read(identity=IDENTITY)
    files = [each for each in sorted(Path(table.uri).rglob("*")) if each.is_file()]
    gone = chance.choice([*files, Path(folder, "shop", "_tables", "raw.json")])
    gone.unlink()
    problems = check(table, deep=True).problems
    if problems:
        assert gone.name in " ".join(problems) or "behind" in problems[0]
        if gone.suffix == ".json" or "checkpoint" in gone.name:
            restore(table)
            assert check(table, deep=True).problems == ()
            assert table.read(identity=IDENTITY).equals(before)
        return
    assert table.read(identity=IDENTITY).equals(before)


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"sha256": "00", "holds": {"commit": 3}}', None])
def test_a_mark_that_is_damaged_or_gone_is_named_and_made_again(tmp_path, text):
    table = made(tmp_path, 3)
    mark = Path(tmp_path, "shop", "_tables", "raw.json")
    whole = mark.read_bytes()
    mark.unlink() if text is None else mark.write_bytes(text)
    (problem,) = check(table).problems
    assert problem.startswith("_tables/raw.json")
    restore(table)
    assert mark.read_bytes() == whole
    assert check(table).problems == ()
    mark.unlink()
    append(table, hourly(9))  # or by the next commit
    assert check(table).problems == ()


def test_a_writer_that_was_killed_before_it_recorded_its_commit_does_no_harm(tmp_path):
    table = made(tmp_path, 4, 64)
    before = table.read(identity=IDENTITY)
    max(Path(table.uri, "_records").glob("*.json")).unlink()
    Path(tmp_path, "shop", "_tables", "raw.json").unlink()
    Store(tmp_path).table("shop", "raw").witness.mark.keep(3)
    assert [each for each in check(table).problems if "_records" in each] == []
    assert table.read(identity=IDENTITY).equals(before)
    append(table, hourly(9))
    assert check(table, deep=True).problems == ()
    path = max(Path(table.uri).glob("*.parquet"), key=lambda each: each.stat().st_mtime_ns)
    flip(path, random.Random(3))
    with pytest.raises(HeadraceError):
        table.read(identity=IDENTITY)


@pytest.mark.parametrize("how", ["gone", "flipped"])
@pytest.mark.parametrize("hours", [12, 33])
def test_a_checkpoint_that_is_lost_is_named_and_done_without(tmp_path, hours, how):
    table = made(tmp_path, hours, 64)
    before = table.read(identity=IDENTITY)
    path = max(Path(table.uri, "_delta_log").glob("*.checkpoint.parquet"))
    path.unlink() if how == "gone" else flip(path, random.Random(5))
    with pytest.raises(CorruptTableError):
        table.read(identity=IDENTITY)
    assert any(path.name in each for each in check(table).problems)
    restore(table)
    assert check(table, deep=True).problems == ()
    assert table.read(identity=IDENTITY).equals(before)
    append(table, hourly(hours))
    assert check(table, deep=True).problems == ()


def test_a_checkpoint_without_the_commits_before_it_is_not_given_up(tmp_path):
    from datetime import timedelta

    table = Store(tmp_path, upkeep=Upkeep(4, timedelta(0), timedelta(0))).table("shop", "raw")
    for n in range(30):
        append(table, hourly(n))
    log = Path(table.uri, "_delta_log")
    path = max(log.glob("*.checkpoint.parquet"))
    for each in [*log.glob("*.json"), *log.glob("*.checkpoint.parquet")]:
        if each.name[:20] < path.name[:20]:
            each.unlink()
    whole = path.read_bytes()
    flip(path, random.Random(5))
    with pytest.raises(CorruptTableError):
        restore(table)
    path.write_bytes(whole)
    assert check(table, deep=True).problems == ()


@pytest.mark.parametrize("seed", range(12))
def test_a_small_file_beside_the_tables_tells_any_change(tmp_path, seed):
    store, name = Store(tmp_path), "shop/shape.json"
    store.first(name, b'{"step": "1h", "digits": "12345678"}')
    path = Path(tmp_path, name)
    whole = path.read_bytes()
    for damage in (lambda: flip(path, random.Random(seed)), lambda: path.write_bytes(whole[: seed * 3])):
        path.write_bytes(whole)
        damage()
        for work in (lambda: store.noted(name, "delete it"), lambda: store.first(name, b"{}", "delete it")):
            with pytest.raises(CorruptTableError, match="delete it") as caught:
                work()
            assert caught.value.where == str(path)
        assert note_problem(store, name)
        assert path.read_bytes() != whole
    store.note(name, b'{"step": "1h", "digits": "12345678"}')
    assert path.read_bytes() == whole
    assert note_problem(store, name) is None
