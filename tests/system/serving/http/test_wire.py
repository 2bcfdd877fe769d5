"""What a client may send and hold: offers of other protocols, bounds of a head, and how connections end."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.doors import HEAD, Connection, Doors, chunked, doors, posted
from tests.servers import PREDICT, passengers
from tests.services import missing
from tests.waiting import until

ROWS = [json.dumps(row).encode() for row in passengers(40, first=300_000)]
HEALTH = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
OFFERS = (
    (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA"),
    (b"connection: upgrade", b"upgrade: TLS/1.2"),
    (b"connection: Upgrade", b"Upgrade: websocket", b"sec-websocket-version: 13", b"sec-websocket-key: AAAA"),
    (b"connection: keep-alive, Upgrade", b"upgrade: websocket, h2c", b"upgrade: foo"),
)
JAVA = """
import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
public class Client {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 3; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[0]))
                .header("content-type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofFile(Path.of(words[1]))).build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.version() + " " + answer.body());
        }
    }
}
"""


@pytest.fixture(scope="module")
def door(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("wire") / "home"))
    with doors(home) as made:
        yield made


@pytest.fixture(scope="module")
def narrow(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    """A server whose bounds are quickly met."""
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("narrow") / "home"))
    with doors(home, head_timeout=0.5, max_connections=3, max_body=100_000) as made:
        yield made


def status(answer: bytes) -> int:
    return int(answer[9:12])


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-type: application/problem+json\r\n" in head + b"\r\n"
    assert b"\r\nx-request-id: " in head
    told: dict[str, Any] = json.loads(body)
    assert told["status"] == status(answer)
    return told


def rest_of(connection: Connection) -> bytes:
    """All that still comes, until the server closes."""
    got = connection._got
    with contextlib.suppress(ConnectionResetError):
        while more := connection.socket.recv(65536):
            got += more
    return got


@pytest.mark.parametrize("offer", OFFERS, ids=[offer[1].decode() for offer in OFFERS])
def test_an_offer_of_another_protocol_is_ignored(door: Doors, offer: tuple[bytes, ...]) -> None:
    plain, request = door.said(posted(ROWS[0])), posted(ROWS[0], *offer)
    assert status(plain) == 200
    head = request.index(b"\r\n\r\n") + 4
    assert door.said(request) == plain
    assert door.said(request[:head], request[head:]) == plain
    assert door.said(request[:40], request[40 : head + 9], request[head + 9 :]) == plain
    chunks = chunked(ROWS[0]).replace(b"host: x", b"\r\n".join((b"host: x", *offer)))
    assert door.said(chunks) == plain
    asked = HEALTH.replace(b"host: x", b"\r\n".join((b"host: x", b"x-request-id: mine", *offer)))
    for parts in ((asked,), (asked[:30], asked[30:])):
        assert status(door.said(*parts)) == 200
    with door.connection() as connection:
        connection.send(request + asked + request + posted(ROWS[0]))
        answers = [connection.response() for _ in range(4)]
    assert [*answers[:1], *answers[2:]] == [plain] * 3
    assert answers[1].endswith(b'{"status":"alive"}')


def test_a_stock_java_client_posts(door: Doors, tmp_path: Path) -> None:
    if shutil.which("java") is None or shutil.which("javac") is None:
        missing("needs a JDK")
    (tmp_path / "Client.java").write_text(JAVA)
    (tmp_path / "row.json").write_bytes(ROWS[0])
    url = f"http://127.0.0.1:{door.port}{PREDICT}"
    command = ["java", str(tmp_path / "Client.java"), url, str(tmp_path / "row.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    plain = door.said(posted(ROWS[0])).partition(b"\r\n\r\n")[2].decode()
    assert done.stdout.splitlines() == [f"200 HTTP_1_1 {plain}"] * 3


@pytest.mark.parametrize(
    ("sent", "expected", "said"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 505, "HTTP/2"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "TLS"),
        (b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n", 405, "proxy"),
        (b"garbage\r\n\r\n", 400, "no HTTP"),
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "Host"),
        (posted(ROWS[0]).replace(b"host: x\r\n", b""), 400, "Host"),
        (posted(ROWS[0], b"host: x"), 400, "Host"),
        (posted(ROWS[0], b"idempotency-key: a", b"Idempotency-Key: b"), 400, "Idempotency-Key"),
        (posted(ROWS[0], b"authorization: Bearer a", b"authorization: Bearer b"), 400, "Authorization"),
        (posted(ROWS[0], b"content-type: text/csv"), 400, "Content-Type"),
        (HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n1\r\n[\r\n0\r\n\r\n", 501, "chunked"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 414, "target"),
        (b"GET /health HTTP/1.1\r\nhost: x\r\nx-long: " + b"y" * 100_000 + b"\r\n\r\n", 431, "head"),
        (b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431, "headers"),
        (posted(ROWS[0], *[b"x-%d: %b" % (n, b"y" * 9000) for n in range(9)]), 431, "head"),
    ],
    ids=[
        "h2",
        "tls",
        "connect",
        "garbage",
        "no host",
        "hosts",
        "post no host",
        "post hosts",
        "keys",
        "tokens",
        "types",
        "coding",
        "url",
        "long",
        "many",
        "both",
    ],
)
def test_a_head_that_is_not_as_it_should_be_is_a_problem(door: Doors, sent: bytes, expected: int, said: str) -> None:
    for parts in ((sent,), (sent[:5], sent[5:])):
        with door.connection() as connection:
            connection.send(*parts)
            answer = connection.response()
            assert (status(answer), said in problem(answer)["detail"]) == (expected, True), answer
            assert b"\r\nconnection: close\r\n" in answer
            assert rest_of(connection) == b""


def test_one_without_a_host_is_answered_where_http_allows_it(door: Doors) -> None:
    assert status(door.said(b"GET /health HTTP/1.0\r\n\r\n")) == 200


ENDLESS = {
    "a header": (b"GET /health HTTP/1.1\r\nhost: x\r\nx-long: ", b"y" * 10_000, 431),
    "headers": (b"GET /health HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n" * 2000, 431),
    "a target": (b"GET /", b"x" * 10_000, 414),
    "blank lines": (b"\r\n", b"\r\n" * 5000, 431),
    "trailers": (HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n[\r\n0\r\n", b"x: " + b"y" * 9000 + b"\r\n", 400),
    "a chunk's extension": (HEAD + b"transfer-encoding: chunked\r\n\r\n1;a=", b"y" * 9000, 400),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"2710\r\n" + b" " * 10_000 + b"\r\n", 413),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_is_not_read_for_ever(narrow: Doors, what: str) -> None:
    begin, more, expected = ENDLESS[what]
    until(lambda: not narrow.connections)
    with narrow.connection() as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sent = 0
        connection.send(begin)
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                sent += connection.socket.send(more)
        assert sent < 20_000_000
        answer = rest_of(connection)
    assert status(answer) == expected, answer[:300]


def test_a_head_or_nothing_does_not_hold_a_connection(narrow: Doors) -> None:
    until(lambda: not narrow.connections)
    with narrow.connection() as silent, narrow.connection() as slow, narrow.connection() as blank:
        began = time.monotonic()
        slow.send(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        answered = b""
        slow.socket.settimeout(0.1)
        blank.socket.setblocking(False)
        while not answered and time.monotonic() - began < 10:
            with contextlib.suppress(TimeoutError):
                answered = slow.socket.recv(65536)
            with contextlib.suppress(OSError):
                slow.socket.send(b"a: b\r\n")
                blank.socket.send(b"\r\n")
        assert status(answered) == 408
        assert silent.ended()
        blank.socket.setblocking(True)
        assert rest_of(blank) == b""
        assert time.monotonic() - began < 10  # by default it is 30


def test_there_are_only_so_many_connections(narrow: Doors) -> None:
    until(lambda: not narrow.connections)
    with contextlib.ExitStack() as stack:
        open_ones = [stack.enter_context(narrow.connection()) for _ in range(3)]
        for each in open_ones:
            each.send(posted(ROWS[1])[:-5])  # bodies may take their time
        until(lambda: len(narrow.connections) == 3)
        answer = narrow.said(posted(ROWS[1]))
        assert status(answer) == 503
        assert b"\r\nretry-after: " in answer
        assert problem(answer)["detail"] == "the server has as many connections as it takes"
        assert status(narrow.said(HEALTH)) == 200
        for each in open_ones:
            each.send(posted(ROWS[1])[-5:])
            assert status(each.response()) == 200
    until(lambda: not narrow.connections)
    assert status(narrow.said(posted(ROWS[1]))) == 200


@pytest.mark.parametrize("before", [1, 2, 5])
def test_what_was_asked_before_garbage_is_answered_first(door: Doors, before: int) -> None:
    requests = [posted(row) for row in ROWS[10 : 10 + before]]
    requests[1:2] = [HEALTH] * (before > 1)
    for gap in (b"".join, None):
        with door.connection() as connection:
            parts = [*requests, b"garbage\r\n\r\n"]
            connection.send(*([gap(parts)] if gap else parts))
            answers = [connection.response() for _ in requests]
            assert [status(answer) for answer in answers] == [200] * before
            last = connection.response()
            assert problem(last)["status"] == 400
            assert b"\r\nconnection: close\r\n" in last
            assert rest_of(connection) == b""
        assert answers[0] == door.said(requests[0])


def test_a_body_that_breaks_is_refused_after_what_was_asked_before(door: Doors) -> None:
    broken = chunked(ROWS[20])[:-6] + b"XYZ\r\n\r\n"
    with door.connection() as connection:
        connection.send(posted(ROWS[21]) + HEALTH + broken)
        assert [status(connection.response()) for _ in range(3)] == [200, 200, 400]
        assert rest_of(connection) == b""
    with door.connection() as connection:
        connection.send(broken)
        assert status(connection.response()) == 400
        assert rest_of(connection) == b""
    until(lambda: not door.server.server_state.tasks)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_a_client_that_has_said_all_is_answered(door: Doors, count: int) -> None:
    requests = [posted(ROWS[22]), HEALTH, chunked(ROWS[23])] * count
    for packets in ([b"".join(requests)], requests):
        with door.connection() as connection:
            connection.send(*packets)
            connection.socket.shutdown(socket.SHUT_WR)
            assert [status(connection.response()) for _ in requests] == [200] * len(requests)
            assert rest_of(connection) == b""


@pytest.mark.parametrize("part", [posted(ROWS[24])[:-5], chunked(ROWS[24])[:-5], HEAD[:30], HEAD])
def test_a_client_that_ends_too_early_is_told(door: Doors, part: bytes) -> None:
    with door.connection() as connection:
        connection.send(HEALTH + part)
        connection.socket.shutdown(socket.SHUT_WR)
        assert status(connection.response()) == 200
        assert problem(connection.response())["detail"] == "the client ended before its request was whole"
        assert rest_of(connection) == b""
    until(lambda: not door.connections)


def test_a_connection_leaves_nothing_for_the_collector(door: Doors) -> None:
    """Or the memory of a server grows with the number of connections that there ever were."""
    until(lambda: not door.connections)
    for sent in (posted(ROWS[25]), chunked(ROWS[25]), HEALTH):
        door.said(sent)
    until(lambda: not door.connections)
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            for sent in (posted(ROWS[25]), posted(b"{"), chunked(b"["), b"garbage\r\n\r\n"):
                door.said(sent)
            with door.connection() as connection:
                connection.send(posted(ROWS[25])[:-4])
        until(lambda: not door.connections)
        time.sleep(1.2)  # as long as what follows a last answer is thrown away
        left = sum(type(each).__name__ in ("Protocol", "Exchange", "Cycle") for each in gc.get_objects())
    finally:
        gc.enable()
    assert left < 10
