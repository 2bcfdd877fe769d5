"""Two series whose level moves on one day, and a model that knows no level but the one that it was trained on."""

from datetime import datetime, timedelta

import polars as pl

from headrace import Column, Contract, Monitoring, Schedule, Source, System

from .frozen import Frozen  # noqa: TID252  # as people write it in a folder of theirs

BEGIN = datetime.fromisoformat("2026-01-01T00:00:00+00:00")


def load(as_of: datetime, at: int = 24, by: float = 1.6, days: int = 60, seed: int = 3):
    """Hours of `days` days, of which those from day `at` on are multiplied."""
    hours = pl.datetime_range(BEGIN, BEGIN + timedelta(days=days), "1h", eager=True, time_zone="UTC")
    hours = hours.dt.cast_time_unit("us").filter(hours <= as_of)
    frames = []
    for number in range(2):
        noise = (hours.dt.timestamp() // 3_600_000_000 + number + 1).hash(seed) % 1000 / 1000 - 0.5
        level = pl.when(pl.col("time") >= BEGIN + timedelta(days=at)).then(by).otherwise(1.0)
        value = (10.0 * (number + 1) + pl.col("time").dt.hour() + 4 * pl.lit(noise)) * level
        frames.append(
            hours.to_frame("time").select(pl.lit(f"s{number}").alias("series"), "time").with_columns(value=value)
        )
    return pl.concat(frames)


system = System(
    name="shifted",
    source=Source(simulate=load),
    contract=Contract(columns=(Column("series", "category"), Column("time", "time"), Column("value", "float"))),
    keys=("series",),
    time="time",
    step="1h",
    target="value",
    model=Frozen(),
    horizon="6h",
    schedule=Schedule(predict="6h", train="never"),
    monitoring=Monitoring(baselines=("24h",), window="4d"),
)
