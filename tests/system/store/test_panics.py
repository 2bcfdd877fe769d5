"""On a full disk the error is what people see, not what a library wrote when it panicked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.store.panics import without_panics

PANIC = b"""
thread 'tokio-rt-worker' (25994) panicked at /home/x/object_store-0.13.2/src/buffered.rs:369:41:
Already shut down
"""
TRACE = b"stack backtrace:\n   0: std::panicking\n             at /rustc\n   1: core\n"
NOTE = b"note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.\n"


@pytest.mark.parametrize("panic", [PANIC, PANIC + NOTE, PANIC + TRACE + NOTE, PANIC + NOTE + PANIC, PANIC[1:] + TRACE])
def test_panics_are_taken_out_and_nothing_else(panic: bytes) -> None:
    before, after = b'{"message": "a line of the log"}\n', b"StoreError: no space left to write\n  hint: free some\n"
    assert without_panics(before + panic + after) == before + after
    assert without_panics(panic) == b""
    assert without_panics(before + after) == before + after


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a tiny disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_shows_one_error(small_disk: Path) -> None:
    script = f"""
import sys
from datetime import UTC, datetime, timedelta
import polars as pl
from headrace import console
from headrace.errors import StoreError
from headrace.store import Table
table, at = Table({str(small_disk / "t")!r}), datetime(2026, 1, 1, tzinfo=UTC)
sys.stderr.write("before\\n")
try:
    for n in range(500):
        rows = pl.DataFrame({{"key": range(2000), "value": [n * 1.7 + k ** 0.5 for k in range(2000)]}})
        moment = pl.lit(at + timedelta(hours=n)).dt.cast_time_unit("us")
        rows = rows.with_columns(moment.alias("time"), moment.alias("known_at"))
        table.append(rows, identity=["key", "time"], compare=["value"], window="time")
except StoreError as error:
    console.failed(error, as_json=False)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    first, *told = done.stderr.splitlines()
    assert first == "before"
    assert told[0].startswith("StoreError: ")
    assert told[0].endswith("no space left to write")
    assert len(told) == 2
