"""A receiver of spans, as a collector is one: OTLP over HTTP, decoded from its protobuf."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.waiting import until


@dataclass
class Received:
    """One span.

    Attributes:
        service: Whose it is.
        links: Trace and span of each.
    """

    name: str
    trace: str
    span: str
    parent: str
    kind: int
    began: int
    ended: int
    failed: bool
    state: str
    service: str
    attributes: dict[str, Any]
    links: list[tuple[str, str]]


@dataclass
class Collector:
    """What has come so far."""

    endpoint: str
    spans: list[Received] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What has a process send its spans here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def named(self, name: str, count: int = 1) -> list[Received]:
        """The spans of a name, once there are as many."""
        until(lambda: len([each for each in self.spans if each.name == name]) >= count)
        return [each for each in self.spans if each.name == name]

    def children(self, parent: Received, count: int) -> dict[str, Received]:
        """The spans within another, by name, once there are as many."""

        def found() -> list[Received]:
            return [each for each in self.spans if each.parent == parent.span and each.trace == parent.trace]

        until(lambda: len(found()) >= count)
        return {each.name: each for each in found()}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A receiver on a port of its own, until the end of the block."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs headrace[otel]")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            collector.spans += spans_of(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield collector
        server.shutdown()


def spans_of(request: Any) -> list[Received]:
    """The spans of a request."""
    return [
        Received(
            *(span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), span.kind),
            *(span.start_time_unix_nano, span.end_time_unix_nano, span.status.code == 2, span.trace_state),
            _values(resource.resource.attributes)["service.name"],
            _values(span.attributes),
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
