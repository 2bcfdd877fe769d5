"""What a server tells about itself: Prometheus metrics, and access logs in the Elastic Common Schema."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from headrace._version import __version__

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_encode = msgspec.json.Encoder().encode


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
        self._children: dict[Any, Any] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (route, method, status)
        children = self._children.get(key)
        if children is None:
            children = self.requests.labels(route, method, str(status)), self.latency.labels(route)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    def predicted(self, system: str, version: int, rows: int) -> None:
        """Count answered rows."""
        key = (system, version)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self.predictions.labels(system, str(version))
        child.inc(rows)

    def text(self, *, several: bool) -> bytes:
        """Everything in Prometheus' text format; `several`: of all worker processes."""
        if not several:
            return generate_latest(self.registry)
        gathered = CollectorRegistry()
        multiprocess.MultiProcessCollector(gathered)  # type: ignore[no-untyped-call]
        return generate_latest(gathered)


class AccessLog:
    """One JSON line a request on stderr, without inputs unless asked for."""

    def __init__(self, *, inputs: bool = False) -> None:
        self.inputs = inputs

    def write(self, scope: dict[str, Any], status: int, seconds: float, request_id: str, body: bytes = b"") -> None:
        """Log one answered request; field names are those of ECS 8."""
        client = scope.get("client")
        line: dict[str, Any] = {
            "@timestamp": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
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
        sys.stderr.write(_encode(line).decode() + "\n")
