"""An empty database is made once, and only one's own whole one is copied."""

import sqlite3
from contextlib import closing

import pytest

from headrace.registry.empty_database import place_empty


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "headrace" / "mlflow-3.0.db"


class Maker:
    """Makes databases, and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, path):
        self.count += 1
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript("CREATE TABLE alembic_version (v); INSERT INTO alembic_version VALUES (1)")
            connection.execute("CREATE TABLE runs (id)")


def test_it_is_made_once(tmp_path, cache):
    make = Maker()
    for name in ("one.db", "two.db"):
        place_empty(tmp_path / name, "3.0", make)
    assert make.count == 1
    assert (tmp_path / "two.db").read_bytes() == cache.read_bytes()
    assert cache.stat().st_mode & 0o777 == 0o600


def damaged(path):
    path.write_bytes(path.read_bytes()[:2000])


def used(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO runs VALUES (1)")


def of_others(path):
    path.chmod(0o666)


def linked(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("spoil", [damaged, used, of_others, linked])
def test_what_is_not_ones_own_whole_and_empty_is_made_anew(tmp_path, cache, spoil):
    make = Maker()
    place_empty(tmp_path / "one.db", "3.0", make)
    spoil(cache)
    place_empty(tmp_path / "two.db", "3.0", make)
    place_empty(tmp_path / "three.db", "3.0", make)
    assert make.count == 2
    assert (tmp_path / "three.db").read_bytes() == (tmp_path / "two.db").read_bytes()


def test_without_a_folder_for_caches_it_is_made_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    make = Maker()
    for name in ("one.db", "two.db"):
        place_empty(tmp_path / name, "3.0", make)
    assert make.count == 2
