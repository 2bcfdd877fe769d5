"""Policies over the past: what a simulated year costs beside the plain backfill, and which policy is best on real sets.

    python benchmarks/loop.py backfills [--series 76] [--days 60] [--kinds plain,acting] [--rounds 1]
    python benchmarks/loop.py live [--series 76] [--hours 48]
    python benchmarks/loop.py policies [--sets pjm,bikes] [--days 42]

The first backfills hourly runs on simulated Danish consumption: plain, with rules, with alarms that act and with rules
that look at errors each day, and holds their CPU against each other. What actions took themselves (trainings) is told
apart. The second makes live runs, one hour after the other, with rules and without. The third tries policies of
retraining on real sets, with one run a day, on two windows, one after the other: the default is chosen on the earlier
one and reported on the later one. ``+shift`` is the set with its level moved by 1.6 after a third of each window.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import datasets
import headrace as hr
from headrace import Column, Contract, Monitoring, Schedule, Source, System
from headrace.tuning import Tuning

SETS = ("pjm+shift", "bikes", "ett", "nyc_taxi", "pjm", "retail", "bikes+shift", "de35+shift", "de35")
RULE = {"kind": "threshold", "metric": "wape", "window": "7d", "consecutive": 1, "min_support": 7}
"""A rule whose alarm acts: beyond the error that yesterday's values had before the first window."""
POLICIES: dict[str, dict[str, Any]] = {
    "never": {"schedule": {"train": "never"}},
    "every 7d": {"schedule": {"train": "7d"}},
    "every 1d": {"schedule": {"train": "1d"}},
    "error above 1.25": {"schedule": {"train": "never", "retrain": [{"kind": "error_above", "ratio": 1.25}]}},
    "cusum 8": {"schedule": {"train": "never", "retrain": [{"kind": "cusum"}]}},
    "cost aware, alpha .5": {
        "schedule": {"train": "never", "retrain": [{"kind": "cost_aware", "alpha": 0.5, "history": 14}]}
    },
    "alarm retrains": {"schedule": {"train": "never"}, "monitoring": {"rules": [RULE], "on_alarm": "retrain"}},
    "alarm retunes": {"schedule": {"train": "never"}, "monitoring": {"rules": [RULE], "on_alarm": "retune"}},
}
TUNING = Tuning(space={"model.num_leaves": [15, 31, 63], "model.min_child_samples": [5, 20, 80]}, trials=4)
"""What an alarm that retunes searches, and for how long."""
SHORT = {"de35": 9, "m4": 9, "elb_request_count_8c0756": 4, "ec2_cpu_utilization_24ae8d": 4}
"""Windows in days where a set is too short for others."""
BEFORE = 90
"""Days before the first window that a model may learn from."""
MOST = 8
"""Series of a set at most."""
SHIFT = 1.6
SYSTEM = Path(__file__).parents[1] / "systems" / "energy"


def written(name: str, folder: Path, days: int) -> tuple[System, list[tuple[datetime, datetime]], float]:
    """A system on a set, whose rows lie in a file, its windows, and the error that its rule allows."""
    plain = name.removesuffix("+shift")
    data = datasets.read(plain)
    if data.history.series > MOST:
        rows = np.unique(np.linspace(0, data.history.series - 1, MOST).astype(int))
    else:
        rows = np.arange(data.history.series)
    history, day = data.history, timedelta(days=1)
    days = SHORT.get(plain, days)
    last = history.end - max(day, data.horizon * history.step)
    last = last.replace(hour=0, minute=0, second=0, microsecond=0)
    windows = [(last - 2 * days * day, last - (days + 1) * day), (last - days * day, last)]
    moments = [history.start + history.step * i for i in range(history.length)]
    frames = []
    for number in rows:
        y = history.values["y"][number].copy()
        if name != plain:
            for begin, end in windows:
                moved = [begin + (end - begin) / 3 <= moment <= end for moment in moments]
                y = np.where(moved, y * SHIFT, y)
        frame = pl.DataFrame({"time": moments, "y": pl.Series(y, nan_to_null=True)}).with_columns(
            pl.lit(f"s{number}").alias("series")
        )
        frames.append(frame.filter(pl.col("time") >= windows[0][0] - BEFORE * day).drop_nulls())
    path = folder / f"{name}.parquet"
    pl.concat(frames).write_parquet(path)
    horizon = max(day, 7 * history.step) if history.step >= day else day
    system = System(
        name=plain.replace("-", "_").lower(),
        source=Source(uri=f"file:{path}", lag="0h"),
        contract=Contract(columns=(Column("series", "category"), Column("time", "time"), Column("y", "float"))),
        keys=("series",),
        time="time",
        step=history.step,
        target="y",
        features=data.features,
        model=data.model(n_estimators=40, max_rows=8_000),
        horizon=horizon,
        schedule=Schedule(predict="1d", train="never"),
        monitoring=Monitoring(baselines=data.seasons, rules=()),
        tuning=TUNING,
    )
    return system, windows, _naive(pl.concat(frames), max(data.seasons[0], horizon), windows[0][0])


