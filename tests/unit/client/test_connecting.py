"""How a client is made, used from elsewhere, and what it says of answers that no server of ours gives."""

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor

import httpx
import polars as pl
import pytest

from headrace import errors
from headrace.client import AsyncClient, Client, ClientOptions, Retry
from headrace.client.asking import ARROW, Held, reading
from headrace.client.frames import arrow_of
from headrace.errors import ServiceError, ThrottledError, UsageError

SECRET = "s3cret"
ONCE = ClientOptions(retry=Retry(tries=1))


def answering(status=200, *, tries=1, **response):
    transport = httpx.MockTransport(lambda request: httpx.Response(status, **response))
    return Client("http://server", token=SECRET, options=ClientOptions(retry=Retry(tries, 0.001)), transport=transport)


@pytest.mark.parametrize(
    "url", ["server", "ftp://server", "http://", "http://[::1", "http://a:99999", "http://a/?b=c", "http://a/#b"]
)
def test_what_is_no_address_is_said_so(url):
    with pytest.raises(UsageError, match="no address"):
        Client(url)


def test_a_secret_in_an_address_is_refused_and_not_told():
    with pytest.raises(UsageError, match="name or password") as caught:
        Client(f"http://ann:{SECRET}@server")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("token", [f"{SECRET} x", f"{SECRET}\nx: y", f"{SECRET}é"])
def test_a_token_that_cannot_be_sent_is_refused_and_not_told(token):
    with pytest.raises(UsageError, match="token") as caught:
        Client("http://server", token=token)
    assert SECRET not in str(caught.value)


def test_a_token_out_of_a_file_may_end_its_line_and_an_empty_one_is_none(monkeypatch):
    asked = []

    def noted(request):
        asked.append(request.headers.get("authorization"))
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(noted)
    monkeypatch.setenv("HEADRACE_TOKEN", "")
    for token in (f"{SECRET}\n", "", None):
        client = Client("http://server", token=token, options=ONCE, transport=transport)
        client.health()
    assert asked == [f"Bearer {SECRET}", None, None]


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"a": "é"}])
def test_a_header_that_cannot_be_sent_is_refused(headers):
    with pytest.raises(UsageError, match="header"):
        Client("http://server", options=ClientOptions(headers=headers))


@pytest.mark.parametrize("key", ["", "é", "a\nb", "a" * 256])
def test_a_key_that_no_header_can_have_is_refused(key):
    with answering(json={}) as client, pytest.raises(UsageError, match="key"):
        client.predict("s", {"a": 1}, key=key)


def test_a_closed_client_says_so_and_none_is_pickled():
    client = answering(json={})
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.health()
    with pytest.raises(UsageError, match="closed"):
        asyncio.run(after_its_end())
    for other in (Client("http://server"), AsyncClient("http://server")):
        with pytest.raises(UsageError, match="pickled"):
            pickle.dumps(other)


async def after_its_end():
    async with AsyncClient("http://server") as client:
        pass
    await client.health()


HTML = {"content": b"<html>log in</html>", "headers": {"content-type": "text/html"}}
BROKEN = {"content": b"no gzip", "headers": {"content-encoding": "gzip"}}


@pytest.mark.parametrize(
    ("status", "response", "words"),
    [
        (200, HTML, "not understood"),
        (204, {}, "not understood"),
        (304, {}, "304"),
        (307, {"headers": {"location": "https://elsewhere"}}, "https://elsewhere"),
        (200, BROKEN, "cannot be read"),
        (422, {"json": {"errors": [1, {"loc": "a", "msg": None}, {"loc": None}], "hint": [1]}}, "Unprocessable"),
        (409, {"json": {"errors": 5, "detail": None}}, "Conflict"),
        (422, {"json": [1]}, "Unprocessable"),
    ],
)
def test_an_answer_that_is_not_ours_is_an_error_of_the_one_tree(status, response, words):
    with answering(status, **response) as client, pytest.raises(ServiceError, match=words):
        client.status("s")


def test_a_page_in_the_place_of_a_table_or_a_text_is_refused():
    with answering(**HTML) as client:
        for call in (client.metrics_text, lambda: client.forecast_frame("s"), lambda: client.predict_frame("s", [{}])):
            with pytest.raises(ServiceError, match="text/html"):
                call()
    torn = arrow_of(pl.DataFrame({"a": [1]}))[:40]
    client = answering(content=torn, headers={"content-type": ARROW})
    with pytest.raises(ServiceError, match="no Arrow stream"):
        client.forecast_frame("s")


@pytest.mark.parametrize("wait", ["Wed, 21 Oct 2026 07:28:00 GMT", "²", "soon", "-1", ""])
def test_any_retry_after_is_a_pause_or_none(wait):
    headers = [(b"retry-after", wait.encode("latin-1")), (b"date", b"Wed, 21 Oct 2026 07:28:00 GMT")]
    with answering(429, tries=3, headers=headers) as client, pytest.raises(ThrottledError):
        client.health()


def test_a_date_to_wait_for_is_read_by_the_clock_of_the_server():
    date, later = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:07 GMT"
    response = httpx.Response(503, headers={"retry-after": later, "date": date})
    assert Retry().pause(1, response) == 7.0


@pytest.mark.parametrize(("status", "name"), [(503, "LedgerError"), (409, "ReplayError")])
def test_an_error_that_the_server_names_has_its_status(status, name):
    client = answering(status, json={"error": name, "detail": "gone"})
    with pytest.raises(getattr(errors, name), match="gone") as caught:
        client.health()
    assert caught.value.http_status == status


def test_what_is_held_is_bounded_and_any_number_of_threads_may_use_it():
    held, body = Held(4), b"x" * 1000

    def ask(number):
        about = reading(f"/{number % 7}")
        stored = held.stored(about)
        status = 304 if stored is not None else 200
        response = httpx.Response(status, content=b"" if stored else body, headers={"etag": str(number)})
        assert held.settled(about, response, stored).content == body

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(2000)))
    assert len(held._known) <= 4
    assert held._bytes == len(held._known) * len(body)


def test_a_large_answer_is_not_held(monkeypatch):
    monkeypatch.setattr("headrace.client.asking._HELD", 1500)
    held, about = Held(4), reading("/a")
    held.settled(about, httpx.Response(200, content=b"x" * 2000, headers={"etag": "a"}), None)
    assert held.stored(about) is None
    assert held._bytes == 0


def test_what_was_asked_with_a_tag_stands_though_it_was_dropped_meanwhile():
    def answer(request):
        if "if-none-match" not in request.headers:
            return httpx.Response(200, json={"n": 1}, headers={"etag": "a"})
        client._held._known.clear()
        return httpx.Response(304)

    with Client("http://server", options=ONCE, transport=httpx.MockTransport(answer)) as client:
        assert client.health() == client.health() == {"n": 1}


def test_a_key_of_series_may_be_called_system():
    asked = []

    def answer(request):
        asked.append(dict(request.url.params))
        return httpx.Response(200, json={"series": [], "observations": []})

    with Client("http://server", transport=httpx.MockTransport(answer)) as client:
        client.series("s", system="a")
        client.observations("s", system="a")
    assert asked == [{"system": "a"}, {"system": "a", "hours": "168"}]


def test_a_server_that_is_away_is_told_without_the_token():
    def away(request):
        raise httpx.LocalProtocolError(f"Illegal header value {request.headers['authorization']}")

    client = Client("http://server", token=SECRET, transport=httpx.MockTransport(away))
    with pytest.raises(UsageError, match="header") as caught:
        client.health()
    assert SECRET not in str(caught.value)
