"""Pages without a browser, over an API that answers from memory."""

import asyncio
import functools
import re
from urllib.parse import urlencode

import httpx
import pytest
from tests.worlds.answers import HOSTILE, Answers

from headrace.dashboard.app import HEADERS, Dashboard, owns
from headrace.dashboard.options import DashboardOptions
from headrace.dashboard.site import FIGURES, PAGES

SERIES = {"series": '["a","b"]'}
NAMES = {"{name}": "load", "{version}": "1", "{run_id}": "r1", "{simulation_id}": "s1", "{prediction_id}": "p1"}
PATHS = [functools.reduce(lambda path, name: path.replace(name, NAMES[name]), NAMES, page.path) for page in PAGES]


class Browser:
    """Asks the dashboard, and keeps cookies."""

    def __init__(self, api, *, root="", **options):
        self.app = Dashboard(api.clients(), DashboardOptions(key=b"k" * 32, **options))
        self.root, self.cookies = root, httpx.Cookies()

    def ask(self, method, path, **more):
        async def run():
            transport = httpx.ASGITransport(self.app, root_path=self.root)
            async with httpx.AsyncClient(transport=transport, base_url="http://pages", cookies=self.cookies) as client:
                response = await client.request(method, self.root + path, **more)
                self.cookies = client.cookies
                return response

        return asyncio.run(run())

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def form_token(self, path):
        return re.search(r'name="form_token" value="([0-9a-f]+)"', self.get(path).text)[1]

    def login(self, token="secret", **query):
        form = {"form_token": self.form_token("/login"), "token": token}
        return self.ask("POST", "/login", data=form, params=query)


@pytest.fixture
def api():
    return Answers()


@pytest.fixture
def browser(api):
    found = Browser(api)
    assert found.login().status_code == 303
    return found


@pytest.mark.parametrize("path", PATHS)
def test_a_page_escapes_every_text_and_has_the_headers(browser, path):
    response = browser.get(path)
    assert response.status_code == 200, response.text
    assert "<script>alert" not in response.text
    assert "{{7*7}}" in response.text or "49" not in response.text
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script>", response.text), "a script or style stands in the page"


def test_who_is_not_known_logs_in_and_comes_back(api):
    browser = Browser(api)
    response = browser.get("/systems/load?by=step")
    assert (response.status_code, response.headers["location"]) == (303, "/login?next=%2Fsystems%2Fload%3Fby%3Dstep")
    assert browser.login("wrong").status_code == 401
    assert browser.login(next="/systems/load?by=step").headers["location"] == "/systems/load?by=step"
    cookie = next(iter(browser.cookies.jar))
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert "secret" not in browser.get("/systems/load").text
    assert browser.get("/", headers={"hx-request": "true"}).status_code == 200
    api.token = "changed"
    response = browser.get("/", headers={"hx-request": "true"})
    assert (response.status_code, response.headers["hx-redirect"]) == (204, "/login?next=%2F")


