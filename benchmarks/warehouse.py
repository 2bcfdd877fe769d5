"""Rows a second and memory of one read of a database: psycopg's rows beside Arrow by ADBC, and DuckDB and SQLite.

Each read is a process of its own, which reads all rows in parts and keeps none. The table has a million rows of nine
columns: whole numbers, floats, decimals, texts, times, truth, and a day. The numbers include the connection.

python benchmarks/warehouse.py [--rows N]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SELECT = """
    SELECT n, n % 1000 AS small, n * 0.1 AS weight, {decimal} AS price, 'shop ' || (n % 97) AS shop,
    'listing number ' || n || ' in good condition' AS text, {time} AS moment, n % 3 = 0 AS sold, {day} AS day
    FROM {series}"""
POSTGRES = {
    "decimal": "(n % 100000)::numeric(9, 2) / 4",
    "time": "timestamptz '2026-01-01 00:00+00' + n * interval '1 second'",
    "day": "date '2026-01-01' + (n % 365)::int",
    "series": "generate_series(1, {rows}) AS n",
}
DUCKDB = POSTGRES | {"series": "range(1, {rows} + 1) AS t(n)"}
SQLITE = {
    "decimal": "(n % 100000) / 4.0",
    "time": "datetime('2026-01-01', n || ' seconds')",
    "day": "date('2026-01-01', (n % 365) || ' days')",
    "series": "generate",
}


def filled(values: dict[str, str], rows: int) -> str:
    """The statement that makes the table."""
    return "CREATE TABLE listings AS" + SELECT.format(**values).format(rows=rows)


def with_psycopg(uri: str) -> int:
    """Rows by a server's cursor as Python objects, and frames of them: how headrace read until ADBC."""
    import polars as pl
    import psycopg

    count = 0
    with psycopg.connect(uri) as connection, connection.cursor(name="c") as cursor:
        connection.execute("SET LOCAL TIME ZONE 'UTC'")
        cursor.execute("SELECT * FROM listings")
        while rows := cursor.fetchmany(200_000):
            names = [column.name for column in cursor.description or ()]
            columns = dict(zip(names, zip(*rows, strict=True), strict=True))
            texts = {name: list(map(str, values)) if name == "price" else values for name, values in columns.items()}
            count += pl.DataFrame(texts).height
    return count


def with_reader(uri: str, *, cursor: bool = False) -> int:
    """Rows as headrace reads them; with a parameter PostgreSQL gives them by a cursor."""
    from headrace.sources import Source, SourceContext, open_source

    fields = (
        {"query": "SELECT * FROM listings WHERE n > :n", "parameters": {"n": 0}} if cursor else {"table": "listings"}
    )
    now = datetime(2026, 3, 1, tzinfo=UTC)
    source = Source.model_validate({"uri": uri, **fields})
    records = open_source(source, None, SourceContext(time="moment")).read(as_of=now, now=now)
    return records.frame.height + sum(frame.height for frame in records.more)


def measured(kind: str, uri: str) -> dict[str, float]:
    """One read in this process."""
    import polars as pl

    pl.DataFrame({"a": [1]})
    before, start = _peak(), time.perf_counter()
    count = with_psycopg(uri) if kind == "psycopg" else with_reader(uri, cursor=kind == "cursor")
    seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    return {"rows": count, "seconds": seconds, "cpu": cpu, "peak_mb": _peak(), "grown_mb": _peak() - before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(kind: str, uri: str) -> dict[str, float]:
    """One read in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--one", kind, uri], check=True, capture_output=True, text=True)
    measures: dict[str, float] = json.loads(done.stdout)
    return measures


def main() -> None:
    """Make the tables, read them, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=2, default=None, metavar=("KIND", "URI"))
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(*options.one)))
        return
    print(f"{'read':<26}{'rows/s':>12}{'CPU s':>8}{'peak MB':>9}{'of that grown':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for label, kind, uri in places(Path(folder), options.rows):
            found = read(kind, uri)
            assert found["rows"] == options.rows, found
            numbers = f"{found['rows'] / found['seconds']:>12,.0f}{found['cpu']:>8.1f}{found['peak_mb']:>9.0f}"
            print(f"{label:<26}{numbers}{found['grown_mb']:>15.0f}", flush=True)


def places(folder: Path, rows: int):  # noqa: ANN201  # of tests
    """What is read: a label, how, and where."""
    import sqlite3

    import duckdb
    import psycopg
    from tests.postgres import Postgres

    server = Postgres()
    try:
        uri = f"{server.uri}postgres"
        with psycopg.connect(uri) as connection:
            connection.execute(filled(POSTGRES, rows))
        os.environ["PGPASSWORD"] = "sesame"
        plain = uri.replace(":sesame", "")
        yield "PostgreSQL by psycopg", "psycopg", uri
        yield "PostgreSQL by ADBC, COPY", "reader", plain
        yield "PostgreSQL, parameters", "cursor", plain
    finally:
        server.close()
    with duckdb.connect(folder / "a.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(filled(DUCKDB, rows))
    yield "DuckDB", "reader", f"duckdb:{folder}/a.duckdb"
    with sqlite3.connect(folder / "a.db") as connection:
        series = f"WITH RECURSIVE generate(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM generate LIMIT {rows})"  # noqa: S608  # a number
        connection.execute("CREATE TABLE listings AS " + series + SELECT.format(**SQLITE))
    yield "SQLite", "reader", f"sqlite:{folder}/a.db"


if __name__ == "__main__":
    main()
