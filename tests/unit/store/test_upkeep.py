"""Compaction, vacuum and log clean-up: versions outlive all of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from polars.testing import assert_frame_equal
from tests.facts import append, facts, hourly

from headrace.store import Table, Upkeep

NOW = timedelta()


def _files(folder: Path) -> int:
    return len(list(folder.glob("*.parquet")))


def test_every_version_survives_compaction_and_vacuum(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", upkeep=Upkeep(small_files=1000, keep_files=NOW, keep_log=NOW))
    kept = []
    for n in range(40):
        append(table, hourly(n) if n % 5 else facts([("s0", n // 2, n + 50, -float(n))]))
        kept.append(table.read(identity=["key", "time"]))
    before = _files(tmp_path / "t")
    assert table.compact()
    assert (before, _files(tmp_path / "t")) == (40, 1)
    assert len(list((tmp_path / "t/_delta_log").glob("*.json"))) < 10
    assert table.version() == 40
    for version, frame in enumerate(kept, start=1):
        assert_frame_equal(table.read(identity=["key", "time"], version=version), frame)
    assert table.read(identity=["key", "time"], version=0).is_empty()
    append(table, hourly(100))
    assert table.version() == 41
    versions = table.versions()
    assert versions["version"].to_list() == list(range(1, 42))
    assert versions["committed_at"][-1] is not None
    assert versions["rows"].sum() == table.scan().collect().height


def test_appends_compact_by_themselves(tmp_path: Path) -> None:
    table = Table(tmp_path / "t", upkeep=Upkeep(small_files=8, keep_files=NOW))
    for n in range(30):
        append(table, hourly(n))
        assert _files(tmp_path / "t") <= 8
    assert table.read(identity=["key", "time"]).height == 120


def test_compaction_keeps_the_order_rows_came_in(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    for n in range(12):
        append(table, hourly(n))
    table.compact()
    assert table.scan().collect()["time"].is_sorted()
