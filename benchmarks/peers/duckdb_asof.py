"""The training set by DuckDB's ASOF JOIN: facts.parquet and spine.parquet in a folder, a TTL in hours."""

import sys

import duckdb

folder, ttl = sys.argv[1], int(sys.argv[2])
connection = duckdb.connect()
columns = ", ".join(f"case when s.time - f.time <= interval {ttl} hour then f.x{i} end as x{i}" for i in range(10))
# A fact answers from the later of its event and known time on; corrections are among the facts.
query = f"""
    copy (
        select s.key, s.time, {columns}
        from read_parquet('{folder}/spine.parquet') s
        asof left join (
            select *, greatest(time, known_at) as since from read_parquet('{folder}/facts.parquet')
        ) f on s.key = f.key and s.time >= f.since
    ) to '{folder}/duckdb.parquet'
"""  # noqa: S608 - our own folder and a number
connection.execute(query)
