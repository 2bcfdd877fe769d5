"""A query of a PostgreSQL server: types, the watermark, and no secret anywhere."""

import os
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from headrace.errors import SourceError
from headrace.sources import Source, SourceContext, arrow, open_source, watermark
from headrace.testing import SourceSuite

NOW = datetime(2026, 1, 10, tzinfo=UTC)
QUERY = "SELECT * FROM sales WHERE shop NOT LIKE 'x%'"


@pytest.fixture
def uri(postgres_database, monkeypatch):
    login, _, rest = postgres_database.rpartition("@")
    user, _, password = login.rpartition("//")[2].partition(":")
    monkeypatch.setitem(os.environ, "PGPASSWORD", password)
    monkeypatch.setattr(arrow, "PART", 2)
    with psycopg.connect(postgres_database) as connection:
        connection.execute(
            "CREATE TABLE sales (shop text, at timestamptz, sold numeric, n int, day date, changed timestamptz)"
        )
    plain = f"postgresql://{user}@{rest}"
    add(plain, *range(1, 5))
    return plain


def add(uri, *places):
    with psycopg.connect(uri) as connection:
        for n in places:
            at = datetime(2026, 1, n, tzinfo=UTC)
            connection.execute("INSERT INTO sales VALUES (%s, %s, %s, %s, %s, %s)", ("a", at, "1.50", n, at.date(), at))


def read(uri, cache=None, column="changed"):
    source = Source(query=QUERY, watermark=column)
    return open_source(source, uri, SourceContext(cache, time="at")).read(as_of=NOW, now=NOW)


def numbers(records):
    return [n for frame in (records.frame, *records.more) for n in frame["n"].to_list()]


class TestPostgreSQL(SourceSuite):
    as_of = NOW
    time = "at"

    @pytest.fixture
    def source(self, uri):
        return Source(uri=uri, query=QUERY)

    @pytest.fixture
    def gone(self):
        return Source(uri="postgresql://me@127.0.0.1:1/none", query=QUERY)


def test_values_have_their_types_and_decimals_are_text(uri):
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert read(uri).frame.row(0) == ("a", first, "1.50", 1, date(2026, 1, 1), first)
    with pytest.raises(SourceError, match="two columns are called 'n'"):
        open_source(Source(query="SELECT 1 AS n, 2 AS n"), uri).read(as_of=NOW, now=NOW)


def test_a_later_read_begins_shortly_before_the_watermark(uri, tmp_path):
    records = read(uri, tmp_path)
    assert numbers(records) == [1, 2, 3, 4]
    records.stored(0)
    add(uri, 5)
    assert numbers(read(uri, tmp_path)) == [4, 5]
    assert timedelta(0) < watermark.OVERLAP < timedelta(days=1)


def test_a_query_cannot_write_and_a_watermark_has_an_order(uri):
    source = Source(query="SELECT nextval('s')")
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE SEQUENCE s")
    with pytest.raises(SourceError, match="read-only transaction"):
        open_source(source, uri).read(as_of=NOW, now=NOW)
    with pytest.raises(SourceError, match="shop is no number, date or time"):
        read(uri, column="shop")
