"""Bodies and answers in gzip, and limits of each token."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors import HEAD, Doors, doors, posted
from tests.servers import passengers

from headrace.serving.http.access import Access
from headrace.serving.http.options import Options
from headrace.serving.http.packing import LEAST, takes_packed
from headrace.serving.http.problem import Problem
from headrace.serving.http.throttle import Throttle
from headrace.settings import Settings

GZIP = b"content-encoding: gzip"
TAKES = b"accept-encoding: gzip, deflate"
ROW = json.dumps(passengers(1, first=500_000)[0]).encode()
MANY = json.dumps(passengers(400, first=510_000)).encode()
MOST = 200_000


@pytest.fixture(scope="module")
def door(titanic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    home = Path(shutil.copytree(titanic_home, tmp_path_factory.mktemp("packing") / "home"))
    with doors(home, max_body=MOST) as made:
        yield made


def parts(answer: bytes) -> tuple[dict[bytes, bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:]), body


def test_a_packed_body_is_answered_as_the_plain_one(door: Doors) -> None:
    plain = door.said(posted(ROW))
    halves = gzip.compress(ROW[:50]) + gzip.compress(ROW[50:])
    for body in (gzip.compress(ROW), gzip.compress(ROW, 0), halves, gzip.compress(b"\xef\xbb\xbf" + ROW)):
        assert door.said(posted(body, GZIP)) == plain
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(halves), halves)
    assert door.said(HEAD + GZIP + b"\r\ntransfer-encoding: chunked\r\n\r\n" + chunks) == plain
    assert door.said(posted(ROW, b"content-encoding: identity")) == plain


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (gzip.compress(b" " * 100_000_000, 9), b"gzip", 413),
        (gzip.compress(b"x" * (MOST - 5)) + gzip.compress(b"y" * 6), b"gzip", 413),
        (gzip.compress(ROW)[:-9], b"gzip", 400),
        (gzip.compress(ROW) + b"junk", b"gzip", 400),
        (ROW, b"gzip", 400),
        (gzip.compress(b"{"), b"gzip", 400),
        (ROW, b"br", 415),
        (gzip.compress(gzip.compress(ROW)), b"gzip, gzip", 415),
    ],
    ids=["bomb", "two members", "cut", "more", "plain", "json", "br", "twice"],
)
def test_a_packed_body_that_is_not_as_it_should_be(door: Doors, body: bytes, coding: bytes, status: int) -> None:
    answer = door.said(posted(body, b"content-encoding: " + coding))
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert (b"\r\naccept-encoding: gzip\r\n" in answer) == (status == 415)


def test_large_answers_are_packed_for_those_who_take_them(door: Doors) -> None:
    plain, packed = door.said(posted(MANY)), door.said(posted(MANY, TAKES))
    headers, body = parts(packed)
    assert headers[b"content-encoding"] == b"gzip"
    assert b"accept-encoding" in headers[b"vary"].lower()
    assert gzip.decompress(body) == parts(plain)[1]
    assert len(body) < len(parts(plain)[1]) / 2 > LEAST / 2
    assert b"content-encoding" not in plain
    assert door.said(posted(ROW, TAKES)) == door.said(posted(ROW))
    asked = b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nx-request-id: mine\r\n%b\r\n\r\n"
    headers, body = parts(door.said(asked % TAKES))
    assert gzip.decompress(body) == parts(door.said(asked % b"a: b"))[1]


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        *((each, True) for each in (b"gzip", b"br, GZIP;q=0.5", b"*", b"x-gzip")),
        *((each, False) for each in (b"", b"br", b"gzip;q=0", b"gzip; q=0.000", b"*;q=0", b"*, gzip;q=0")),
    ],
)
def test_who_takes_gzip(accepted: bytes, takes: bool) -> None:
    assert takes_packed(accepted) == takes


def test_each_token_has_its_limits(titanic_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(titanic_home, tmp_path / "home"))
    tokens = {
        "slow": {"may": ["*:predict", "*:read"], "rate": 0.01},
        "narrow": {"may": ["*:predict"], "concurrent": 1},
        "free": ["*:predict"],
    }
    settings = Settings(tokens=tokens)
    with doors(home, tokens=settings.tokens) as door:
        said = [door.said(posted(ROW, b"authorization: Bearer slow")) for _ in range(3)]
        assert [each[9:12] for each in said] == [b"200", b"429", b"429"]
        headers, body = parts(said[1])
        assert 90 <= int(headers[b"retry-after"]) <= 100
        assert headers[b"content-type"] == b"application/problem+json"
        assert (headers[b"x-request-id"], json.loads(body)["status"]) == (b"mine", 429)
        listed = b"GET /v1/systems HTTP/1.1\r\nhost: x\r\nauthorization: Bearer slow\r\n\r\n"
        assert door.said(listed).startswith(b"HTTP/1.1 429 ")
        assert door.said(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        with door.connection() as first:
            first.send(posted(ROW, b"authorization: Bearer narrow")[:-5])
            threading.Event().wait(0.6)  # until its head is read
            assert door.said(posted(ROW, b"authorization: Bearer narrow")).startswith(b"HTTP/1.1 429 ")
            first.send(ROW[-5:])
            assert first.response().startswith(b"HTTP/1.1 200 ")
        assert door.said(posted(ROW, b"authorization: Bearer narrow")).startswith(b"HTTP/1.1 200 ")
        assert {door.said(posted(ROW, b"authorization: Bearer free"))[9:12] for _ in range(20)} == {b"200"}
        assert door.said(posted(ROW)).startswith(b"HTTP/1.1 401 ")


def test_a_rate_is_saved_up_for_a_second_at_most() -> None:
    now = [0.0]
    throttle = Throttle(Access({}), Options(rate=5), clock=lambda: now[0])

    def passed() -> int:
        count = 0
        while count < 1000:
            try:
                with throttle.request("/v1/systems", {}):
                    count += 1
            except Problem:
                break
        return count

    assert throttle
    assert not Throttle(Access({}), Options())
    assert passed() == 5
    now[0] += 0.4
    assert passed() == 2
    now[0] += 100
    assert passed() == 5
