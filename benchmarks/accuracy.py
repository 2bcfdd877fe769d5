"""How good the default forecaster is: one configuration on eighteen public sets, beside what needs no model.

    python benchmarks/accuracy.py [--set de35,retail] [--window report] [--seeds 0,1,2] [--quick] [--write]
    python benchmarks/accuracy.py --shifts hourly [--set de35,retail] [--write]

Each model is fitted once, on what lies before the window, and forecasts from origins spread over it. Choices are made
on `--window choose`, the window before the reported one. M4 is scored as in the competition, on the visible half.
Boosters are kept on disk by what they were fitted on, so a change of what is done with a fitted model costs no fit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

import datasets
import shifts
from datasets import DAY, Dataset
from headrace import metrics
from headrace.features.arrays import Array
from headrace.features.matrix import Examples
from headrace.models import forecaster
from headrace.models.backtest import Backtest, backtest
from headrace.models.baselines import last_value, mean_value, seasonal_naive

RESULTS = Path(__file__).parent / "results" / "accuracy.md"
CACHE = Path(tempfile.gettempdir()) / "headrace-boosters"
FEW = 40
"""Origins of a quick look."""
LEVEL = 0.9
PEER = Path(__file__).parent / "peers" / "mlforecast_accuracy.py"
PEERS = ("scaled", "differences")
"""mlforecast on scaled values, and on differences to a season before."""
PEERS_NOTE = """mlforecast with LightGBM (300 trees, L1, lags, rolling means, calendar), on values in units of each
series' spread and on differences to a season before, from the same origins; "ours" is our error as a share of the
better one's."""
PUBLISHED = """Published OWA on all of M4 hourly: Doornik .410, Smyl .440, seasonal naive .627, a plain direct LightGBM
with z-scaled targets and L1 .426. Published MAPE for Aalborg, 24 h ahead: SARIMAX 6.85 %, seasonal naive 7.06 %."""


def remembering(fit: Callable[..., str], folder: Path) -> Callable[..., str]:
    """A fit of boosters that reads from a folder what it was asked before: by all that it depends on."""

    def fitted(matrix: Array, learn: Array, **settings: Any) -> str:
        path = folder / digest(json.dumps(settings, sort_keys=True, default=str), matrix, learn)
        if path.exists():
            return path.read_text(encoding="utf-8")
        text = fit(matrix, learn, **settings)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(path)
        return text

    return fitted


def digest(text: str, *arrays: Array) -> str:
    """Of a text and the values of arrays."""
    key = blake2b(text.encode(), digest_size=16)
    for array in arrays:
        key.update(str((array.shape, array.dtype)).encode() + np.ascontiguousarray(array).tobytes())
    return key.hexdigest()


