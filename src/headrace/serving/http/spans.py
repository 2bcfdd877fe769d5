"""The spans of requests: one of the server for each, and within it what took its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any, TypeVar

from headrace.tracing import Span, Tracer, context_of

SILENT = frozenset(("/health", "/ready", "/metrics"))
"""Routes that are asked so often, and say so little, that they have no spans and no lines in the log."""
LOOK_UP, PREDICT, COMMIT = "look up", "predict", "ledger commit"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
_RPC = "/inference.GRPCInferenceService/"
_predicting: ContextVar[Span | None] = ContextVar("predicting", default=None)
_T = TypeVar("_T")


class RequestSpan:
    """The span of a request, and the times of what is done for it."""

    __slots__ = ("_from", "_method", "_tracer", "span")

    def __init__(self, tracer: Tracer, span: Span, method: str) -> None:
        self._tracer, self.span, self._method = tracer, span, method
        self._from = 0

    @contextmanager
    def predicting(self) -> Iterator[None]:
        """Around making predictions, look-ups included."""
        span = self._tracer.begin(PREDICT, "INTERNAL", self.span, attributes={})
        token = _predicting.set(span)
        try:
            yield
        finally:
            _predicting.reset(token)
            span.end()

    def timed(self, work: Callable[[], _T]) -> Callable[[], _T]:
        """`predicting` around work that another thread may do."""

        def timed() -> _T:
            with self.predicting():
                return work()

        return timed

    def keeps(self) -> None:
        """What was predicted is on its way to the ledger."""
        self._from = time.time_ns()

    def kept(self) -> None:
        """It is durable, or it is known why not."""
        self.span.child(COMMIT, self._from, time.time_ns())

    def say(self, **attributes: Any) -> None:
        """As `Span.say`."""
        if self.span.recorded:
            self.span.say(**attributes)

    def over(self, route: str, status: int) -> None:
        """It is answered."""
        if not self.span.recorded:
            self.span.end()
            return
        method, failed = self._method, status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if route.startswith(_RPC):
            self.span.rename(route[1:])
            name, _, call = route[1:].partition("/")
            self.span.say(rpc__system="grpc", rpc__service=name, rpc__method=call)
        else:
            known = route != "unknown"
            self.span.rename(f"{method} {route}" if known else method)
            self.span.say(http__route=route if known else None, http__response__status_code=status)
        if failed:
            self.span.say(error__type=str(status))
        self.span.end(HTTPStatus(status).phrase if failed else "")


class Spans:
    """Makes the spans of a server's requests.

    Args:
        tracer: Of this process.
        secure: Whether it speaks TLS.
    """

    def __init__(self, tracer: Tracer, *, secure: bool = False) -> None:
        self._tracer, self._scheme = tracer, "https" if secure else "http"

    def of(
        self,
        method: str,
        path: str,
        headers: Mapping[bytes, bytes],
        client: Sequence[Any] | None,
        *,
        ago: float = 0.0,
        system: str = "",
    ) -> RequestSpan:
        """The span of a request that began now, or so many seconds ago."""
        known = method in _METHODS
        attributes: dict[str, Any] = {
            "http.request.method": method if known else "_OTHER",
            "http.request.method_original": None if known else method[:80],
            "url.scheme": self._scheme,
            "url.path": path.partition("?")[0][:1000],
            "headrace.system": system[:80] or None,
            "client.address": client[0] if client else None,
            "user_agent.original": _text(headers.get(b"user-agent")),
            **_asked(headers.get(b"host", b"").decode("latin-1")),
        }
        parent = context_of(headers.get(b"traceparent"), headers.get(b"tracestate"))
        named = method if known else "HTTP"
        span = self._tracer.begin(named, "SERVER", parent, attributes=attributes, began=time.time_ns() - int(ago * 1e9))
        return RequestSpan(self._tracer, span, named)


def together(spans: Sequence[RequestSpan | None], began: int) -> None:
    """Requests were predicted as the rows of one array, from a time on."""
    ended = time.time_ns()
    for span in spans:
        if span is not None:
            span.span.child(PREDICT, began, ended, headrace__together=len(spans))


@contextmanager
def within(name: str) -> Iterator[None]:
    """Around a part of predicting, for the span of the request that it is done for, if there is one."""
    span, began = _predicting.get(), time.time_ns()
    try:
        yield
    finally:
        if span is not None:
            span.child(name, began, time.time_ns())


def _asked(host: str) -> dict[str, Any]:
    """Where a request was sent, by its own words."""
    name, _, port = host[:200].rpartition(":")
    if name and port.isdecimal():
        return {"server.address": name, "server.port": int(port)}
    return {"server.address": host[:200] or None}


def _text(value: bytes | None) -> str | None:
    return value[:200].decode("latin-1") if value else None
