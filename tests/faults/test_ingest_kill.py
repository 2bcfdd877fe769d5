"""kill -9 in the middle of an ingest from PostgreSQL: resumed, no row is lost, none doubled."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from tests.worlds.listings import system

from headrace.home import Home
from headrace.settings import Settings

pytestmark = pytest.mark.fault

ROOT = Path(__file__).resolve().parents[2]
ROWS = 250_000


def start(home, uri):
    folder = home.parent / "listings"
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "tests" / "worlds" / "listings.py", folder / "system.py")
    command = [sys.executable, "-m", "headrace", "ingest", str(folder), "--home", str(home), "--source", uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_once(process, home, pattern):
    """Kill it as soon as there is such a file."""
    end = time.monotonic() + 120
    while not any(home.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_an_ingest_that_is_killed_is_resumed(postgres_database, tmp_path, monkeypatch):
    login, _, rest = postgres_database.rpartition("@")
    user, _, password = login.rpartition("//")[2].partition(":")
    monkeypatch.setenv("PGPASSWORD", password)
    uri, home = f"postgresql://{user}@{rest}", tmp_path / "home"
    with psycopg.connect(postgres_database) as connection:
        connection.execute(
            "CREATE TABLE listings AS SELECT n AS id, 'thing ' || n AS name, n % 50 + 1.5::float8 AS price "
            f"FROM generate_series(1, {ROWS}) AS n ORDER BY n * 7919 % {ROWS}"
        )
    for pattern in ("scratch/*/came-0.arrow", "scratch/*/good-0.arrow", "store/listings/raw/_delta_log/*1.json"):
        kill_once(start(home, uri), home, pattern)
    assert not list(home.glob("cache/listings/position-*"))
    with psycopg.connect(postgres_database) as connection:
        connection.execute("INSERT INTO listings VALUES (999999, 'late', 3)")
    for _ in range(2):  # the second one finds nothing new
        process = start(home, uri)
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said
    table = Home(Settings(home=home)).raw(system)
    ids = table.collect(table.scan().select("key.id")).to_series().sort()
    assert ids.to_list() == [*range(1, ROWS + 1), 999_999]
    assert not list(home.glob("scratch/*/*.arrow"))
