"""Snowflake and BigQuery, by their own drivers and a server for tests. Run by scripts/warehouse-check.

What these servers have otherwise than the warehouses is said where a test is left out.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from tests.ports import free_port
from tests.targets import LAYOUT, Target, prediction, some

from headrace.errors import ConfigError, SinkError, SinkMovedError, SinkUnavailableError, SourceError, UsageError
from headrace.sinks import SinkContext, open_sink
from headrace.sources import Source, SourceContext, open_source
from headrace.testing.databases import NOW, DatabaseSuite

pytest.register_assert_rewrite("headrace.testing.databases")


def eventually(call, seconds=60.0):
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


class Server:
    """A program that is started, and ended with the tests."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._command, self._log = command, folder / "log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            program = Path(sys.executable).parent / self._command[0]
            self._process = subprocess.Popen([program, *self._command[1:]], stdout=log, stderr=log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Fakesnow(Server):
    def __init__(self, folder):
        self.port = free_port()
        super().__init__(folder, "fakesnow", "-s", "--port", str(self.port))
        eventually(lambda: self.connect().close())

    def connect(self):
        import snowflake.connector

        return snowflake.connector.connect(
            user="me",
            password="sesame",
            account="acc",
            host="localhost",
            port=self.port,
            protocol="http",
            database="SHOP",
            schema="PUBLIC",
            login_timeout=5,
            network_timeout=5,
        )


class SnowflakeDatabase:
    kinds: ClassVar[dict[str, str]] = {
        "text": "VARCHAR",
        "integer": "NUMBER(38, 0)",
        "float": "FLOAT",
        "decimal": "NUMBER(9, 2)",
        "date": "DATE",
        "clock": "TIME",
        "time": "TIMESTAMP_TZ",
        "boolean": "BOOLEAN",
        "json": "VARIANT",
        "list": "ARRAY",
        "bytes": "BINARY",
    }

    def __init__(self, server, number):
        self.server, self.schema = server, f"S{number}"
        self.uri = f"snowflake://me@localhost:{server.port}/SHOP/{self.schema}?account=acc&protocol=http"
        self.write()

    def write(self, *statements):
        connection = self.server.connect()
        cursor = connection.cursor()
        for statement in ("CREATE DATABASE IF NOT EXISTS SHOP", f"CREATE SCHEMA IF NOT EXISTS SHOP.{self.schema}"):
            cursor.execute(statement)
        cursor.execute(f"USE SCHEMA SHOP.{self.schema}")
        rows = [cursor.execute(statement).fetchall() for statement in statements]
        connection.close()
        return rows[-1] if rows else []


class LocalBigQuery(Server):
    def __init__(self, folder):
        from duckdb_extensions import import_extension

        os.environ["HOME"] = str(folder)
        for name in ("icu", "ducklake", "sqlite_scanner", "spatial"):
            import_extension(name)
        self.port = free_port()
        ports = ["--port", str(self.port), "--grpc-port", str(free_port())]
        options = ["--host", "127.0.0.1", *ports, "--project", "shop", "--dataset", "first"]
        super().__init__(folder, "local-bigquery", *options, "--data-dir", str(folder / "data"), "serve")
        eventually(lambda: list(self.client().list_datasets(timeout=2)))

    def client(self):
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        options = ClientOptions(api_endpoint=f"http://127.0.0.1:{self.port}")
        return bigquery.Client("shop", credentials=AnonymousCredentials(), client_options=options)


class BigQueryDatabase:
    kinds: ClassVar[dict[str, str]] = {
        "text": "STRING",
        "integer": "INT64",
        "float": "FLOAT64",
        "decimal": "NUMERIC",
        "date": "DATE",
        "clock": "TIME",
        "time": "TIMESTAMP",
        "boolean": "BOOL",
        "json": "JSON",
        "list": "ARRAY<INT64>",
        "bytes": "BYTES",
    }

    def __init__(self, server, number):
        self.server, self.name = server, f"set{number}"
        self.uri = f"bigquery://shop/{self.name}"
        server.client().create_dataset(self.name)

    def write(self, *statements):
        from google.cloud import bigquery

        config, rows = bigquery.QueryJobConfig(default_dataset=f"shop.{self.name}"), []
        with self.server.client() as client:
            for statement in statements:
                rows = [tuple(row) for row in client.query(statement, job_config=config).result()]
        return rows


@pytest.fixture(scope="module")
def snowflake(tmp_path_factory):
    pytest.importorskip("fakesnow")
    server = Fakesnow(tmp_path_factory.mktemp("snowflake"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def bigquery(tmp_path_factory):
    pytest.importorskip("local_bigquery")
    server = LocalBigQuery(tmp_path_factory.mktemp("bigquery"))
    yield server
    server.kill()


@pytest.fixture
def login(monkeypatch):
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "sesame")


NUMBERS = iter(range(10**6))


class TestSnowflakeSource(DatabaseSuite):
    """As `snowflake` is in a test's name, -k finds it."""

    values: ClassVar = {
        **DatabaseSuite.values,
        "time": ("'2026-01-01 01:02:03.000004+00:00'", "2026-01-01 01:02:03.000004+00:00"),
    }

    @pytest.fixture
    def database(self, snowflake, login):
        return SnowflakeDatabase(snowflake, next(NUMBERS))

    def test_what_a_frame_cannot_hold_is_refused_by_name(self, database):
        database.write("CREATE TABLE pictures (picture BINARY)")
        with pytest.raises(SourceError, match="PICTURE holds bytes"):
            self.read(database, table="pictures")

    def test_a_column_that_has_gone_is_told(self, sales, tmp_path):
        self.stored(sales, tmp_path, watermark="n")
        sales.write("ALTER TABLE sales DROP COLUMN n")
        with pytest.raises(SourceError, match="no column 'n'"):
            self.read(sales, tmp_path, watermark="n")

    def test_values_lose_nothing_and_have_the_same_types_everywhere(self, database):
        database.kinds = {**database.kinds, "time": "VARCHAR"}  # fakesnow gives a missing time as 1970, to all drivers
        super().test_values_lose_nothing_and_have_the_same_types_everywhere(database)
        moment = datetime(2026, 1, 1, 1, 2, 3, 4, tzinfo=UTC)
        frame = self.read(database, query="SELECT a_time::TIMESTAMP_TZ AS a_time FROM kinds WHERE a_time != ''").frame
        assert frame["a_time"].to_list() == [moment]

    def test_who_logs_in_is_in_the_environment(self, database, monkeypatch):
        monkeypatch.delenv("SNOWFLAKE_PASSWORD")
        with pytest.raises(ConfigError, match="nothing says who logs in"):
            self.read(database, table="sales")
        with pytest.raises(UsageError) as caught:
            open_source(Source(table="sales"), "snowflake://me:sesame@acc/SHOP/PUBLIC")
        assert "sesame" not in f"{caught.value} {caught.value.hint}"


class TestBigQuerySource(DatabaseSuite):
    values: ClassVar = {**DatabaseSuite.values, "decimal": ("1234567.50", "1234567.500000000")}

    @pytest.fixture
    def database(self, bigquery, monkeypatch):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"127.0.0.1:{bigquery.port}")
        return BigQueryDatabase(bigquery, next(NUMBERS))


class Table(Target):
    """A table of a warehouse as a target."""

    def __init__(self, database):
        self.database = database
        place, sign, query = database.uri.partition("?")
        self.uri = f"{place}/out{sign}{query}"

    def rows(self, query="SELECT * FROM `out` ORDER BY number"):
        quote = "`" if "bigquery" in self.uri else ""
        return self.database.write(re.sub("`", quote, query))

    def held(self):
        return Counter(row[0] for row in self.rows())

    def order(self):
        return [(row[1], row[5]) for row in self.rows()]


class _Sink:
    def test_what_was_sent_is_there_once_and_the_position_says_so(self, target, tmp_path):
        sink, position = target.open(tmp_path), None
        assert sink.begin().position is None
        for begin in range(0, 40, 10):
            sink.send(some(begin, begin + 10), position, {"n": begin + 10})
            position = {"n": begin + 10}
        sink.close()
        again = target.open(tmp_path)
        assert again.begin().position == {"n": 40}
        with pytest.raises(SinkMovedError):
            again.send(some(0, 60), {"n": 20}, {"n": 60})
        assert again.begin().position == {"n": 40}
        again.close()
        assert target.held() == {f"id-{n}": 1 for n in range(40)}

    def test_the_same_id_again_says_its_newest_values(self, target, tmp_path):
        sink, hard = target.open(tmp_path), 0.1 + 0.2
        sink.begin()
        sink.send([prediction(1), prediction(2), prediction(1, 9.25)], None, {"n": 1})
        odd = prediction(7, hard)._replace(rows=[("it's", 'a "b" \\ ☃', None, hard, None, 2**53 + 1)])
        sink.send([prediction(3, 0.1, replaces=("id-2",)), odd], {"n": 1}, {"n": 2})
        sink.close()
        rows = {row[0]: row for row in target.rows()}
        assert {name: row[3] for name, row in rows.items()} == {"id-1": 9.25, "id-3": 0.1, "it's": hard}
        assert rows["id-1"][2].astimezone(UTC) == datetime(2026, 3, 2, tzinfo=UTC)
        said = rows["it's"]
        assert said[:2] + said[3:] == ("it's", 'a "b" \\ ☃', hard, None, 2**53 + 1)
        missing = target.rows("SELECT id FROM `out` WHERE day IS NULL")  # fakesnow shows it as 1970
        assert missing == [("it's",)]

    def test_a_table_that_does_not_fit_is_told(self, target, tmp_path):
        kinds = target.database.kinds
        target.rows(f"CREATE TABLE `out` (id {kinds['text']}, store {kinds['float']}, value {kinds['float']})")
        sink = target.open(tmp_path)
        with pytest.raises(SinkError) as told:
            sink.begin()
        sink.close()
        assert "day" in told.value.message
        assert "store is FLOAT" in told.value.message

    def test_a_table_that_was_dropped_gets_everything_again(self, target, tmp_path):
        sink = target.open(tmp_path)
        sink.begin()
        sink.send(some(0, 3), None, {"n": 3})
        target.rows("DROP TABLE `out`")
        assert sink.begin().position is None
        sink.send(some(0, 3), None, {"n": 3})
        sink.close()
        assert target.held() == {f"id-{n}": 1 for n in range(3)}

    def test_nothing_is_told_that_is_a_secret(self, target, tmp_path):
        sink = target.open(tmp_path)
        assert "sesame" not in f"{sink.target} {sink!r} {vars(sink)!r}"


class TestSnowflakeSink(_Sink):
    @pytest.fixture
    def target(self, snowflake, login):
        return Table(SnowflakeDatabase(snowflake, next(NUMBERS)))

    def test_a_password_in_the_uri_is_refused(self, tmp_path):
        with pytest.raises(UsageError) as told:
            open_sink("snowflake://me:sesame@acc/SHOP/PUBLIC/out", LAYOUT, SinkContext(tmp_path))
        assert "sesame" not in str(told.value)


class TestBigQuerySink(_Sink):
    @pytest.fixture
    def target(self, bigquery, monkeypatch):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"127.0.0.1:{bigquery.port}")
        return Table(BigQueryDatabase(bigquery, next(NUMBERS)))


@pytest.mark.parametrize("kind", ["snowflake", "bigquery"])
def test_a_server_that_is_gone_is_told(kind, request, tmp_path, monkeypatch):
    request.getfixturevalue(kind)  # skips where the driver is not installed
    monkeypatch.setenv("SNOWFLAKE_PASSWORD", "sesame")
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "127.0.0.1:9")
    place = "me@localhost:9/SHOP/PUBLIC?account=acc&protocol=http" if kind == "snowflake" else "shop/first"
    source = Source(uri=f"{kind}://{place}", table="sales")
    with suppress(UsageError), pytest.raises(SourceError) as caught:
        open_source(source, None, SourceContext()).read(as_of=NOW, now=NOW)
    assert "sesame" not in str(caught.value)
    path, sign, query = place.partition("?")
    began = time.monotonic()
    with pytest.raises((SinkUnavailableError, SinkError)):
        open_sink(f"{kind}://{path}/out{sign}{query}", LAYOUT, SinkContext(tmp_path)).begin()
    assert time.monotonic() - began < 60, "of itself Google's client tries for ten minutes"
