"""Public series for the accuracy benchmark, on regular grids; they lie beside the repository."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from headrace import Forecaster
from headrace.features import col, seasonal_features
from headrace.features.arrays import Array, History, history_of
from headrace.features.view import Features
from headrace.grid import Cadence, Grid
from headrace.grid.grid import EPOCH, MICROSECOND
from headrace.models.backtest import ForecastProblem

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
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
        seasons: What a series repeats after, the shorter first.
        parts: More lines of the table: a name, and the rows of the history that it is about.
    """

    name: str
    history: History
    features: Features
    horizon: int
    report: int
    every: int
    seasons: tuple[timedelta, ...] = (DAY, WEEK)
    parts: dict[str, Array] = field(default_factory=dict)

    @property
    def season(self) -> int:
        """Steps of the shorter season, by which MASE scales."""
        return self.seasons[0] // self.history.step

    def model(self, **settings: Any) -> Forecaster:
        """The default forecaster with this set's seasons."""
        return Forecaster(seasons=self.seasons, **settings)

    def task(self, model: Forecaster) -> ForecastProblem:
        """What is forecast."""
        return ForecastProblem(model.frame("y", self.history.step), self.horizon, self.features)

    def windows(self, choose: bool) -> tuple[int, np.ndarray]:
        """The last position that a fit may see, and the origins: of the reported window, or of the one before it."""
        last = self.history.length - 1 - (self.report if choose else 0)
        end = last - self.report
        return end, np.arange(end, last - self.horizon + 1, self.every)


