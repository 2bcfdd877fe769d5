"""What the test processes run: ``python worker.py write|forever URI START COUNT``."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import polars as pl

from headrace.store import Table, Upkeep

TIME = pl.Datetime("us", "UTC")


def hourly(n: int) -> pl.DataFrame:
    """As `helpers.hourly`; this file is run on its own."""
    at = datetime(2023, 1, 1, tzinfo=UTC) + timedelta(hours=n)
    rows = [(f"s{i}", at, at + timedelta(hours=1), float(n * 100 + i)) for i in range(4)]
    schema = {"key": pl.String, "time": TIME, "known_at": TIME, "value": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def main(mode: str, uri: str, start: int, count: int) -> None:
    """Append `count` hours from `start`; say ``ready`` first, then wait for a line."""
    table = Table(uri, upkeep=Upkeep(small_files=8 if mode == "write" else 4))
    table.version()
    import deltalake  # noqa: F401  # so that a kill hits writes rather than imports

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for n in range(start, start + count):
        table.append(hourly(n), identity=["key", "time"], compare=["value"], window="time")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
