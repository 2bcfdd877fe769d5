"""What a look-up by key costs, and what keeping it current does.

    python benchmarks/online.py [--keys 10000] [--columns 10] [--postgresql URI] [--write]

Medians of warm calls in one process, beside the same statement sent to SQLite with nothing around it. Every answer of a
sample is compared with the point-in-time join over the table; a difference fails, as does a missed target.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headrace.store import FeatureGroup, FeatureView, Store
from headrace.store.online import Online

RESULTS = Path(__file__).parent / "results" / "online.md"
UTC_TIME = pl.Datetime("us", "UTC")
START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=30)
HISTORY = 168
TARGETS = {
    "get, 1 key": 50e-6,
    "get, 100 keys": 1e-3,
    "view of a group, 1 key": 50e-6,
    "view of a group, 100 keys": 1e-3,
}
"""Seconds, on SQLite."""


def rows(hour: int, keys: int, columns: list[str]) -> pl.DataFrame:
    """One event time of every key."""
    at, rng = START + timedelta(hours=hour), np.random.default_rng(hour)
    said = {"key": [f"k{i:06d}" for i in range(keys)], **{c: rng.normal(size=keys) for c in columns}}
    return pl.DataFrame(said).with_columns(
        pl.lit(at, UTC_TIME).alias("time"), pl.lit(at + timedelta(minutes=5), UTC_TIME).alias("known_at")
    )


def median(work: Callable[[], object], runs: int) -> float:
    """Seconds of the median call, after a tenth as many to warm up."""
    for _ in range(runs // 10 + 1):
        work()
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def bare(path: str, keys: list[str]) -> float:
    """The least that any answer costs: the payload of one key by its primary key."""
    connection = sqlite3.connect(path, isolation_level=None)
    wanted = "SELECT payload FROM facts WHERE name = ? AND key = ? ORDER BY time DESC LIMIT 1"
    found = median(lambda: connection.execute(wanted, ("bench/latest", f'["{random.choice(keys)}"]')).fetchone(), 5000)
    connection.close()
    return found


def check(online: Online, group: FeatureGroup, keys: list[str], columns: list[str]) -> None:
    """Compare a sample of the answers with the join; exit on a difference."""
    spine = pl.DataFrame({"key": [*keys[:500], "absent"]}).with_columns(pl.lit(NOW, UTC_TIME).alias("time"))
    expected = FeatureView("v", [(group, columns)]).training_set(spine).frame.select(columns).rows()
    found = online.get_many(group, spine["key"].to_list(), as_of=NOW)
    told = [tuple(each.values()) if each is not None else (None,) * len(columns) for each in found]
    if told != expected:
        raise SystemExit("the online side and the point-in-time join disagree")


def measure(folder: Path, uri: str, count: int, width: int) -> dict[str, float]:
    """All readings over one database, in seconds."""
    online, columns = Online(uri), [f"x{i}" for i in range(width)]
    said: dict[str, Any] = {"keys": ["key"], "time": "time", "columns": dict.fromkeys(columns, pl.Float64())}
    store = Store(folder / "store", online=online)
    group = FeatureGroup(store, "bench", "latest", **said, online=1)
    series = FeatureGroup(store, "bench", "history", **said, online=HISTORY)
    group.write(rows(0, count, columns))
    series.write(pl.concat([rows(hour, 50, columns) for hour in range(200)]))
    keys = [f"k{i:06d}" for i in range(count)]
    check(online, group, random.Random(0).sample(keys, min(count, 500)), columns)
    view = FeatureView("view", [(group, columns)])
    hours = iter(range(1, 100))
    found = {
        "get, 1 key": median(lambda: online.get(group, random.choice(keys), as_of=NOW), 5000),
        "get, 100 keys": median(lambda: online.get_many(group, random.sample(keys, 100), as_of=NOW), 500),
        "view of a group, 1 key": median(lambda: view.get(random.choice(keys), as_of=NOW), 5000),
        "view of a group, 100 keys": median(lambda: view.get_many(random.sample(keys, 100), as_of=NOW), 500),
        f"history, {HISTORY} observations": median(lambda: online.history(series, keys[7], HISTORY, as_of=NOW), 500),
        "write of 500 keys, table included": median(lambda: group.write(rows(next(hours), 500, columns)), 20),
        f"rebuild of {count:,} keys": median(lambda: online.rebuild(group, now=NOW), 3),
    }
    online.close()
    if uri.startswith("sqlite"):
        found["bare SQLite, 1 key"] = bare(uri.removeprefix("sqlite:///"), keys)
    return found


def table(readings: dict[str, dict[str, float]]) -> str:
    """The readings as Markdown."""
    names = list(dict.fromkeys(name for each in readings.values() for name in each))
    lines = [f"| | {' | '.join(readings)} | target |", "|---" * (len(readings) + 2) + "|"]
    for name in names:
        told = [f"{each[name] * 1e6:,.0f} us" if name in each else "" for each in readings.values()]
        target = f"{TARGETS[name] * 1e6:,.0f} us" if name in TARGETS else ""
        lines.append(f"| {name} | {' | '.join(told)} | {target} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print, and fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=10)
    parser.add_argument("--postgresql", metavar="URI")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    given = parser.parse_args()
    readings = {}
    for name, uri in (("SQLite", "sqlite:///{}/online.db"), ("PostgreSQL", given.postgresql)):
        if uri is None:
            print(f"{name}: skipped, give --postgresql URI", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as folder:
            readings[name] = measure(Path(folder), uri.format(folder), given.keys, given.columns)
    text = table(readings)
    print(text)
    if given.write:
        head = f"Medians of warm calls in one process; {given.keys:,} keys of {given.columns} columns.\n\n"
        RESULTS.write_text(f"# The online side\n\n{head}{text}", encoding="utf-8")
    missed = [name for name, target in TARGETS.items() if readings["SQLite"][name] > target]
    print(f"missed: {', '.join(missed)}" if missed else "every target is met")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
