"""Posted events while things break: killed between commit and answer, its ledger locked."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.faults.test_serving import locked
from tests.servers import EVENTS, LIVE, Server, event, live_template, ran, serving
from tests.waiting import until

from headrace.ledger import Entry, Ledger

pytestmark = pytest.mark.fault
METRICS = ("orders", "revenue", "cost_per_click", "requests")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    return Path(shutil.copytree(live_template(tmp_path_factory.getbasetemp()), tmp_path / "home"))


def logged(home: Path) -> list[Entry]:
    ledger = Ledger.open(f"sqlite:///{home}/ledger.db")
    entries = [entry for _, entry in ledger.read("live_metrics", limit=100_000)]
    ledger.close()
    assert len({entry.key for entry in entries}) == len(entries)
    return entries


def send(server: Server, body: dict[str, Any]) -> socket.socket:
    """Send an event without reading the answer."""
    host, port = server.url.removeprefix("http://").split(":")
    connection, data = socket.create_connection((host, int(port))), json.dumps(body).encode()
    head = f"POST {EVENTS} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {len(data)}"
    connection.sendall(head.encode() + b"\r\n\r\n" + data)
    return connection


def rows(home: Path) -> int:
    with sqlite3.connect(home / "ledger.db") as ledger:
        return int(ledger.execute("select count(*) from predictions").fetchone()[0])


def test_killed_between_commit_and_answer_the_same_event_is_answered_by_what_was_logged(home: Path) -> None:
    for hour in (5, 7, 9):
        with serving(home, systems=(LIVE,)) as server:
            server.post([event(hour - 1)], EVENTS)
            before = rows(home)
            unread = send(server, event(hour, hour / 2))
            until(lambda: rows(home) > before)  # noqa: B023
            server.kill()
            unread.close()
        with serving(home, systems=(LIVE,)) as server:
            again = server.post(event(hour, hour / 2), EVENTS)
            assert again.status_code == 200
            assert again.content == logged(home)[-1].answer
            assert rows(home) == before + 1
    assert ran("export", LIVE, home).json["differing"] == 0


def test_killed_under_load_no_answer_is_lost_and_none_differs_from_batch(home: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    for turn in range(2):
        with serving(home, "--workers", "2", systems=(LIVE,)) as server:
            began, stop = len(acknowledged), threading.Event()
            posts = [threading.Thread(target=post, args=(server, m, turn, acknowledged, stop)) for m in METRICS]
            for each in posts:
                each.start()
            until(lambda: len(acknowledged) > began + 60)  # noqa: B023
            server.kill()
            stop.set()
            for each in posts:
                each.join()
    found = {entry.key: entry.answer for entry in logged(home)}
    assert acknowledged.items() <= found.items()
    assert ran("export", LIVE, home).json["differing"] == 0


def post(server: Server, metric: str, turn: int, acknowledged: dict[str, bytes], stop: threading.Event) -> None:
    """One series, hour by hour; ends when the server does."""
    import httpx

    with server.client() as client:
        for hour in range(1 + turn * 2000, 2000 + turn * 2000):
            if stop.is_set():
                return
            try:
                answer = client.post(EVENTS, json=event(hour, hour % 7 + 0.5, metric))
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                acknowledged[answer.json()["event_id"]] = answer.content


def test_a_locked_ledger_is_503_and_the_state_is_as_if_nothing_was_sent(home: Path) -> None:
    with serving(home, systems=(LIVE,), HEADRACE_LEDGER_TIMEOUT="1") as server:
        assert server.post(event(1), EVENTS).status_code == 200
        with locked(home):
            refused = server.post(event(2, 9.0), EVENTS)
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert server.get("/health").status_code == 200
        assert server.post(event(2, 8.0), EVENTS).status_code == 200
        assert server.post(event(3), EVENTS).status_code == 200
    assert [json.loads(entry.inputs)["value"] for entry in logged(home)] == [5.0, 8.0, 5.0]
    assert ran("export", LIVE, home).json["differing"] == 0
