"""What a worker says of itself: Prometheus metrics, and whether it lives and is ready."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from headrace.errors import StreamError

STALLED = 120.0
"""Seconds without a turn of the loop after which a worker counts as dead."""
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class WorkerTelemetry:
    """Metrics of one worker, each with the system as label."""

    def __init__(self, system: str) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()

        def made(kind: Any, name: str, text: str, *labels: str, **more: Any) -> Any:
            metric = kind(f"headrace_stream_{name}", text, ["system", *labels], registry=self.registry, **more)
            return metric if labels else metric.labels(system)

        self._system = system
        self.events = made(Counter, "events", "Events read")
        self.predictions = made(Counter, "predictions", "Predictions sent")
        self.dead_letters = made(Counter, "dead_letters", "Bad events set apart")
        self.late = made(Counter, "late", "Events set apart because they came too late")
        self.lost = made(Counter, "lost", "Offsets that the log no longer had when they were to be read")
        self.moved = made(Counter, "moved", "Events sent to the partition of their series")
        self.ignored = made(Counter, "ignored", "Messages that are no events, such as deletions")
        self.repeated = made(Counter, "repeated", "Rows that were answered before, and got the same answer")
        self.anomalies = made(Counter, "anomalies", "Observations that are anomalies")
        self.commits = made(Counter, "commits", "Transactions committed")
        self.aborts = made(Counter, "aborts", "Transactions aborted")
        self.rebalances = made(Counter, "rebalances", "Partitions assigned or taken away")
        self.batch_size = made(Histogram, "batch_size", "Events in a transaction", buckets=_SIZES)
        self.batch_seconds = made(
            Histogram, "batch_seconds", "From the events of a batch to its commit", buckets=_SECONDS
        )
        self.latency = made(
            Histogram, "latency_seconds", "From the arrival of a batch's oldest event to its commit", buckets=_SECONDS
        )
        self.batch_limit = made(Gauge, "batch_limit", "Events in a transaction at most; fewer after slow ones")
        self.restore_seconds = made(Histogram, "restore_seconds", "Time to restore state", buckets=_SECONDS)
        self.series = made(Gauge, "series", "Series, or keys of rows, in memory")
        self.state_bytes = made(Gauge, "state_bytes", "Bytes of the state in memory")
        self.model_version = made(Gauge, "model_version", "Version of the model that answers")
        self._lag = made(Gauge, "lag", "Events that wait on a partition, whoever works on it", "partition")
        self._waiting = made(Gauge, "waiting", "Events that wait on all partitions; every worker says the same")
        self._lost, self._loss = 0, ""
        self._turned, self.reason, self.away, self.worked = time.monotonic(), "starts", "", False

    def turn(self) -> None:
        """The loop made a turn."""
        self._turned = time.monotonic()

    def lost_events(self, count: int) -> None:
        """So many events were gone before they were read."""
        self.lost.inc(count)
        self._lost += count
        self._loss = f"; {self._lost} were gone before they were read"

    def lag(self, events: Mapping[int, int]) -> None:
        """How many events of each partition wait."""
        self._lag.clear()
        for partition, count in events.items():
            self._lag.labels(self._system, str(partition)).set(count)
        self._waiting.set(sum(events.values()))

    def alive(self) -> tuple[bool, str]:
        """Whether the loop turns, and what to say of it."""
        still = time.monotonic() - self._turned
        return still < STALLED, f"the last turn of the loop was {still:.0f} s ago"

    def ready(self) -> tuple[bool, str]:
        """Whether events are answered, and the reason if not."""
        reason = self.reason or self.away
        return not reason, reason or f"answers events{self._loss}"

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


def serve(telemetry: WorkerTelemetry, port: int, tries: int = 20) -> ThreadingHTTPServer:
    """Answer ``/metrics``, ``/health`` and ``/ready`` in threads of their own, on the first free port from `port` on.

    Raises:
        StreamError: None of the ports is free.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._send(200, telemetry.text(), "text/plain; version=0.0.4; charset=utf-8")
                return
            checks = {"/health": telemetry.alive, "/ready": telemetry.ready}
            if self.path not in checks:
                self._send(404, b'{"detail": "there are /metrics, /health and /ready"}', "application/json")
                return
            fine, detail = checks[self.path]()
            body = json.dumps({"status": "ok" if fine else "not ok", "detail": detail}).encode()
            self._send(200 if fine else 503, body, "application/json")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
            """Requests are not logged: probes come every few seconds."""

    for turn in range(tries):
        try:
            server = ThreadingHTTPServer(("", port + turn if port else 0), Handler)
        except OSError:
            continue
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="telemetry", daemon=True).start()
        return server
    raise StreamError(f"no port is free from {port} to {port + tries - 1}", where="--port", hint="choose another one")
