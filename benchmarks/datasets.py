"""Public series for the accuracy benchmark, on regular grids; they lie beside the repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headrace.features import seasonal_features
from headrace.features.arrays import Array, Grid, History, history_of
from headrace.features.view import Features

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
HOUR = timedelta(hours=1)
NAB = "nab_streams"


@dataclass(frozen=True)
class Dataset:
    """One set and how it is measured.

    Attributes:
        name: As in the table, or what goes before each series' own.
        history: All visible values of the column ``y``.
        features: The standard ones, with the calendar of the place.
        horizon: Steps ahead.
        report: Length of the reported window, in steps; the model sees nothing of it.
        every: Steps between two origins.
        tests: Values after the history's end, by row; for sets with a test part of their own.
    """

    name: str
    history: History
    features: Features
    horizon: int
    report: int
    every: int
    tests: dict[int, Array] = field(default_factory=dict)

    def windows(self, choose: bool) -> tuple[int, np.ndarray]:
        """The last position that a fit may see, and the origins: of the reported window, or of the one before it."""
        last = self.history.length - 1 - (self.report if choose else 0)
        end = last - self.report
        return end, np.arange(end, last - self.horizon + 1, self.every)


def _one(frame: pl.DataFrame, keys: tuple[str, ...], step: timedelta = HOUR) -> History:
    """A frame of ``time`` (UTC) and ``y`` on a regular grid from its first time on; of values of one step the mean."""
    first = frame["time"].min()
    assert isinstance(first, datetime)
    steps = (pl.col("time") - first).dt.total_microseconds() // (step // timedelta(microseconds=1))
    frame = frame.with_columns(time=first + steps * step)
    frame = frame.group_by([*keys, "time"]).agg(pl.col("y").mean())
    last = frame["time"].max()
    assert isinstance(last, datetime)
    return history_of(frame, keys=keys, time="time", columns=("y",), grid=Grid(first, last, step))


def _utc(column: str, form: str | None = None) -> pl.Expr:
    return pl.col(column).str.to_datetime(form, time_unit="us", time_zone="UTC").alias("time")


def de35() -> Dataset:
    """76 Danish series, 24 h ahead, the last week, every 3 hours."""
    frame = pl.read_csv(SHARED / "denmark_de35/ConsumptionDE35Hour.csv.gz", infer_schema=False)
    frame = frame.select("PriceArea", "ConsumerType_DE35", _utc("HourUTC"), y=pl.col("TotalCon").cast(float))
    features = seasonal_features("y", step="1h", country="DK", zone="Europe/Copenhagen")
    return Dataset("DE35", _one(frame, ("PriceArea", "ConsumerType_DE35")), features, 24, 7 * 24, 3)


def aalborg() -> Dataset:
    """Private households of one municipality, 24 h ahead, the last 180 days."""
    path = SHARED / "denmark_private_hourly/ConsumptionIndustry_851_Privat.csv.gz"
    frame = pl.read_csv(path, separator=";", infer_schema=False)
    value = pl.col("ConsumptionkWh").str.replace(",", ".").cast(float)
    frame = frame.select(_utc("HourUTC"), y=value, place=pl.lit("Aalborg"))
    features = seasonal_features("y", step="1h", country="DK", zone="Europe/Copenhagen")
    return Dataset("Aalborg", _one(frame, ("place",)), features, 24, 180 * 24, 23)


def pjm() -> Dataset:
    """Load of PJM East (local time), 24 h ahead, the last year."""
    frame = pl.read_csv(SHARED / "pjme_hourly/PJME_hourly.csv.gz", infer_schema=False)
    frame = frame.select(_utc("Datetime"), y=pl.col("PJME_MW").cast(float), place=pl.lit("PJME"))
    features = seasonal_features("y", step="1h", country="US")
    return Dataset("PJM East", _one(frame, ("place",)), features, 24, 365 * 24, 47)


def ett() -> Dataset:
    """Oil temperature of a transformer, 24 h ahead, the usual validation months."""
    frame = pl.read_csv(SHARED / "ett/ETTh1.csv.gz", infer_schema=False)
    frame = frame.select(_utc("date"), y=pl.col("OT").cast(float), place=pl.lit("OT"))
    return Dataset("ETTh1", _one(frame, ("place",)), seasonal_features("y", step="1h"), 24, 120 * 24, 11)


def m4() -> Dataset:
    """M4 hourly, 48 h ahead: 414 series to learn from; the odd ones' test part is visible. No calendar is given."""
    train = pl.read_csv(SHARED / "m4_hourly/Hourly-train.csv.gz", infer_schema=False)
    tests = pl.read_csv(SHARED / "m4_hourly/Hourly-test-odd.csv.gz", infer_schema=False)
    rows = {r[0]: np.array([float(v) for v in r[1:] if v]) for r in train.iter_rows()}
    names = sorted(rows)
    longest = max(map(len, rows.values()))
    y = np.full((len(names), longest), np.nan)
    for i, name in enumerate(names):
        y[i, longest - len(rows[name]) :] = rows[name]
    history = History(pl.DataFrame({"series": names}), {"y": y}, datetime(2017, 1, 1, tzinfo=UTC), HOUR)
    held = {names.index(r[0]): np.array([float(v) for v in r[1:]]) for r in tests.iter_rows()}
    return Dataset("M4 hourly", history, seasonal_features("y", step="1h", calendar=False), 48, 0, 1, held)


