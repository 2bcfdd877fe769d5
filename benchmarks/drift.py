"""Drift of a million rows and thirty columns: seconds and verdicts, beside Evidently's in its own environment.

    python benchmarks/drift.py --peer PYTHON [--rows 1000000] [--write]

PYTHON is that of an environment made from ``peers/evidently.lock``. Both get the same two Parquet files: twenty columns
of numbers and ten of categories, of which a third drifted, a third by far less than matters, and a third not at all.
Seconds are of the comparison; reading files and importing libraries are not counted. Ours lays out the bins, counts
both samples and compares them; ``again`` is what a next evaluation costs, when the reference is counted already, and
``a month`` when all days are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl

from headrace.drift.compared import distances, judged
from headrace.drift.declared import DriftLimits
from headrace.drift.frames import CATEGORICAL, NUMERIC, BinCounts, BinLayout

HERE = Path(__file__).parent
PEER, RESULTS = HERE / "peers" / "evidently_drift.py", HERE / "results" / "drift.md"
NUMBERS, CATEGORIES, DAYS = 20, 10, 30
THRESHOLDS = {"wasserstein": 0.1, "jensen_shannon": 0.1, "stability": 0.1}
"""Evidently's: the same are given to ours, so that verdicts can be compared."""
METHODS = {"wasserstein": "wasserstein", "jensen_shannon": "jensenshannon", "stability": "psi"}


def columns(rng: np.random.Generator, rows: int, moved: bool) -> pl.DataFrame:
    """One sample: every third column drifts where `moved`, and every third a little."""
    data: dict[str, Any] = {}
    for place in range(NUMBERS):
        shift = (0.0, 0.01, 0.3)[place % 3] * moved
        base = (rng.normal(0, 1, rows), rng.lognormal(0, 0.7, rows), rng.integers(0, 20, rows) / 5.7)[place // 3 % 3]
        data[f"n{place:02}"] = base + shift
    for place in range(CATEGORIES):
        weights = 1 / (np.arange(8 + 4 * place) + 1.0)
        weights[0] *= 1 + (0.0, 0.01, 1.5)[place % 3] * moved
        levels = np.array([f"level {number}" for number in range(weights.size)])
        data[f"c{place:02}"] = rng.choice(levels, rows, p=weights / weights.sum())
    return pl.DataFrame(data)


def kind(name: str) -> str:
    """How a column is counted."""
    return NUMERIC if name.startswith("n") else CATEGORICAL


def ours(before: pl.DataFrame, now: pl.DataFrame) -> dict[str, Any]:
    """Seconds and distances."""
    limits = DriftLimits(**THRESHOLDS)
    began = time.perf_counter()
    layouts = {name: BinLayout.of(before[name], kind(name)) for name in before.columns}
    reference = {name: layout.count(before[name], leave_out=True) for name, layout in layouts.items()}
    counted = time.perf_counter()
    current = {name: layout.count(now[name]) for name, layout in layouts.items()}
    found = compared(layouts, reference, current, limits)
    ended = time.perf_counter()
    days = np.arange(now.height) % DAYS
    by_day = {name: layout.count(now[name], days, DAYS) for name, layout in layouts.items()}
    start = time.perf_counter()
    month = compared(layouts, reference, {name: counts.total() for name, counts in by_day.items()}, limits)
    assert month == found  # days add up
    seconds = {"seconds": ended - began, "again": ended - counted, "month": time.perf_counter() - start}
    return seconds | {
        "found": dict(zip(layouts, found, strict=True)),
        "chances": chances(layouts, reference, current),
    }


def compared(
    layouts: Mapping[str, BinLayout],
    reference: Mapping[str, BinCounts],
    current: Mapping[str, BinCounts],
    limits: DriftLimits,
) -> list[Any]:
    """The distances of every column, with their verdicts."""
    measured = [distances(layout, reference[name], current[name], limits) for name, layout in layouts.items()]
    return judged(measured, limits)


def chances(
    layouts: Mapping[str, BinLayout], reference: Mapping[str, BinCounts], current: Mapping[str, BinCounts]
) -> dict[str, float]:
    """The Kolmogorov-Smirnov p-values of numbers, before they are corrected for their number."""
    limits = DriftLimits(**THRESHOLDS)
    pairs = ((name, distances(layout, reference[name], current[name], limits)) for name, layout in layouts.items())
    return {name: each.p_value for name, told in pairs for each in told if each.statistic == "wasserstein"}


def table(result: Mapping[str, Any], peer: Mapping[str, Any] | None, rows: int) -> str:
    """The figures as Markdown."""
    lines = [
        "| what | seconds | beside Evidently |",
        "|---|---:|---:|",
    ]
    whole = None if peer is None else float(peer["seconds"])
    if whole is not None:
        lines.append(f"| Evidently 0.7.23, `DataDriftPreset` | {whole:,.1f} | |")
    for name, what in (("seconds", "all"), ("again", "again"), ("month", "a month")):
        factor = "" if whole is None else f"{whole / result[name]:,.0f} x less"
        lines.append(f"| headrace, {what} | {result[name]:,.3f} | {factor} |")
    text = f"{rows:,} rows x {NUMBERS + CATEGORIES} columns on each side.\n\n" + "\n".join(lines)
    return text if peer is None else text + "\n\n" + verdicts(result, peer["scores"])


def verdicts(result: Mapping[str, Any], scores: Sequence[Mapping[str, Any]]) -> str:
    """How many verdicts are the same, by method, and how far scores lie apart at most."""
    found: Mapping[str, Sequence[Any]] = result["found"]
    theirs = {(each["column"], each["method"]): float(each["score"]) for each in scores}
    lines = ["| method | columns | same verdict | largest difference of scores |", "|---|---:|---:|---:|"]
    for name, method in METHODS.items():
        pairs = [
            (each.value, theirs[column, method])
            for column, told in found.items()
            for each in told
            if each.statistic == name and (column, method) in theirs
        ]
        limit = THRESHOLDS[name]
        same = sum((a >= limit) == (b >= limit) for a, b in pairs)
        apart = max(abs(a - b) for a, b in pairs)
        lines.append(f"| {name} | {len(pairs)} | {same} | {apart:.4f} |")
    pairs = [(chance, theirs[name, "ks"]) for name, chance in result["chances"].items()]
    same, apart = sum((a < 0.05) == (b < 0.05) for a, b in pairs), max(abs(a - b) for a, b in pairs)
    lines.append(f"| Kolmogorov-Smirnov, p < .05 | {len(pairs)} | {same} | {apart:.4f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(20)
    before, now = columns(rng, options.rows, moved=False), columns(rng, options.rows, moved=True)
    ours(before.head(1000), now.head(1000))  # the first one imports
    result, peer = ours(before, now), None
    if options.peer:
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{folder}/{name}.parquet" for name in ("before", "now")]
            for frame, path in zip((before, now), paths, strict=True):
                frame.write_parquet(path)
            command = [str(options.peer), str(PEER), *paths]
            environment = {**os.environ, "DO_NOT_TRACK": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            peer = json.loads(done.stdout.splitlines()[-1])
    text = table(result, peer, options.rows)
    print(text)
    if options.write:
        method = (__doc__ or "").split("\n\n", 2)[2].strip()
        RESULTS.write_text(f"# Drift\n\n{method}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
