"""Events of a topic go to a warehouse, are read from there for training, and are pinned as versions of the table."""

import json
import os
from datetime import UTC, datetime

import pytest
from tests import kafka
from tests.commands import headrace
from tests.postgres import new_database

from headrace.home import Home
from headrace.settings import Settings

pytestmark = pytest.mark.slow

FIRST, SECOND = ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"), ("2026-03-02T00:00:00Z", "2026-03-02T06:00:00Z")

STEP = "date_bin('5 minutes', time, timestamptz '2026-01-01 00:00+00')"
QUERY = (  # producers send some events twice, seconds apart: the first counts, as in the stream
    f"SELECT DISTINCT ON (metric, {STEP}) metric, {STEP} AS time, value, loaded "
    f"FROM metrics ORDER BY metric, {STEP}, loaded, time"
)


class Warehouse:
    """A table of all events, filled as a connector does it: each message once, with the time it was loaded."""

    def __init__(self, server, bootstrap):
        self.owner, self._bootstrap = new_database(server), bootstrap
        self._run("CREATE TABLE metrics (metric text, time timestamptz, value float8, loaded timestamptz)")
        login, _, rest = self.owner.rpartition("@")
        user, _, self.password = login.rpartition("//")[2].partition(":")
        self.uri, self._count = f"postgresql://{user}@{rest}", 0

    def _run(self, statement, rows=()):
        import psycopg

        with psycopg.connect(self.owner) as connection, connection.cursor() as cursor:
            cursor.executemany(statement, rows) if rows else cursor.execute(statement)

    def load(self, moment):
        messages = kafka.committed(self._bootstrap, "live_metrics.events")
        events = [json.loads(message.value()) for message in messages][self._count :]
        rows = [(event["metric"], event["time"], event["value"], moment) for event in events]
        self._run("INSERT INTO metrics VALUES (%s, %s, %s, %s)", rows)
        self._count += len(rows)
        return len(rows)


def test_from_a_topic_by_a_warehouse_to_a_model_that_knows_its_rows(
    kafka_broker, postgres_server, tmp_path, monkeypatch
):
    kafka.delete(kafka_broker.bootstrap, "live_metrics")
    warehouse = Warehouse(postgres_server, kafka_broker.bootstrap)
    monkeypatch.setitem(os.environ, "PGPASSWORD", warehouse.password)
    home = ["--home", tmp_path / "home", "--json"]
    table = ["--source", warehouse.uri, "--set", f"source.query={QUERY}", "--set", "source.watermark=loaded"]
    runs, counts, versions = [], [], []
    for begin, end in (FIRST, SECOND):
        source = ["--source", "simulated:?series=3", "--start", begin, "--end", end, "--speed", "0"]
        done = headrace("produce", "live_metrics", "--bootstrap", kafka_broker.bootstrap, *source)
        assert done.code == 0, done.err
        counts.append(warehouse.load(datetime.fromisoformat(end).astimezone(UTC)))
        moment = ["--as-of", end, "--simulated"]
        done = headrace("train", "live_metrics", *home, *table, *moment)
        assert done.code == 0, done.err
        runs.append(done.json)
        versions.append(Home(Settings(home=tmp_path / "home")).table("live_metrics", "raw").version())
    assert counts[0] > counts[1] > 0
    first, second = runs
    assert (first["ingested"], first["quarantined"]) == (first["read"], 0)
    assert second["ingested"] > 0
    assert second["read"] == second["ingested"] + second["repeated"]  # the newest load is read again, and adds nothing
    assert versions[0] < versions[1]
    assert [run["model"]["version"] for run in runs] == [1, 2]