ALL: dict[str, tuple[str, Callable[[], Dataset]]] = {
    "de35": ("denmark_de35", de35),
    "m4": ("m4_hourly", m4),
    "ett": ("ett", ett),
    "pjm": ("pjme_hourly", pjm),
    "aalborg": ("denmark_private_hourly", aalborg),
}
"""Name on the command line: folder of the data, and the function that reads it."""


def streams() -> list[Dataset]:
    """Metrics of services, 12 steps ahead, the last three tenths: one set a stream, and those of 5 minutes as one."""
    alone = {path.name: _on_grid(path) for path in sorted((SHARED / NAB).glob("*.csv.gz"))}
    sets = [_metrics(history) for history in alone.values()]
    fast = [history for history in alone.values() if history.step == timedelta(minutes=5)]
    return [*sets, _metrics(_together(fast), "together: ")] if len(fast) > 1 else sets


def anomalies(stream: str) -> list[tuple[datetime, datetime]]:
    """First and last time (UTC) of each labelled anomaly of a stream."""
    labels = json.loads((SHARED / NAB / "anomaly_windows.json").read_text(encoding="utf-8"))
    pairs = [pair for path, windows in labels.items() if Path(path).stem == stream for pair in windows]
    first, last = ([datetime.fromisoformat(pair[i]).replace(tzinfo=UTC) for pair in pairs] for i in (0, 1))
    return list(zip(first, last, strict=True))


def _on_grid(path: Path) -> History:
    frame = pl.read_csv(path, infer_schema=False).select(_utc("timestamp"), y=pl.col("value").cast(float))
    step = frame["time"].sort().diff().median()
    assert isinstance(step, timedelta)
    name = path.name.removesuffix(".csv.gz").split("__")[-1]
    return _one(frame.with_columns(stream=pl.lit(name)), ("stream",), step)


def _metrics(history: History, name: str = "") -> Dataset:
    """The window is three tenths of the shortest stream."""
    y = history.values["y"]
    shortest = int((y.shape[1] - (~np.isnan(y)).argmax(axis=1)).min())
    return Dataset(name, history, seasonal_features("y", step=history.step), 12, shortest * 3 // 10, 5)


def _together(histories: list[History]) -> History:
    """Streams of different years as one system: moved by whole days to end within a day of one another."""
    step, day = histories[0].step, timedelta(days=1)
    newest = max(history.end for history in histories)
    frames = []
    for history in histories:
        shift = (newest - history.end) // day * day
        times = [history.start + shift + step * i for i in range(history.length)]
        y = pl.Series(history.values["y"][0], nan_to_null=True)
        name = pl.lit(history.keys["stream"][0])
        frames.append(pl.DataFrame({"time": times, "y": y}).with_columns(stream=name).drop_nulls())
    return _one(pl.concat(frames).sort("time"), ("stream",), step)
