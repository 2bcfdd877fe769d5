"""Both doors to the predictions give the same bytes, whatever comes and however it comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.doors import HEAD, Doors, chunked, doors, posted
from tests.servers import PREDICT, passengers
from tests.system.serving.http.test_hostile import BODIES, ROW, STRANGE
from tests.waiting import PATIENCE, until

from headrace.serving.http import direct
from headrace.serving.http.access import Access
from headrace.serving.http.call import Answer, Call
from headrace.serving.http.direct import Exchange
from headrace.serving.http.guessing import WrongTokens
from headrace.serving.http.options import Options
from headrace.serving.http.predict import PredictRoute
from headrace.serving.http.telemetry import Telemetry

ROWS = [json.dumps(row).encode() for row in passengers(60, first=1000)]
SMALL = [each for each in BODIES if len(each[1]) < 60_000]


@pytest.fixture(scope="module")
def door(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("doors") / "home"))
    with doors(home) as made:
        yield made


def logged(door: Doors) -> dict[str, bytes]:
    return {entry.key: entry.answer for _, entry in door.home.ledger.read("titanic", limit=100_000)}


@pytest.mark.parametrize(("body", "status"), [each[1:3] for each in SMALL], ids=[each[0] for each in SMALL])
def test_a_hostile_body_is_refused_alike(door: Doors, body: bytes, status: int) -> None:
    called = door.called
    short = door.said(posted(body))
    assert door.called == called
    assert short.startswith(b"HTTP/1.1 %d " % status)
    assert door.said(chunked(body)) == short
    assert door.called == called + 1


@pytest.mark.parametrize("changes", [each[1] for each in STRANGE], ids=[each[0] for each in STRANGE])
def test_a_strange_row_is_answered_alike(door: Doors, changes: dict[str, Any]) -> None:
    body = json.dumps(ROW | {"PassengerId": 90_000_000 + len(str(changes))} | changes).encode()
    assert door.said(posted(body)) == door.said(chunked(body))


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"idempotency-key: a b",), 400),
        ((b"idempotency-key: k1",), 200),
        ((b"authorization: Bearer x",), 200),
        ((b"connection: keep-alive", b"accept: */*", b"user-agent: y", b"cookie: a", b"cookie: b"), 200),
    ],
)
def test_a_head_is_read_alike(door: Doors, lines: tuple[bytes, ...], status: int) -> None:
    called = door.called
    short = door.said(posted(ROWS[0], *lines))
    assert door.called == called
    assert short.startswith(b"HTTP/1.1 %d " % status)
    assert door.said(posted(ROWS[0], *lines, b"origin: https://shop.example")) == short
    assert door.called == called + 1


def test_a_request_in_many_packets(door: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_HURRY", PATIENCE)
    whole = door.said(posted(ROWS[1]))
    request = posted(ROWS[1])
    head = request.index(b"\r\n\r\n") + 4
    called = door.called
    assert door.said(*(request[i : i + 1] for i in range(head)), request[head:]) == whole
    assert door.said(request[:head], *(request[i : i + 1] for i in range(head, len(request)))) == whole
    assert door.called == called
    for part in (1, head - 3, head, head + 1, len(request) - 1):
        assert door.said(request[:part], request[part:]) == whole


def test_a_body_that_is_slow_waits_at_the_other_door(door: Doors) -> None:
    whole, request, called = door.said(posted(ROWS[2])), posted(ROWS[2]), door.called
    with door.connection() as connection:
        connection.send(request[:-30])
        until(lambda: door.called > called)
        for place in range(30, 0, -1):
            connection.send(request[-place : len(request) - place + 1])
            time.sleep(0.02)
        assert connection.response() == whole
        connection.send(request)
        assert connection.response() == whole


def test_answers_come_in_the_order_of_the_requests(door: Doors) -> None:
    health = b"GET /health HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n\r\n"
    requests = [posted(row) for row in ROWS[3:23]]
    requests[5:5], requests[9:9] = [health], [chunked(ROWS[30]), posted(b"{")]
    with door.connection() as connection:
        connection.send(b"".join(requests))
        answers = [connection.response() for _ in requests]
        assert answers[5].endswith(b'{"status":"alive"}')
        connection.send(*(b"".join(requests)[at : at + 77] for at in range(0, sum(map(len, requests)), 77)))
        assert [connection.response() for _ in requests] == answers
    assert [door.said(request) for request in requests] == answers
    keys = [json.loads(row)["PassengerId"] for row in ROWS[3:23]]
    told = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert [each["key"] for each in told if each.get("key") in keys] == keys


def at_once(door: Doors, requests: Sequence[bytes], *, unanswered: int = 0) -> list[bytes]:
    """The responses to requests on connections of their own that all come in one turn of the server's loop.

    Those to the first `unanswered` are not waited for.
    """
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(door.connection()) for _ in requests]
        until(lambda: len(door.connections) >= len(requests))
        free = threading.Event()
        door.server.servers[0].get_loop().call_soon_threadsafe(free.wait, 10)
        for connection, request in zip(connections, requests, strict=True):
            connection.send(request)
        free.set()
        return [connection.response() for connection in connections[unanswered:]]


def rows_of_new_keys(first: int) -> list[bytes]:
    return [json.dumps(json.loads(row) | {"PassengerId": first + i}).encode() for i, row in enumerate(ROWS)]


@pytest.mark.parametrize("several", [2, 3, 60])
def test_what_comes_at_once_is_answered_as_what_comes_alone(door: Doors, several: int) -> None:
    requests = [posted(row) for row in rows_of_new_keys(60_000_000 + 1000 * several)[:several]]
    called = door.called
    together = at_once(door, requests)
    assert door.called == called
    assert [door.said(request) for request in requests] == together
    assert {answer[:12] for answer in together} == {b"HTTP/1.1 200"}
    rows = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in requests]
    again = json.loads(door.said(posted(json.dumps(rows).encode())).partition(b"\r\n\r\n")[2])["predictions"]
    assert [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in together] == again


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (posted(b"{"), 400),
        (posted(json.dumps(ROW | {"Pclass": 9}).encode()), 422),
        (posted(json.dumps(ROW).encode(), b"idempotency-key: a b"), 400),
        (posted(json.dumps(ROW).encode(), b"idempotency-key: ours"), 200),
        (posted(json.dumps(ROW | {"PassengerId": 1.0}).encode()), 200),
        (posted(json.dumps([ROW, ROW]).encode()), 200),
        (posted(b"x").replace(b"application/json", b"text/plain"), 415),
    ],
)
def test_one_of_many_at_once_does_not_change_the_others(door: Doors, other: bytes, status: int) -> None:
    requests = [posted(row) for row in ROWS[40:50]]
    alone = [door.said(request) for request in [*requests, other]]
    assert at_once(door, [*requests, other]) == alone
    assert alone[-1].startswith(b"HTTP/1.1 %d " % status)


class Told(Call):
    """A call that writes down when it is answered."""

    def __init__(self, told: list[str]) -> None:
        super().__init__("nobody", "POST", "/", {}, None)
        self.told = told

    def reply(self, answer: Answer) -> None:
        self.told.append("told")


def test_a_turn_takes_what_comes_while_it_comes() -> None:
    happened: list[str] = []

    async def main() -> None:
        route = PredictRoute(
            {}, Options(), Access({}), Telemetry(CollectorRegistry()), None, lambda log: None, WrongTokens()
        )

        def come() -> None:
            happened.append("come")
            route.at_once(Told(happened))

        come()
        asyncio.get_running_loop().call_soon(come)
        while happened.count("told") < 2:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert happened == ["come", "come", "told", "told"]


@pytest.mark.parametrize("body", [b"{", ROWS[39]])
def test_one_answer_that_fails_leaves_the_others_of_its_turn(
    door: Doors, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it failed where the turn is told, or where its commit is."""
    reply = Exchange.reply

    def failing(self: Exchange, answer: Answer) -> None:
        if self.request_id == b"fails":
            raise ValueError("as told")
        reply(self, answer)

    requests = [posted(row) for row in ROWS[40:50]]
    alone = [door.said(request) for request in requests]
    monkeypatch.setattr(Exchange, "reply", failing)
    first = posted(body).replace(b"x-request-id: mine", b"x-request-id: fails")
    assert at_once(door, [first, *requests], unanswered=1) == alone


