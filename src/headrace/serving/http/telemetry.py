"""What a server tells about itself: Prometheus metrics, and access logs in the Elastic Common Schema."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from headrace._version import __version__

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_TOGETHER = 200
"""Lines of the access log that are written at once, at most."""
_PLAIN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch
_PROCESS, _COUNT = os.urandom(8).hex().encode(), itertools.count()
_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
_encode = msgspec.json.Encoder().encode


def request_id_of(given: bytes) -> bytes:
    """The id of a request: what its ``X-Request-Id`` says, if that is safe to log and to send back, or a new one."""
    return given if _PLAIN_ID(given) else b"%b%08x" % (_PROCESS, next(_COUNT) & 0xFFFFFFFF)


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

    def fold(self) -> None:
        """Count what was noted since the last time. Called from the event loop, every few seconds and when asked."""
        for (route, method, status), noted in self._answered.items():
            seconds, noted[:] = noted[:], []
            self.requests.labels(route, method, str(status)).inc(len(seconds))
            latency = self.latency.labels(route)
            for each in seconds:
                latency.observe(each)
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
        self.inputs = inputs
        self._lines: list[bytes] = []

    def write(self, scope: Mapping[str, Any], status: int, seconds: float, request_id: str, body: bytes = b"") -> None:
        """Note one answered request; field names are those of ECS 8."""
        client = scope.get("client")
        line: dict[str, Any] = {
            "@timestamp": datetime.now(UTC),
            "log.level": "info" if status < 500 else "error",
            "message": f"{scope['method']} {scope['path']} {status}",
            "ecs.version": "8.11.0",
            "service.name": "headrace",
            "service.version": __version__,
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "http.response.status_code": status,
            "http.request.id": request_id,
            "event.duration": int(seconds * 1e9),
            "client.ip": client[0] if client else None,
        }
        if self.inputs and body:
            line["http.request.body.content"] = body.decode("utf-8", "replace")
        self._lines.append(_encode(line))
        if len(self._lines) >= _TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what was noted. Called from the event loop, a few times a second and at the end."""
        if self._lines:
            lines, self._lines = self._lines, []
            sys.stderr.write(b"\n".join(lines).decode() + "\n")
            sys.stderr.flush()
