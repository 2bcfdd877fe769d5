"""A disk that is full or may not be written: one typed error that says so, whatever was being written."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.facts import append, hourly
from tests.servers import titanic_template

from headrace.errors import HeadraceError
from headrace.home import Home
from headrace.housekeeping.pruning import Retention, prune
from headrace.housekeeping.removal import delete
from headrace.ledger import Ledger
from headrace.registry import Registry
from headrace.serving.stream.identity import Identity
from headrace.settings import Settings
from headrace.store import FeatureGroup, Store
from headrace.store.online import Online
from headrace.testing.ledger import entry

NOW = datetime(2026, 3, 2, tzinfo=UTC)
pytestmark = pytest.mark.fault


def mounted(folder: Path, size: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder]
    return os.geteuid() == 0 and not subprocess.run(command, check=False).returncode


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk."""
    folder = tmp_path / "small"

    def mount(size: str) -> Path:
        if not mounted(folder, size):
            pytest.skip("mounting a tiny disk needs root")
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)


def register(home: Path) -> None:
    files = home.parent / "model"
    files.mkdir(exist_ok=True)
    (files / "model.txt").write_bytes(os.urandom(30_000))
    registry = Registry(Store(home / "store"), home)
    given = {"params": {"a": 1}, "metrics": {"mae": 1.0}, "pins": {}, "as_of": NOW, "created_at": NOW}
    for n in range(200):
        registry.register("energy", files, key=f"k{n}", **given)


def log(home: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{home}/ledger.db", timeout=1)
    for n in range(5000):
        ledger.write([entry(ledger, f"{n}-{i}", inputs=b"x" * 500) for i in range(50)])


def store(home: Path) -> None:
    for n in range(200):
        append(Store(home / "store").table("energy", "raw"), hourly(n))


def online(home: Path) -> None:
    side = Online(f"sqlite:///{home}/online.db", timeout=1)
    options = {"keys": ["key"], "time": "time", "columns": {"value": pl.Float64()}, "online": 50}
    group = FeatureGroup(Store(home.parent / "tables", online=side), "energy", "lags", **options)
    for n in range(60):
        group.write(hourly(n, series=400))


def note(home: Path) -> None:
    for n in range(500):
        Store(home / "store").note(f"energy/note{n}.json", b'"' + b"x" * 3000 + b'"')


def name(home: Path) -> None:
    for n in range(50):
        Identity(home / f"stream{n}", None, 0)


def refused(work: Callable[[Path], None], home: Path) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        work(home)
    told = str(caught.value)
    assert not [word for word in ("INSERT", "SELECT", "CREATE TABLE", "[SQL", "Traceback", "sqlalche") if word in told]
    return caught.value


@pytest.mark.parametrize(
    ("work", "size"), [(store, "128k"), (note, "128k"), (log, "400k"), (online, "400k"), (name, "64k")]
)
def test_a_full_disk_is_told_as_such(disk, capfd, work, size):
    error = refused(work, disk(size))
    assert any(said in str(error) for said in ("no space left", "the disk fails"))  # SQLite maps its index into memory
    assert "panicked" not in capfd.readouterr().err


def fill(folder: Path) -> None:
    """Leave no block."""
    with (folder / "full").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            continue


@pytest.mark.parametrize("work", ["delete", "prune"])
def test_a_full_disk_is_freed(disk, work, tmp_path_factory):
    made = titanic_template(tmp_path_factory.getbasetemp())
    path = disk("60m") / "home"
    shutil.copytree(made, path)
    fill(path.parent)
    home = Home(Settings(home=path))
    before = shutil.disk_usage(path).free
    if work == "delete":
        delete(home, "titanic")
        assert not home.store.systems()
        assert shutil.disk_usage(path).free > before + 20_000
    else:
        prune(home, "titanic", Retention(datetime(2200, 1, 1, tzinfo=UTC), runs=0), dry=False)
        assert shutil.disk_usage(path).free > before + 20_000
        champion = home.registry.champion("titanic")
        assert champion is not None
        assert home.registry.fetch(champion).is_dir()


@pytest.mark.parametrize("size", ["100k", "500k", "1400k", "2200k"])
def test_a_full_disk_is_told_by_the_registry(disk, size):
    assert "no space left" in str(refused(register, disk(size)))


@pytest.mark.parametrize("work", [store, note, log, online, register, name])
def test_a_read_only_disk_is_told_as_such(disk, capfd, work):
    folder = disk("4m" if work is not store else "100m")  # one with room enough is no reason to expect a failure
    append(Store(folder / "store").table("energy", "raw"), hourly(0))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    error = refused(work, folder)
    assert any(said in str(error) for said in ("read-only", "access denied", "cannot be opened", "Read-only")), error
    assert "panicked" not in capfd.readouterr().err
