"""A small trained system, an engine over it, and the batch door's answer to the same facts."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from tests.templates import template

from headrace.flow.run import RunRequest, run
from headrace.grid import Grid
from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.engine.engine import AnsweringModel, Engine, Message
from headrace.serving.engine.seeding import Seeded
from headrace.serving.stream import champions
from headrace.settings import Settings
from headrace.sources.events import NEVER, EventShape

ROOT = Path(__file__).resolve().parents[2]
TRAINED = datetime(2020, 3, 2, tzinfo=UTC)
STEP = timedelta(hours=1)
SETTINGS = [
    *("step=1h", "horizon=3h", "model.seasons=[6h,24h]", "monitoring.baselines=[6h]"),
    *("model.n_estimators=5", "model.max_rows=2000", "stream.allowed_lateness=5h"),
]
SOURCE = "simulated:?series=8&days=20&step=1h"


def system():
    return load_system(str(ROOT / "systems" / "live_metrics"), SETTINGS)


def train(folder: Path) -> Home:
    home = Home(Settings(home=folder))
    run(system(), home, RunRequest(TRAINED, TRAINED, SOURCE, ("ingest", "validate", "train")))
    return home


def trained(base: Path, to: Path) -> Home:
    """A copy of a home with a trained model; `base` is the process's base of temporary folders."""
    shutil.copytree(template(base, "metrics", lambda folder: train(folder / "home")) / "home", to)
    return Home(Settings(home=to))


def champion(home: Home) -> AnsweringModel:
    return champions.champion(system(), home, TRAINED + timedelta(days=9000))


def shape(of=None) -> EventShape:
    of = of or system()
    return EventShape(
        *(of.contract, of.keys, of.event_time, (of.target,), Grid(of.step), of.source.lag),
        *(of.stream.allowed_lateness, of.stream.max_clock_skew),
    )


def nothing(keys, slots, at, length, columns=1):
    never = np.full(len(keys), NEVER)
    return Seeded(np.full((columns, len(keys), length), np.nan), never, never)


def engine(who: AnsweringModel, seed=nothing, of=None) -> Engine:
    return Engine("live_metrics", shape(of), who, "live_metrics.events", seed=seed)


def message(offset, metric, time, value, partition=0, received=datetime(2100, 1, 1, tzinfo=UTC)):
    body = {"metric": metric, "time": time.isoformat().replace("+00:00", "Z"), "value": value}
    return Message(partition, offset, metric.encode(), json.dumps(body).encode(), int(received.timestamp() * 1000))


def batch(who: AnsweringModel, home: Home, name: str, facts: pl.DataFrame, as_of: datetime, metric: str):
    """What the batch door says of one series as of a time, from these facts alone."""
    table = home.table("live_metrics", name)
    if not table.exists():
        table.append(facts, identity=["metric", "time"], compare=["value"], window="time")
    views = who.predictor.snapshots(table, [as_of], table.version())
    frame = who.predictor.predict(views).frame.filter(pl.col("metric") == metric)
    return frame.select("time", "value", "lower", "upper").rows()