def test_one_key_for_several_rows_at_once(door: Doors) -> None:
    row = ROW | {"PassengerId": 61_000_000}
    requests = [posted(json.dumps(row | {"Age": age}).encode()) for age in (20, 20, 30, 20, 40)]
    answers = at_once(door, requests)
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"409", b"200", b"409"]
    assert len({answers[0], answers[1], answers[3]}) == 1


def test_the_connection_ends_where_the_client_says_so(door: Doors) -> None:
    after = json.dumps(ROW | {"PassengerId": 77_000_001}).encode()
    for request in (posted(ROWS[4], b"connection: close"), posted(ROWS[4]).replace(b"HTTP/1.1", b"HTTP/1.0")):
        with door.connection() as connection:
            connection.send(request + posted(after))
            answer = connection.response()
            assert b"\r\nconnection: close\r\n" in answer
            assert connection.ended()
        assert answer.replace(b"connection: close\r\n", b"") == door.said(posted(ROWS[4]))
    assert "[77000001]" not in logged(door)
    until(lambda: not door.connections)


@pytest.mark.parametrize(
    ("request_line", "status"),
    [(f"{verb} {PREDICT}".encode(), 405) for verb in ("GET", "HEAD", "PUT", "OPTIONS")]
    + [(b"POST /v1/systems/nobody/predict", 404), (f"POST {PREDICT}?a=b".encode(), 422)],
)
def test_other_requests_take_the_other_door(door: Doors, request_line: bytes, status: int) -> None:
    called = door.called
    request = posted(ROWS[5]).replace(b"POST " + PREDICT.encode(), request_line)
    with door.connection() as connection:
        connection.send(request)
        head = connection.socket.recv(65536)
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert door.called == called + 1


