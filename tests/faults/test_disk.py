"""A disk that is full or may not be written: one typed error that says so, whatever was being written."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from tests.ledger.helpers import entry
from tests.store.helpers import append, hourly

from headrace.errors import HeadraceError
from headrace.ledger import Ledger
from headrace.registry import Registry
from headrace.store import FeatureGroup, Store
from headrace.store.online import Online

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


def refused(work: Callable[[Path], None], home: Path) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        work(home)
    told = str(caught.value)
    assert not [word for word in ("INSERT", "SELECT", "CREATE TABLE", "[SQL", "Traceback", "sqlalche") if word in told]
    return caught.value


@pytest.mark.parametrize(("work", "size"), [(store, "128k"), (note, "128k"), (log, "400k"), (online, "400k")])
def test_a_full_disk_is_told_as_such(disk, capfd, work, size):
    error = refused(work, disk(size))
    assert any(said in str(error) for said in ("no space left", "the disk fails"))  # SQLite maps its index into memory
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("size", ["100k", "500k", "1400k", "2200k"])
def test_a_full_disk_is_told_by_the_registry(disk, size):
    assert "no space left" in str(refused(register, disk(size)))


@pytest.mark.parametrize("work", [store, note, log, online, register])
def test_a_read_only_disk_is_told_as_such(disk, work):
    folder = disk("4m")
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    error = refused(work, folder)
    assert any(said in str(error) for said in ("read-only", "access denied", "cannot be opened", "Read-only")), error
