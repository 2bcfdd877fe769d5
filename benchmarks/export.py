"""What `headrace export` holds in memory, and that a kill in the middle loses and doubles nothing.

    python benchmarks/export.py [--rows 1000000] [--kill]

Logs so many predictions of rows to a ledger of its own, and exports them in one process: prints its peak memory, CPU
and wall seconds, and the rows that are in the table then. With --kill the process is killed once, half-way, and the
command is run again.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from headrace.ledger import Entry, Ledger
from headrace.lineage import PINNED
from headrace.store import Store

SYSTEM = Path(__file__).parents[1] / "systems" / "titanic"
FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
_CHUNK = 5000


def log(home: Path, rows: int) -> None:
    """Fill a ledger as the HTTP door does: a row every 20 ms."""
    ledger = Ledger.open(f"sqlite:///{home}/ledger.db")
    pins = ledger.pin(dict.fromkeys(PINNED, "0" * 40) | {"data_version": 1, "model_version": 1})
    for start in range(0, rows, _CHUNK):
        entries = []
        for n in range(start, min(start + _CHUNK, rows)):
            row = {"PassengerId": n, "Pclass": 1 + n % 3, "Name": f"Passenger, Mr. Number {n}", "Sex": "male"}
            row |= {"Age": n % 80, "SibSp": 0, "Parch": 0, "Ticket": f"A/5 {n}", "Fare": n % 97 + 0.25}
            row |= {"Cabin": None, "Embarked": "S"}
            answer = json.dumps({"id": f"{n:032x}", "Survived": n % 2, "probability": n % 1000 / 1000}).encode()
            inputs, at = json.dumps(row).encode(), FIRST + timedelta(milliseconds=20 * n)
            entries.append(Entry("titanic", str(n), f"{n:032x}", f"{n:016x}", inputs, answer, pins, 1, at))
        ledger.write(entries)
    ledger.close()


def export(home: Path, kill_after: float | None = None) -> float:
    """Run the command, or kill it after some seconds; its wall seconds."""
    command = [sys.executable, "-m", "headrace", "export", str(SYSTEM), "--home", str(home), "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(command)
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    _, _, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{'killed' if kill_after else 'exported':>9}: {seconds:.1f} s, {cpu:.1f} CPU s, peak {peak:.0f} MB")
    return seconds


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kill", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        log(home, options.rows)
        if options.kill:
            export(home, kill_after=3 + options.rows / 100_000)
        export(home)
        table = Store(home / "store").table("titanic", "predictions")
        rows = table.collect(table.scan().select(pl.len(), pl.col("id").n_unique().alias("ids"))).row(0)
    print(f"rows in the table: {rows[0]:,}, different ones: {rows[1]:,}, logged: {options.rows:,}")
    if rows != (options.rows, options.rows):
        raise SystemExit("rows were lost or doubled")


if __name__ == "__main__":
    main()