@pytest.mark.parametrize("address", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:x"])
def test_the_log_in_leads_nowhere_else(api, address):
    assert Browser(api).login(next=address).headers["location"] == "/"


def test_a_write_needs_a_form_of_this_session(api, browser):
    path, form = "/systems/load/models/2/promote", {"reason": "better"}
    assert browser.ask("POST", path, data=form).status_code == 403
    other = Browser(api)
    other.login()
    stolen = form | {"form_token": other.form_token("/systems/load/models")}
    assert browser.ask("POST", path, data=stolen).status_code == 403
    good = form | {"form_token": browser.form_token("/systems/load/models")}
    assert browser.ask("POST", path, data=good, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert api.posted == []
    assert browser.ask("POST", path, data=good).headers["location"] == "/systems/load/models"
    assert api.posted == [("/v1/systems/load/models/2/promote", {"reason": "better"})]
    assert "Version 2 of load is the champion now." in browser.get("/systems/load/models").text
    assert "is the champion now" not in browser.get("/systems/load/models").text


def test_nothing_is_written_in_read_only_mode(api):
    browser = Browser(api, read_only=True)
    browser.login()
    page = browser.get("/systems/load/models").text
    assert "Approve" not in page
    token = re.search(r'form_token" value="([0-9a-f]+)"', page)[1]
    assert browser.ask("POST", "/systems/load/models/2/promote", data={"form_token": token}).status_code == 403
    assert api.posted == []


def test_every_address_keeps_what_a_proxy_took_off(api):
    browser = Browser(api, root="/ml")
    browser.login()
    for path in PATHS:
        page = browser.get(path).text
        addresses = re.findall(r'(?:href|src|action|hx-get|data-chart)="([^"]*)"', page)
        assert addresses
        assert [each for each in addresses if not each.startswith(("/ml/", "#"))] == []
    asset = re.search(r'href="(/ml/assets/\w+/headrace\.css)"', page)[1]
    assert browser.get(asset.removeprefix("/ml")).headers["cache-control"].endswith("immutable")


def test_a_page_that_was_seen_is_not_sent_again(browser):
    page = browser.get("/systems/load/models")
    seen = re.search(r'"X-Seen": "(\w+)"', page.text)[1]
    assert browser.get("/systems/load/models", headers={"x-seen": seen}).status_code == 204


def test_a_chart_is_json_a_table_and_csv_without_formulas(browser):
    path = "/systems/load/figures/error"
    drawn = browser.get(f"{path}.json")
    document = drawn.json()
    assert (document["unit"], document["lines"][0]["y"][5]) == ("per cent", 0.05)
    assert browser.get(f"{path}.json", headers={"if-none-match": drawn.headers["etag"]}).status_code == 304
    assert browser.get(f"{path}.csv").text.splitlines()[1] == "2026-03-01T00:00:00Z,0.0,0.1,3"
    assert browser.get("/systems/load/figures/coverage.json").json()["nominal"]["value"] == 0.9
    forecast = browser.get("/systems/load/figures/forecast.json", params=SERIES).json()
    assert [line["role"] for line in forecast["lines"]] == ["lower", "upper", "truth", "ours"]
    query = {"with": f'["=1+1","{"x" * 3}"]'}
    assert browser.get("/systems/load/figures/series.csv", params=query).text.startswith("time,")
    assert browser.get("/systems/load/figures/nothing.json").status_code == 404


def away(request):
    raise httpx.ConnectError("refused", request=request)


def slow(request):
    raise httpx.ReadTimeout("nothing came", request=request)


TROUBLES = {
    "away": (away, 502, "cannot be reached"),
    "slow": (slow, 502, "does not answer in time"),
    "failing": (lambda request: httpx.Response(500, text="oops"), 500, "internal server error"),
    "busy": (lambda request: httpx.Response(503, json={"title": "Busy", "detail": "too many wait"}), 503, "too many"),
    "locked": (lambda request: httpx.Response(503, json={"error": "LedgerError", "detail": "locked"}), 503, "locked"),
    "cut": (lambda request: httpx.Response(200, text='{"half'), 502, "not understood"),
    "strange": (lambda request: httpx.Response(200, json={"other": 1}), 500, "the page failed"),
}
"""What the API can do instead of answering; the status of the page, and words of it."""


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_page_says_what_the_api_could_not_and_asks_again(api, browser, trouble):
    does, status, words = TROUBLES[trouble]
    api.trouble = does
    for path in PATHS:
        response = browser.get(path)
        assert (path, response.status_code) == (path, status)
        assert words in response.text.lower(), response.text
        assert 'hx-trigger="every 3s"' in response.text
    api.trouble = None
    assert [path for path in PATHS if browser.get(path).status_code != 200] == []


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_chart_says_what_the_api_could_not(api, browser, trouble):
    does, status, _ = TROUBLES[trouble]
    api.trouble = does
    for figure in FIGURES:
        response = browser.get(f"/systems/load/figures/{figure}.json", params=SERIES | {"with": SERIES["series"]})
        assert response.status_code in (status, 404, 422), figure  # what is strange may say that there are no series
        assert response.text.strip()


@pytest.mark.parametrize("part", ["status", "models", "validation", "runs/r1", "stream", "verify", "answers"])
def test_a_page_of_which_one_part_fails_says_so(api, browser, part):
    api.trouble = lambda request: httpx.Response(500) if request.url.path.endswith(f"/{part}") else None
    pages = {path: browser.get(path).status_code for path in PATHS}
    assert 500 in pages.values(), "no page asks for it"
    assert set(pages.values()) <= {200, 500}


def test_every_page_asks_to_log_in_when_the_token_has_expired(api, browser):
    api.token = "another"
    for path in PATHS:
        response = browser.get(path)
        location = f"/login?{urlencode({'next': path})}"
        assert (response.status_code, response.headers["location"]) == (303, location)
        again = browser.get(path, headers={"hx-request": "true"})
        assert (again.status_code, again.headers["hx-redirect"]) == (204, location)
    assert browser.login("another", next=PATHS[-1]).headers["location"] == PATHS[-1]
    assert browser.get(PATHS[-1]).status_code == 200


def test_what_is_a_page_is_not_the_api():
    assert not any(owns(path, "text/html") for path in ("/v1/systems", "/health", "/metrics", "/docs", "/v2", ""))
    assert owns("/systems/a/b", "")
    assert not owns("/", "application/json")


def test_ten_thousand_series_make_a_small_page(api, browser):
    row = api.answers["/v1/systems/load/series/search"]["rows"][0]
    api.answers["/v1/systems/load/series/search"] = {
        "measure": "wape",
        "total": 10_000,
        "rows": [row] * 50,
        "next": "more",
    }
    assert len(browser.get("/systems/load/series").content) < 120_000
    assert HOSTILE not in browser.get("/systems/load/series").text


@pytest.mark.parametrize(
    "query",
    [
        {"series": "[" * 8000},
        {"series": '["\\ud800","b"]'},
        {"series": '[[1],{"a":1}]'},
        {"as_of": "0001-01-01T00:00:00+10:00"},
        {"as_of": "9999-12-31T23:59:59-10:00"},
        {"with": "[" * 8000},
        {"with": '["\\ud800","b"]'},
    ],
    ids=str,
)
def test_an_address_that_names_nothing_is_a_page_all_the_same(browser, query):
    for page in ("/systems/load", "/systems/load/series"):
        assert browser.get(page, params=query).status_code == 200
    for figure in ("forecast", "series", "error"):
        assert browser.get(f"/systems/load/figures/{figure}.json", params=query).status_code in (200, 422)


@pytest.mark.parametrize("path", ["/login", "/logout", "/systems/load/models/2/promote", "/systems/load/rows"])
def test_what_is_no_form_is_refused_with_a_page(api, browser, path):
    large = b"a=" + b"b" * 2**18
    form = {"content-type": "application/x-www-form-urlencoded"}
    for content, headers, status in ((b"{}", {}, 415), (large, form, 413), (b"a=%ff", form, 422)):
        response = browser.ask("POST", path, content=content, headers=headers)
        assert (response.status_code, "not a form" in response.text.lower()) == (status, status != 413)
    assert not api.posted


def test_a_form_that_never_ends_is_refused(browser, monkeypatch):
    monkeypatch.setattr("headrace.dashboard.forms.SECONDS", 0.05)

    async def dripping():
        yield b"a="
        await asyncio.sleep(10)

    response = browser.ask(
        "POST", "/login", content=dripping(), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert response.status_code == 408


def test_what_nobody_foresaw_is_a_page_that_is_logged(browser, caplog, monkeypatch):
    def broken(*about):
        raise RuntimeError("boom")

    monkeypatch.setattr("headrace.dashboard.view.PageView.path", broken)
    response = browser.get("/systems/load/models")
    assert response.status_code == 500
    assert "boom" in caplog.text
    assert "boom" not in response.text


def test_a_column_may_be_called_as_a_method_of_python(api, browser):
    names = ["items", "keys", "values", "get", "pop", "update", "copy", "clear"]
    system = "/v1/systems/load"
    contract = {"properties": {name: {"type": "number"} for name in names}, "required": []}
    api.answers |= {
        system: {**api.answers[system], "keys": [], "horizon": None, "contract": contract},
        f"{system}/answers": {"rows": [{"id": "p", "items": 7}, {"id": "q"}], "next": None},
    }
    for page in ("rows", "data"):
        response = browser.get(f"/systems/load/{page}")
        assert response.status_code == 200
        assert "built-in" not in response.text


@pytest.mark.parametrize(("docs", "link"), [("/docs", "/ml/docs"), ("http://api:8000/docs", "http://api:8000/docs")])
def test_the_link_to_the_api_leads_to_its_server(api, docs, link):
    api.token = ""
    api.answers["/v1/access"] = {**api.answers["/v1/access"], "open": True}
    browser = Browser(api, root="/ml")
    browser.app = Dashboard(api.clients(), DashboardOptions(), docs)
    assert f'<a href="{link}">API</a>' in browser.get("/").text


def test_no_link_leads_where_a_browser_has_no_token_to_show(browser):
    assert ">API</a>" not in browser.get("/").text


def test_a_change_that_failed_is_not_asked_for_again_by_itself(api, browser):
    form = {"form_token": browser.form_token("/systems/load/models")}

    def locked(request):
        known = api.answers.get(request.url.path)
        return httpx.Response(503, json={"detail": "locked"}) if known is None else httpx.Response(200, json=known)

    api.trouble = locked
    response = browser.ask("POST", "/systems/load/models/2/promote", data=form)
    assert response.status_code == 503
    assert "Look whether it was done" in response.text
    assert not re.search(r"hx-get|data-again", response.text)