def _one(
    frame: pl.DataFrame, keys: tuple[str, ...], step: timedelta = HOUR, columns: tuple[str, ...] = ("y",)
) -> History:
    """A frame of ``time`` (UTC) and numbers on a regular grid from its first time; of values of one step the mean."""
    first = frame["time"].min()
    assert isinstance(first, datetime)
    grid = Cadence(step, phase=(first - EPOCH) // MICROSECOND).grid()
    frame = frame.with_columns(grid.floored(frame["time"]))
    frame = frame.group_by([*keys, "time"]).agg(pl.col(columns).mean())
    return history_of(frame, keys=keys, time="time", columns=columns, grid=grid)


def _utc(column: str, form: str | None = None) -> pl.Expr:
    return pl.col(column).str.to_datetime(form, time_unit="us", time_zone="UTC").alias("time")


def de35() -> Dataset:
    """76 Danish series, 24 h ahead, the last week, every 3 hours."""
    frame = pl.read_csv(SHARED / "denmark_de35/ConsumptionDE35Hour.csv.gz", infer_schema=False)
    frame = frame.select("PriceArea", "ConsumerType_DE35", _utc("HourUTC"), y=pl.col("TotalCon").cast(float))
    features = seasonal_features("y", step="1h", country="DK", zone="Europe/Copenhagen")
    history = _one(frame, ("PriceArea", "ConsumerType_DE35"))
    largest = (pl.col("PriceArea") == "DK1") & (pl.col("ConsumerType_DE35") == "999")
    rest = np.flatnonzero(~history.keys.select(largest).to_series().to_numpy())
    return Dataset("DE35", history, features, 24, 7 * 24, 3, parts={"DE35 without DK1 999": rest})


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
    held = {r[0]: np.array([float(v) for v in r[1:]]) for r in tests.iter_rows()}
    names, longest = sorted(rows), max(map(len, rows.values()))
    y = np.full((len(names), longest + 48), np.nan)
    for i, name in enumerate(names):
        y[i, longest - len(rows[name]) : longest] = rows[name]
        y[i, longest:] = held.get(name, np.nan)
    history = History(
        pl.DataFrame({"series": names}), {"y": y}, Grid(HOUR).slot(datetime(2017, 1, 1, tzinfo=UTC)), Grid(HOUR)
    )
    return Dataset("M4 hourly", history, seasonal_features("y", step="1h", calendar=False), 48, 48, 1)


def bikes() -> Dataset:
    """Hires of bicycles, 24 h ahead, the last 90 days."""
    frame = _hires()
    features = seasonal_features("y", step="1h", country="US")
    return Dataset("Bikes", _one(frame, ("place",)), features, 24, 90 * 24, 5)


def bikes_with_weather() -> Dataset:
    """The same, with the weather of the hours ahead known."""
    known = ("temp", "hum", "windspeed", "weathersit", "workingday")
    features = seasonal_features("y", step="1h", country="US") | {name: col(name) for name in known}
    history = _one(_hires(), ("place",), columns=("y", *known))
    return Dataset("Bikes with weather", history, features, 24, 90 * 24, 5)


def _hires() -> pl.DataFrame:
    frame = pl.read_csv(SHARED / "bike_sharing/hour.csv.gz", infer_schema=False)
    day = pl.col("dteday").str.to_datetime("%d/%m/%y", time_unit="us", time_zone="UTC")
    numbers = pl.col("temp", "hum", "windspeed", "weathersit", "workingday").cast(float)
    time = day + pl.duration(hours=pl.col("hr").cast(pl.Int64))
    return frame.select(numbers, time=time, y=pl.col("cnt").cast(float), place=pl.lit("Washington"))


def steel() -> Dataset:
    """Energy of a steel works every 15 minutes, a day ahead, the last 60 days. Its rows are in order, not its dates."""
    step = timedelta(minutes=15)
    frame = pl.read_csv(SHARED / "steel_industry/Steel_industry_data.csv.gz", infer_schema=False)
    first = datetime(2018, 1, 1, 0, 15, tzinfo=UTC)
    times = pl.datetime_range(first, first + step * (frame.height - 1), step, time_unit="us", eager=True)
    frame = frame.select(time=times, y=pl.col("Usage_kWh").cast(float), place=pl.lit("works"))
    features = seasonal_features("y", step=step, country="KR")
    return Dataset("Steel", _one(frame, ("place",), step), features, 96, 60 * 96, 47)


def retail() -> Dataset:
    """Revenue a day of the eight largest countries of a shop, 14 days ahead, the last eight weeks, every day.

    A day without a sale is missing; the smaller countries have few others.
    """
    return _revenue("Retail", _sales())


def retail_with_zeros() -> Dataset:
    """The same where a day without a sale is a zero."""
    sums = _sales()
    days = pl.datetime_range(sums["time"].min(), sums["time"].max(), "1d", eager=True).alias("time")
    every = sums.select("country").unique().join(days.to_frame(), how="cross")
    frame = every.join(sums, on=["country", "time"], how="left").with_columns(pl.col("y").fill_null(0.0))
    return _revenue("Retail with zeros", frame)


def _sales() -> pl.DataFrame:
    frame = pl.read_csv(SHARED / "online_retail/OnlineRetail_sample.csv.gz", infer_schema=False)
    revenue = pl.col("Quantity").cast(float) * pl.col("UnitPrice").cast(float)
    frame = frame.select(_utc("InvoiceDate").dt.truncate("1d"), country="Country", y=revenue)
    largest = frame.group_by("country").agg(pl.col("y").sum()).top_k(8, by="y")["country"]
    return frame.filter(pl.col("country").is_in(largest)).group_by("country", "time").agg(pl.col("y").sum())


def _revenue(name: str, frame: pl.DataFrame) -> Dataset:
    features = seasonal_features("y", step="1d", seasons=("168h",), country="GB")
    return Dataset(name, _one(frame, ("country",), DAY), features, 14, 56, 1, (WEEK,))


ALL: dict[str, tuple[str, Callable[[], Dataset]]] = {
    "de35": ("denmark_de35", de35),
    "m4": ("m4_hourly", m4),
    "ett": ("ett", ett),
    "pjm": ("pjme_hourly", pjm),
    "aalborg": ("denmark_private_hourly", aalborg),
    "bikes": ("bike_sharing", bikes),
    "weather": ("bike_sharing", bikes_with_weather),
    "steel": ("steel_industry", steel),
    "retail": ("online_retail", retail),
    "zeros": ("online_retail", retail_with_zeros),
}
"""Name on the command line: folder of the data, and the function that reads it. The streams stand beside them."""


def names() -> list[str]:
    """Every set whose data are there, by its name on the command line."""
    found = [name for name, (folder, _) in ALL.items() if (SHARED / folder).exists()]
    return found + [_stream(path) for path in _streams()]


def read(name: str) -> Dataset:
    """The set of this name."""
    if name in ALL:
        return ALL[name][1]()
    (path,) = (path for path in _streams() if _stream(path) == name)
    return _metrics(_on_grid(path), name)


def _streams() -> list[Path]:
    return sorted((SHARED / NAB).glob("*.csv.gz"))


def _stream(path: Path) -> str:
    """What a stream is called: its own name, without that of the folder that it comes from."""
    return path.name.removesuffix(".csv.gz").split("__")[-1]


def streams() -> list[Dataset]:
    """Metrics of services, 12 steps ahead, the last three tenths: one set a stream, and those of 5 minutes as one."""
    alone = {path.name: _on_grid(path) for path in _streams()}
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
    return _one(frame.with_columns(stream=pl.lit(_stream(path))), ("stream",), step)


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
