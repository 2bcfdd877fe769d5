"""Two series whose level moves on one day, a model that does not notice, and alarms that act on it."""

from datetime import datetime, timedelta

import polars as pl

from headrace import Column, Contract, Monitoring, Schedule, Source, System
from headrace.models.frames import FrameForecaster
from headrace.tuning import Tuning

from .frozen import Frozen  # noqa: TID252  # as people write it in a folder of theirs
from .rule import Served  # noqa: TID252

BEGIN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def load(as_of: datetime, at: int = 24, by: float = 1.6, until: int = 1000, days: int = 60, seed: int = 3):
    """Hours of `days` days, of which those from day `at` on, and before `until`, are multiplied."""
    hours = pl.datetime_range(BEGIN, BEGIN + timedelta(days=days), "1h", eager=True, time_zone="UTC")
    hours = hours.dt.cast_time_unit("us").filter(hours <= as_of)
    frames = []
    for number in range(2):
        noise = (hours.dt.timestamp() // 3_600_000_000 + number + 1).hash(seed) % 1000 / 1000 - 0.5
        moved = pl.col("time").is_between(BEGIN + timedelta(days=at), BEGIN + timedelta(days=until), closed="left")
        value = (10.0 * (number + 1) + pl.col("time").dt.hour() + 8 * pl.lit(noise)) * pl.when(moved).then(
            by
        ).otherwise(1)
        frames.append(pl.DataFrame({"series": f"s{number}", "time": hours}).with_columns(value=value))
    return pl.concat(frames)


system = System(
    name="acting",
    source=Source(simulate=load),
    contract=Contract(columns=(Column("series", "category"), Column("time", "time"), Column("value", "float"))),
    keys=("series",),
    time="time",
    step="1h",
    target="value",
    model=FrameForecaster(model=Frozen, params={"days": 1}, n_windows=8),
    horizon="6h",
    schedule=Schedule(predict="12h", train="never"),
    monitoring=Monitoring(baselines=("24h",), window="4d", rules=(Served(consecutive=2),), at_most={"per": "2d"}),
    tuning=Tuning(space={"model.params.days": [1, 4]}, trials=4),
)
