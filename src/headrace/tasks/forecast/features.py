"""What every series looks like at the origin of a forecast: read once for its features and its predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from headrace.contract.apart import FACTS
from headrace.features.arrays import Arrays
from headrace.home import Home
from headrace.store import FeatureGroup
from headrace.store.snapshots import Snapshots, read_snapshots
from headrace.system import System


def look(system: System, home: Home, as_of: Sequence[datetime], *, data_version: int) -> Snapshots:
    """What runs as of these times (ascending) see of every series: read once, for their features and predictions.

    Raises:
        NotEnoughDataError: Nothing is known as of the first time.
    """
    series = home.series(system)
    step = series.grid.step
    ahead = step * system.steps
    span = max(system.model.lookback(system.features, step, ahead), *system.monitoring.compared)
    return read_snapshots(
        home.table(system.name, series.table), series, as_of, data_version, span=span + step, ahead=ahead
    )


def features(system: System, home: Home, snapshots: Snapshots, as_of: Sequence[datetime]) -> list[int]:
    """Store what every series looks like at the forecast origin of each time: the features of the origin alone.

    They are what drift is measured on and what a trace shows. Returns the number of series for each time.

    Args:
        system: The declaration.
        home: Where everything is.
        snapshots: From `look`, as of the same times.
        as_of: Ascending.
    """
    import polars as pl

    chosen = system.features.at_origin()
    if not chosen.names:
        return [0] * len(as_of)
    series = snapshots.series
    rows, origins = snapshots.windows()
    lo, hi = int(origins.min()), int(origins.max()) + 1
    history, read = system.model.cleaned(snapshots.history, system.target, rows, origins)
    arrays = Arrays(history)
    columns = {name: arrays.array(e, lo, hi)[read, origins - lo] for name, e in chosen.items()}
    reader = np.repeat(np.arange(snapshots.readers), snapshots.keys.height)
    times = pl.DataFrame(
        {series.time: [snapshots.origin(i) for i in range(snapshots.readers)], "known_at": list(as_of)},
        schema=dict.fromkeys((series.time, "known_at"), pl.Datetime("us", "UTC")),
    )
    parts = [
        snapshots.keys[np.tile(np.arange(snapshots.keys.height), snapshots.readers)],
        times[reader],
        pl.DataFrame([pl.Series(stored_name(system, n), values, nan_to_null=True) for n, values in columns.items()]),
    ]
    # A count of values is zero rather than missing, also for a series of which nothing is known.
    heard = snapshots.heard() & ~np.all([np.isnan(values) for values in columns.values()], axis=0)
    feature_group(system, home).write(pl.concat(parts, how="horizontal").filter(heard))
    counts: list[int] = np.bincount(reader[heard], minlength=snapshots.readers).tolist()
    return counts


def stored_name(system: System, feature: str) -> str:
    """The column of a feature: its name, unless a key, the event time or the store has that one."""
    reserved = feature in (*system.identity, *FACTS) or feature.startswith("feature.")
    return f"feature.{feature}" if reserved else feature


def feature_group(system: System, home: Home) -> FeatureGroup:
    """The group that holds the origin features of the present definition."""
    import polars as pl

    return FeatureGroup(
        home.store,
        system.name,
        system.features.digest,
        keys=system.keys,
        time=system.event_time,
        columns={stored_name(system, name): pl.Float64() for name in system.features.at_origin().names},
        definition=system.features.digest,
    )
