"""SQLite files that many processes open at once: whoever comes first is waited for."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.facts import hourly

from headrace.ledger import Ledger
from headrace.store import FeatureGroup, Store
from headrace.store.online import Online
from headrace.store.wal import is_busy, patiently
from headrace.testing.ledger import entry


def open_ledger(path: Path) -> None:
    ledger = Ledger.open(f"sqlite:///{path}", timeout=0.2)
    ledger.write([entry(ledger, "1")])
    ledger.close()


def open_online(path: Path) -> None:
    import polars as pl

    online = Online(f"sqlite:///{path}", timeout=0.2)
    options = {"keys": ["key"], "time": "time", "columns": {"value": pl.Float64()}}
    FeatureGroup(Store(path.parent / "store", online=online), "energy", "lags", **options, online=1).write(hourly(0))
    online.close()


@contextmanager
def held(path: Path, seconds: float, how: str) -> Iterator[None]:
    """Another connection holds the file for a while."""
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute(how)
    timer = threading.Timer(seconds, lambda: (other.execute("ROLLBACK"), other.close()))
    timer.start()
    try:
        yield
    finally:
        timer.join()


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
@pytest.mark.parametrize("open_it", [open_ledger, open_online])
def test_a_new_file_is_waited_for_longer_than_a_request_would(
    tmp_path: Path, open_it: Callable[[Path], None], how: str
) -> None:
    path = tmp_path / "new.db"
    with held(path, 1.0, how):
        open_it(path)


def test_opening_a_ledger_that_is_made_waits_for_no_writer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_ledger(path)
    with held(path, 1.0, "BEGIN IMMEDIATE"):
        began = time.monotonic()
        ledger = Ledger.open(f"sqlite:///{path}", timeout=0.2)
        assert time.monotonic() - began < 0.9
        assert ledger.find("titanic", "1")
    ledger.close()


@pytest.mark.parametrize(
    ("code", "busy"),
    [
        (sqlite3.SQLITE_BUSY, True),
        (sqlite3.SQLITE_BUSY_RECOVERY, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
        (sqlite3.SQLITE_PROTOCOL, True),
        (sqlite3.SQLITE_FULL, False),
        (sqlite3.SQLITE_READONLY, False),
    ],
)
def test_only_what_is_in_use_is_tried_again(code: int, busy: bool) -> None:
    error = sqlite3.OperationalError("said")
    error.sqlite_errorcode = code
    assert is_busy(error) == busy
    left = [error]

    def work() -> str:
        if left:
            raise left.pop()
        return "done"

    if busy:
        assert patiently(work, 5, pause=0.001) == "done"
    else:
        with pytest.raises(sqlite3.OperationalError):
            patiently(work, 5)
