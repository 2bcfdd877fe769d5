"""headrace's own parts beside the peers': the data they read, the same numbers, features and fit in one process.

python ours.py export --system FOLDER --home H --as-of T --out FOLDER
python ours.py compare --system FOLDER --home H --as-of T --with predictions.parquet
python ours.py features|fit --system FOLDER --home H --as-of T
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headrace.features.matrix import Examples
from headrace.home import RAW, Home
from headrace.loading import load_system
from headrace.models.backtest import ForecastProblem
from headrace.models.forecaster import Forecaster, covered
from headrace.models.member import LEVEL, Transform, View
from headrace.models.sampling import sample, spans
from headrace.settings import load_settings
from headrace.store.history import KnownAsOf
from headrace.store.snapshots import read_snapshots
from headrace.system import System


def export(system: System, home: Home, as_of: datetime, out: Path) -> None:
    """`facts.parquet`, everything known, in the order in which it became so; `latest.parquet`, an hour's last value.

    In `latest` hours without a value hold the one before, because mlforecast and sktime count rows.
    """
    raw = home.table(system.name, RAW)
    keys = list(system.keys)
    names = [*keys, system.event_time, system.target, "known_at"]
    facts = raw.collect(raw.scan().select(names)).sort("known_at", system.event_time, *keys)
    out.mkdir(parents=True, exist_ok=True)
    facts.write_parquet(out / "facts.parquet")
    ids = pl.concat_str(keys, separator="_").alias("unique_id")
    known = facts.filter(pl.col("known_at") <= as_of)
    last = known.group_by(*keys, system.event_time).agg(pl.col(system.target).last())
    long = last.select(ids, pl.col(system.event_time).dt.replace_time_zone(None).alias("ds"), y=pl.col(system.target))
    hours = pl.datetime_range(long["ds"].min(), long["ds"].max(), "1h", eager=True).alias("ds").cast(long["ds"].dtype)
    grid = long.select("unique_id").unique().join(hours.to_frame(), how="cross")
    full = grid.join(long, on=["unique_id", "ds"], how="left").sort("unique_id", "ds")
    full = full.with_columns(pl.col("y").forward_fill().backward_fill().over("unique_id"))
    full.write_parquet(out / "latest.parquet")


def compare(system: System, home: Home, as_of: datetime, path: Path) -> None:
    """The greatest relative difference between the stored predictions and the file's, and how many rows both have."""
    table = home.table(system.name, "predictions")
    stored = table.collect(table.scan(where=pl.col("as_of") == as_of))
    theirs, on = pl.read_parquet(path), [*system.keys, "ahead"]
    both = stored.join(theirs, on=on, how="inner", suffix="_theirs")
    worst = {}
    for name in ("value", "lower", "upper", "scale", "baseline_1d", "baseline_7d"):
        a, b = both[name], both[f"{name}_theirs"]
        if (a.is_null() != b.is_null()).any():
            raise SystemExit(f"{name}: one says a number where the other has none")
        size = pl.select(pl.max_horizontal(a.abs(), both["value"].abs(), pl.lit(1e-9))).to_series()
        worst[name] = float(((a - b).abs() / size).max() or 0.0)
    print(json.dumps({"ours": stored.height, "theirs": theirs.height, "both": both.height, "worst": worst}))


def learn(system: System, home: Home, as_of: datetime, *, fit: bool) -> None:
    """CPU and wall seconds of the features of the training sample, for both members, or of the whole fit."""
    raw = home.table(system.name, RAW)
    seen, series = KnownAsOf(as_of, raw.version()), home.series(system)
    model = system.model
    if not isinstance(model, Forecaster) or system.step is None:
        raise SystemExit("the system has no Forecaster")
    frame = model.frame(system.target, system.step)
    history = read_snapshots(raw, series, [as_of], seen.version, span=timedelta(days=60)).history
    at, horizon = history.length - 1, system.steps
    cpu, wall = time.process_time(), time.perf_counter()
    if fit:
        model.fit(ForecastProblem(frame, horizon, system.features), history, at, workers=2)
        rows, columns, what = model.max_rows, len(system.features), 4
    else:
        span = spans(history.values[system.target], warm_up=frame.long // frame.step, end=at, longest=10**6)
        used = covered(system.features, history.step * at)
        picked = sample(history.values[system.target], span, horizon=horizon, end=at, limit=model.max_rows, seed=0)
        examples = Examples(picked.series, picked.origin, picked.ahead)
        level = Transform(log=False, anchor=LEVEL)
        matrix = View(level, frame, history, examples).matrix(frame.bound(used, level))
        (rows, columns), what = matrix.shape, 1
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    print(json.dumps(spent | {"rows": rows, "columns": columns, "units": what, "cells": int(np.prod((rows, columns)))}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("export", "compare", "features", "fit"))
    parser.add_argument("--system", required=True)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--as-of", type=datetime.fromisoformat, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--with", dest="path", type=Path)
    options = parser.parse_args()
    system, home = load_system(options.system), Home(load_settings(options.home))
    match options.what:
        case "export":
            export(system, home, options.as_of, options.out)
        case "compare":
            compare(system, home, options.as_of, options.path)
        case what:
            learn(system, home, options.as_of, fit=what == "fit")


if __name__ == "__main__":
    main()
