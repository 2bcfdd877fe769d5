"""A copy of tables in another store: whole, with all versions, however files are had and whoever writes meanwhile."""

import os
import shutil

import pytest
from tests.facts import append, hourly

from headrace.errors import StoreError
from headrace.store import Store, folders
from headrace.store.folders import Folders
from headrace.store.verify import check


class Fetched(Folders):
    """As of an object store: every file is asked for."""

    _local = None


@pytest.fixture
def source(tmp_path):
    store = Store(tmp_path / "source")
    for n in range(5):
        append(store.table("s", "raw"), hourly(n))
    store.table("s", "raw").compact()
    append(store.table("s", "raw"), hourly(5))
    append(store.table("s", "other"), hourly(1))
    store.note("s/shape.json", b"{}")
    return store


@pytest.mark.parametrize("kind", [Folders, Fetched])
def test_it_is_whole_and_written_on_without_touching_the_first(tmp_path, source, kind):
    target = Store(tmp_path / "target")
    target.systems()
    kind(source.uri, {}).copy("s", ("raw", "missing"), ("shape.json", "grid.json"), tmp_path / "target" / "s")
    assert target.tables("s") == ["raw"]
    assert target.noted("s/shape.json") == b"{}"
    ours, theirs = source.table("s", "raw"), target.table("s", "raw")
    assert check(theirs, deep=True).problems == ()
    assert theirs.versions().drop("committed_at").equals(ours.versions().drop("committed_at"))
    before = ours.collect(ours.scan())
    append(theirs, hourly(9))
    theirs.compact()
    assert ours.collect(ours.scan()).equals(before)
    assert check(ours, deep=True).problems == ()
    linked = [p for p in (tmp_path / "source").rglob("*.parquet") if p.stat().st_nlink > 1]
    assert bool(linked) == (kind is Folders)


def test_data_that_vanishes_is_looked_for_again_and_in_the_end_told(tmp_path, source, monkeypatch):
    gone, real = [], shutil.copyfile

    def copyfile(one, other):
        if "_delta_log" in str(one) and len(gone) < turns:
            gone.append(one)
            raise FileNotFoundError(one)
        return real(one, other)

    monkeypatch.setattr(folders.shutil, "copyfile", copyfile)
    turns = 1
    source.folders.copy("s", ("raw",), (), tmp_path / "target" / "s")
    assert check(Store(tmp_path / "target").table("s", "raw"), deep=True).problems == ()
    turns = os.cpu_count() * 1000
    with pytest.raises(StoreError, match="changed all the time"):
        source.folders.copy("s", ("raw",), (), tmp_path / "again" / "s")