def window(data: Dataset, seed: int, choose: bool, quick: bool) -> Backtest:
    """What the default forecaster says over a window's origins, beside what came true."""
    model = data.model(seed=seed)
    end, origins = data.windows(choose)
    if quick:
        origins = origins[:: -(-origins.size // FEW)]
    done = backtest(model.fit(data.task(model), data.history, end).model, data.history, origins)
    actual = data.history.values["y"][done.series, done.origin + done.ahead]  # as it came, glitches too
    return replace(done, actual=actual)


def peers(data: Dataset, done: Backtest, python: Path, folder: Path) -> dict[str, Array]:
    """What the peers say of the same values; kept on disk by what they were given."""
    origins = np.unique(done.origin)
    short, *_, long = (season // data.history.step for season in (*data.seasons, data.seasons[-1]))
    told = {
        "start": data.history.start.replace(tzinfo=None).isoformat(),
        "step": data.history.step.total_seconds(),
        "short": short,
        "long": long,
        "horizon": data.horizon,
        "end": int(origins[0]),
        "calendar": "weekday" in data.features.names,
    }
    values, text = data.history.values, json.dumps(told)
    name = digest(text + PEER.read_text(encoding="utf-8"), origins, *values.values())
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind in PEERS:
        out = folder / f"{name}-{kind}.npz"
        if not out.exists():
            given = folder / f"{name}.npz"
            np.savez(given, told=text, origins=origins, **values)
            command = [str(python), str(PEER), "--set", str(given), "--out", str(out), "--kind", kind]
            subprocess.run(command, check=True)
            given.unlink()
        with np.load(out) as file:
            found[kind] = file["value"].ravel()
    return found


def baselines(data: Dataset, done: Backtest) -> dict[str, Array]:
    """Forecasts of the same values without a model: the last value, each season's, the mean of four long seasons."""
    examples = Examples(done.series, done.origin, done.ahead)
    frame = data.task(data.model()).frame
    seasons = {
        "day" if season == DAY else "week": seasonal_naive(data.history, "y", season, examples)
        for season in data.seasons
    }
    return {
        "last": last_value(data.history, frame, examples),
        **seasons,
        "mean": mean_value(data.history, frame, examples),
    }


def scores(data: Dataset, done: Backtest, others: dict[str, Array] | None = None) -> dict[str, dict[str, float]]:
    """WAPE, RMSE and MASE of the model, the baselines and others on the pairs that all have; the model's intervals."""
    end = int(done.origin.min())
    y = data.history.values["y"][:, : end + 1]
    with np.errstate(invalid="ignore"):
        change = np.abs(y[:, data.season :] - y[:, : -data.season])
    scale = np.array([row[~np.isnan(row)].mean() if (~np.isnan(row)).any() else np.nan for row in change])[done.series]
    said = {"model": done.value} | baselines(data, done) | (others or {})
    known = ~np.isnan(np.sum([done.actual, *said.values()], axis=0))
    actual = done.regular[known], done.actual[known]
    found = {name: _errors(*actual, value[known], scale[known]) for name, value in said.items()}
    score = metrics.winkler(done.actual, done.lower, done.upper, LEVEL) / np.where(scale > 0, scale, np.nan)
    found["model"] |= {
        "coverage": metrics.coverage(done.actual, done.lower, done.upper),
        "winkler": float(np.nanmean(score)),
        "n": float(known.sum()),
    }
    return found


def _errors(regular: Array, actual: Array, value: Array, scale: Array) -> dict[str, float]:
    """Absolute errors of series that are not intermittent, where zero would win them; squared ones of all."""
    return {
        "wape": metrics.wape(regular, value),
        "rmse": metrics.rmse(actual, value),
        "mase": metrics.mase(regular, value, scale),
        "mape": metrics.mape(regular, value),
    }


def competition(data: Dataset, done: Backtest) -> dict[str, float]:
    """M4: sMAPE in per cent, MASE with season 24, and OWA against Naive2 on the same series: means over series."""
    ours, theirs = [], []
    actual, value = (each.reshape(-1, data.horizon) for each in (done.actual, done.value))
    for row, origin, truth, said in zip(
        done.series[:: data.horizon], done.origin[:: data.horizon], actual, value, strict=True
    ):
        if np.isnan(truth).any():
            continue
        known = data.history.values["y"][row, : origin + 1]
        known = known[~np.isnan(known)]
        scale = metrics.seasonal_scale(known, 24)
        for forecast, found in ((said, ours), (naive2(known, data.horizon), theirs)):
            found.append((100 * metrics.smape(truth, forecast), metrics.mase(truth, forecast, scale)))
    (smape, mase), (smape2, mase2) = np.mean(ours, axis=0), np.mean(theirs, axis=0)
    return {"smape": float(smape), "owa": float((smape / smape2 + mase / mase2) / 2)}


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


def measured(data: Dataset, done: Backtest, others: dict[str, Array]) -> dict[str, dict[str, dict[str, float]]]:
    """Scores of each line of the table that a set makes."""
    found = {data.name: scores(data, done, others)}
    if data.name.startswith("M4"):
        found[data.name]["model"] |= competition(data, done)
    for name, rows in data.parts.items():
        some = np.flatnonzero(np.isin(done.series, rows))
        columns = {name: getattr(done, name)[some] for name in Backtest.__dataclass_fields__}
        found[name] = scores(data, replace(done, **columns), {name: value[some] for name, value in others.items()})
    return found


HEADER = """| set | WAPE | RMSE | MASE | coverage of 90 % | Winkler / scale | best without a model: WAPE | RMSE | MASE |
|---|---|---|---|---|---|---|---|---|"""


def line(name: str, runs: list[dict[str, dict[str, float]]]) -> str:
    """One row of the table: the mean over seeds, and beside it the best baseline for each measure and the ratio."""
    of = {who: {key: statistics.fmean(run[who][key] for run in runs) for key in runs[0][who]} for who in runs[0]}
    ours, of = of["model"], {who: each for who, each in of.items() if who not in ("model", *PEERS)}
    shown = {"wape": "{:.2%}", "rmse": "{:.5g}", "mase": "{:.3f}"}
    cells = [form.format(ours[key]) for key, form in shown.items()]
    if "owa" in ours:
        name = f"{name}, OWA {ours['owa']:.4f}, sMAPE {ours['smape']:.2f}"
    cells += [f"{ours['coverage']:.1%}", f"{ours['winkler']:.3f}"]
    for key, form in shown.items():
        best = min(of, key=lambda who: of[who][key])
        cells.append(f"{best} {form.format(of[best][key])} ({ours[key] / of[best][key]:.3f})")
    return f"| {name} | {' | '.join(cells)} |"


def beside(name: str, run: dict[str, dict[str, float]]) -> str:
    """One row of the table of peers: each measure of theirs, and ours as a share of the better one."""
    cells = []
    for key, form in {"wape": "{:.2%}", "rmse": "{:.5g}", "mase": "{:.3f}"}.items():
        ours, theirs = run["model"][key], [run[peer][key] for peer in PEERS]
        cells += [*(form.format(each) for each in theirs), f"{ours / min(theirs):.3f}"]
    return f"| {name} | {' | '.join(cells)} |"


BESIDE = """| set | WAPE: scaled | differences | ours | RMSE: scaled | differ. | ours | MASE: scaled | differ. | ours |
|---|---|---|---|---|---|---|---|---|---|"""


def after_shifts(names: list[str], batch: bool) -> list[str]:
    """The table of forecasts after a step of level, said as it is found."""
    lines, every = [shifts.HEADER], []
    print(shifts.HEADER, flush=True)
    for name in names:
        data = datasets.read(name)
        end, _ = data.windows(choose=False)
        model = data.model()
        found = list(shifts.copies(shifts.some(data), model.fit(data.task(model), data.history, end).model, batch))
        every += found
        lines.append(shifts.line(data.name, found))
        print(lines[-1], flush=True)
    lines.append(shifts.line("all copies", every))
    print(lines[-1], flush=True)
    return lines


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="", help=f"some of {', '.join(datasets.names())}; all by default")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--window", choices=("choose", "report"), default="report")
    parser.add_argument("--quick", action="store_true", help=f"at most {FEW} origins")
    parser.add_argument(
        "--shifts", choices=("hourly", "batch"), help="after a step of level: origins every hour, or one a horizon"
    )
    parser.add_argument("--cache", type=Path, default=CACHE, help="where boosters are kept")
    parser.add_argument("--peers", type=Path, help="the Python of an environment made from peers/mlforecast.lock")
    parser.add_argument("--json", type=Path, help="save every figure here")
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    options = parser.parse_args()
    forecaster.fit_booster = remembering(forecaster.fit_booster, options.cache)  # type: ignore[attr-defined]
    if options.shifts:
        lines = after_shifts(options.set.split(",") if options.set else datasets.names(), options.shifts == "batch")
        if options.write:
            command = f"`python benchmarks/accuracy.py {' '.join(sys.argv[1:])}`, {datetime.now(UTC).date()}."
            path = RESULTS.with_name(f"shifts_{options.shifts}.md")
            path.write_text("\n\n".join([command, "\n".join(lines), shifts.NOTE]) + "\n", encoding="utf-8")
        return 0
    seeds = [int(seed) for seed in options.seeds.split(",")]
    lines, rows, figures = [HEADER], [BESIDE], {}
    print(HEADER, flush=True)
    for name in options.set.split(",") if options.set else datasets.names():
        began, data = time.process_time(), datasets.read(name)
        done = [window(data, seed, options.window == "choose", options.quick) for seed in seeds]
        others = peers(data, done[0], options.peers, options.cache) if options.peers else {}
        runs = [measured(data, each, others) for each in done]
        for each in runs[0]:
            figures[each] = [run[each] for run in runs]
            lines.append(line(each, figures[each]))
            print(lines[-1], flush=True)
            if others:
                rows.append(beside(each, runs[0][each]))
                print(rows[-1], flush=True)
        print(f"{data.name}: {time.process_time() - began:.0f} s of CPU", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    if options.write:
        command = f"python benchmarks/accuracy.py {' '.join(sys.argv[1:])}"
        head = f"`{command}`, {datetime.now(UTC).date()}; means over seeds {options.seeds}."
        notes = "In brackets behind the best baseline: the model's error as a share of it, on the same pairs."
        beside_us = [PEERS_NOTE, "\n".join(rows)] if options.peers else []
        parts = [head, "\n".join(lines), notes, *beside_us, PUBLISHED]
        RESULTS.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
