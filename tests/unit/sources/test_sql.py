"""A query of a database: parts, and what a later read leaves out."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from itertools import chain

import polars as pl
import pytest

from headrace.errors import DeclarationError, SourceError, UsageError
from headrace.sources import Source, SourceContext, arrow, open_source
from headrace.testing import SourceSuite

NOW = datetime(2026, 1, 10, tzinfo=UTC)
QUERY = "SELECT shop, day, sold, changed FROM sales WHERE sold != 99 -- %?\n;"


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow, "PART", 3)
    path = tmp_path / "shop.db"
    write(path, "CREATE TABLE sales (shop TEXT, day TEXT, sold REAL, changed INTEGER)")
    add(path, *((shop, f"2026-01-0{day}", day * 1.5, day) for day in range(1, 5) for shop in "ab"))
    return path


def write(path, statement, *rows):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(statement, rows) if rows else connection.execute(statement)


def add(path, *rows):
    write(path, "INSERT INTO sales VALUES (?, ?, ?, ?)", *rows)


def read(path, tmp_path=None, *, query=QUERY, watermark=None, as_of=NOW, since=None, **more):
    source = Source(query=query, watermark=watermark, **more)
    context = SourceContext(cache=tmp_path and tmp_path / "cache", time="day")
    return open_source(source, f"sqlite:{path}", context).read(as_of=as_of, now=NOW, since=since)


def dates(*arguments, **more):
    return list(chain.from_iterable(days(read(*arguments, **more))))


def days(records):
    return [frame["day"].to_list() for frame in (records.frame, *records.more)]


class TestSQLite(SourceSuite):
    as_of = NOW
    time = "day"

    @pytest.fixture
    def source(self, database):
        return Source(uri=f"sqlite:{database}", query=QUERY)

    @pytest.fixture
    def gone(self, tmp_path):
        return Source(uri=f"sqlite:{tmp_path / 'none.db'}", query=QUERY)


def test_parts_are_cut_between_event_times(database):
    parts = days(read(database))
    assert parts == [["2026-01-01"] * 2, ["2026-01-02"] * 2, ["2026-01-03"] * 2, ["2026-01-04"] * 2]
    assert not list(database.parent.glob("**/position*"))


def test_a_later_read_begins_at_the_watermark_that_is_stored(database, tmp_path):
    records = read(database, tmp_path, watermark="changed")
    assert len(list(chain.from_iterable(days(records)))) == 8
    assert len(dates(database, tmp_path, watermark="changed")) == 8  # nothing was stored
    records.stored(0)
    add(database, ("a", "2026-01-02", 7.0, 5), ("b", "2026-01-03", 8.0, None))
    assert days(read(database, tmp_path, watermark="changed")) == [
        ["2026-01-02", "2026-01-03"],
        ["2026-01-04", "2026-01-04"],
    ]


def test_the_position_moves_past_no_row_that_was_not_known_yet(database, tmp_path):
    records = read(database, tmp_path, watermark="changed")
    _ = days(records)
    records.stored(2)
    assert not list((tmp_path / "cache").glob("**/position*"))
    early = datetime(2026, 1, 4, tzinfo=UTC)
    records = read(database, tmp_path, watermark="day", as_of=early)
    _ = days(records)
    records.stored(2)
    later = dates(database, tmp_path, watermark="day")
    assert later == [f"2026-01-0{day}" for day in (2, 2, 3, 3, 4, 4)]


def test_another_query_and_an_empty_table_are_read_as_a_whole(database, tmp_path):
    records = read(database, tmp_path, watermark="changed")
    _ = days(records)
    records.stored(0)
    assert len(dates(database, tmp_path, watermark="changed", since=lambda: None)) == 8
    assert len(dates(database, tmp_path, watermark="changed", query="SELECT * FROM sales")) == 8
    (position,) = (tmp_path / "cache").glob("**/position*")
    position.write_text("{")
    with pytest.raises(SourceError, match="is no position"):
        read(database, tmp_path, watermark="changed")


def test_types_are_those_of_the_values(database):
    frame = read(database, query="SELECT 1 AS n, 'x' AS day, 0.5 AS f, NULL AS e, '007' AS code").frame
    assert frame.dtypes == [pl.Int64, pl.String, pl.Float64, pl.String, pl.String]


@pytest.mark.parametrize(
    ("query", "watermark", "where"),
    [
        ("SELECT nothing FROM sales", None, "sqlite:"),
        ("DELETE FROM sales", None, "source.query"),
        ("SELECT shop, day FROM sales", "changed", "source.watermark"),
        ("SELECT x'00' AS b", None, "sqlite:"),
    ],
)
def test_a_wrong_query_is_refused_and_writes_nothing(database, query, watermark, where):
    before = database.read_bytes()
    with pytest.raises((SourceError, UsageError)) as caught:
        read(database, query=query, watermark=watermark)
    assert caught.value.where.startswith(where)
    assert database.read_bytes() == before


def test_a_password_in_the_uri_is_refused_and_not_shown():
    source = Source(query="SELECT 1")
    for uri in ("postgresql://me:sesame@host/shop", "postgresql://host/shop?password=sesame"):
        with pytest.raises(UsageError) as caught:
            open_source(source, uri)
        assert "sesame" not in f"{caught.value} {caught.value.where} {caught.value.hint}"
        assert "PGPASSWORD" in caught.value.hint


def test_a_database_needs_a_query(tmp_path):
    with pytest.raises(UsageError, match="nothing says what to read"):
        open_source(Source(), f"sqlite:{tmp_path}/shop.db")
    with pytest.raises(UsageError, match="only a query or a table") as caught:
        open_source(Source(watermark="changed"), f"file:{tmp_path}/shop.csv")
    assert caught.value.where == "source.watermark"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"query": "SELECT 1", "table": "sales"}, "source.table"),
        ({"query": "SELECT 1", "overlap": "1h"}, "source.overlap"),
        ({"query": "SELECT 1", "watermark": "n", "overlap": "-1h"}, "source.overlap"),
        ({"query": "SELECT 1", "watermark": "n", "overlap": -1}, "source.overlap"),
        ({"query": "SELECT 1", "parameters": {"a b": 1}}, "source.parameters.a b"),
        ({"query": "SELECT 1", "parameters": {"headrace_begin": 1}}, "source.parameters.headrace_begin"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, where):
    with pytest.raises(DeclarationError) as caught:
        Source(**fields)
    assert caught.value.where == where


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://bob:hun/ter2@127.0.0.1:9/db",
        "postgresql://bob:hun?ter2@127.0.0.1:9/db",
        "postgresql://bob:hun#ter2@127.0.0.1:9/db",
        "postgresql://bob:hun@ter2@127.0.0.1:9/db",
        "postgresql://bob%3Ahunter2@127.0.0.1:9/db",
        "postgresql:bob:hunter2@127.0.0.1:9/db",
        "postgresql://127.0.0.1:9/db?PASSWORD=hunter2",
        "postgres://bob:hunter2@127.0.0.1:9/db",
        "kafka://bob:hunter2@127.0.0.1:9/topic",
    ],
)
def test_a_password_is_refused_however_it_is_written(uri):
    with pytest.raises(UsageError, match="a password in the URI") as refused:
        open_source(Source(query=QUERY), uri)
    assert "hun" not in str(refused.value)
    assert "environment" in refused.value.hint


def test_a_path_may_hold_what_looks_like_a_login(tmp_path):
    path = tmp_path / "at 12:30@shop.db"
    write(path, "CREATE TABLE sales (shop TEXT, day TEXT, sold REAL, changed INTEGER)")
    add(path, ("a", "2026-01-01", 1.5, 1))
    assert read(path).frame.height == 1
