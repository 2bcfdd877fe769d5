"""What becomes of a worker's work, as others see it: its log, its counts, and whether it is ready."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from headrace.serving.engine.batch import Answered
from headrace.serving.stream.base import StreamEngine
from headrace.serving.stream.log import logger
from headrace.serving.stream.telemetry import WorkerTelemetry

_QUIET = 10.0
"""Seconds for which trouble of one kind is told once: a client without its broker has some many times a second."""
_COUNTED = (
    *("events", "predictions", "dead_letters", "late", "moved", "ignored", "repeated", "anomalies"),
    *("commits", "aborts"),
)


class Health:
    """Tells of one worker.

    Args:
        system: Name of the system.
        worker: Name of the worker.
        telemetry: Its metrics.
    """

    def __init__(self, system: str, worker: str, telemetry: WorkerTelemetry) -> None:
        self._system, self.telemetry = system, telemetry
        self.log: Any = logger(system, worker)
        self._told: dict[str, float] = {}

    def once(self, what: str, detail: str, **more: object) -> None:
        """Log trouble, of each kind once in a while."""
        now = time.monotonic()
        if now - self._told.get(what, -_QUIET) >= _QUIET:
            self._told[what] = now
            self.log.warning(what, detail=detail, **more)

    def waiting(self, detail: str) -> None:
        """The cluster does not answer, and is waited for: the worker lives, and is not ready."""
        self.telemetry.turn()
        self.telemetry.reason = f"waits for the cluster: {detail}"
        self.once("waits for the cluster", detail)

    def gone(self, topic: str) -> None:
        """The topic that is read is gone: there is nothing to answer until somebody makes it again."""
        self.telemetry.away = f"the topic {topic} is gone: waits for it to be made again"
        self.once("waits", self.telemetry.away)

    def commit_waits(self, seconds: float) -> None:
        """A commit has had no answer for so many seconds."""
        if seconds > _QUIET:
            self.waiting(f"a commit has no answer for {seconds:.0f} s")

    def committed(self, answered: Answered, began: float, moment: float) -> None:
        """A micro-batch counts: since the time `moment` by the clock, and it was begun with at `began` (monotonic)."""
        t = self.telemetry
        t.reason = ""
        t.commits.inc()
        t.events.inc(len(answered.batch))
        t.predictions.inc(len(answered.answers))
        t.dead_letters.inc(len(answered.dead))
        t.late.inc(len(answered.late))
        for message, reason in (*answered.dead[:1], *answered.late[:1]):
            count = len(answered.dead) + len(answered.late)
            self.once("set apart", reason, events=count, **message.named())
        t.moved.inc(len(answered.moved))
        t.ignored.inc(len(answered.ignored))
        t.repeated.inc(answered.repeated)
        t.anomalies.inc(answered.anomalies)
        t.batch_size.observe(len(answered.batch))
        t.batch_seconds.observe(time.monotonic() - began)
        t.latency.observe(max(moment - min(answered.batch.timestamp) / 1000, 0.0))

    def sizes(self, engine: StreamEngine, idle: timedelta | None) -> None:
        """What changes slowly. What was not used for so long leaves the memory."""
        if idle is not None:
            engine.evict(time.time() - idle.total_seconds())
        count, size = engine.size()
        self.telemetry.series.set(count)
        self.telemetry.state_bytes.set(size)

    def done(self) -> dict[str, Any]:
        """The counts so far."""
        names = {name: f"headrace_stream_{name}_total" for name in _COUNTED}
        value = self.telemetry.registry.get_sample_value
        return {name: int(value(full, {"system": self._system}) or 0) for name, full in names.items()}
