"""Who logs out is out, also with a copy of the cookie; tokens are neither readable nor guessed at will."""

import asyncio
import base64
import logging
import re

import httpx
import pytest
from tests.unit.dashboard.test_pages import PATHS, Browser
from tests.worlds.answers import Answers

from headrace.dashboard.asking import Clients
from headrace.dashboard.live import LiveSessions
from headrace.dashboard.options import DashboardOptions
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.server import Pages
from headrace.dashboard.site import WRITES
from headrace.tries import INSIDE, TokenTries


@pytest.fixture
def api():
    return Answers()


def copied(browser, app=None):
    """Another browser with the same cookies; of another process of the server where its application is given."""
    copy = Browser(Answers())
    copy.app, copy.cookies = app or browser.app, httpx.Cookies(browser.cookies)
    return copy


def log_out(browser):
    return browser.ask("POST", "/logout", data={"form_token": browser.form_token("/systems/load/models")})


def test_a_copied_cookie_ends_with_its_log_out(api, tmp_path):
    first, second = Browser(api, folder=tmp_path), Browser(api, folder=tmp_path)
    assert first.login().status_code == 303
    thief, elsewhere = copied(first), copied(first, second.app)
    assert (thief.get("/").status_code, elsewhere.get("/").status_code) == (200, 200)
    assert log_out(first).headers["location"] == "/login"
    assert "headrace_session" not in first.cookies
    for copy in (thief, elsewhere):
        assert copy.get("/").headers["location"].startswith("/login")
    assert not list(tmp_path.iterdir())


def test_who_logs_in_again_has_one_session(api, tmp_path):
    browser = Browser(api, folder=tmp_path)
    browser.login()
    old = copied(browser)
    browser.login()
    assert (old.get("/").status_code, browser.get("/").status_code) == (303, 200)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_form_from_elsewhere_logs_nobody_out(api):
    browser = Browser(api)
    browser.login()
    browser.ask("POST", "/logout", data={"form_token": "guessed"})
    assert browser.get("/").status_code == 200


def test_neither_the_cookie_nor_the_server_has_the_token(api, tmp_path):
    api.token = "a-token-that-would-be-seen"
    browser = Browser(api, folder=tmp_path)
    browser.login(api.token)
    cookie = browser.cookies["headrace_session"]
    parts = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in cookie.split(".")]
    (kept,) = tmp_path.iterdir()
    for text in (cookie.encode(), *parts, kept.read_bytes(), kept.name.encode()):
        assert b"seen" not in text
    assert browser.get("/").status_code == 200


def test_sessions_are_bounded_and_those_that_end_first_go(tmp_path):
    live = LiveSessions(tmp_path, most=3)
    for number in range(5):
        live.begin(f"s{number}", 2_000_000_000 + number, b"half")
    assert [live.half(f"s{number}") for number in range(5)] == [None, None, b"half", b"half", b"half"]
    tmp_path.joinpath("file").write_bytes(b"")
    with pytest.raises(ApiRefusal, match="cannot keep"):
        LiveSessions(tmp_path / "file").begin("s", 2_000_000_000, b"half")


def test_tokens_are_not_guessed_at_will(api, caplog):
    caplog.set_level(logging.INFO, "headrace.dashboard")
    browser = Browser(api)
    statuses = [browser.login(f"guess-{number}").status_code for number in range(11)]
    assert statuses == [401] * 10 + [429]
    refused = browser.login()  # the right one, too: else guessing would go on behind the refusal
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
    assert "try again in 30 seconds" in refused.text
    assert caplog.text.count("was refused") == 10
    assert "guess" not in caplog.text


def test_log_ins_that_succeed_are_not_counted(api, caplog):
    caplog.set_level(logging.INFO, "headrace.dashboard")
    browser = Browser(api)
    assert {browser.login().status_code for _ in range(12)} == {303}
    api.trouble = lambda request: httpx.Response(503, json={"title": "Busy"})
    assert {browser.login().status_code for _ in range(12)} == {503}
    assert "secret" not in caplog.text


