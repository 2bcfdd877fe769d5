"""What starting costs: CPU seconds of `headrace --help`; seconds, CPU and memory of `headrace serve titanic`.

    python benchmarks/startup.py [--only help,serve] [--limit SECONDS] [--memory MB] [--ready SECONDS]

The median of seven runs, each a process of its own; of the server five. It is asked for 200 predictions and left alone
for two of its looks for a new champion before its memory is read (Linux only).
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HELP_RUNS, SERVE_RUNS, ASKED, IDLE = 7, 5, 200, 6.0
TITANIC = Path(__file__).parents[1] / "systems" / "titanic"
PASSENGER = {"Pclass": 3, "Name": "Kelly, Mr. James", "Sex": "male", "Age": 34.5, "SibSp": 0, "Parch": 0,
             "Ticket": "330911", "Fare": 7.8292, "Cabin": None, "Embarked": "Q"}  # fmt: skip


class Server(NamedTuple):
    """What one server cost: seconds until it was ready, CPU seconds by then, resident MB after its requests."""

    ready: float
    cpu: float
    resident: float


def cpu_seconds(command: Sequence[str]) -> float:
    """User and system seconds that one run of `command` costs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def of_help(limit: float) -> bool:
    """Measure `headrace --help`; whether it keeps the limit."""
    command = [sys.executable, "-m", "headrace", "--help"]
    cpu_seconds(command)  # the first run fills the file cache
    costs = sorted(cpu_seconds(command) for _ in range(HELP_RUNS))
    median = statistics.median(costs)
    print(f"headrace --help: {median:.3f} s CPU (of {HELP_RUNS}: {costs[0]:.3f} to {costs[-1]:.3f}), limit {limit} s")
    return median <= limit


def of_serve(memory: float, ready: float) -> bool:
    """Measure `headrace serve titanic`; whether it keeps the limits."""
    with tempfile.TemporaryDirectory() as home:
        always = [str(TITANIC), "--home", home]
        run = [sys.executable, "-m", "headrace", "run", *always, "--source", "simulated", "--json"]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
        servers = [serve(always, first=number * ASKED) for number in range(SERVE_RUNS)]
    middle = Server(*(statistics.median(values) for values in zip(*servers, strict=True)))
    print(f"headrace serve titanic: ready in {middle.ready:.2f} s, limit {ready} s; {middle.cpu:.2f} s CPU; ", end="")
    print(f"{middle.resident:.0f} MB resident, limit {memory:g} MB")
    return middle.resident <= memory and middle.ready <= ready


def serve(always: Sequence[str], first: int) -> Server:
    """Start a server, ask it, measure and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.perf_counter()
    command = [sys.executable, "-m", "headrace", "serve", *always, "--port", str(port), "--access-log", "off"]
    process = subprocess.Popen(command)
    try:
        while not is_ready(f"http://127.0.0.1:{port}/ready"):
            if process.poll() is not None or time.perf_counter() - began > 60:
                raise SystemExit("the server does not become ready")
            time.sleep(0.01)
        seconds = time.perf_counter() - began
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / 100
        for number in range(first, first + ASKED):
            body = json.dumps({"PassengerId": number + 1, **PASSENGER}).encode()
            url = f"http://127.0.0.1:{port}/v1/systems/titanic/predict"
            urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})).read()
        time.sleep(IDLE)
        found = re.search(r"^Rss:\s+(\d+) kB", Path(f"/proc/{process.pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found is not None
        return Server(seconds, cpu, int(found[1]) / 1024)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def is_ready(url: str) -> bool:
    """Whether the server says so."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> int:
    """Measure, print, and say whether the limits hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="help,serve", help="what to measure")
    parser.add_argument("--limit", type=float, default=0.3, help="CPU seconds of --help")
    parser.add_argument("--memory", type=float, default=134, help="resident MB of a server")
    parser.add_argument("--ready", type=float, default=1.5, help="seconds until a server is ready")
    options = parser.parse_args()
    kept = []
    if "help" in options.only:
        kept.append(of_help(options.limit))
    if "serve" in options.only:
        kept.append(of_serve(options.memory, options.ready))
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
