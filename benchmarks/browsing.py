"""What people who browse cost the hot route: durable posts alone and beside ten clients, with a process and without.

python -m benchmarks.browsing [--seconds 20] [--rate 100] [--clients 10]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx
from tests.servers import ENERGY, TITANIC, Server, endless_passengers, energy_template, serving, titanic_template

PAGES = (
    "/v1/overview",
    "/v1/systems/energy/scores?by=series",
    "/v1/systems/energy/scores?by=time",
    "/v1/systems/energy/series/search?q=dk",
    "/v1/systems/energy/answers?limit=100",
    "/v1/systems/energy/runs",
    "/v1/systems/energy/models?importance=true",
    "/v1/systems/energy/models/1/card",
    "/v1/systems/energy/drift",
    "/v1/systems/titanic/validation",
    "/v1/systems/titanic/why",
)


def posted(server: Server, seconds: float, rate: float, first: int) -> list[float]:
    """Seconds that each of the durable posts took, sent at an even rate."""
    times, rows = [], endless_passengers(first)
    with server.client() as client:
        began = time.perf_counter()
        for number, row in enumerate(rows):
            due = began + number / rate
            if due > began + seconds:
                return times
            time.sleep(max(due - time.perf_counter(), 0))
            start = time.perf_counter()
            client.post("/v1/systems/titanic/predict", json=row).raise_for_status()
            times.append(time.perf_counter() - start)
    return times


class Browsers:
    """Clients that look at one page after the other, as fast as they are answered."""

    def __init__(self, server: Server, count: int) -> None:
        self.times: list[float] = []
        self.statuses: dict[int, int] = {}
        self._server, self._stop = server, threading.Event()
        self._threads = [threading.Thread(target=self._browse, args=(number,)) for number in range(count)]

    def __enter__(self) -> Browsers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _browse(self, number: int) -> None:
        with httpx.Client(base_url=self._server.url, timeout=60, verify=False) as client:
            while not self._stop.is_set():
                number += 1
                start = time.perf_counter()
                status = client.get(PAGES[number % len(PAGES)]).status_code
                self.times.append(time.perf_counter() - start)
                self.statuses[status] = self.statuses.get(status, 0) + 1
                self._stop.wait(0.1)


def shares(times: list[float]) -> dict[str, Any]:
    """Milliseconds by share."""
    ordered = sorted(times)
    places = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {"n": len(ordered)} | {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 2)
        for name, share in places.items()
    }


def main() -> None:
    """Print a JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--clients", type=int, default=10)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        home = Path(shutil.copytree(titanic_template(base), base / "served"))
        for part in ("store/energy", "models"):
            shutil.copytree(energy_template(base) / part, home / part, dirs_exist_ok=True)
        for readers in ("1", "0"):
            with serving(home, "--readers", readers, "--access-log", "off", systems=(TITANIC, ENERGY)) as server:
                first = 10_000_000 * (int(readers) + 1)
                for page in PAGES:
                    server.get(page)
                alone = posted(server, options.seconds, options.rate, first)
                with Browsers(server, options.clients) as browsers:
                    beside = posted(server, options.seconds, options.rate, first + 1_000_000)
            found[f"readers {readers}"] = {
                "posts alone": shares(alone),
                "posts beside": shares(beside),
                "pages": shares(browsers.times) | {"statuses": browsers.statuses},
            }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
