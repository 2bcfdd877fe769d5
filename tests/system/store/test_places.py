"""Stores and source files on any path that a file system takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.facts import IDENTITY, append, hourly

from headrace.store import Store, Table, location
from headrace.store.upkeep import Upkeep

PLACES = [
    *(
        "my home",
        " blanks ",
        "ünï",
        "日本",
        "e\u0301",
        "🙂",
        "a%20b",
        "%41",
        "100%",
        "%zz",
        "a#b",
        "a?b",
        "a[b]",
        "[ab]",
    ),
    *("*", "a*b", "{a,b}", "it's", 'say "x"', "back\\slash", "new\nline", "tab\t", "\x01", "\x7f", "^`|<>", "$HOME"),
    *("a;b&c=d", "a+b@c", "~", "~root", "file:", "http:", "...", "-x", "a,b", "\u2028", "x" * 200),
]


@pytest.mark.parametrize("name", PLACES)
def test_a_store_is_written_read_and_compacted_on_any_path(name, tmp_path):
    def store() -> Store:
        return Store(tmp_path / name / "store", upkeep=Upkeep(small_files=4))

    for hour in range(9):
        assert append(store().table("demo", "raw"), hourly(hour)).added == 4
        assert append(store().table("demo", "raw"), hourly(hour)).added == 0
    table = store().table("demo", "raw")
    before = table.read(identity=IDENTITY)
    assert table.compact()
    assert table.read(identity=IDENTITY).equals(before)
    assert table.versions()["rows"].to_list() == [4] * 9
    assert table.scan(version=2).collect().height == 8
    store().note("demo/note.json", b"1")
    assert store().noted("demo/note.json") == b"1"
    assert store().systems() == ["demo"]
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_an_older_table_without_a_column_reads_nulls_there_on_any_path(tmp_path):
    table = Store(tmp_path / "my [store]").table("demo", "raw")
    append(table, hourly(0))
    wider = hourly(1).with_columns(note=hourly(1)["key"])
    table.append(wider, identity=IDENTITY, compare=["value"], window="time")
    assert table.read(identity=IDENTITY, order=["time", "key"])["note"].null_count() == 4


def test_looking_makes_no_folder(tmp_path):
    there = Table(tmp_path / "nothing" / "raw")
    assert not there.exists()
    assert there.version() == 0
    assert not (tmp_path / "nothing").exists()


def test_uris_of_files_are_decoded_and_paths_are_not():
    assert location.normal("file:///tmp/my%20home") == "/tmp/my home"
    assert location.normal("/tmp/my%20home") == "/tmp/my%20home"
    assert location.normal(Path("/tmp/s3://x")) == "/tmp/s3:/x"
    assert location.normal("s3://bucket/a b/") == "s3://bucket/a b"
    assert location.is_local("/tmp/s3:/x")
    assert not location.is_local("s3://bucket")
