"""A request's own trace, in the log and behind the predictions that it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.commands import headrace
from tests.servers import LIVE, PREDICT, TITANIC, Server, event, passengers, ran, serving

from headrace.tracing import context_of, from_text

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_trace_is_behind_the_prediction_and_in_the_log(titanic: Server) -> None:
    row, other, *rest = passengers(4, first=620_000)
    posted = titanic.post(row, traceparent=PARENT, tracestate="a=b", x_request_id="traced")
    assert posted.status_code == 200
    line = titanic.line("traced")
    assert (line["trace.id"], line["parent.id"], line["labels.tracestate"]) == (TRACE, SPAN, "a=b")
    many = titanic.post(rest, traceparent=PARENT, origin="https://shop.example").json()["predictions"]
    for each in (posted.json(), *many):
        told = titanic.get(f"/v1/predictions/{each['id']}").json()["prediction"]
        assert (told["trace_id"], told["span_id"]) == (TRACE, SPAN)
        assert told.get("tracestate") == ("a=b" if each["id"] == posted.json()["id"] else None)
    assert titanic.post(row).json() == posted.json()  # asked again, by somebody else
    without = titanic.post(other, x_request_id="untraced", traceparent="00-" + "0" * 32 + f"-{SPAN}-01").json()["id"]
    assert "trace_id" not in titanic.get(f"/v1/predictions/{without}").json()["prediction"]
    assert "trace.id" not in titanic.line("untraced")
    titanic.get("/v1/systems", headers={"traceparent": PARENT, "x-request-id": "read"})
    assert titanic.line("read")["trace.id"] == TRACE


def test_it_stays_when_the_prediction_is_exported(home: Path) -> None:
    with serving(home) as server:
        made = server.post(passengers(1)[0], traceparent=PARENT).json()["id"]
    ran("export", TITANIC, home)
    done = headrace("trace", made, "--home", home, "--json")
    assert done.json["prediction"]["trace_id"] == TRACE


def test_events_have_it_too(live_home: Path) -> None:
    with serving(live_home, systems=(LIVE,)) as server:
        answer = server.post(event(0), "/v1/systems/live_metrics/predict", traceparent=PARENT)
        assert answer.status_code == 200, answer.text
        told = server.get(f"/v1/predictions/{answer.json()['id']}").json()["prediction"]
    assert told["trace_id"] == TRACE


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (PARENT, f"{TRACE}-{SPAN}"),
        (f" {PARENT} ", f"{TRACE}-{SPAN}"),
        (f"cc-{TRACE}-{SPAN}-01-what-will-be", f"{TRACE}-{SPAN}"),
        (PARENT + "-more", ""),
        (PARENT.upper(), ""),
        (f"ff-{TRACE}-{SPAN}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE[:-1]}-{SPAN}-01", ""),
        ('00-"\r\n', ""),
        ("", ""),
    ],
)
def test_what_is_a_trace(given: str, told: str) -> None:
    found = context_of(given.encode())
    assert ("" if found is None else found.text) == told


@pytest.mark.parametrize(
    ("given", "state"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        (" a=b ,\t,c=d e", "a=b,c=d e"),
        ("1a@b=c", "1a@b=c"),
        ("a=b,a=c", ""),
        ("A=b", ""),
        ("a", ""),
        ("a=", ""),
        ("a=b=c", ""),
        ("a=é", ""),
        ("1a=b", ""),
        ("", ""),
        (",".join(f"k{n}=v" for n in range(32)), ",".join(f"k{n}=v" for n in range(32))),
        (",".join(f"k{n}=v" for n in range(33)), ""),
        (f"a={'x' * 256},b={'y' * 250},c=1", f"a={'x' * 256},c=1"),
        (",".join(f"k{n}={'v' * 100}" for n in range(8)), ",".join(f"k{n}={'v' * 100}" for n in range(4))),
    ],
)
def test_what_is_a_state_of_a_trace(given: str, state: str) -> None:
    found = context_of(PARENT, given.encode())
    assert found is not None
    assert found.state == state
    assert from_text(found.text)[:2] == (TRACE, SPAN)
    assert from_text(found.text).state == state
    assert context_of("00-bad", given) is None


def test_headers_that_come_in_parts(titanic: Server) -> None:
    """Two states are one, in their order; two parents are none."""
    for number, (doubled, trace) in enumerate(((b"tracestate", TRACE), (b"traceparent", None))):
        row = passengers(1, first=630_000 + number)[0]
        headers = [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (doubled, b"b=2")]
        for more in ([], [(b"origin", b"https://shop.example")]):
            key = [(b"idempotency-key", b"parts-%d-%d" % (number, len(more)))]
            with titanic.client() as client:
                posted = client.post(PREDICT, json=row, headers=[*headers, *more, *key])
            told = titanic.get(f"/v1/predictions/{posted.json()['id']}").json()["prediction"]
            assert (told.get("trace_id"), told.get("tracestate")) == (trace, trace and "a=1,b=2")
