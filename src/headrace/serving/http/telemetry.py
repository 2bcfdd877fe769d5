"""What a server tells about itself: Prometheus metrics, and access logs in the Elastic Common Schema."""

from __future__ import annotations

import ipaddress
import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import ecs_logging
import msgspec
from prometheus_client import (
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from headrace._version import __version__
from headrace.serving.http.latencies import LatencyCounts
from headrace.serving.http.process import Process
from headrace.tracing import Span, TraceContext, context_of

if TYPE_CHECKING:
    from headrace.ledger.shadows import Follower

_BUCKETS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ECS, SERVICE = "8.11.0", "headrace"
_TOGETHER = 200
"""Lines of the access log that are written at once, at most."""
_LONG = 256
"""A path of so many characters is not kept for the next line."""
_PLAIN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch
_PROCESS, _COUNT = os.urandom(8).hex().encode(), itertools.count()
_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger("headrace.serving")


class Traced(NamedTuple):
    """Where a request stands in a trace.

    Attributes:
        parent: Its ``traceparent``, as it came.
        state: Its ``tracestate``.
        span: Of the server, if it makes spans.
    """

    parent: bytes | None
    state: bytes | None
    span: TraceContext | None = None


def traced(headers: Mapping[bytes, bytes], span: Span | None = None) -> Traced | None:
    """Where a request stands in a trace; None where nothing says so."""
    if span is None and b"traceparent" not in headers:
        return None
    parent, state = headers.get(b"traceparent"), headers.get(b"tracestate")
    return Traced(parent, state, None if span is None else span.context)


def trace_text(headers: Mapping[bytes, bytes], span: Span | None = None) -> str:
    """The same as the ledger keeps it: of the server's span, where that is recorded, else of the caller's."""
    if span is not None and span.recorded:
        return span.context.text
    context = context_of(headers.get(b"traceparent"), headers.get(b"tracestate"))
    return "" if context is None else context.text


def headers_of(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, of several of one name the last.

    Two ``traceparent`` are as good as none, and ``tracestate`` may come in parts.
    """
    headers = dict(pairs)
    if len(headers) != len(pairs):
        if sum([name == b"traceparent" for name, _ in pairs]) > 1:
            del headers[b"traceparent"]
        if b"tracestate" in headers:
            headers[b"tracestate"] = b",".join([value for name, value in pairs if name == b"tracestate"])
    return headers


_Line = tuple[str, str, str | None, int, float, float, bytes, bytes, Traced | None]


def request_id_of(header: bytes) -> bytes:
    """The id of a request: what its ``X-Request-Id`` says, if that is safe to log and to send back, or a new one."""
    return header if _PLAIN_ID(header) else b"%b%08x" % (_PROCESS, next(_COUNT) & 0xFFFFFFFF)


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "ecs": {"()": "headrace.serving.http.telemetry.LogLines", "exclude_fields": ["process", "log.original"]}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "ecs", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}
"""Everything on stderr is one JSON line in the Elastic Common Schema, as the access log's lines are."""


class Telemetry:
    """The metrics of one process. Make one a process: Prometheus keeps them in a registry of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        arguments: dict[str, Any] = {"registry": registry}
        self.requests = Counter("headrace_http_requests", "Requests.", ["route", "method", "status"], **arguments)
        self.latency = Histogram(
            "headrace_http_request_seconds", "Time to answer.", ["route"], buckets=_BUCKETS, **arguments
        )
        self.predictions = Counter("headrace_predictions", "Rows answered.", ["system", "model_version"], **arguments)
        self.refused = Counter("headrace_refused_rows", "Rows refused.", ["system", "reason"], **arguments)
        self.waiting = Gauge(
            "headrace_ledger_waiting", "Predictions that wait for the ledger.", multiprocess_mode="livesum", **arguments
        )
        self.version = Gauge(
            "headrace_model_version",
            "The version that predicts.",
            ["system"],
            multiprocess_mode="mostrecent",
            **arguments,
        )
        self.shadows = Gauge(
            "headrace_shadow_rows",
            "Answered rows by what a version beside did: scored, failed, own (it had answered), waiting.",
            ["system", "model_version", "state"],
            multiprocess_mode="mostrecent",
            **arguments,
        )
        self._process = None
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            with suppress(KeyError):  # the client's own figures of this process have the same names
                registry.unregister(PROCESS_COLLECTOR)
            self._process = Process(registry)
        self.latencies = LatencyCounts()
        self._answered: dict[tuple[str, str, int], list[float]] = {}
        self._predicted: dict[tuple[str, int], int] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Note one answered request; `fold` counts it."""
        if method not in _METHODS:  # a client must not make as many series as it likes
            method = "other"
        key = (route, method, status)
        noted = self._answered.get(key)
        if noted is None:
            noted = self._answered.setdefault(key, [])
        noted.append(seconds)

    def predicted(self, system: str, version: int, rows: int) -> None:
        """Note answered rows; `fold` counts them."""
        key = (system, version)
        self._predicted[key] = self._predicted.get(key, 0) + rows

    def followed(self, system: str, versions: Iterable[tuple[Follower, int]]) -> None:
        """Say how far versions are that score beside: each with how many entries wait for it."""
        for version, waiting in versions:
            states = {"scored": version.scored, "failed": version.failed, "own": version.own, "waiting": waiting}
            for state, rows in states.items():
                self.shadows.labels(system, str(version.model_version), state).set(rows)

    def fold(self) -> None:
        """Count what was noted since the last time. Called from the event loop, every few seconds and when asked."""
        for (route, method, status), noted in self._answered.items():
            seconds, noted[:] = noted[:], []
            self.requests.labels(route, method, str(status)).inc(len(seconds))
            latency = self.latency.labels(route)
            for second in seconds:
                latency.observe(second)
        if self._process is not None:
            self._process.fold()
        for (system, version), rows in self._predicted.items():
            self.predictions.labels(system, str(version)).inc(rows)
        self._predicted.clear()

    def text(self, *, several: bool) -> bytes:
        """Everything in Prometheus' text format; `several`: of all worker processes."""
        self.fold()
        if not several:
            return generate_latest(self.registry)
        gathered = CollectorRegistry()
        multiprocess.MultiProcessCollector(gathered)  # type: ignore[no-untyped-call]
        return generate_latest(gathered)


class AccessLog:
    """One JSON line a request on stderr, without inputs unless asked for. Lines are written together, by `flush`."""

    def __init__(self, *, inputs: bool = False) -> None:
        self._inputs = inputs
        self._noted: list[_Line] = []
        self._lost = 0

    def write(
        self,
        method: str,
        path: str,
        client: Sequence[Any] | None,
        status: int,
        seconds: float,
        request_id: bytes,
        body: bytes = b"",
        trace: Traced | None = None,
    ) -> None:
        """Note one answered request."""
        ip = client[0] if client else None
        content = body if self._inputs else b""
        self._noted.append((method, path, ip, status, time.time(), seconds, request_id, content, trace))
        if len(self._noted) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what was noted. Called from the event loop, a few times a second and at the end.

        Where stderr takes nothing the server goes on: it is said once, with how many lines were lost when it is back.
        """
        noted, self._noted = self._noted, []
        if not noted:
            return
        text = b"".join([_written(line) for line in noted]).decode()
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError) as error:  # a broken pipe, closed, never there
            if not self._lost:
                _log.warning("the access log cannot be written: %s", error)
            self._lost += len(noted)
            return
        if self._lost:
            _log.warning("%d lines of the access log were lost", self._lost)
            self._lost = 0


def _written(line: _Line) -> bytes:
    """A line; the names of its fields are those of ECS 8."""
    method, path, ip, status, time, seconds, request_id, body, trace = line
    fixed = _fixed if len(path) < _LONG else _fixed.__wrapped__
    fields, client = fixed(method, path, ip, status)
    content = b',"http.request.body.content":%b' % _encode(body.decode("utf-8", "replace")) if body else b""
    microseconds = int(time * 1e6)
    if trace is not None:
        content += _of_trace(trace)
    return b'{"@timestamp":"%b.%06dZ"%b,"http.request.id":"%b","event.duration":%d%b%b}\n' % (
        _second(microseconds // 1_000_000),
        microseconds % 1_000_000,
        fields,
        request_id,
        seconds * 1e9,
        client,
        content,
    )


def _of_trace(trace: Traced) -> bytes:
    """The fields of a line that say where it stands in a trace."""
    caller, span = context_of(trace.parent, trace.state), trace.span
    labels: dict[str, str] = {}
    if span is not None:
        labels |= {"trace.id": span.trace, "span.id": span.span}
    if caller is not None:
        labels |= {"trace.id": caller.trace, "parent.id": caller.span}
        if caller.state:
            labels["labels.tracestate"] = caller.state
    return b"," + _encode(labels)[1:-1] if labels else b""


@lru_cache(1)
def _second(second: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()


@lru_cache(1024)
def _fixed(method: str, path: str, ip: str | None, status: int) -> tuple[bytes, bytes]:
    """The fields of a line that are those of many others."""
    line = {
        "log.level": "info" if status < 500 else "error",
        "message": f"{method} {path} {status}",
        "ecs.version": ECS,
        "service.name": SERVICE,
        "service.version": __version__,
        "http.request.method": method,
        "url.path": path,
        "http.response.status_code": status,
    }
    return b"," + _encode(line)[1:-1], b',"client.ip":' + _encode(_address(ip))


def _address(address: str | None) -> str | None:
    """An address, if it is one: a proxy may hand on what its client wrote, and Elastic refuses the line."""
    try:
        return str(ipaddress.ip_address(address)) if address else None
    except ValueError:
        return None


class LogLines(ecs_logging.StdlibFormatter):
    """Other lines than those of requests, in the same schema."""

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields of a line."""
        document: dict[str, Any] = super().format_to_ecs(record)
        document |= {"ecs.version": ECS, "service.name": SERVICE, "service.version": __version__}
        return document
