"""The HTTP door while things break: killed, ended, its database away, locked or slow."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.postgres import Postgres
from tests.servers import (
    PREDICT,
    Server,
    answers,
    endless_passengers,
    passengers,
    serving,
    titanic_template,
)
from tests.waiting import until

from headrace.ledger import Ledger

pytestmark = pytest.mark.fault


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(titanic_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))


class Load:
    """Clients that post rows with distinct keys one after another, each on one connection."""

    def __init__(self, server: Server, clients: int = 8) -> None:
        self.acknowledged: dict[int, dict[str, Any]] = {}
        self.statuses: list[int] = []
        self.broken: list[float] = []  # when those requests were sent whole that had no answer
        self._server, self._stopped = server, threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _post(self, number: int) -> None:
        with self._server.client() as client:
            for row in endless_passengers(1 + number * 1_000_000):
                if self._stopped.is_set():
                    return
                sent = [float("inf")]

                def note(what: str, _: Any, sent: list[float] = sent) -> None:
                    if what == "http11.send_request_body.complete":
                        sent[0] = time.monotonic()

                try:
                    answer = client.post(PREDICT, json=row, extensions={"trace": note})
                except httpx.ConnectError:
                    time.sleep(0.02)
                    continue
                except httpx.TransportError:
                    self.broken.append(sent[0])
                    continue
                self.statuses.append(answer.status_code)
                if answer.status_code == 200:
                    self.acknowledged[row["PassengerId"]] = answer.json()

    def reach(self, count: int) -> None:
        """Wait until that many more predictions are acknowledged."""
        wanted = len(self.acknowledged) + count
        until(lambda: len(self.acknowledged) >= wanted)

    def stop(self) -> None:
        """End after the requests under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def loaded(server: Server, clients: int = 8) -> Iterator[Load]:
    load = Load(server, clients)
    try:
        yield load
    finally:
        load.stop()


def stored(uri: str) -> dict[str, bytes]:
    """The answers in a ledger by key; fails where a key is there twice."""
    ledger = Ledger.open(uri)
    entries = [entry for _, entry in ledger.read("titanic", limit=1_000_000)]
    ledger.close()
    found = {entry.key: entry.answer for entry in entries}
    assert len(found) == len({entry.id for entry in entries}) == len(entries)
    return found


def of(home: Path) -> str:
    return f"sqlite:///{home}/ledger.db"


def assert_all_stored(load: Load, uri: str) -> None:
    found = stored(uri)
    assert load.acknowledged
    for key, answer in load.acknowledged.items():
        assert json.loads(found[f"[{key}]"]) == answer


def test_a_killed_server_loses_no_acknowledged_prediction(home: Path) -> None:
    with serving(home) as server, loaded(server) as load:
        load.reach(200)
        server.kill()
        load.stop()
        assert_all_stored(load, of(home))
    with serving(home) as server:
        for key, answer in list(load.acknowledged.items())[-20:]:
            row = next(endless_passengers(key))
            assert server.post(row).json() == answer
    assert_all_stored(load, of(home))


def test_sigterm_answers_what_was_sent(home: Path) -> None:
    with serving(home) as server, loaded(server, 16) as load:
        load.reach(200)
        told = time.monotonic()
        assert server.stop() == 0
        load.stop()
        assert [sent for sent in load.broken if sent < told] == []
        assert set(load.statuses) == {200}
        assert_all_stored(load, of(home))
        assert [line["message"] for line in server.lines() if line["log.level"] != "info"] == []


def test_postgres_dies_and_comes_back_under_load(home: Path) -> None:
    database = Postgres()
    try:
        environment = {"HEADRACE_LEDGER_URI": f"{database.uri}postgres", "HEADRACE_LEDGER_TIMEOUT": "2"}
        with serving(home, **environment) as server, loaded(server) as load:
            load.reach(100)
            database.kill()
            until(lambda: 503 in load.statuses)
            assert server.get("/health").status_code == 200
            until(lambda: server.get("/ready").status_code == 503)
            slowest = server.post(passengers(1, first=9_000_000)[0])
            assert (slowest.status_code, slowest.headers["retry-after"]) == (503, "5")
            assert slowest.elapsed.total_seconds() < 20
            assert "sesame" not in slowest.text + server.get("/ready").text
            database.start()
            load.reach(100)
            until(lambda: server.get("/ready").status_code == 200)
            load.stop()
            assert set(load.statuses) == {200, 503}
            assert load.broken == []
            assert_all_stored(load, f"{database.uri}postgres")
            assert "sesame" not in server.log.read_text()
    finally:
        database.close()


