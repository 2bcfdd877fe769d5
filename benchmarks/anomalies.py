"""How well values that are unusual are told from others, and whether the declared rate of false alarms is kept.

    python benchmarks/anomalies.py [--only NAME] [--write]

Labelled streams (the visible part of NAB): the default forecaster is fitted once, on the first 15 %, and forecasts the
next step of every value after it, as a stream does. The score is NAB's (Lavin and Ahmad 2015), standard profile: a
window counts by its first alarm, the earlier the more; every alarm outside costs .11, less shortly after a window; a
window without an alarm costs 1; 0 is what silence gets and 100 what one alarm at the beginning of each window gets.
One limit for all streams. Windows that end before the fit does are left out.

Rates: alarms a week and series where none are labelled, of the same forecaster on hourly series, and of noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import datasets
from datasets import NAB, SHARED, Dataset, anomalies
from headrace.features.arrays import Array
from headrace.models.anomalies import AnomalyWatch, WatchedValues

RESULTS = Path(__file__).parent / "results" / "anomalies.md"
DAY_US, WEEK_US = 86_400_000_000, 7 * 86_400_000_000
HIT, FALSE = 1.0, 0.11
RATES = (1.0, 0.5, 0.25)
CHUNK = 20_000
"""Forecasts that are made at once."""
Detector = Callable[["Watched"], np.ndarray]


@dataclass(frozen=True)
class Watched:
    """One series after the fit, value for value: arrays over the values that are known and were forecast.

    Attributes:
        name: Of the series.
        time: Microseconds since 1970.
        step: Between two values.
        actual, value, lower, upper: The values, and the forecasts of them from the value before.
        past: Values before the fit's end.
        windows: First and last place of each labelled anomaly.
    """

    name: str
    time: np.ndarray
    step: timedelta
    actual: Array
    value: Array
    lower: Array
    upper: Array
    past: Array
    windows: list[tuple[int, int]]

    @property
    def weeks(self) -> float:
        """How long it is."""
        return float(self.time[-1] - self.time[0]) / WEEK_US


def watched(data: Dataset, end: int, rows: np.ndarray, stop: int | None = None) -> Iterator[Watched]:
    """The series of a set after a fit on what is known at `end`."""
    model = data.model()
    fitted = model.fit(data.task(model), data.history, end).model
    y = data.history.values["y"]
    places = np.arange(y.shape[1])
    for row in rows:
        known = np.flatnonzero(~np.isnan(y[row]) & (places > end) & (places < (stop or y.shape[1])))
        newest = np.maximum.accumulate(np.where(np.isnan(y[row]), -1, places))
        origin = np.maximum(newest[known - 1], end)
        known, origin = (each[known - origin <= data.horizon] for each in (known, origin))
        parts = []
        for chunk in np.array_split(origin, -(-origin.size // CHUNK)):
            said = fitted.forecast(data.history, np.full(chunk.size, row), chunk)
            parts.append(np.stack([said.value, said.lower, said.upper]))
        said = np.concatenate(parts, axis=1)[:, np.arange(origin.size), known - origin - 1]
        times = data.history.times(known).astype("datetime64[us]").astype(np.int64)
        name = str(data.history.keys.row(int(row))[-1])
        fine = np.isfinite(said).all(axis=0)
        windows = labelled(name, times[fine]) if data.history.series == 1 else []
        arrays = (array[fine] for array in (y[row][known], *said))
        yield Watched(name, times[fine], data.history.step, *arrays, y[row][: end + 1], windows)


def labelled(name: str, times: np.ndarray) -> list[tuple[int, int]]:
    """Places of the labelled windows that end after the fit."""
    found = []
    for first, last in anomalies(name):
        begin, end = (int(moment.timestamp() * 1e6) for moment in (first, last))
        if end >= times[0]:
            found.append((int(np.searchsorted(times, begin)), int(np.searchsorted(times, end, side="right")) - 1))
    return found


def sigmoid(position: float) -> float:
    """What an alarm is worth at a place relative to a window: -1 is its beginning, 0 its end."""
    return -1.0 if position > 3 else 2 / (1 + float(np.exp(5 * position))) - 1


@dataclass
class Tally:
    """What a detector did: NAB's raw score, windows with an alarm and all, and alarms within and outside."""

    raw: float = 0.0
    hits: int = 0
    windows: int = 0
    right: int = 0
    wrong: int = 0
    weeks: float = 0.0

    def add(self, flags: np.ndarray, of: Watched) -> None:
        """Count one series in."""
        inside = np.zeros(flags.size, dtype=bool)
        for first, last in of.windows:
            inside[first : last + 1] = True
            alarms = np.flatnonzero(flags[first : last + 1])
            if alarms.size:
                self.raw += HIT * sigmoid(-(last - first - alarms[0] + 1) / (last - first + 1)) / sigmoid(-1.0)
                self.hits += 1
            else:
                self.raw -= 1
        for place in np.flatnonzero(flags & ~inside):
            before = [window for window in of.windows if window[1] < place]
            first, last = before[-1] if before else (0, 0)
            self.raw += FALSE * (sigmoid((place - last) / max(last - first, 1)) if before else -1.0)
        self.windows += len(of.windows)
        self.right += int((flags & inside).sum())
        self.wrong += int((flags & ~inside).sum())
        self.weeks += of.weeks

    def line(self, name: str) -> str:
        """One row of the table."""
        score = 100 * (self.raw + self.windows) / (2 * self.windows)
        precision = self.right / max(self.right + self.wrong, 1)
        windows, often = f"{self.hits} of {self.windows}", f"{self.wrong / self.weeks:.2f}"
        return f"| {name} | {score:.1f} | {windows} | {precision:.2f} | {often} |"


