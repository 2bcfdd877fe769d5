"""What a training set, an hourly append and a correction cost in the feature store.

    python benchmarks/feature_store.py [--rows 4900000] [--spine 1000000] [--duckdb PYTHON] [--feast PYTHON] [--write]

Every reading is a process of its own, imports included. A sample of the answers is compared with an oracle that goes
through the facts row by row; a difference fails. DuckDB and Feast run in environments of their own and are skipped
without them. Feast knows no known time: its answers may be from the future, only its cost is compared.
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

import numpy as np
import polars as pl

from headrace.store import FeatureGroup, FeatureView, Store

START = datetime(2025, 1, 1, tzinfo=UTC)
COLUMNS = [f"x{i}" for i in range(10)]
KEYS = 560
FEW = 5000
"""Spine rows for Feast: its file store joins every spine row with all rows of its key, 65 GB for a million."""
RESULTS = Path(__file__).parent / "results" / "feature_store.md"
PEERS = Path(__file__).parent / "peers"
UTC_TIME = pl.Datetime("us", "UTC")


def group_in(folder: Path, name: str = "load") -> FeatureGroup:
    """The feature group of the benchmark."""
    columns = dict.fromkeys(COLUMNS, pl.Float64())
    return FeatureGroup(Store(folder / "store"), "bench", name, keys=["key"], time="time", columns=columns)


def make(folder: Path, rows: int, spine: int) -> None:
    """Hourly facts of many keys, one in a hundred corrected later, and a spine of random askings."""
    rng, hours = np.random.default_rng(0), rows // KEYS
    hour = np.repeat(np.arange(hours), KEYS)
    facts = pl.DataFrame(
        {
            "key": [f"k{i:03d}" for i in range(KEYS)] * hours,
            "time": pl.Series(
                (START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + hour * 3_600_000_000
            ),
            **{c: rng.normal(size=hour.size) for c in COLUMNS},
        }
    ).with_columns(pl.col("time").cast(UTC_TIME))
    delay = pl.Series(rng.integers(0, 120, hour.size)).cast(pl.Int64) * 60_000_000
    facts = facts.with_columns((pl.col("time") + delay.cast(pl.Duration("us"))).alias("known_at"))
    again = facts.sample(fraction=0.01, seed=1).with_columns(
        pl.col("known_at") + timedelta(hours=30), *(pl.col(c) + 1 for c in COLUMNS)
    )
    group = group_in(folder)
    for part in (facts, again):
        group.write(part)
    pl.concat([facts, again]).sort("time").write_parquet(folder / "facts.parquet")
    asked = START + timedelta(hours=hours)
    moments = rng.integers(0, hours * 3600, spine) * 1_000_000
    begin = (START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    frame = pl.DataFrame({"key": [f"k{i:03d}" for i in rng.integers(0, KEYS + 5, spine)], "time": begin + moments})
    frame = frame.with_columns(pl.col("time").cast(UTC_TIME))
    frame.write_parquet(folder / "spine.parquet")
    frame.head(FEW).write_parquet(folder / "few.parquet")
    print(
        f"{facts.height + again.height:,} facts of {KEYS} keys until {asked:%Y-%m-%d}, {spine:,} spine rows", flush=True
    )


def training_set(folder: Path, ttl: int, _: int) -> None:
    """What is measured: read the spine, join, write."""
    view = FeatureView("view", [(group_in(folder), COLUMNS)], ttl=timedelta(hours=ttl))
    view.training_set(pl.read_parquet(folder / "spine.parquet")).frame.write_parquet(folder / "ours.parquet")


def bare_read(folder: Path, *_: int) -> None:
    """The least that any answer costs: the same columns of the same files, the spine, and writing as much."""
    table = group_in(folder).table
    facts = table.collect(table.scan().select("key", "time", "known_at", "_version", *COLUMNS))
    spine = pl.read_parquet(folder / "spine.parquet")
    pl.concat([spine, facts.select(COLUMNS).head(spine.height)], how="horizontal").write_parquet(
        folder / "bare.parquet"
    )


def check(folder: Path, ttl: int, sample: int) -> None:
    """Compare a sample of the answers with an oracle; exit on the first that differs."""
    answers = pl.read_parquet(folder / "ours.parquet").sample(sample, seed=2)
    facts = pl.read_parquet(folder / "facts.parquet").partition_by("key", as_dict=True)
    for row in answers.iter_rows(named=True):
        best = None
        near = facts.get((row["key"],))
        if near is not None:
            at = row["time"]
            near = near.filter(pl.col("time").is_between(at - timedelta(hours=ttl), at), pl.col("known_at") <= at)
            for fact in near.iter_rows(named=True):
                if best is None or (fact["time"], fact["known_at"]) > (best["time"], best["known_at"]):
                    best = fact
        expected = {c: best[c] if best else None for c in COLUMNS}
        # The store answers with the newest event time that is known, then applies the TTL: the same thing.
        if expected != {c: row[c] for c in COLUMNS}:
            raise SystemExit(f"wrong answer for {row['key']} at {row['time']}: {row} instead of {expected}")


def measure(command: list[str]) -> tuple[float, float, float]:
    """CPU seconds, wall seconds and peak memory in MB of a process."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024


