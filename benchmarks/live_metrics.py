"""How good the default forecaster is on metrics of services: one stream a system, the next 12 steps.

    python benchmarks/live_metrics.py [--window report] [--fits 1] [--seed 0] [--write]

The streams come every 5 minutes, half hour or hour. Origins are 5 steps apart over the last three tenths of a stream.
The model is fitted once on what lies before them, or, with `--fits N`, again while they pass. Intervals are nominal at
90 %. Choices are made on `--window choose`, the window before the reported one.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from datasets import NAB, SHARED, Dataset, anomalies, streams
from headrace import Forecaster, metrics
from headrace.features.arrays import Array
from headrace.features.matrix import Examples
from headrace.models.backtest import Backtest, ForecastProblem, backtest
from headrace.models.baselines import seasonal_naive

DAY, WEEK = timedelta(days=1), timedelta(days=7)
RESULTS = Path(__file__).parent / "results" / "live_metrics.md"


def rolling(data: Dataset, model: Forecaster, choose: bool, fits: int) -> Backtest:
    """Forecasts from the window's origins, each by the newest of `fits` models fitted at even distances."""
    task = ForecastProblem(model.frame("y", data.history.step), data.horizon, data.features)
    _, origins = data.windows(choose)
    parts = []
    for some in np.array_split(origins, fits):
        fitted = model.fit(task, data.history, int(some[0])).model
        parts.append(backtest(fitted, data.history, some))
    names = Backtest.__dataclass_fields__
    return Backtest(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def last_known(y: Array) -> Array:
    """Every value, or the newest known one before it; shape (steps,)."""
    newest = np.maximum.accumulate(np.where(np.isnan(y), 0, np.arange(y.size)))
    return y[newest]


def usual(data: Dataset, row: int, examples: Examples, actual: Array) -> Array:
    """The actual values without those of labelled anomalies; of streams that were moved, all."""
    if data.history.series > 1:
        return actual
    times = data.history.times(examples.target)
    for first, last in anomalies(data.history.keys["stream"][row]):
        inside = (times >= np.datetime64(first.replace(tzinfo=None))) & (
            times <= np.datetime64(last.replace(tzinfo=None))
        )
        actual = np.where(inside, np.nan, actual)
    return actual


def line(data: Dataset, done: Backtest, row: int) -> str:
    """One row of the table: one series of a set."""
    y, own = data.history.values["y"], done.series == row
    actual, value = done.actual[own], done.value[own]
    seen = np.isnan(value)
    naive = {"last value": last_known(y[row])[done.origin[own]]}
    examples = Examples(done.series[own], done.origin[own], done.ahead[own])
    for name, season in (("day", DAY), ("week", WEEK)):
        naive[name] = seasonal_naive(data.history, "y", season, examples)
    errors = {name: metrics.wape(actual, np.where(seen, np.nan, said)) for name, said in naive.items()}
    best = min(errors, key=lambda name: errors[name])
    wape = metrics.wape(actual, value)
    cells = [
        data.name + data.history.keys["stream"][row],
        f"{data.history.step.seconds // 60} min",
        f"{wape:.2%} ({1 - wape / errors[best]:+.0%})",
        *(f"{errors[name]:.2%}" for name in naive),
        f"{metrics.coverage(actual, done.lower[own], done.upper[own]):.1%}",
        f"{metrics.coverage(usual(data, row, examples, actual), done.lower[own], done.upper[own]):.1%}",
        f"{np.nanmean((done.upper - done.lower)[own] / 2) / np.nanmean(np.abs(actual)):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = """| stream | step | WAPE | last value | day ago | week ago | coverage | no anomalies | half width / mean |
|---|---|---|---|---|---|---|---|---|"""


def table(options: argparse.Namespace, fits: int) -> list[str]:
    """The rows for one number of fits, said as they are found."""
    lines = [HEADER]
    print(f"fits: {fits}", HEADER, sep="\n", flush=True)
    for data in streams():
        if options.only not in data.name + " ".join(data.history.keys["stream"]):
            continue
        done = rolling(data, Forecaster(seed=options.seed), options.window == "choose", fits)
        lines += [line(data, done, row) for row in range(data.history.series)]
        print(*lines[-data.history.series :], sep="\n", flush=True)
    return lines


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--window", choices=("choose", "report"), default="report")
    parser.add_argument("--fits", default="1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a stream's name")
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    options = parser.parse_args()
    if not (SHARED / NAB).exists():
        print(f"skipped: {SHARED / NAB} is absent", file=sys.stderr)
        return 0
    tables = {fits: table(options, fits) for fits in map(int, options.fits.split(","))}
    if options.write:
        head = f"`python benchmarks/live_metrics.py {' '.join(sys.argv[1:])}`, {datetime.now(UTC).date()}."
        parts = [head]
        for fits, lines in tables.items():
            parts += [f"Fitted {'once' if fits == 1 else f'{fits} times'}:", "\n".join(lines)]
        parts.append(
            "In brackets after WAPE: what is saved against the best of last value, same time a day and a week ago."
        )
        RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
