"""What an hourly refresh costs: the whole `headrace run` process with a trained model, imports and store included.

    python benchmarks/refresh.py [--series 76] [--days 60] [--repeat 5]

Prints CPU seconds (user and system), wall seconds and peak memory: the median, with the least and the most. The first
run, which trains, is shown apart. Each refresh is for the next hour, so it does every step but train.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)


def measure(arguments: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in MB of one `headrace` process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "headrace", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"headrace {' '.join(arguments)} failed")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=76)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    system = Path(__file__).parents[1] / "systems" / "energy"
    source = f"simulated:?series={options.series}&days={options.days}"
    with tempfile.TemporaryDirectory() as home:

        def run(hours: int) -> tuple[float, float, float]:
            as_of = (FIRST + timedelta(hours=hours)).isoformat()
            return measure(["run", str(system), "--home", home, "--source", source, "--as-of", as_of, "--json"])

        print(f"{options.series} series, {options.days} days; Python {sys.version.split()[0]}, {os.cpu_count()} cores")
        print(f"{'':>12} {'CPU s':>20} {'wall s':>20} {'peak MB':>20}")
        show("first, trains", [run(0)])
        show("refresh", [run(hours) for hours in range(1, options.repeat + 1)])


def show(what: str, runs: list[tuple[float, float, float]]) -> None:
    """Median and range of each figure."""
    cells = [f"{statistics.median(c):.2f} ({min(c):.2f}-{max(c):.2f})" for c in zip(*runs, strict=True)]
    print(f"{what:>13} {cells[0]:>20} {cells[1]:>20} {cells[2]:>20}")


if __name__ == "__main__":
    main()