def appends(folder: Path, count: int = 1440) -> dict[str, float]:
    """Milliseconds of the last 60 of `count` hourly appends in a burst, and of replacing one hour of them."""
    group, took = group_in(folder, "hourly"), []

    def rows(hour: int, known: timedelta, shift: float) -> pl.DataFrame:
        at = START + timedelta(hours=hour)
        values = {c: np.arange(76.0) * i + hour + shift for i, c in enumerate(COLUMNS)}
        frame = pl.DataFrame(
            {"key": [f"k{i}" for i in range(76)], "time": [at] * 76, "known_at": [at + known] * 76, **values}
        )
        return frame.with_columns(pl.col("time", "known_at").cast(UTC_TIME))

    def timed(frame: pl.DataFrame) -> float:
        began = time.perf_counter()
        assert group.write(frame).added == 76
        return (time.perf_counter() - began) * 1000

    took = [timed(rows(hour, timedelta(hours=1), 0.0)) for hour in range(count)]
    replaced = [timed(rows(hour, timedelta(days=100), 5.0)) for hour in range(count // 3, count // 3 + 30)]
    return {"append": statistics.median(took[-60:]), "replace": statistics.median(replaced)}


CHILDREN = {"make": make, "bare": bare_read, "ours": training_set, "check": check}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_900_000)
    parser.add_argument("--spine", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--duckdb", help="a Python with duckdb")
    parser.add_argument("--feast", help="a Python with feast")
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, where, *numbers = options.child
        CHILDREN[what](Path(where), *map(int, numbers))
        return
    with tempfile.TemporaryDirectory() as name:
        lines = run(Path(name), options)
    if options.write:
        today = datetime.now(UTC).date()
        head = (
            f"`python benchmarks/feature_store.py {' '.join(sys.argv[1:])}`, {today}, {os.cpu_count()} cores, medians"
        )
        RESULTS.write_text(f"{head}.\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


def run(folder: Path, options: argparse.Namespace) -> list[str]:
    """Measure everything; the lines of the table."""

    def child(what: str, *numbers: int) -> list[str]:
        # All in processes of their own: a child's peak memory begins with its parent's.
        return [sys.executable, __file__, "--child", what, str(folder), *map(str, numbers)]

    subprocess.run(child("make", options.rows, options.spine), check=True)
    todo = {"bare read": (child("bare", 0, 0), options.repeat)}
    for ttl in (6, 168):
        todo[f"headrace, TTL {ttl} h"] = (child("ours", ttl, 0), options.repeat)
    for peer, script in (("duckdb", "duckdb_asof.py"), ("feast", "feast_historical.py")):
        python = getattr(options, peer)
        if python is None:
            print(f"{peer} is skipped: give --{peer} PYTHON", file=sys.stderr)
        else:
            rows = f", {FEW:,} spine rows" if peer == "feast" else ""
            todo[f"{peer}, TTL 6 h{rows}"] = ([python, str(PEERS / script), str(folder), "6"], 1)
    lines = ["| training set | CPU s | wall s | peak MB | CPU beside a bare read |", "|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    base = None
    for what, (command, repeat) in todo.items():
        cpu, wall, peak = (statistics.median(c) for c in zip(*(measure(command) for _ in range(repeat)), strict=True))
        base = base or cpu
        lines.append(f"| {what} | {cpu:.2f} | {wall:.2f} | {peak:,.0f} | {cpu / base:.2f} |")
        print(lines[-1], flush=True)
        if what.startswith("headrace"):
            subprocess.run(child("check", int(what.split()[-2]), 2000), check=True)
    cost = appends(folder)
    lines.append(f"\nAfter 1,440 appends in a burst: an append of 76 rows {cost['append']:.0f} ms, ")
    lines[-1] += f"replacing one hour {cost['replace']:.0f} ms. 2,000 answers for each TTL equal the oracle's."
    print(lines[-1])
    return lines


if __name__ == "__main__":
    main()
