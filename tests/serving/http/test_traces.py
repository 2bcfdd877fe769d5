"""A request's own trace, in the log and behind the predictions that it asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.helpers import headrace
from tests.serving.http.helpers import LIVE, TITANIC, Server, event, passengers, ran, serving

from headrace.serving.http.telemetry import trace_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_a_trace_is_behind_the_prediction_and_in_the_log(titanic: Server) -> None:
    row, other, *rest = passengers(4, first=620_000)
    posted = titanic.post(row, traceparent=PARENT, tracestate="a=b", x_request_id="traced")
    assert posted.status_code == 200
    line = titanic.line("traced")
    assert (line["trace.id"], line["parent.id"]) == (TRACE, SPAN)
    many = titanic.post(rest, traceparent=PARENT, origin="https://shop.example").json()["predictions"]
    for each in (posted.json(), *many):
        told = titanic.get(f"/v1/predictions/{each['id']}").json()["prediction"]
        assert (told["trace_id"], told["span_id"]) == (TRACE, SPAN)
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
    assert trace_of(given.encode()) == told