def test_a_server_starts_while_its_database_is_away(home: Path) -> None:
    database = Postgres()
    try:
        database.kill()
        environment = {"HEADRACE_LEDGER_URI": f"{database.uri}postgres", "HEADRACE_LEDGER_TIMEOUT": "2"}
        row = passengers(1)[0]
        with serving(home, ready=False, **environment) as server:
            assert server.get("/ready").status_code == 503
            assert server.get("/ready").json()["errors"][0]["loc"] == ["systems", "titanic"]
            assert server.post(row).status_code == 503
            database.start()
            until(lambda: answers(server, "/ready"))
            assert server.post(row).status_code == 200
            assert len(stored(f"{database.uri}postgres")) == 1
    finally:
        database.close()


def test_sqlite_locked_for_longer_than_one_waits(home: Path) -> None:
    with serving(home, HEADRACE_LEDGER_TIMEOUT="4") as server, ThreadPoolExecutor(1) as pool:
        row, other = passengers(2)
        server.post(other)
        with locked(home):
            waiting = pool.submit(server.post, row)
            time.sleep(0.5)
            assert server.get("/health").status_code == 200
            assert not waiting.done(), "who waits for the ledger holds up nobody else"
            answer = waiting.result()
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert answer.elapsed.total_seconds() >= 3.5
        until(lambda: server.post(row).status_code == 200)
        assert len(stored(of(home))) == 2


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Another writer holds the ledger."""
    connection = sqlite3.connect(home / "ledger.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def test_a_full_queue_refuses_at_once(home: Path) -> None:
    patient = serving(home, HEADRACE_LEDGER_TIMEOUT="60")
    with patient as server, ThreadPoolExecutor(4) as pool, server.client() as client:
        # One is with the database, two wait, and the queue of 20,000 has no room for the last.
        parts = [passengers(8000, first=at) for at in (100_000, 200_000, 300_000, 400_000)]
        with locked(home):
            waiting = [pool.submit(client.post, PREDICT, json=part) for part in parts]
            refused = next(as_completed(waiting)).result()
        answers = [each.result() for each in waiting]
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 503]
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "are waiting" in refused.text
        assert len(stored(of(home))) == 24_000


def test_a_poison_row_does_not_touch_its_neighbours(home: Path) -> None:
    bad: list[Callable[[dict[str, Any]], Any]] = [
        lambda row: row | {"Age": -1},
        lambda row: [row, None],
        lambda row: b"[" * 5000,
        lambda row: b'{"a":' + b"9" * 10_000,
        lambda row: row | {f"x{n}": n for n in range(2000)},
    ]
    with serving(home) as server, loaded(server, 4) as load:
        end = time.monotonic() + 3
        statuses = set()
        while time.monotonic() < end:
            for make in bad:
                statuses.add(server.post(make(passengers(1, first=8_000_000)[0])).status_code)
        load.stop()
        assert statuses == {400, 422}
        assert set(load.statuses) == {200}
        assert load.broken == []
        assert set(stored(of(home))) == {f"[{key}]" for key in load.acknowledged}


def test_one_key_of_many_clients_is_one_row(home: Path) -> None:
    with serving(home) as server, ThreadPoolExecutor(32) as pool, server.client() as client:
        gate = threading.Barrier(32)

        def post(row: dict[str, Any]) -> httpx.Response:
            gate.wait()
            return client.post(PREDICT, json=row)

        row = passengers(1)[0]
        same = list(pool.map(post, [row] * 32))
        assert {answer.status_code for answer in same} == {200}
        assert len({answer.content for answer in same}) == 1
        rows = [row | {"PassengerId": 5, "Age": float(age)} for age in range(32)]
        different = [answer.status_code for answer in pool.map(post, rows)]
        assert sorted(different) == [200] + [409] * 31
        assert len(stored(of(home))) == 2


def test_a_frozen_ledger_answers_in_bounded_time(home: Path) -> None:
    """A database that neither answers nor refuses."""
    database = Postgres()
    try:
        environment = {"HEADRACE_LEDGER_URI": f"{database.uri}postgres", "HEADRACE_LEDGER_TIMEOUT": "2"}
        with serving(home, **environment) as server:
            rows = passengers(3)
            assert server.post(rows[0]).status_code == 200
            database.signal(signal.SIGSTOP)
            answer = server.post(rows[1])
            assert answer.status_code == 503
            assert answer.elapsed.total_seconds() < 30
            assert server.get("/health").status_code == 200
            database.signal(signal.SIGCONT)
            until(lambda: server.post(rows[1]).status_code == 200)
            assert len(stored(f"{database.uri}postgres")) == 2
    finally:
        database.close()
