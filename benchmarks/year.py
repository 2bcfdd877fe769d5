"""A year of hourly operation on the simulator, by backfill: what a run costs must not grow with those before it.

    python benchmarks/year.py [--series 76] [--months 12] [--train 7d] [--workers 2] [--write]

Each month is one `headrace backfill` process in the same home. Prints per month the runs, CPU and wall time per run,
and by how much the home grew per run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

FIRST = datetime(2025, 1, 1, tzinfo=UTC)
RESULTS = Path(__file__).parent / "results" / "year.md"
SYSTEM = Path(__file__).parents[1] / "systems" / "energy"


def size_of(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def month(home: Path, number: int, options: argparse.Namespace) -> tuple[int, float, float]:
    """Backfill 730 hours: runs, CPU seconds and wall seconds."""
    start = FIRST + timedelta(hours=730 * number)
    command = [
        sys.executable,
        "-m",
        "headrace",
        "backfill",
        str(SYSTEM),
        "--home",
        str(home),
        "--json",
        "--every",
        "1h",
    ]
    command += ["--start", start.isoformat(), "--end", (start + timedelta(hours=729)).isoformat()]
    command += ["--source", f"simulated:?series={options.series}", "--workers", str(options.workers)]
    command += ["--set", f"schedule.train={options.train}"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        done = json.loads(out.read())
    if status:
        raise SystemExit(f"month {number} failed: {done}")
    return done["runs"], usage.ru_utime + usage.ru_stime, time.perf_counter() - began


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=76)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--train", default="7d")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    options = parser.parse_args()
    lines = ["| month | runs | CPU ms a run | wall ms a run | kB a run |", "|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home, before = Path(folder), 0
        for number in range(options.months):
            runs, cpu, wall = month(home, number, options)
            size = size_of(home)
            cost = f"{cpu / runs * 1000:.0f} | {wall / runs * 1000:.0f} | {(size - before) / runs / 1000:.0f}"
            lines.append(f"| {number + 1} | {runs:,} | {cost} |")
            before = size
            print(lines[-1], flush=True)
    if options.write:
        head = (
            f"`python benchmarks/year.py {' '.join(sys.argv[1:])}`, {datetime.now(UTC).date()}, {os.cpu_count()} cores"
        )
        RESULTS.write_text(f"{head}.\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