def test_pages_in_the_server_ask_its_api_as_itself():
    """There the address would be the server's own, of all viewers together."""
    scopes = []

    async def told(scope, receive, send):
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 401, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    with pytest.raises(ApiRefusal):
        asyncio.run(Pages(DashboardOptions()).over(told)._clients.check("wrong"))
    assert [INSIDE in scope["extensions"] for scope in scopes] == [True]


def test_tries_are_bounded_by_address_and_in_all():
    now = 0.0
    tries = TokenTries(lambda: now)
    assert [tries.begin("10.0.0.1") for _ in range(11)] == [0] * 10 + [30]
    assert tries.begin("10.0.0.2") == 0
    now = 30.0
    assert [tries.begin("10.0.0.1") for _ in range(2)] == [0, 30]
    now = 10_000.0
    assert [tries.begin(f"2001:db8::{number}") for number in range(11)][-1] == 30  # one network is one client
    now = 20_000.0
    assert sum(tries.begin(f"10.1.{number // 250}.{number % 250}") == 0 for number in range(2000)) == 100
    assert len(tries._addresses) <= 1024


def test_clients_are_bounded_and_closed(monkeypatch):
    opened, closed = [], []

    class Http(httpx.AsyncClient):
        def __init__(self, **more):
            super().__init__(**more)
            opened.append(self)

        async def aclose(self):
            closed.append(self)
            await super().aclose()

    monkeypatch.setattr(httpx, "AsyncClient", Http)
    known = httpx.MockTransport(lambda request: httpx.Response(200, json={}))
    unknown = httpx.MockTransport(lambda request: httpx.Response(401, json={"title": "no"}))

    async def ask(clients, number):
        await clients.of(f"token-{number}").get("/v1/access")

    async def guess():
        clients = Clients("http://api", unknown)
        for number in range(3):
            with pytest.raises(ApiRefusal, match="401"):
                await clients.check(f"token-{number}")
        assert len(opened) == len(closed) == 3
        clients = Clients("http://api", known)
        for number in range(70):
            await ask(clients, number)
        assert len(opened) - len(closed) == 64
        held = clients.of("token-0")  # which was closed in the meantime
        await held.get("/v1/access")
        await asyncio.gather(*[ask(clients, number) for number in range(200)])
        assert len(opened) - len(closed) == 64

    asyncio.run(guess())


def of_rows(answers):
    """The world's system as one that answers rows: its pages have other forms."""
    system = "/v1/systems/load"
    contract = {"properties": {"age": {"type": "number"}}, "required": []}
    return answers | {
        system: {**answers[system], "keys": [], "horizon": None, "contract": contract},
        f"{system}/answers": {"rows": [], "next": None},
    }


@pytest.mark.parametrize("world", [dict, of_rows])
def test_a_read_only_dashboard_has_no_form_and_refuses_what_would_change_something(api, world):
    api.answers = world(api.answers)
    open_for_all, browser = Browser(api), Browser(api, read_only=True)
    open_for_all.login()
    browser.login()
    token, others = {"form_token": browser.form_token("/systems/load/models")}, 0
    for path in PATHS:
        page = browser.get(path)
        assert page.status_code == 200
        assert re.findall(r'(?i)<form[^>]*method="post"[^>]*action="([^"]*)"', page.text) == ["/logout"], path
        assert page.text.lower().count('"post"') == 1, path
        assert not re.search(r"formaction|hx-(post|put|patch|delete)", page.text), path
        others += open_for_all.get(path).text.count('method="post"') - 1
    assert others > 5, "there is nothing to leave out"
    for write in WRITES:
        path = write.path.format(name="load", version="2", simulation_id="s1")
        response = browser.ask("POST", path, data=token)
        assert (path, response.status_code) == (path, 403)
    assert api.posted == []
