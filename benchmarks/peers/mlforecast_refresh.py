"""The same work with mlforecast: one global LightGBM, predicted recursively, run by an interpreter of its own.

    python mlforecast_refresh.py fit --history latest.parquet --model FOLDER [--rows 120000]
    python mlforecast_refresh.py refresh --history latest.parquet --model FOLDER --out predictions.parquet
    python mlforecast_refresh.py backfill --history latest.parquet --model FOLDER --out predictions.parquet --origins 24
    python mlforecast_refresh.py features --history latest.parquet [--rows 120000]

300 trees of 31 leaves over 26 lags, 6 rolling figures, hour and weekday: 34 features. Every series is standardised, as
headrace's are. There are no intervals, no checks, no corrections and no lineage: those would come on top.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import timedelta
from pathlib import Path

import lightgbm
import pandas as pd
from mlforecast import MLForecast
from mlforecast.lag_transforms import RollingMean, RollingStd
from mlforecast.target_transforms import LocalStandardScaler

HORIZON = 24
SPAN = timedelta(days=36)
"""How much history a prediction is given: no more than headrace reads."""


def forecaster() -> MLForecast:
    """The model, not yet fitted."""
    model = lightgbm.LGBMRegressor(
        objective="l1",
        n_estimators=300,
        num_leaves=31,
        learning_rate=0.05,
        min_child_samples=100,
        colsample_bytree=0.7,
        subsample=0.8,
        subsample_freq=1,
        reg_lambda=1.0,
        max_bin=127,
        n_jobs=2,
        verbosity=-1,
    )
    return MLForecast(
        models={"lightgbm": model},
        freq="h",
        lags=[*range(1, 25), 48, 168],
        lag_transforms={
            1: [RollingMean(3), RollingMean(24), RollingStd(24), RollingMean(168), RollingStd(168)],
            168: [RollingMean(24)],
        },
        date_features=["hour", "dayofweek"],
        target_transforms=[LocalStandardScaler()],
        num_threads=2,
    )


def learnt_from(path: Path, rows: int) -> pd.DataFrame:
    """Whole series, as many as make up so many rows, of the last 60 days."""
    frame = pd.read_parquet(path)
    frame = frame[frame["ds"] > frame["ds"].max() - timedelta(days=60)]
    series = frame["unique_id"].unique()
    return frame[frame["unique_id"].isin(series[: max(rows * len(series) // len(frame), 1)])]


def recent(path: Path) -> pd.DataFrame:
    """The history that a prediction needs; older rows are not read."""
    last = pd.read_parquet(path, columns=["ds"])["ds"].max()
    return pd.read_parquet(path, filters=[("ds", ">", last - SPAN)])


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "refresh", "backfill", "features"))
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--origins", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2, help="of the backfill")
    options = parser.parse_args()
    began = time.process_time()
    rows = 0
    if options.what == "refresh":
        frame = recent(options.history)
        began = time.process_time()
        MLForecast.load(options.model).predict(h=HORIZON, new_df=frame).to_parquet(options.out)
        rows = frame["unique_id"].nunique() * HORIZON
    elif options.what == "backfill":
        frame, model = pd.read_parquet(options.history), MLForecast.load(options.model)
        model.models_["lightgbm"].set_params(n_jobs=options.threads)
        model.ts.num_threads = options.threads
        last = frame["ds"].max()
        began, told = time.process_time(), []
        for back in range(options.origins):
            origin = last - timedelta(hours=back)
            known = frame[(frame["ds"] <= origin) & (frame["ds"] > origin - SPAN)]
            told.append(model.predict(h=HORIZON, new_df=known).assign(origin=origin))
        pd.concat(told).to_parquet(options.out)
        rows = sum(map(len, told))
    else:
        frame, model = learnt_from(options.history, options.rows), forecaster()
        began = time.process_time()
        if options.what == "fit":
            model.fit(frame)
            model.save(options.model)
        else:
            model.preprocess(frame)
        rows = len(frame)
    print(json.dumps({"cpu": time.process_time() - began, "rows": rows, "columns": 34}))


if __name__ == "__main__":
    main()
