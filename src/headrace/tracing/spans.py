"""The spans of this process: begun and ended here, sent in the background, and dropped where they cannot be."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

from headrace._version import __version__
from headrace.errors import HeadraceError
from headrace.tracing.w3c import TraceContext, context_of

if TYPE_CHECKING:
    from headrace.tracing.exporting import Exporter

Kind = Literal["INTERNAL", "SERVER", "CONSUMER", "PRODUCER"]
LEAVE = 2.0
"""Seconds that the end of a process waits for its last spans."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SPOKEN = "http/protobuf"
_log = logging.getLogger("headrace.tracing")
_around: ContextVar[Span | None] = ContextVar("span", default=None)
_lock = threading.Lock()
_opened: list[Tracer | None] = []


class Span:
    """A span under way.

    Attributes:
        context: Where it stands in its trace.
        recorded: Whether it will be sent; the sampler decides when it begins.
    """

    __slots__ = ("_span", "_tracer", "context", "recorded")

    def __init__(self, tracer: Tracer, inner: Any) -> None:
        self._tracer, self._span = tracer, inner
        context = inner.get_span_context()
        state = context.trace_state.to_header() if context.trace_state else ""
        self.context = TraceContext(
            f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags) & 1, state
        )
        self.recorded: bool = inner.is_recording()

    def child(self, name: str, began: int, ended: int, kind: Kind = "INTERNAL", **attributes: Any) -> None:
        """Add what was done within it, from one time to another, in nanoseconds since 1970."""
        if self.recorded:
            self._tracer.begin(name, kind, self, attributes=attributes, began=began).end(ended=ended)

    def say(self, **attributes: Any) -> None:
        """Attributes, with ``__`` for a dot in their names."""
        self._span.set_attributes(_dotted(attributes))

    def rename(self, name: str) -> None:
        """Call it otherwise than when it began."""
        self._span.update_name(name)

    def end(self, error: str = "", ended: int | None = None) -> None:
        """It is over; with an error it has failed."""
        if error and self.recorded:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end(ended)


class Tracer:
    """Makes the spans of one process; `tracer` says whether there is one.

    Args:
        exporter: Takes them.
    """

    def __init__(self, exporter: Exporter) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        attributes = {"service.name": "headrace", "service.version": __version__}
        resource = Resource.create({**attributes, **OTELResourceDetector().detect().attributes})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        # Not the process' global one: other libraries would begin to trace by themselves.
        self._inner = self._provider.get_tracer("headrace", __version__)
        self._exporter, self._api = exporter, trace

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: Span | TraceContext | None,
        *,
        attributes: Mapping[str, Any],
        links: Sequence[TraceContext] = (),
        began: int | None = None,
    ) -> Span:
        """A span that begins now, or began at a time.

        Args:
            name: What is done, without what changes from one to the next.
            kind: Whose side it is.
            parent: What it is a part of; None begins a trace.
            attributes: With ``__`` for a dot in their names.
            links: Other places that it follows from.
            began: Nanoseconds since 1970.
        """
        api = self._api
        current = self._around(parent.context if isinstance(parent, Span) else parent)
        inner = self._inner.start_span(
            name,
            current,
            api.SpanKind[kind],
            _dotted(attributes),
            [api.Link(self._told(link)) for link in links],
            began,
        )
        return Span(self, inner)

    def _around(self, parent: TraceContext | None) -> Any:
        from opentelemetry.context import Context as Empty

        return (
            Empty()
            if parent is None
            else self._api.set_span_in_context(self._api.NonRecordingSpan(self._told(parent)), Empty())
        )

    def _told(self, place: TraceContext) -> Any:
        api = self._api
        state = api.TraceState.from_header([place.state]) if place.state else None
        return api.SpanContext(int(place.trace, 16), int(place.span, 16), True, api.TraceFlags(place.flags), state)

    def close(self) -> None:
        """Send what waits, within `LEAVE` seconds; what is not sent by then is dropped."""
        # In a thread: the library's own end waits for half a minute where nobody takes the spans.
        closing = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(LEAVE)
        if closing.is_alive():
            self._exporter.shutdown()


def wanted() -> bool:
    """Whether the environment asks for spans."""
    environ = os.environ
    if not any(environ.get(name) for name in _ENDPOINTS):
        return False
    is_off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not is_off and environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() in ("", "otlp")


def tracer() -> Tracer | None:
    """The tracer of this process, made when it is first asked for; None where the environment asks for no spans.

    Where they cannot be had, a warning says why, once: nothing else depends on them.
    """
    if not _opened:
        with _lock:
            if not _opened:
                _opened.append(_open() if wanted() else None)
    return _opened[0]


def close() -> None:
    """Send what waits, and make no more spans in this process. To be called before it ends, however often."""
    with _lock:
        current = _opened[0] if _opened else None
        _opened[:] = [None]
    if current is not None:
        current.close()


def _open() -> Tracer | None:
    protocol = next((os.environ[name] for name in _PROTOCOLS if os.environ.get(name)), _SPOKEN)
    if protocol.strip().lower() != _SPOKEN:
        _log.warning("no spans are sent: OTLP is spoken as %s only, not as %s", _SPOKEN, protocol)
        return None
    try:
        from headrace.tracing.exporting import Exporter

        fresh = Tracer(Exporter())
    except ImportError as error:
        _log.warning("no spans are sent: %s; pip install 'headrace[otel]'", error)
        return None
    except (ValueError, OSError) as error:  # what a variable holds cannot be used
        _log.warning("no spans are sent: %s", error)
        return None
    atexit.register(close)
    return fresh


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span | None]:
    """Around a piece of work, within the span around that one: it ends with it, and fails with it.

    The first one of a process continues the trace of its environment (``TRACEPARENT``, ``TRACESTATE``).

    Args:
        name: What is done.
        attributes: With ``__`` for a dot in their names.
    """
    current = tracer()
    if current is None:
        yield None
        return
    around = _around.get()
    outer = around or context_of(os.environ.get("TRACEPARENT"), os.environ.get("TRACESTATE"))
    began = current.begin(name, "INTERNAL", outer, attributes=attributes, began=time.time_ns())
    token, failed = _around.set(began), ""
    try:
        yield began
    except BaseException as error:
        failed = error.message if isinstance(error, HeadraceError) else type(error).__name__
        began.say(error__type=type(error).__name__)
        raise
    finally:
        _around.reset(token)
        began.end(failed)


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
