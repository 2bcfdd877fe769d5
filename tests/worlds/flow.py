"""A small system and worlds of facts with their known times."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headrace import Column, Contract, Forecaster, Monitoring, Schedule, Source, System
from headrace.features import col, lag, rolling_count, seasonal_features

HOUR = timedelta(hours=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SEASONS = ("12h", "24h")  # longer than two horizons: intervals follow the last errors
HOURS = 24 * 12
"""Length of the world; runs begin 24 hours before its end."""


def system_of(train="never", **more):
    return System(
        name="world",
        source=Source(lag="1h"),
        contract=Contract(
            columns=(
                Column("place", "category"),
                Column("time", "time", zone="UTC"),
                Column("load", "float", nullable=True),
                Column("warmth", "float", nullable=True, known_future=True),
            ),
            max_invalid_fraction=0.5,
        ),
        keys=("place",),
        time="time",
        step="1h",
        target="load",
        features=seasonal_features("load", step="1h", seasons=SEASONS)
        | {"warmth": col("warmth"), "was": lag("warmth", "1h"), "heard": rolling_count("load", "24h")},
        model=Forecaster(seasons=SEASONS, n_estimators=3, num_leaves=4, min_child_samples=20, max_rows=1000),
        horizon="6h",
        schedule=Schedule(predict="1h", train=train),
        monitoring=Monitoring(baselines=SEASONS, window="3d"),
        **more,
    )


def world(seed, *, places=3, gaps=0.0, late=0, corrections=0.0, ahead=True, lives=None):
    """Facts with their known times: hours that come late, never, again, or (warmth) before their time.

    `lives` gives the hours, first and end, between which a place is heard of, by its number; others are all the time.
    """
    rng = np.random.default_rng(seed)
    hours = np.arange(HOURS)
    facts = []
    for place in range(places):
        load = 100 + 20 * np.sin(hours / 24 * 2 * np.pi) + 10 * np.sin(hours / 6 * 2 * np.pi) + rng.normal(0, 2, HOURS)
        warmth = rng.normal(10, 3, HOURS)
        for hour in hours[slice(*(lives or {}).get(place, (None, None)))]:
            time = START + HOUR * int(hour)
            known = time + HOUR + HOUR * int(rng.integers(0, late + 1))
            if ahead:
                facts.append((f"p{place}", time, None, warmth[hour] + rng.normal(0, 1), time - 9 * HOUR))
            if rng.random() >= gaps:
                facts.append((f"p{place}", time, load[hour], warmth[hour], known))
                if rng.random() < corrections:
                    again = known + HOUR * int(rng.integers(1, 30))
                    value = None if rng.random() < 0.2 else load[hour] * rng.uniform(0.5, 1.5)
                    facts.append((f"p{place}", time, value, warmth[hour], again))
    schema = {"place": pl.String, "time": pl.Datetime("us", "UTC"), "load": float, "warmth": float}
    return pl.DataFrame(facts, schema=schema | {"known_at": pl.Datetime("us", "UTC")}, orient="row")


def last(back=0):
    return START + HOUR * (HOURS - back)