def _naive(frame: pl.DataFrame, season: timedelta, end: datetime) -> float:
    """WAPE of the value a season before, over what lies before a time."""
    past = frame.filter(pl.col("time") < end)
    before = past.with_columns(pl.col("time") + season).rename({"y": "before"})
    both = past.join(before, on=["series", "time"])
    return float((both["y"] - both["before"]).abs().sum() / both["y"].abs().sum())


def tried(name: str, days: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each policy and window of a set."""
    with tempfile.TemporaryDirectory() as folder:
        system, windows, allowed = written(name, Path(folder), days)
        opened = hr.open(Path(folder) / "home", quiet=True).system(system)
        policies = {policy: _with(POLICIES[policy], allowed) for policy in names}
        for window, (start, end) in zip(("earlier", "later"), windows, strict=True):
            for done in opened.simulate(start, end, "1d", compare=policies, workers=1):
                yield {"set": name, "window": window, **done.row()}


def _with(policy: dict[str, Any], allowed: float) -> dict[str, Any]:
    """A policy with the threshold of its rule, where it has one."""
    monitoring = policy.get("monitoring")
    if monitoring is None:
        return policy
    return policy | {"monitoring": monitoring | {"rules": [{**rule, "alarm": allowed} for rule in monitoring["rules"]]}}


def _policies(texts: str) -> list[str]:
    """The policies that are meant; one has a comma in its name."""
    names = [name for name in POLICIES if name in texts]
    return names if "every 7d" in names else ["every 7d", *names]


def table(rows: list[dict[str, Any]]) -> str:
    """Per set the error of each policy in the later window, and means over sets of both windows."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    error = pl.coalesce([name for name in ("wape", "rmsse") if name in frame.columns]).alias("error")
    frame = frame.with_columns(error)
    policies = frame["policy"].unique(maintain_order=True).to_list()
    lines = ["| set (later window) | " + " | ".join(policies) + " |", "|---|" + "---|" * len(policies)]
    for name in frame["set"].unique(maintain_order=True):
        own = frame.filter((pl.col("set") == name) & (pl.col("window") == "later"))
        cells = [f"{e:.4f} ({n})" for e, n in own.select("error", "retrainings").iter_rows()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    weekly = frame.filter(pl.col("policy") == "every 7d").select("set", "window", base="error", spent="cpu_seconds")
    joined = frame.join(weekly, on=["set", "window"]).with_columns(
        (pl.col("error") / pl.col("base")).log().alias("ratio"), (pl.col("cpu_seconds") / pl.col("spent")).alias("cpu")
    )
    for window in ("earlier", "later"):
        means = joined.filter(pl.col("window") == window).group_by("policy", maintain_order=True)
        figures = means.agg(pl.col("ratio").mean().exp(), pl.col("retrainings").sum(), pl.col("cpu").mean())
        cells = [f"{r:.3f}; {n}; {c:.2f}" for _, r, n, c in figures.iter_rows()]
        lines.append(f"| **{window}: error, trainings, CPU** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def run(command: list[str]) -> tuple[dict[str, Any], float]:
    """What a command of headrace says, and its CPU seconds."""
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "headrace", *command, "--json"], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        out.seek(0)
        document = json.loads(out.read())
    if status:
        raise SystemExit(f"failed: {document}")
    return document, usage.ru_utime + usage.ru_stime


LOOPS: dict[str, tuple[str, ...]] = {
    "plain": ("monitoring.rules=[]",),
    "watched": (),
    "acting": ("monitoring.on_alarm=retrain",),
    "errors": ("schedule.retrain=[{kind: cusum}, {kind: cost_aware}]",),
}
"""The plain backfill, one with the rules that every system has, one whose alarms train, and rules of errors."""


def backfills(series: int, days: int, kinds: Sequence[str], rounds: int) -> None:
    """Backfills of the same runs with and without the loop, one after the other, in processes of their own."""
    start, end = "2025-01-01T00:00:00Z", (datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=days, hours=-1)).isoformat()
    common = ["--start", start, "--end", end, "--every", "1h", "--workers", "1"]
    common += ["--source", f"simulated:?series={series}", "--set", "schedule.train=7d"]
    spent: dict[str, list[float]] = {}
    for kind in [kind for _ in range(rounds) for kind in kinds]:
        with tempfile.TemporaryDirectory() as folder:
            sets = [part for value in LOOPS[kind] for part in ("--set", value)]
            done, cpu = run(["backfill", str(SYSTEM), "--home", folder, *common, *sets])
        acted = {action["as_of"]: action["cpu_seconds"] or 0.0 for action in done["actions"]}
        spent.setdefault(kind, []).append(cpu - sum(acted.values()))
        print(
            f"{kind}: {done['runs']:,} runs of {series} series, {cpu:,.1f} CPU s, of which "
            f"{sum(acted.values()):,.1f} in {len(acted)} actions; {len(done['trained'])} trainings, "
            f"{len(done['alerts']['raised'])} alerts",
            flush=True,
        )
    least = {kind: min(values) for kind, values in spent.items()}
    for kind in kinds:
        print(f"{kind}: {least[kind]:,.1f} CPU s without actions, {least[kind] / least[kinds[0]]:.3f} of {kinds[0]}")


def live(series: int, hours: int, rounds: int) -> None:
    """Runs of one hour after the other, with the rules that every system has and without any, turn by turn."""
    begin = datetime(2025, 1, 1, 18, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        bound = {
            kind: hr.open(Path(folder, kind), quiet=True).system(
                str(SYSTEM), ["schedule.train=never", "model.n_estimators=50", *LOOPS[kind]]
            )
            for kind in ("plain", "watched")
        }
        spent = dict.fromkeys(bound, 0.0)
        for hour in range(rounds * hours):
            for kind, system in bound.items():
                before = sum(os.times()[:4])
                system.run(begin + timedelta(hours=hour), source=f"simulated:?series={series}")
                spent[kind] += sum(os.times()[:4]) - before if hour >= 2 else 0.0  # the first ones train and import
    for kind, seconds in spent.items():
        each = seconds / max(rounds * hours - 2, 1)
        print(f"{kind}: {each:.3f} CPU s each run, {seconds / spent['plain']:.3f} of plain")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("backfills", "live", "policies"))
    parser.add_argument("--series", type=int, default=76)
    parser.add_argument("--days", type=int)
    parser.add_argument("--hours", type=int, default=48)
    parser.add_argument("--kinds", default="plain,acting", help=f"of {', '.join(LOOPS)}; the first is held against")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--policies", default=",".join(POLICIES), help="every 7d is what others are held against")
    parser.add_argument("--rows", type=Path, help="append a JSON line for each row, and go on after those there")
    options = parser.parse_args()
    if options.what == "backfills":
        backfills(options.series, options.days or 60, options.kinds.split(","), options.rounds)
        return
    if options.what == "live":
        live(options.series, options.hours, options.rounds)
        return
    rows = (
        [json.loads(line) for line in options.rows.read_text().splitlines()]
        if options.rows and options.rows.exists()
        else []
    )
    for name in options.sets.split(","):
        if any(row["set"] == name for row in rows):
            continue
        new = list(tried(name, options.days or 42, _policies(options.policies)))
        rows += new
        if options.rows:
            with options.rows.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in new)
        print(
            f"{name}: " + ", ".join(f"{row['policy']} {row['cpu_seconds']:.0f}s" for row in new),
            file=sys.stderr,
            flush=True,
        )
    print(table(rows))


if __name__ == "__main__":
    main()
