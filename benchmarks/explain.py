"""What an explanation costs beside the prediction, per row of the Titanic and per forecast of a day.

    python benchmarks/explain.py [--rows 891] [--write]

One thread; the best of five. The forest can tell nothing, so it is asked along orders of the features.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl

from headrace import Boosting, Classifier, Estimator, Forecaster, Linear
from headrace.features import seasonal_features
from headrace.features.arrays import History
from headrace.grid import Grid
from headrace.loading import load_system
from headrace.models.backtest import ForecastProblem
from headrace.models.forecast_parts import forecast_parts
from headrace.tasks.rows.explained import RowExplainer
from headrace.tasks.rows.training import fit

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "titanic" / "train.csv"
RESULTS = Path(__file__).parent / "results" / "explain.md"
TYPES = {"Survived": pl.Int64, "Pclass": pl.Int64, "SibSp": pl.Int64, "Parch": pl.Int64, "Age": pl.Float64}
FOREST = Estimator(class_path="sklearn.ensemble.RandomForestClassifier", params={"n_estimators": 100})
MEMBERS = {"linear": Linear(C=0.3), "boosting of 150 rounds": Boosting(), "random forest of 100 trees": FOREST}


def best(function: Callable[[], object], times: int = 5) -> float:
    """CPU seconds of the quickest call."""
    taken = []
    for _ in range(times):
        began = time.process_time()
        function()
        taken.append(time.process_time() - began)
    return min(taken)


def of_rows(count: int) -> list[tuple[str, float, float, float]]:
    """Microseconds a row: predicted in a table, explained in a table, and explained alone."""
    rows, system = pl.read_csv(DATA, schema_overrides=TYPES), load_system(str(ROOT / "systems" / "titanic"))
    lines = []
    for name, member in MEMBERS.items():
        model = Classifier(members=(member,), repeats=1, folds=2)
        fitted = fit(system.model_copy(update={"model": model}), rows).model
        explainer, some, one = RowExplainer(fitted, 1), rows.head(count), rows.head(1)
        times = 1 if isinstance(member, Estimator) else 5
        predicted = best(lambda fitted=fitted, some=some: fitted.numbers(some)) / count
        explained = best(lambda explainer=explainer, some=some: explainer.explain(some), times) / count
        lone = best(lambda explainer=explainer, one=one: explainer.explain(one), 20)
        lines.append((name, predicted * 1e6, explained * 1e6, lone * 1e6))
    return lines


def of_forecasts(series: int = 20, days: int = 60) -> tuple[str, float, float, float]:
    """Microseconds a step of a day of forecasts."""
    random, t = np.random.default_rng(0), np.arange(days * 24)
    season = 1 + 0.3 * np.sin(2 * np.pi * t / 24 + random.uniform(0, 6, (series, 1)))
    values = random.uniform(10, 1000, (series, 1)) * (season + random.normal(0, 0.05, (series, t.size)))
    hour = timedelta(hours=1)
    first = Grid(hour).slot(datetime(2026, 1, 1, tzinfo=UTC))
    history = History(pl.DataFrame({"k": list(range(series))}), {"y": values}, first, Grid(hour))
    model = Forecaster(max_rows=20_000)
    problem = ForecastProblem(model.frame("y", hour), 24, seasonal_features("y", step="1h"))
    fitted = model.fit(problem, history, history.length - 1).model
    everyone, origin = np.arange(series), np.array([history.length - 1])
    steps = series * 24
    predicted = best(lambda: fitted.forecast(history, everyone, origin)) / steps
    explained = best(lambda: forecast_parts(fitted, history, everyone, origin)) / steps
    lone = best(lambda: forecast_parts(fitted, history, everyone[:1], origin)) / 24
    return "forecaster, a step", predicted * 1e6, explained * 1e6, lone * 1e6


def main() -> int:
    """Measure and print, and with --write keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=891)
    parser.add_argument("--write", action="store_true", help=f"into {RESULTS.name}")
    arguments = parser.parse_args()
    lines = [*of_rows(arguments.rows), of_forecasts()]
    text = ["# Explanations", "", "Microseconds of CPU a row on one thread.", ""]
    text += ["| model | predicted | explained with many | explained alone |", "|---|---|---|---|"]
    text += [f"| {name} | {p:,.1f} | {e:,.0f} | {lone:,.0f} |" for name, p, e, lone in lines]
    sys.stdout.write("\n".join(text) + "\n")
    if arguments.write:
        RESULTS.write_text("\n".join(text) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
