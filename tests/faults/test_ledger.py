"""The ledger when processes die, databases go away and many write at once: nothing is lost, nothing is doubled."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import event
from tests.postgres import Postgres, new_database
from tests.waiting import PATIENCE, until

from headrace.errors import HeadraceError, LedgerFullError, LedgerUnavailableError
from headrace.ledger import Ledger, LedgerWriter
from headrace.testing.ledger import PINS, entry

pytestmark = pytest.mark.fault
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def uri(request, tmp_path):
    return (
        f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgres_database")
    )


@pytest.fixture
def server():
    """A PostgreSQL server of the test's own, which it may kill."""
    made = Postgres()
    yield made
    made.close()


def worker(*arguments):
    command = [sys.executable, str(ROOT / "tests/faults/ledger_worker.py"), *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def keys(ledger):
    return [e.key for _, e in ledger.read("titanic", limit=1_000_000)]


def test_kill_9_loses_and_doubles_nothing(uri):
    acknowledged = []
    for turn in range(3):
        writers = [worker("stream", uri, f"{turn}-{name}") for name in "ab"]
        acknowledged += [process.stdout.readline().strip() for process in writers]
        time.sleep(random.uniform(0.05, 0.5))
        for process in writers:
            process.kill()
            whole, _, _ = process.stdout.read().rpartition("\n")
            acknowledged += whole.split("\n") if whole else []
            process.communicate()
    stored = Counter(keys(Ledger.open(uri)))
    assert all(acknowledged), "a writer ended by itself"
    assert len(acknowledged) > 100
    assert not set(acknowledged) - set(stored)
    assert set(stored.values()) == {1}
    # What was submitted together was stored together.
    assert all(key.removesuffix("+") in stored and key.removesuffix("+") + "+" in stored for key in stored)


def test_eight_processes_with_the_same_keys(uri):
    workers = [worker("same", uri, "300") for _ in range(8)]
    for process in workers:
        assert process.stdout.readline() == "ready\n"
    for process in workers:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in workers]
    assert all(answer == answers[0] for answer in answers)
    ledger = Ledger.open(uri)
    assert sorted(keys(ledger)) == sorted(str(i) for i in range(300))
    assert {e.key: e.id for _, e in ledger.read("titanic")} == answers[0]


def test_sqlite_locked_by_another_process(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", timeout=2)
    before = entry(ledger, "before")
    ledger.write([before])
    hold = """if True:
        import sqlite3, sys, time
        connection = sqlite3.connect(sys.argv[1]); connection.execute("BEGIN EXCLUSIVE")
        print("held", flush=True)
        sys.stdin.read()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path / "ledger.db"], **pipes) as other:
        assert other.stdout.readline() == b"held\n"
        start = time.monotonic()
        with pytest.raises(LedgerUnavailableError, match="locked"):
            ledger.write([entry(ledger, "during")])
        assert 1.5 < time.monotonic() - start < 20
        assert ledger.find("titanic", "before") == before  # readers go on
        ledger.ping()
    ledger.write([entry(ledger, "after")])
    assert keys(ledger) == ["before", "after"]


def test_a_full_disk_is_an_error_and_no_entry(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db")
    ledger.write([entry(ledger, "before")])
    ledger.close()

    @event.listens_for(ledger._database._engine, "connect")
    def fill(connection, _):
        connection.execute("PRAGMA max_page_count = 30")

    with pytest.raises(LedgerUnavailableError, match="full"):
        ledger.write([entry(ledger, f"{i}", inputs=bytes(500)) for i in range(1000)])
    assert keys(ledger) == ["before"]


class Load:
    """Writes one key after another through a writer, each until it is acknowledged, as clients would."""

    def __init__(self, ledger):
        self.ledger, self.writer = ledger, LedgerWriter(ledger, capacity=50)
        self.acknowledged, self.errors, self.slowest = [], [], 0.0
        ledger.pin(PINS)  # else a client that is late writes them itself, with the database away
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self.client, args=(name,)) for name in range(8)]
        for thread in self.threads:
            thread.start()

    def client(self, name):
        number = 0
        while not self.stop.is_set():
            sent = entry(self.ledger, f"{name}/{number}")
            outcome = self.send(sent)
            if isinstance(outcome, HeadraceError):
                self.errors.append(outcome)
                time.sleep(0.05)
            else:
                self.acknowledged.append(outcome[0].key)
                number += 1

    def send(self, sent):
        got, answer = threading.Event(), []
        start = time.monotonic()
        try:
            self.writer.submit([sent], lambda outcome: (answer.append(outcome), got.set()))
        except LedgerFullError as error:
            return error
        assert got.wait(PATIENCE)
        self.slowest = max(self.slowest, time.monotonic() - start)
        return answer[0]

    def more(self):
        """Wait until 50 more are acknowledged."""
        wanted = len(self.acknowledged) + 50
        until(lambda: len(self.acknowledged) >= wanted)

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.writer.close()


def test_postgres_is_killed_and_restarted_under_load(server):
    ledger = Ledger.open(new_database(server.uri), timeout=2)
    load = Load(ledger)
    try:
        for _ in range(2):
            load.more()
            server.kill()
            told = len(load.errors)
            until(lambda: len(load.errors) > told)  # noqa: B023
            with pytest.raises(LedgerUnavailableError) as caught:
                ledger.ping()
            assert "sesame" not in str(caught.value)
            server.start()
            load.more()
    finally:
        load.end()
    assert {type(error) for error in load.errors} == {LedgerUnavailableError}
    assert load.slowest < 30
    assert Counter(keys(ledger)) == Counter(load.acknowledged)


def test_postgres_stands_still(server):
    ledger = Ledger.open(new_database(server.uri), timeout=1)
    ledger.write([entry(ledger, "before")])
    pending = entry(ledger, "during")
    server.signal(signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        ledger.write([pending])
    with pytest.raises(LedgerUnavailableError):
        ledger.ping()
    assert time.monotonic() - start < 30
    server.signal(signal.SIGCONT)
    assert ledger.write([pending]) == [pending]
    assert keys(ledger) == ["before", "during"]


def test_a_writer_that_stands_still_is_passed_once_it_is_dead(uri):
    ledger = Ledger.open(uri, timeout=1)
    frozen = worker("stream", uri, "frozen")
    frozen.stdout.readline()
    frozen.send_signal(signal.SIGSTOP)
    with suppress(LedgerUnavailableError):  # it may stand between two commits
        ledger.write([entry(ledger, "mine")])
    frozen.kill()
    frozen.communicate()
    ledger.write([entry(ledger, "mine")])
    assert ledger.find("titanic", "mine")


def test_sqlite_from_another_tool_waits_for_nobody(tmp_path):
    """People read the ledger with other programs while it is written."""
    ledger = Ledger.open(f"sqlite:///{tmp_path}/ledger.db", timeout=1)
    with sqlite3.connect(tmp_path / "ledger.db") as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
        ledger.write([entry(ledger, "1")])
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (0,)
        reader.rollback()
        assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (1,)
    reader.close()
