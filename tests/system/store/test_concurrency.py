"""Several processes at once, and processes killed at any moment: nothing lost, nothing doubled."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from tests.facts import append, hour, hourly
from tests.waiting import PATIENCE, until

from headrace.errors import WriteConflictError
from headrace.store import Table, delta


def _worker(mode: str, uri: str, start: int, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("worker.py")), mode, uri, str(start), str(count)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def _go(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("go\n")
    worker.stdin.flush()


def _ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"


@pytest.mark.fault
def test_four_writers_of_overlapping_rows(tmp_path: Path) -> None:
    workers = [_worker("write", str(tmp_path / "t"), 10 * i, 25) for i in range(4)]
    for worker in workers:
        _ready(worker)
    for worker in workers:
        _go(worker)
    for worker in workers:
        _, errors = worker.communicate(timeout=PATIENCE)
        assert worker.returncode == 0, errors
    table = Table(tmp_path / "t")
    stored = table.scan().collect()
    assert stored.height == 55 * 4, "hours 0 to 54, 4 series each"
    assert stored.select("key", "time").is_unique().all()
    assert sorted(stored["_version"].unique()) == list(range(1, table.version() + 1))


@pytest.mark.fault
def test_killed_writers_leave_a_readable_table(tmp_path: Path) -> None:
    chance, seen = random.Random(7), 0
    table = Table(tmp_path / "t")
    for _ in range(5):
        # Two at a time: each races with the other until its own end.
        pair = [_worker("forever", table.uri, seen, 10**6) for _ in range(2)]
        for worker in pair:
            _ready(worker)
        for worker in pair:
            _go(worker)
        for worker in pair:
            until(lambda: table.version() > seen)  # noqa: B023
            time.sleep(chance.uniform(0.05, 0.3))
            worker.kill()
            worker.communicate()
            version = table.version()
            assert version >= seen
            seen = version
        counted = table.versions()
        assert counted["version"].to_list() == list(range(1, seen + 1))
        assert set(counted["rows"]) <= {4}
    assert seen >= 10
    append(table, hourly(10_000))
    assert table.read(identity=["key", "time"], as_of=hour(20_000)).height == (seen + 1) * 4


def test_compactions_at_once_do_not_double_rows(tmp_path: Path) -> None:
    """The library lets two compactions of one snapshot commit both: every row would be there twice."""
    table = Table(tmp_path / "t")
    for n in range(6):
        append(table, hourly(n))
    stale = table._open()
    assert stale is not None
    assert table.compact()
    assert table._compact(stale) is False
    assert table.scan().select(pl.len()).collect().item() == 24


def test_an_append_during_a_compaction_stays(tmp_path: Path) -> None:
    table = Table(tmp_path / "t")
    for n in range(6):
        append(table, hourly(n))
    stale = table._open()
    assert stale is not None
    append(table, hourly(6))
    table._compact(stale)
    stored = table.scan().collect()
    assert stored.height == 28
    assert stored.select("key", "time").is_unique().all()
    assert table.version() == 7


def test_endless_conflicts_end_in_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(tmp_path / "t")
    monkeypatch.setattr(delta, "_ATTEMPTS", 3)
    monkeypatch.setattr(Table, "_commit", lambda *_: False)
    with pytest.raises(WriteConflictError, match="3 times"):
        append(table, hourly(0))
