"""What the test processes run: ``python online_worker.py STORE ONLINE START COUNT``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import polars as pl

from headrace.store import FeatureGroup, Store
from headrace.store.online import Online

TIME = pl.Datetime("us", "UTC")


def hourly(n: int) -> pl.DataFrame:
    """As `helpers.hourly`; this file is run on its own."""
    at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(hours=n)
    rows = [(f"s{i}", at, at + timedelta(hours=1), float(n * 100 + i)) for i in range(4)]
    schema = {"key": pl.String, "time": TIME, "known_at": TIME, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def main(store: str, online: str, start: int, count: int) -> None:
    """Write `count` hours from `start`, each told when it is done; say ``ready`` first, then wait for a line."""
    place = Store(store, online=Online(online))
    columns = {"value": pl.Float64()}
    group = FeatureGroup(place, "energy", "lags", keys=["key"], time="time", columns=columns, online=3)
    group.table.version()
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(start, start + count):
        group.write(hourly(n))
        print(n, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
