"""The databases that headrace reads do what every database must."""

import os
from typing import ClassVar

import pytest
from tests.databases import DuckDBDatabase, PostgreSQLDatabase, SQLiteDatabase
from tests.postgres import Postgres

from headrace.errors import SourceError
from headrace.sources import Source, SourceContext, arrow, open_source
from headrace.testing import DatabaseSuite
from headrace.testing.databases import NOW


@pytest.fixture(scope="module")
def server():
    made = Postgres()
    yield made
    made.close()


class TestSQLite(DatabaseSuite):
    values: ClassVar = {**DatabaseSuite.values, "time": ("'2026-01-01T01:02:03Z'", "2026-01-01T01:02:03Z")}

    @pytest.fixture
    def database(self, tmp_path):
        return SQLiteDatabase(tmp_path)

    def test_what_a_frame_cannot_hold_is_refused_by_name(self, database):
        database.write("CREATE TABLE pictures (picture BLOB)", "INSERT INTO pictures VALUES (x'00')")
        with pytest.raises(SourceError, match="picture holds bytes"):
            self.read(database, table="pictures")

    def test_a_row_that_is_committed_late_comes_within_the_overlap(self, sales, tmp_path):
        self.add(sales, 90)
        self.stored(sales, tmp_path, watermark="moment", overlap="2d")
        self.add(sales, 50)  # times are text, of which a read goes back whole days
        assert self.stored(sales, tmp_path, watermark="moment", overlap="2d")[0] == [50, 90]


class TestDuckDB(DatabaseSuite):
    @pytest.fixture
    def database(self, tmp_path):
        return DuckDBDatabase(tmp_path)

    def test_a_file_that_another_process_writes_to_is_told(self, sales, tmp_path):
        import subprocess
        import sys

        code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"
        writer = subprocess.Popen(
            [sys.executable, "-c", code, sales.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with writer:
            writer.stdout.readline()
            with pytest.raises(SourceError) as caught:
                self.read(sales)
            assert "another process" in caught.value.hint
            writer.stdin.close()

    def test_no_extension_is_fetched(self, database):
        with pytest.raises(SourceError, match="cannot be read"):
            self.read(database, query="SELECT * FROM sqlite_scan('x.db', 'sales')")


class TestPostgreSQL(DatabaseSuite):
    @pytest.fixture
    def database(self, server, monkeypatch):
        database = PostgreSQLDatabase(server.uri)
        monkeypatch.setitem(os.environ, "PGPASSWORD", database.password)
        return database

    def test_a_transaction_that_commits_late_is_read_within_the_overlap(self, sales, tmp_path):
        import psycopg

        with psycopg.connect(sales.owner) as late:
            late.execute("INSERT INTO sales VALUES (9, 'a', '2026-01-01 08:30+00')")
            self.add(sales, 10)
            assert self.stored(sales, tmp_path, watermark="moment", overlap="6h")[0] == [1, 2, 3, 4, 10]
            late.commit()
        assert self.stored(sales, tmp_path, watermark="moment", overlap="6h")[0] == [4, 9, 10]

    def test_rows_are_those_of_one_moment(self, sales, monkeypatch):
        monkeypatch.setattr(arrow, "PART", 2)
        query = "SELECT * FROM sales WHERE n > :n"
        records = self.read(sales, query=query, parameters={"n": 0})
        self.add(sales, 5)
        sales.write("DELETE FROM sales WHERE n = 4")
        assert self.numbers(records) == [1, 2, 3, 4]

    @pytest.mark.parametrize("parameters", [{}, {"n": 0}])
    def test_a_connection_that_breaks_off_is_no_part_of_the_rows(self, database, monkeypatch, parameters):
        monkeypatch.setattr(arrow, "PART", 1000)
        database.write(
            "CREATE TABLE sales AS SELECT n, repeat('x', 2000) AS shop, now() + n * interval '1s' AS moment "
            "FROM generate_series(1, 60000) AS n"
        )
        query = "SELECT * FROM sales WHERE n > :n" if parameters else "SELECT * FROM sales"
        records = self.read(database, query=query, parameters=parameters)
        database.write(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'headrace' AND datname = current_database()"
        )
        with pytest.raises(SourceError, match="cannot be read"):
            self.numbers(records)

    @pytest.mark.parametrize(("kind", "named"), [("inet", "inet"), ("money", "money"), ("interval", "month_day_nano")])
    def test_types_that_have_no_like_are_refused(self, database, kind, named):
        database.write(f"CREATE TABLE odd (v {kind})")
        with pytest.raises(SourceError, match=f"v holds {named}"):
            self.read(database, table="odd")

    def test_ids_and_long_decimals_are_text(self, database):
        query = (
            "SELECT '0df7de08-f9f7-4028-8f19-19eb738ae110'::uuid AS id, 0.1234567890123456789012345678901::numeric d"
        )
        row = self.read(database, query=query).frame.row(0)
        assert row == ("0df7de08-f9f7-4028-8f19-19eb738ae110", "0.1234567890123456789012345678901")

    def test_a_server_that_is_not_there_is_told(self):
        source = Source(uri="postgresql://me@127.0.0.1:1/none", table="sales")
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(source, None, SourceContext()).read(as_of=NOW, now=NOW)
