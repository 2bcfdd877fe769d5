"""What `headrace --help` costs: CPU seconds of the whole process, the median of seven runs.

python benchmarks/startup.py [--limit SECONDS]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

RUNS = 7


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds that one run of `command` costs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Measure, print, and say whether the limit holds."""
    parser = argparse.ArgumentParser(description="CPU seconds of headrace --help")
    parser.add_argument("--limit", type=float, default=0.3, help="fail above this many CPU seconds")
    limit = parser.parse_args().limit
    command = [sys.executable, "-m", "headrace", "--help"]
    cpu_seconds(command)  # the first run fills the file cache
    costs = sorted(cpu_seconds(command) for _ in range(RUNS))
    median = statistics.median(costs)
    print(f"headrace --help: {median:.3f} s CPU (of {RUNS}: {costs[0]:.3f} to {costs[-1]:.3f}), limit {limit} s")
    return int(median > limit)


if __name__ == "__main__":
    sys.exit(main())