def test_a_client_may_ask_whether_to_go_on(door: Doors) -> None:
    request = posted(ROWS[6], b"expect: 100-continue")
    head = request.index(b"\r\n\r\n") + 4
    with door.connection() as connection:
        connection.send(request[:head])
        assert connection.response() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(request[head:])
        assert connection.response() == door.said(posted(ROWS[6]))


def test_a_client_that_does_not_read_is_not_read(door: Doors) -> None:
    """What it sends waits in its own buffers, not in the server's."""
    request = posted(b"5")
    with door.connection() as connection:
        connection.socket.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                sent += connection.socket.send(request * 500)
        assert sent < 100_000_000
        connection.socket.settimeout(PATIENCE)
        whole, rest = divmod(sent, len(request))
        assert {connection.response()[:12] for _ in range(whole)} == {b"HTTP/1.1 422"}
        if rest:
            connection.send(request[rest:])
            connection.response()
        connection.send(posted(ROWS[7]))
        assert connection.response() == door.said(posted(ROWS[7]))


def test_requests_that_wait_for_earlier_answers_are_not_read_on_and_on(door: Doors) -> None:
    """However many answers of theirs can still be sent."""
    request = b"GET /openapi.json HTTP/1.1\r\nhost: a\r\nx-long: %b\r\n\r\n" % (b"x" * 4000)
    with door.connection() as connection:
        connection.socket.settimeout(2)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000_000:
                sent += connection.socket.send(request * 50)
        assert sent < 20_000_000  # most of it is in the system's buffers
        assert connection.response().startswith(b"HTTP/1.1 200 ")


def test_a_client_that_goes_leaves_nothing_behind(door: Doors) -> None:
    for part in (len(HEAD) // 2, len(posted(ROWS[8])) - 5, len(posted(ROWS[8]))):
        with door.connection() as connection:
            connection.send(posted(ROWS[8])[:part])
    until(lambda: not door.connections and not door.server.server_state.tasks)
    assert door.said(posted(ROWS[8])).startswith(b"HTTP/1.1 200 ")


def test_a_body_that_does_not_come_is_408(titanic_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(titanic_home, tmp_path / "home"))
    with doors(home, body_timeout=0.4, logged=False) as slow:
        for request in (posted(ROWS[0]), chunked(ROWS[0])):
            with slow.connection() as connection:
                began = time.monotonic()
                connection.send(request[:-20])
                answer = connection.response()
                assert 0.4 < time.monotonic() - began < 20  # by default it is 30
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "the body did not arrive in time"
        assert slow.said(posted(ROWS[0])).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(titanic_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(titanic_home, tmp_path / "home"))
    with doors(home, logged=False) as door:
        door.server.config.timeout_keep_alive = 2
        with door.connection() as busy, door.connection() as idle:
            idle.send(posted(ROWS[0]))
            idle.response()
            began = time.monotonic()
            while time.monotonic() - began < 4.5:
                busy.send(posted(ROWS[0]))
                busy.response()
                time.sleep(0.2)
            assert idle.ended()
            busy.send(chunked(ROWS[0]))
            assert busy.response().startswith(b"HTTP/1.1 200 ")
