"""Damage, lack of space and newer versions: a typed error that names what and where."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.facts import append, hour, hourly

from headrace.errors import CorruptTableError, StoreError, StoreTooNewError, UsageError
from headrace.store import Store, Table


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / "t")
    for n in range(3):
        append(table, hourly(n))
    return table


def _parquet(table: Table) -> Path:
    return sorted(Path(table.uri).glob("*.parquet"))[0]


def _read(table: Table) -> None:
    table.read(identity=["key", "time"])


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def _scramble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[10:-8] = b"\xff" * (len(data) - 18)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [_shorten, _scramble, Path.unlink])
def test_a_damaged_file_is_named(table: Table, harm: object) -> None:
    path = _parquet(table)
    harm(path)  # type: ignore[operator]
    with pytest.raises(CorruptTableError) as caught:
        _read(table)
    assert path.name in str(caught.value)
    assert caught.value.hint
    with pytest.raises(CorruptTableError):
        append(table, pl.concat([hourly(0), hourly(2)]))


def test_a_damaged_log_is_named(table: Table) -> None:
    entry = Path(table.uri) / "_delta_log/00000000000000000001.json"
    entry.write_text('{"add":')
    with pytest.raises(CorruptTableError, match=table.uri):
        _read(table)
    entry.unlink()
    with pytest.raises(CorruptTableError, match="_delta_log"):
        _read(table)


def test_a_newer_table_is_refused(table: Table) -> None:
    newer = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["x"], "writerFeatures": ["x"]}
    entry = Path(table.uri) / "_delta_log/00000000000000000004.json"
    entry.write_text(json.dumps({"protocol": newer}) + "\n")
    with pytest.raises(StoreTooNewError):
        _read(table)
    with pytest.raises(StoreTooNewError):
        append(table, hourly(9))


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    append(store.table("energy", "raw"), hourly(0))
    assert json.loads((tmp_path / "format.json").read_text()) == {"format": 1}
    assert Store(tmp_path).systems() == ["energy"]
    (tmp_path / "format.json").write_text('{"format": 2}')
    with pytest.raises(StoreTooNewError, match="format 2"):
        Store(tmp_path).table("energy", "raw")
    for text in ("{", ""):
        (tmp_path / "format.json").write_text(text)
        with pytest.raises(CorruptTableError, match=r"format\.json"):
            Store(tmp_path).systems()


def test_names_are_checked(tmp_path: Path) -> None:
    store = Store(tmp_path / "none")
    assert store.systems() == []
    assert not (tmp_path / "none").exists()
    for system, name in (("Energy", "raw"), ("energy", "../raw"), ("", "raw"), ("energy", "a/b")):
        with pytest.raises(UsageError):
            store.table(system, name)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", folder], check=False).returncode
    ):
        pytest.skip("mounting a tiny disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_says_so_and_loses_nothing(small_disk: Path) -> None:
    table, written = Table(small_disk / "t"), 0
    with pytest.raises(StoreError, match="no space") as caught:  # noqa: PT012  # which append fails is open
        for written in range(200):
            append(table, hourly(written))
    assert caught.value.hint
    assert not isinstance(caught.value, CorruptTableError)
    held = table.version()
    assert held >= written
    # The bytes of the commit may be durable although its checkpoint found no room; never less than was told.
    assert table.read(identity=["key", "time"], as_of=hour(500)).height == held * 4


def test_a_file_size_limit_is_no_space(table: Table) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
    try:
        with pytest.raises(StoreError, match="no space"):
            append(table, hourly(7))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert append(table, hourly(7)).added == 4
