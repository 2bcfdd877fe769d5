"""bikes: bicycles hired in the next day, hour by hour, with the weather as it was forecast a day before."""

import polars as pl

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import col, seasonal_features

SEASONS = ("24h", "168h")


def hours(rows):
    """One column of times from the date and the hour."""
    written = pl.col("dteday") + " " + pl.col("hr").cast(pl.String).str.zfill(2)
    return rows.with_columns(hour=written, city=pl.lit("Washington"))


system = System(
    name="bikes",
    source=Source(prepare=hours, columns={"hired": "cnt", "warmth": "temp", "damp": "hum", "working": "workingday"}),
    contract=Contract(
        columns=(
            Column("city", "category"),
            Column("hour", "time", zone="America/New_York", format="%d/%m/%y %H"),
            Column("hired", "integer", minimum=0),
            Column("warmth", "float", known_future="24h"),
            Column("damp", "float", known_future="24h"),
            Column("working", "boolean", known_future=True),
        )
    ),
    keys=("city",),
    time="hour",
    step="1h",
    horizon="24h",
    target="hired",
    features=seasonal_features("hired", step="1h", seasons=SEASONS)
    | {"warmth": col("warmth"), "damp": col("damp"), "working": col("working")},
    model=Forecaster(seasons=SEASONS, n_estimators=60, learning_rate=0.15, min_child_samples=20, max_rows=8000),
    schedule=Schedule(predict="12h", train="7d"),
    monitoring=Monitoring(baselines=SEASONS),
)
