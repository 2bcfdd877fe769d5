"""mlforecast on one set of the accuracy benchmark: LightGBM over lags and rolling means, predicted recursively.

    python mlforecast_accuracy.py --set SET.npz --out VALUES.npz --kind scaled|differences

`scaled` learns every series in units of its own mean and spread, `differences` the change to a season before, in units
of its spread. 300 trees of 31 leaves with L1, fitted once on what lies before the window. It runs in an environment of
its own: `python -m venv E`, `E/bin/pip install --require-hashes -r benchmarks/peers/mlforecast.lock`, and then
`python benchmarks/accuracy.py --peers E/bin/python`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean
from mlforecast.target_transforms import Differences, LocalStandardScaler

ROWS = 2_000_000
"""Rows of history that are predicted from at once."""


def forecaster(kind: str, told: dict[str, Any]) -> MLForecast:
    """The model, not yet fitted, for a set's step and seasons."""
    short, long, step = told["short"], told["long"], pd.Timedelta(seconds=told["step"])
    lags = sorted({*range(1, min(max(short, 14), 24) + 1), short, 2 * short, long})
    transforms: dict[int, list[Any]] = {1: [RollingMean(3), RollingMean(short), RollingMean(long)]}
    if long > short:
        transforms[long] = [RollingMean(short)]
    model = lightgbm.LGBMRegressor(
        objective="l1",
        n_estimators=300,
        num_leaves=31,
        learning_rate=0.05,
        colsample_bytree=0.7,
        subsample=0.8,
        subsample_freq=1,
        n_jobs=1,
        verbosity=-1,
    )
    scale = [LocalStandardScaler()]
    days = step >= pd.Timedelta(days=1)
    calendar = [] if not told["calendar"] else ["dayofweek", "month"] if days else ["hour", "dayofweek"]
    return MLForecast(
        models={"value": model},
        freq=f"{told['step'] / 60:.0f}min",
        lags=lags,
        lag_transforms=transforms,
        date_features=calendar,
        target_transforms=scale if kind == "scaled" else [Differences([short]), *scale],
        num_threads=1,
    )


def table(told: dict[str, Any], arrays: dict[str, np.ndarray], rows: list[tuple[str, int, int, int]]) -> pd.DataFrame:
    """Steps `lo` to `hi` of some series as mlforecast wants them: one row each, the last value in place of a gap."""
    start, step = pd.Timestamp(told["start"]), pd.Timedelta(seconds=told["step"])
    parts = []
    for name, series, lo, hi in rows:
        columns = {column: values[series, lo:hi] for column, values in arrays.items()}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(lo, hi)).ffill().dropna()
        frame.insert(0, "ds", start + step * frame.index.to_numpy())
        frame.insert(0, "unique_id", name)
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def predicted(told: dict[str, Any], arrays: dict[str, np.ndarray], origins: np.ndarray, kind: str) -> np.ndarray:
    """Forecasts of shape (series, origins, horizon)."""
    known = {name: values for name, values in arrays.items() if name != "y"}
    count, horizon, end = arrays["y"].shape[0], told["horizon"], told["end"]
    model = forecaster(kind, told)
    learnt = table(told, arrays, [(f"{i:05d}", i, 0, end + 1) for i in range(count)])
    model.fit(learnt, static_features=[])
    reach = 2 * told["long"] + 2 * told["short"] + 24
    found = np.full((count, origins.size, horizon), np.nan)
    places = [(i, j) for i in range(count) for j in range(origins.size)]
    size = max(ROWS // reach, 1)
    for at in range(0, len(places), size):
        some = places[at : at + size]
        windows = [(f"{k:07d}", i, max(origins[j] + 1 - reach, 0), origins[j] + 1) for k, (i, j) in enumerate(some)]
        recent = table(told, arrays, windows)
        future = None
        if known:
            ahead = [(name, i, hi, hi + horizon) for name, i, _, hi in windows]
            future = table(told, known, ahead)
        said = model.predict(horizon, new_df=recent, X_df=future)
        for name, values in said.groupby("unique_id")["value"]:
            i, j = some[int(name)]
            found[i, j] = values.to_numpy()
    return found


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=("scaled", "differences"), required=True)
    options = parser.parse_args()
    with np.load(options.set) as file:
        told = json.loads(str(file["told"]))
        arrays = {name: file[name] for name in file.files if name not in ("told", "origins")}
        origins = file["origins"]
    np.savez(options.out, value=predicted(told, arrays, origins, options.kind))


if __name__ == "__main__":
    main()
