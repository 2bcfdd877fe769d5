"""Where a request, an event or a run stands in a trace, and the spans that this process adds to it.

Spans are OpenTelemetry's, switched on by its own environment variables; without them nothing of it is imported.
"""

from headrace.tracing.spans import Span, Tracer, close, span, tracer
from headrace.tracing.w3c import TRACEPARENT, TRACESTATE, TraceContext, context_of, from_text

__all__ = [
    "TRACEPARENT",
    "TRACESTATE",
    "Span",
    "TraceContext",
    "Tracer",
    "close",
    "context_of",
    "from_text",
    "span",
    "tracer",
]
