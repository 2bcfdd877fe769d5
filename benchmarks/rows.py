"""What the hot path of a system of rows costs in this process: a body in, entries of the ledger and answers out.

    python benchmarks/rows.py [--repeat 9] [--beside SRC ...]

CPU microseconds a row of titanic (simulated passengers), by how many rows a body has: decoding, checking, features, the
model, ids, digests and the answers' bytes, without a server and a ledger. Each figure is the median of the repeats, the
least in parentheses. `--beside` measures other checkouts' `src` too, which take turns with this one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZES = (1, 3, 16, 19, 100, 1000)
ROWS = 6000
"""Of one size, in a repeat."""
SOURCE = "simulated:?rows=900&unknown=9&seed=1"


def measured(system: Path, home: Path) -> dict[int, float]:
    """CPU microseconds a row, by size of the body; runs within the process whose path has the code."""
    from headrace.home import Home
    from headrace.loading import load_system
    from headrace.serving.http.predict import _prepared
    from headrace.serving.http.served import ServedSystem
    from headrace.settings import Settings
    from headrace.sources.passengers import Passengers, passenger_rows

    served = ServedSystem(load_system(str(system)), Home(Settings(home=home)), logged=False)
    served.refresh()
    champion = served.champion
    if champion is None:
        raise SystemExit(f"no champion: {served.trouble}")
    rows = passenger_rows(Passengers(seed=7, rows=1000), champion.version.as_of).drop("Survived").to_dicts()
    bodies = {
        size: [json.dumps(rows[n] if size == 1 else rows[n : n + size]).encode() for n in range(0, 1001 - size, size)]
        for size in SIZES
    }
    costs = {}
    for size, several in bodies.items():
        turns = -(-ROWS // (size * len(several)))
        for body in several[:5]:
            _prepared(served, champion, body, {}, 10_000)
        began = time.process_time()
        for _ in range(turns):
            for body in several:
                _prepared(served, champion, body, {}, 10_000)
        costs[size] = (time.process_time() - began) / (turns * len(several) * size) * 1e6
    return costs


def child(source: Path, *arguments: str) -> str:
    """What a Python process over some code printed; a failure ends the benchmark with its words."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def main() -> None:
    """Measure, in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--beside", type=Path, nargs="*", default=[])
    parser.add_argument("--measure", type=Path, nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure is not None:
        print(json.dumps(measured(*asked.measure)))
        return
    sources = [ROOT / "src", *asked.beside]
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder) / str(place) for place in range(len(sources))]
        systems = [str(source.parent / "systems/titanic") for source in sources]
        for source, system, home in zip(sources, systems, homes, strict=True):
            run = ("run", system, "--home", str(home), "--source", SOURCE, "--json")
            child(source, "-m", "headrace", *run)
        costs: list[dict[str, list[float]]] = [{str(size): [] for size in SIZES} for _ in sources]
        for _ in range(asked.repeat):
            for source, system, home, cost in zip(sources, systems, homes, costs, strict=True):
                for size, value in json.loads(child(source, __file__, "--measure", system, str(home))).items():
                    cost[size].append(value)
    print("rows".rjust(6), *(str(source)[-28:].rjust(30) for source in sources))
    for size in map(str, SIZES):
        shown = (f"{statistics.median(cost[size]):.2f} ({min(cost[size]):.2f})" for cost in costs)
        print(size.rjust(6), *(text.rjust(30) for text in shown))


if __name__ == "__main__":
    main()
