"""Spans of requests, as a collector receives them; and what becomes of requests when there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.otlp import Collector, Received, collecting
from tests.ports import free_port
from tests.servers import EVENTS, LIVE, TITANIC, Server, event, passengers, serving
from tests.waiting import until

CLIENT, SERVER = 3, 2
UNRECORDED = "4b" * 16
ROUTE = "POST /v1/systems/{system}/predict"


def test_one_trace_leads_from_a_client_through_the_server(home: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs headrace[otel]")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagate import inject
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.trace import SpanKind

    with collecting() as collector:
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.endpoint}/v1/traces")))
        with serving(home, **collector.environment, OTEL_SERVICE_NAME="shop-model") as server:
            headers: dict[str, str] = {"x_request_id": "spanned"}
            with provider.get_tracer("shop").start_as_current_span("buy", kind=SpanKind.CLIENT):
                inject(headers)
                answer = server.post(passengers(1, first=910_000)[0], **headers)
            many = server.post(passengers(30, first=911_000), origin="https://shop.example")
            assert (answer.status_code, many.status_code) == (200, 200)
            assert server.post({}, **headers).status_code == 422
            assert server.get("/v1/systems", headers={"traceparent": headers["traceparent"]}).status_code == 200
            assert server.get("/v1/nothing").status_code == 404
            spans = collector.named(ROUTE, 3)
            trace = server.get(f"/v1/predictions/{answer.json()['id']}").json()["prediction"]
            line = server.line("spanned")
            unrecorded(server)
            assert server.stop() == 0
        (buy,), (first, other, refused) = collector.named("buy"), sorted(spans, key=lambda each: each.began)
        assert (first.trace, first.parent, first.kind, buy.kind) == (buy.trace, buy.span, SERVER, CLIENT)
        assert buy.began <= first.began <= buy.ended  # a server's span may end after the client has its answer
        assert (trace["trace_id"], trace["span_id"]) == (first.trace, first.span)
        assert (line["trace.id"], line["span.id"], line["parent.id"]) == (first.trace, first.span, buy.span)
        assert (other.parent, other.attributes["headrace.rows"]) == ("", 30)
        assert other.trace != buy.trace
        assert (refused.attributes["http.response.status_code"], refused.failed) == (422, False)
        told_of(first)
        children = collector.children(first, 2)
        assert set(children) == {"predict", "ledger commit"}
        assert first.began <= children["predict"].began <= children["predict"].ended <= first.ended
        assert children["predict"].ended <= children["ledger commit"].ended <= first.ended
        others(collector, buy)


def unrecorded(server: Server) -> None:
    """What the caller does not record is not recorded, by the standard sampler; it is in the ledger all the same."""
    parent = f"00-{UNRECORDED}-{'00' * 7}b7-00"
    posted = server.post(passengers(1)[0], traceparent=parent, tracestate="shop=1, ,bank@eu=2").json()["id"]
    told = server.get(f"/v1/predictions/{posted}", headers={"traceparent": parent}).json()["prediction"]
    assert (told["trace_id"], told["span_id"]) == (UNRECORDED, "00" * 7 + "b7")
    assert told["tracestate"] == "shop=1,bank@eu=2"


def told_of(span: Received) -> None:
    """What the span of a request says, by the semantic conventions."""
    said = span.attributes
    assert (span.service, said["headrace.system"]) == ("shop-model", "titanic")
    assert (said["http.request.method"], said["http.route"]) == ("POST", "/v1/systems/{system}/predict")
    assert (said["http.response.status_code"], said["url.path"]) == (200, "/v1/systems/titanic/predict")
    assert (said["headrace.rows"], said["headrace.model_version"]) == (1, 1)
    assert (said["server.address"], said["url.scheme"]) == ("127.0.0.1", "http")
    assert said["server.port"] > 0


def others(collector: Collector, buy: Received) -> None:
    """Of routes that read, and of none; none of those that probes ask."""
    (reading,) = collector.named("GET /v1/systems")
    assert (reading.trace, reading.parent) == (buy.trace, buy.span)
    (missing,) = [each for each in collector.named("GET") if each.attributes["url.path"] == "/v1/nothing"]
    assert missing.attributes["http.response.status_code"] == 404
    assert "http.route" not in missing.attributes
    assert not [each for each in collector.spans if each.trace == UNRECORDED or "ready" in each.name]


def test_events_have_them_too(live_home: Path) -> None:
    with collecting() as collector, serving(live_home, systems=(LIVE,), **collector.environment) as server:
        assert server.post(event(0), EVENTS).status_code == 200
        (posted,) = collector.named(ROUTE)
        assert posted.service == "headrace"
        assert set(collector.children(posted, 2)) == {"predict", "ledger commit"}


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "taken and never answered"])
def test_without_a_collector_only_spans_are_lost(home: Path, silent: bool) -> None:
    import socket

    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs headrace[otel]")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1] if silent else free_port()
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        }
        with serving(home, "--access-log", "off", **environment) as server:
            slowest = 0.0
            for row in passengers(150, first=920_000):
                answer = server.post(row)
                assert answer.status_code == 200
                slowest = max(slowest, answer.elapsed.total_seconds())
            assert slowest < 1
            until(lambda: "spans cannot be sent" in server.log.read_text())
            began = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - began < 6
            said = [each["message"] for each in server.lines()]
        assert len([each for each in said if each.startswith("spans cannot be sent")]) == 1, said
        assert len(said) < 5


def test_nothing_of_it_is_imported_unless_the_environment_asks(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from headrace import tracing
        with tracing.span("work") as span:
            assert span is None
        print([name for name in sys.modules if name.startswith(("opentelemetry", "requests"))])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ],
)
def test_it_can_be_switched_off(name: str, value: str) -> None:
    code = "from headrace import tracing\nwith tracing.span('work') as s: print(s is not None and s.recorded)\n"
    with collecting() as collector:
        done = run(code, collector, **{name: value})
        assert done.stdout.strip() == "False", done.stderr
        assert collector.spans == []
        assert ("spoken as http/protobuf only" in done.stderr) == (value == "grpc")


def test_work_is_within_the_trace_of_the_environment() -> None:
    code = """if True:
        from headrace import tracing
        from headrace.errors import UsageError
        try:
            with tracing.span("outer", a__b=1):
                with tracing.span("inner"):
                    raise UsageError("no such thing")
        except UsageError:
            pass
    """
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with collecting() as collector:
        run(code, collector, TRACEPARENT=parent, TRACESTATE="x=1", OTEL_RESOURCE_ATTRIBUTES="team=a,service.name=mine")
        (outer,), (inner,) = collector.named("outer"), collector.named("inner")
    assert (outer.trace, outer.parent, outer.state) == ("ab" * 16, "cd" * 8, "x=1")
    assert (inner.trace, inner.parent, inner.failed) == (outer.trace, outer.span, True)
    assert (outer.service, outer.attributes["a.b"], outer.attributes["error.type"]) == ("mine", 1, "UsageError")


def run(code: str, collector: Collector, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, with spans on."""
    given = os.environ | collector.environment | environment
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=given)


def test_a_run_and_its_steps(home: Path) -> None:
    with collecting() as collector:
        environment = collector.environment | {"TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-01"}
        command = [sys.executable, "-m", "headrace", "run", TITANIC, "--home", str(home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
        assert done.returncode == 0, done.stderr
        (made,) = collector.named("run titanic")
        steps = json.loads(done.stdout)["steps"]
        found = collector.children(made, len(steps))
    assert (made.trace, made.parent) == ("ab" * 16, "cd" * 8)
    assert made.attributes["headrace.run_id"] == json.loads(done.stdout)["run_id"]
    rows = {name: each.attributes["headrace.rows"] for name, each in found.items()}
    assert {each["name"]: each["rows"] for each in steps} == rows