def record(rate: float) -> Detector:
    """Ours, at a declared rate."""

    def flags(of: Watched) -> np.ndarray:
        watch = AnomalyWatch.of(of.step, rate)
        row = np.zeros(of.time.size, dtype=np.int64)
        values = WatchedValues(row, of.time, of.actual, of.value, of.lower, of.upper)
        return watch.judge(watch.unknown(1), values).anomaly

    return flags


def outside(of: Watched) -> np.ndarray:
    """Outside of the interval."""
    return (of.actual < of.lower) | (of.actual > of.upper)


def daily(flags: np.ndarray, of: Watched) -> np.ndarray:
    """At most one a day."""
    found, last = np.zeros(flags.size, dtype=bool), -DAY_US
    for place in np.flatnonzero(flags):
        if of.time[place] - last >= DAY_US:
            found[place], last = True, int(of.time[place])
    return found


def rolling(of: Watched) -> np.ndarray:
    """Four deviations from the mean of the day before, at most once a day."""
    size = max(int(timedelta(days=1) / of.step), 2)
    known = of.past[~np.isnan(of.past)][-size:]
    line = np.concatenate([known, of.actual])
    windows = np.lib.stride_tricks.sliding_window_view(line, known.size)[: of.actual.size]
    spread = np.maximum(windows.std(axis=1), 1e-12)
    return daily(np.abs(of.actual - windows.mean(axis=1)) > 4 * spread, of)


def chance(of: Watched) -> np.ndarray:
    """At random, once a week."""
    return np.random.default_rng(0).random(of.time.size) < of.step / timedelta(weeks=1)


DETECTORS: dict[str, Detector] = {
    **{f"declared {rate:g} a week": record(rate) for rate in RATES},
    "outside of the interval (before)": outside,
    "the same, at most one a day": lambda of: daily(outside(of), of),
    "rolling z > 4, at most one a day": rolling,
    "at random, one a week": chance,
}
HEADER = (
    "| detector | NAB, standard profile | windows | precision | false alarms a week and series |\n|---|---|---|---|---|"
)
HEADER_RATES = "| series | weeks | declared 1 | declared .5 | declared .25 |\n|---|---|---|---|---|"


