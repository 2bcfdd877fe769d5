"""Sends spans by OTLP, and says once in a while that it cannot: the library would say so for every attempt."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_QUIET = 60.0
"""Seconds for which trouble is told once."""
_log = logging.getLogger("headrace.tracing")


class _LastReason(logging.Filter):
    """Keeps the last thing that the library said, and lets nothing through."""

    said = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by the logger."""
        self.said = record.getMessage()
        return False


_REASON = _LastReason()


class Exporter(SpanExporter):
    """OTLP over HTTP, as the standard environment variables set it up.

    Raises:
        ValueError: One of them holds what cannot be.
    """

    def __init__(self) -> None:
        self._inner = trace_exporter.OTLPSpanExporter()
        self._lost, self._told_at = 0, -_QUIET
        for name in (trace_exporter.__name__, "opentelemetry.exporter.otlp.common.http"):
            logging.getLogger(name).addFilter(_REASON)
        # A full queue is told for every span that finds it full.
        logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.ERROR)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called from a thread of the library's own; what cannot be sent is dropped."""
        result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if time.monotonic() - self._told_at >= _QUIET:
                self._told_at = time.monotonic()
                _log.warning("spans cannot be sent, %d are lost by now: %s", self._lost, _REASON.said)
        elif self._lost:
            _log.warning("spans are sent again; %d were lost", self._lost)
            self._lost, self._told_at = 0, -_QUIET
        return result

    def shutdown(self) -> None:
        """Take no more."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits here."""
        return True
