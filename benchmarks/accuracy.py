"""How good the default forecaster is: one configuration on five public sets, beside the seasonal naives.

    python benchmarks/accuracy.py [de35 m4 ett pjm aalborg] [--seeds 0,1,2] [--window report] [--write]

Each model is fitted once, on what lies before the window, and forecasts from origins spread over it. Choices are made
on `--window choose`, the window before the reported one. M4 is scored as in the competition, on the visible half.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from datasets import ALL, HOUR, SHARED, Dataset
from headrace import Forecaster, metrics
from headrace.features.arrays import Array
from headrace.models.forecaster import Task, backtest

DAY, WEEK = timedelta(days=1), timedelta(days=7)
RESULTS = Path(__file__).parent / "results" / "accuracy.md"
PUBLISHED = """Published OWA on all of M4 hourly: Doornik .410, Smyl .440, seasonal naive .627, a plain direct LightGBM
with z-scaled targets and L1 .426. Published MAPE for Aalborg, 24 h ahead: SARIMAX 6.85 %, seasonal naive 7.06 %."""


def rolling(data: Dataset, model: Forecaster, choose: bool) -> dict[str, float]:
    """Scores over the origins of a window, and of the better seasonal naive for each."""
    task = Task(model.frame("y", HOUR), data.horizon, data.features)
    end, origins = data.windows(choose)
    fitted = model.fit(task, data.history, end).model
    done = backtest(fitted, data.history, origins)
    y = data.history.values["y"][:, : end + 1]
    scale = np.nanmean(np.abs(y[:, 24:] - y[:, :-24]), axis=1)[done.series]
    naive = [done.baseline(data.history, "y", season) for season in (DAY, WEEK)]
    scores = {name: value for name, value in done.scores().items() if name != "coverage"}
    found = {**done.scores(), "mase": metrics.mase(done.actual, done.value, scale)}
    found["width"] = float(np.nanmean((done.upper - done.lower) / (2 * scale)))
    for name in scores:
        found[f"naive_{name}"] = min(each[name] for each in naive)
    return found


def competition(data: Dataset, model: Forecaster, choose: bool) -> dict[str, float]:
    """M4: sMAPE in per cent, MASE with season 24, and OWA against Naive2 on the same series.

    To choose on, the last 48 hours of the training part take the place of the test part.
    """
    y = data.history.values["y"]
    end = y.shape[1] - 1 - (data.horizon if choose else 0)
    tests = {i: y[i, end + 1 :] for i in range(len(y))} if choose else data.tests
    task = Task(model.frame("y", HOUR), data.horizon, data.features)
    fitted = model.fit(task, data.history, end).model
    rows = np.array(sorted(tests))
    said = fitted.forecast(data.history, rows, np.array([end]))
    ours, theirs, inside = [], [], []
    for k, row in enumerate(rows):
        known = y[row, : end + 1]
        known, actual = known[~np.isnan(known)], tests[row]
        scale = metrics.seasonal_scale(known, 24)
        for forecast, scores in ((said.value[k], ours), (naive2(known, data.horizon), theirs)):
            scores.append((100 * metrics.smape(actual, forecast), metrics.mase(actual, forecast, scale)))
        inside.append(metrics.coverage(actual, said.lower[k], said.upper[k]))
    (smape, mase), (smape2, mase2) = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    owa = (smape / smape2 + mase / mase2) / 2
    return {"smape": float(smape), "mase": float(mase), "owa": float(owa), "coverage": float(np.mean(inside))}


def naive2(y: Array, horizon: int, season: int = 24) -> Array:
    """The competition's benchmark: the last value, seasonally adjusted where a test of autocorrelation says so."""
    n, x = len(y), y - y.mean()
    correlation = np.array([np.sum(x[k:] * x[: n - k]) for k in range(1, season + 1)]) / np.sum(x * x)
    limit = 1.645 / np.sqrt(n) * np.sqrt(1 + 2 * np.sum(correlation[:-1] ** 2))
    if abs(correlation[-1]) <= limit:
        return np.repeat(y[-1], horizon)
    kernel = np.r_[0.5, np.ones(season - 1), 0.5] / season
    trend = np.convolve(y, kernel, "valid")
    half = season // 2
    phase = np.arange(half, half + len(trend)) % season
    ratio = y[half : half + len(trend)] / trend
    index = np.array([ratio[phase == i].mean() for i in range(season)])
    index /= index.mean()
    adjusted: Array = y[-1] / index[(n - 1) % season] * index[(n + np.arange(horizon)) % season]
    return adjusted


def line(name: str, runs: list[dict[str, float]], seconds: float) -> str:
    """One row of the table: the mean over seeds, and the spread of WAPE or OWA."""
    mean = {key: statistics.fmean(run[key] for run in runs) for key in runs[0]}

    def spread(key: str) -> str:
        values = [run[key] for run in runs]
        return f" ({min(values):.4g}-{max(values):.4g})" if len(values) > 1 else ""

    if "owa" in mean:
        cells = [f"OWA {mean['owa']:.4f}{spread('owa')}", f"sMAPE {mean['smape']:.2f}", "-", f"{mean['mase']:.3f}", "-"]
        cells += [f"{mean['coverage']:.1%}", "-"]
    else:
        saved = {m: 1 - mean[m] / mean[f"naive_{m}"] for m in ("mape", "wape", "rmse")}
        cells = [
            f"{mean['mape']:.2%} ({saved['mape']:+.0%})",
            f"{mean['wape']:.2%}{spread('wape')} ({saved['wape']:+.0%})",
            f"{mean['rmse']:.5g} ({saved['rmse']:+.0%})",
            f"{mean['mase']:.3f}",
            f"{mean['naive_mape']:.2%} / {mean['naive_wape']:.2%} / {mean['naive_rmse']:.5g}",
            f"{mean['coverage']:.1%}",
            f"{mean['width']:.2f}",
        ]
    return f"| {name} | {' | '.join(cells)} | {seconds:.0f} |"


HEADER = """| set | MAPE | WAPE | RMSE | MASE | better naive | coverage of 90 % | half width / scale | CPU s a seed |
|---|---|---|---|---|---|---|---|---|"""


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=list(ALL), help=", ".join(ALL))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--window", choices=("choose", "report"), default="report")
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    lines = [HEADER]
    print(HEADER, flush=True)
    for name in options.sets:
        folder, read = ALL[name]
        if not (SHARED / folder).exists():
            print(f"{name} is skipped: {SHARED / folder} is absent", file=sys.stderr)
            continue
        data = read()
        score = competition if data.tests else rolling
        began = time.process_time()
        runs = [score(data, Forecaster(seed=seed), options.window == "choose") for seed in seeds]
        lines.append(line(data.name, runs, (time.process_time() - began) / len(seeds)))
        print(lines[-1], flush=True)
    if options.write:
        today = datetime.now(UTC).date()
        head = (
            f"`python benchmarks/accuracy.py {' '.join(sys.argv[1:])}`, {today}, seeds {options.seeds}; least and most"
        )
        notes = "In brackets after MAPE, WAPE and RMSE: what is saved against the better of seasonal naive 24 and 168."
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(
            "\n\n".join([f"{head} in brackets.", "\n".join(lines), notes, PUBLISHED]) + "\n", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
