"""The same forecasts with sktime's reduction forecaster over a panel, as courses on forecasting systems build it.

    python sktime_reduction.py fit --history latest.parquet --model FILE [--days 30]
    python sktime_reduction.py backfill --history latest.parquet --model FILE --origins 1

A pipeline of calendar features and a pooled LightGBM over lags 1 to 72, means of 24, 48 and 72 hours and deviations of
24 and 48. Every origin is an update without a fit, and a predict of 24 steps.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from datetime import timedelta
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pandas as pd
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.compose import ForecastingPipeline, make_reduction
from sktime.transformations.series.date import DateTimeFeatures
from sktime.transformations.series.summarize import WindowSummarizer

HORIZON = 24
SPAN = timedelta(days=36)


def pipeline() -> ForecastingPipeline:
    """The model, not yet fitted."""
    regressor = lightgbm.LGBMRegressor(
        n_estimators=300, num_leaves=31, learning_rate=0.05, min_child_samples=100, n_jobs=2, verbosity=-1
    )
    window = {
        "lag": list(range(1, 73)),
        "mean": [[1, 24], [1, 48], [1, 72]],
        "std": [[1, 24], [1, 48]],
    }
    reduction = make_reduction(
        regressor,
        strategy="recursive",
        window_length=None,
        transformers=[WindowSummarizer(lag_feature=window, n_jobs=1)],
        pooling="global",
    )
    calendar = DateTimeFeatures(
        ts_freq="H", manual_selection=["hour_of_day", "day_of_week"], keep_original_columns=True
    )
    return ForecastingPipeline(steps=[("calendar", calendar), ("forecaster", reduction)])


def panel(path: Path, days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The last days of all series as y, and the number of the series as X, on (series, hour)."""
    frame = pd.read_parquet(path)
    frame = frame[frame["ds"] > frame["ds"].max() - timedelta(days=days)]
    frame = frame.set_index(["unique_id", "ds"]).sort_index()
    return frame[["y"]], exogenous(frame.index)


def exogenous(index: pd.MultiIndex) -> pd.DataFrame:
    """A number for every series."""
    return pd.DataFrame({"series": index.get_level_values(0).astype("category").codes.astype(np.int64)}, index=index)


def predict(model: ForecastingPipeline, y: pd.DataFrame) -> pd.DataFrame:
    """Tell the model what is known, and ask it for the next day."""
    origin = y.index.get_level_values(1).max()
    hours = pd.date_range(origin + timedelta(hours=1), periods=HORIZON, freq="h")
    ahead = pd.MultiIndex.from_product([y.index.get_level_values(0).unique(), hours], names=y.index.names)
    model.update(y, X=exogenous(y.index), update_params=False)
    return model.predict(fh=ForecastingHorizon(range(1, HORIZON + 1)), X=exogenous(ahead))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "backfill"))
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--origins", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of the backfill")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    began, rows = time.process_time(), 0
    if options.what == "fit":
        y, x = panel(options.history, options.days)
        began = time.process_time()
        joblib.dump(pipeline().fit(y, X=x, fh=ForecastingHorizon(range(1, HORIZON + 1))), options.model)
        rows = len(y)
    else:
        y, _ = panel(options.history, SPAN.days + 2)
        model = joblib.load(options.model)
        model.steps_[-1][1].estimator_.set_params(n_jobs=options.threads)
        began, times = time.process_time(), y.index.get_level_values(1)
        for back in reversed(range(options.origins)):
            origin = times.max() - timedelta(hours=back)
            told = predict(model, y[(times <= origin) & (times > origin - SPAN)])
            rows += len(told)
            if told["y"].isna().any():
                raise SystemExit("there are forecasts without a value")
    print(json.dumps({"cpu": time.process_time() - began, "rows": rows}))


if __name__ == "__main__":
    main()
