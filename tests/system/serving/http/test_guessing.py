"""Wrong tokens are refused more slowly from some number on, at every door; right ones never are."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.doors import doors, posted
from tests.servers import passengers
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from headrace.serving.http.guessing import WrongTokens
from headrace.serving.http.problem import Problem
from headrace.settings import Settings
from headrace.tries import ADDRESSES, INSIDE, LONGEST

ROW = json.dumps(passengers(1, first=930_000)[0]).encode()
REFUSED = Problem(401, "a known bearer token is needed")


def got(path: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"host: x", *headers, b"", b""))


def test_wrong_tokens_wait_and_right_ones_do_not(titanic_home: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(titanic_home, tmp_path / "home"))
    wrong, right = b"authorization: Bearer wrong", b"authorization: Bearer right"
    with doors(home, tokens=Settings(tokens={"right": ["*:predict", "*:read"]}).tokens) as door:
        said = [door.said(posted(ROW, wrong)) for _ in range(5)]
        said += [door.said(got(b"/v1/systems", wrong)) for _ in range(5)]
        assert {each[9:12] for each in said} == {b"401"}
        through = door.called
        for request in (posted(ROW, wrong), got(b"/v1/systems", wrong), got(b"/v2/models/titanic", wrong)):
            head, _, body = door.said(request).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 429 ")
            assert re.search(rb"\r\nretry-after: (2\d|30)\b", head)
            assert request.startswith(b"GET /v2") or b"application/problem+json" in head
            assert b"wrong tokens" in body
        assert door.called == through + 2  # the short door counts, too
        assert {door.said(posted(ROW, right))[9:12] for _ in range(12)} == {b"200"}
        assert door.said(got(b"/v1/systems", right)).startswith(b"HTTP/1.1 200 ")
        assert {door.said(got(b"/v1/systems"))[9:12] for _ in range(12)} == {b"401"}  # without a token nobody guesses
        for request in (posted(ROW, wrong, b"x-forwarded-for: 10.0.0.9"), got(b"/health", wrong)):
            assert door.said(request)[9:12] == (b"401" if request.startswith(b"POST") else b"200")


@pytest.mark.parametrize(("trusted", "expected"), [("10.0.0.2", 10), ("127.0.0.1", 12)])
def test_a_forwarded_address_counts_from_a_trusted_proxy_alone(trusted: str, expected: int) -> None:
    wrong, statuses = WrongTokens(), []

    async def told(scope: Any, receive: Any, send: Any) -> None:
        statuses.append(wrong.of_request(REFUSED, scope).status)

    async def ask(app: Any) -> None:
        for number in range(12):
            headers = [(b"authorization", b"Bearer no"), (b"x-forwarded-for", b"10.9.9.%d" % number)]
            await app({"type": "http", "scheme": "http", "client": ("127.0.0.1", 1), "headers": headers}, None, None)

    asyncio.run(ask(ProxyHeadersMiddleware(told, trusted)))
    assert statuses.count(401) == expected


def test_what_is_remembered_is_bounded() -> None:
    now = 0.0
    wrong = WrongTokens(lambda: now)

    def statuses(*addresses: str) -> list[int]:
        return [wrong.judged(REFUSED, b"Bearer no", (address, 1)).status for address in addresses]

    assert statuses(*["2001:db8::1"] * 9, "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1") == [401] * 10 + [429, 401]
    now = 10_000.0
    assert statuses(*(f"x{number}" * 10_000 for number in range(3000))).count(401) == 100
    known = wrong._tries._addresses
    assert len(known) <= ADDRESSES
    assert max(map(len, known)) <= LONGEST


def test_others_are_not_counted() -> None:
    wrong = WrongTokens()
    scope = {"client": None, "headers": [(b"authorization", b"Bearer no")], "extensions": {INSIDE: {}}}
    assert {wrong.of_request(REFUSED, scope).status for _ in range(20)} == {401}  # the log-in counts those itself
    assert {wrong.judged(Problem(403, "no"), b"Bearer some", None).status for _ in range(20)} == {403}
    assert [wrong.judged(REFUSED, b"Bearer no", None).status for _ in range(11)] == [401] * 10 + [429]