def streams(only: str) -> Iterator[Watched]:
    """The labelled streams."""
    for name in datasets.names():
        if name not in datasets.ALL and only in name:
            data = datasets.read(name)
            yield from watched(data, int(data.history.length * 0.15), np.arange(1))


def hourly() -> Iterator[tuple[str, list[Watched]]]:
    """Hourly series: every second of 76 Danish ones, one Danish municipality, and every sixth of M4's."""
    for name, days, every in (("de35", 18, 2), ("aalborg", 365, 1), ("m4", 15, 6)):
        if name in datasets.names():
            data = datasets.read(name)
            stop = data.history.length - (48 if name == "m4" else 0)
            yield data.name, list(watched(data, stop - days * 24, np.arange(0, data.history.series, every), stop))


def noise(kind: str, step: timedelta, weeks: int, seed: int) -> Watched:
    """A forecast of zero, and errors of a kind."""
    rng = np.random.default_rng(seed)
    size = int(timedelta(weeks=weeks) / step)
    time = np.arange(size) * (step // timedelta(microseconds=1)) + int(rng.integers(0, DAY_US))
    errors = rng.standard_t(3, size) if kind.startswith("heavy") else rng.standard_normal(size)
    if kind == "autocorrelated":
        for i in range(1, size):
            errors[i] += 0.5 * errors[i - 1]
    if kind == "of changing size":
        errors *= np.exp(0.8 * np.sin(2 * np.pi * time / DAY_US) + np.cumsum(rng.normal(0, 0.3 / size**0.5, size)))
    half = np.full(size, np.quantile(np.abs(errors), 0.9))
    return Watched(kind, time, step, errors, np.zeros(size), -half, half, errors[:0], [])


def rates(name: str, of: list[Watched]) -> str:
    """One row: how often nothing was called something."""
    weeks = sum(one.weeks for one in of)
    counts = [sum(int(record(rate)(one).sum()) for one in of) / weeks for rate in RATES]
    return f"| {name} | {weeks:.0f} | {' | '.join(f'{count:.2f}' for count in counts)} |"


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of a stream's name")
    parser.add_argument("--write", action="store_true", help=f"save {RESULTS.name}")
    options = parser.parse_args()
    if not (SHARED / NAB).exists():
        print(f"skipped: {SHARED / NAB} is absent", file=sys.stderr)
        return 0
    tallies = {name: Tally() for name in DETECTORS}
    for one in streams(options.only):
        for name, detect in DETECTORS.items():
            tallies[name].add(detect(one), one)
    lines = [HEADER, *(tally.line(name) for name, tally in tallies.items())]
    print(*lines, sep="\n", flush=True)
    table = [HEADER_RATES]
    print(HEADER_RATES)
    for kind in ("normal", "autocorrelated", "heavy tails", "of changing size"):
        for step, weeks in ((timedelta(minutes=5), 8), (timedelta(hours=1), 26)):
            label = f"noise, {kind}, every {'hour' if step == timedelta(hours=1) else '5 minutes'}"
            table.append(rates(label, [noise(kind, step, weeks, seed) for seed in range(12)]))
            print(table[-1], flush=True)
    for name, some in hourly() if not options.only else ():
        table.append(rates(name, some))
        print(table[-1], flush=True)
    if options.write:
        head = f"`python benchmarks/anomalies.py {' '.join(sys.argv[1:])}`, {datetime.now(UTC).date()}."
        note = (
            "One model a stream, fitted on its first 15 %. Silence scores 0, one alarm at each window's beginning 100."
        )
        rest = "Alarms a week and series where nothing is labelled, those of the first weeks included:"
        RESULTS.write_text("\n\n".join([head, note, "\n".join(lines), rest, "\n".join(table)]) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
