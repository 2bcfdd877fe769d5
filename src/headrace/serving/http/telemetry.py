"""What a server tells about itself: Prometheus metrics, and access logs in the Elastic Common Schema."""

from __future__ import annotations

import ipaddress
import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import ecs_logging
import msgspec
from prometheus_client import (
    PROCESS_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from headrace._version import __version__
from headrace.serving.http.process import Process

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
_Line = tuple[str, str, str | None, int, float, float, bytes, bytes, bytes | None]


_TRACE = re.compile(
    rb"(?:00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}"
    rb"|(?!00|ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?)"
).fullmatch
"""``traceparent`` of W3C's Trace Context; of a later version only what is known here is read."""


def trace_of(given: bytes | None) -> str:
    """The trace and the caller's span of a ``traceparent``, with a hyphen between; empty where it is none.

    >>> trace_of(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7'
    """
    found = _TRACE(given.strip()) if given else None
    return b"-".join(each for each in found.groups() if each).decode() if found else ""


def request_id_of(given: bytes) -> bytes:
    """The id of a request: what its ``X-Request-Id`` says, if that is safe to log and to send back, or a new one."""
    return given if _PLAIN_ID(given) else b"%b%08x" % (_PROCESS, next(_COUNT) & 0xFFFFFFFF)


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

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        kept: dict[str, Any] = {"registry": registry}
        self.requests = Counter("headrace_http_requests", "Requests.", ["route", "method", "status"], **kept)
        self.latency = Histogram(
            "headrace_http_request_seconds", "Time to answer.", ["route"], buckets=_BUCKETS, **kept
        )
        self.predictions = Counter("headrace_predictions", "Rows answered.", ["system", "model_version"], **kept)
        self.refused = Counter("headrace_refused_rows", "Rows refused.", ["system", "reason"], **kept)
        self.waiting = Gauge(
            "headrace_ledger_waiting", "Predictions that wait for the ledger.", multiprocess_mode="livesum", **kept
        )
        self.version = Gauge(
            "headrace_model_version", "The version that predicts.", ["system"], multiprocess_mode="mostrecent", **kept
        )
        self.shadows = Gauge(
            "headrace_shadow_rows",
            "Answered rows by what a version beside did: scored, failed, own (it had answered), waiting.",
            ["system", "model_version", "state"],
            multiprocess_mode="mostrecent",
            **kept,
        )
        self._process = None
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            with suppress(KeyError):  # the client's own figures of this process have the same names
                registry.unregister(PROCESS_COLLECTOR)
            self._process = Process(registry)
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
        for each, waiting in versions:
            states = {"scored": each.scored, "failed": each.failed, "own": each.own, "waiting": waiting}
            for state, rows in states.items():
                self.shadows.labels(system, str(each.model_version), state).set(rows)

    def fold(self) -> None:
        """Count what was noted since the last time. Called from the event loop, every few seconds and when asked."""
        for (route, method, status), noted in self._answered.items():
            seconds, noted[:] = noted[:], []
            self.requests.labels(route, method, str(status)).inc(len(seconds))
            latency = self.latency.labels(route)
            for each in seconds:
                latency.observe(each)
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
        traceparent: bytes | None = None,
    ) -> None:
        """Note one answered request."""
        ip = client[0] if client else None
        content = body if self._inputs else b""
        self._noted.append((method, path, ip, status, time.time(), seconds, request_id, content, traceparent))
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
    method, path, ip, status, at, seconds, request_id, body, traceparent = line
    fixed = _fixed if len(path) < _LONG else _fixed.__wrapped__
    told, client = fixed(method, path, ip, status)
    content = b',"http.request.body.content":%b' % _encode(body.decode("utf-8", "replace")) if body else b""
    microseconds = int(at * 1e6)
    trace, _, span = trace_of(traceparent).partition("-")
    if trace:
        content += b',"trace.id":"%b","parent.id":"%b"' % (trace.encode(), span.encode())
    return b'{"@timestamp":"%b.%06dZ"%b,"http.request.id":"%b","event.duration":%d%b%b}\n' % (
        _second(microseconds // 1_000_000),
        microseconds % 1_000_000,
        told,
        request_id,
        seconds * 1e9,
        client,
        content,
    )


@lru_cache(1)
def _second(at: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)).encode()


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


def _address(given: str | None) -> str | None:
    """An address, if it is one: a proxy may hand on what its client wrote, and Elastic refuses the line."""
    try:
        return str(ipaddress.ip_address(given)) if given else None
    except ValueError:
        return None


class LogLines(ecs_logging.StdlibFormatter):
    """Other lines than those of requests, in the same schema."""

    def format_to_ecs(self, record: logging.LogRecord) -> dict[str, Any]:
        """The fields of a line."""
        told: dict[str, Any] = super().format_to_ecs(record)
        told |= {"ecs.version": ECS, "service.name": SERVICE, "service.version": __version__}
        return told
