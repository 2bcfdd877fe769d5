"""What a worker of a feature group says of itself."""

from __future__ import annotations

from typing import Any

from headrace.serving.stream.telemetry import WorkerTelemetry


class FeatureTelemetry(WorkerTelemetry):
    """Metrics of one worker, with those of every stream."""

    def __init__(self, system: str) -> None:
        from prometheus_client import Counter, Gauge

        super().__init__(system)

        def made(kind: Any, name: str, text: str) -> Any:
            return kind(f"headrace_stream_{name}", text, ["system"], registry=self.registry).labels(system)

        self.rows = made(Counter, "rows", "Feature rows put online")
        self.exposed = made(Counter, "exposed", "Batches whose rows could be seen a moment later than they say")
        self.pending = made(Gauge, "pending", "Rows and bad events that the table lacks")
        self.table = ""

    def ready(self) -> tuple[bool, str]:
        """Whether events are answered, and the reason if not."""
        fine, detail = super().ready()
        if fine and self.table:
            return False, f"the table cannot be written: {self.table}"
        return fine, detail
