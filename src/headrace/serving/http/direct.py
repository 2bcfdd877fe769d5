"""The short door: plain requests for predictions are answered by the connection itself, where they came whole.

The ASGI door costs a request a task, a scope, an event and several dictionaries before its body is looked at. What is
not plain here (another route or method, no length, a large body, `Expect`, `Origin`, a proxy's word about the client,
a client that does not read, a request sent before the last one's answer) goes through that door, as does a request
whose body is on its way for long. Both lead to the same `PredictRoute`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from headrace.serving.http.body import unmarked
from headrace.serving.http.call import Answer, Call
from headrace.serving.http.draining import Draining
from headrace.serving.http.packing import LEAST, packed
from headrace.serving.http.predict import STATE, PredictRoute
from headrace.serving.http.protocols.tables import is_plain
from headrace.serving.http.telemetry import headers_of

_DIGITS = 10
"""Of the length of a body that is quick."""
_HURRY = 0.25
"""Seconds in which the body of a plain request is there; else it waits for it at the ASGI door."""
_OTHER = frozenset(
    (
        b"transfer-encoding",
        b"content-encoding",
        b"expect",
        b"upgrade",
        b"origin",
        b"x-forwarded-for",
        b"x-forwarded-proto",
    )
)


class Exchange(Call):
    """A plain request and its answer. For uvicorn it is the connection's cycle, one that has no task."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "response_complete")

    message_event = asyncio.Event()
    """Uvicorn sets it for the task, when the connection is lost; here nobody waits."""
    more_body = False
    """Answered are only requests that are whole."""

    def __init__(self, protocol: Protocol, name: str, headers: Mapping[bytes, bytes], *, keep_alive: bool) -> None:
        super().__init__(name, "POST", protocol.url.decode("ascii"), headers, protocol.client)
        self._protocol: Protocol | None = protocol
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False

    def forget(self) -> None:
        """Another cycle answers the request."""
        self._protocol = None

    def reply(self, answer: Answer) -> None:
        """Write to the connection, unless the client has gone."""
        self.response_complete = True
        protocol, self._protocol = self._protocol, None  # which holds this: a circle would wait for the collector
        assert protocol is not None
        if not protocol.transport.is_closing():
            if len(answer.body) >= LEAST:
                answer = packed(answer, self.headers)
            protocol.transport.write(answer.wire(self.request_id, close=not self.keep_alive))
            if not self.keep_alive:
                protocol.finish()
        protocol.on_response_complete()


class Protocol(Draining):
    """Uvicorn's HTTP protocol with a short door for predictions."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._predict: PredictRoute = self.app_state[STATE]
        self._coming: Exchange | None = None  # its body has not come

    def data_received(self, data: bytes) -> None:
        """Called by the transport with what came."""
        super().data_received(data)
        if self._coming is not None:
            self._predict.deadlines.within(_HURRY, self._coming, lambda call: self._usual())

    def on_message_begin(self) -> None:
        """Called by the parser; the scope is made where it is needed."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._begun, self._whole = self.loop.time(), False

    def on_headers_complete(self) -> None:
        """Called by the parser when the head of a request is there."""
        if self.transport.is_closing():
            return  # sent after a request with which the connection ends
        headers = headers_of(self.headers)
        self.check_head(headers)
        self._begun, self._unread = None, 0
        if self.open:
            self._predict.answer_come()  # the last request of this connection may be among them
        name = self._predict.short(self.url)
        if name is None or not self._is_free() or not self._is_plain(headers):
            self.begin()
            return
        self._coming = Exchange(self, name, headers, keep_alive=self.parser.should_keep_alive())
        self.cycle = self._coming
        self.open = 1

    def _is_free(self) -> bool:
        """Whether no request waits for its answer here, no answer for its reader, and the server is not ending."""
        return not self.open and not self.flow.write_paused and not self.server_state.default_headers

    def _is_plain(self, headers: Mapping[bytes, bytes]) -> bool:
        length = headers.get(b"content-length", b"")
        return (
            _OTHER.isdisjoint(headers)
            and is_plain(headers)
            and length.isdigit()
            and len(length) < _DIGITS
            and int(length) <= self._predict.quick
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def on_body(self, body: bytes) -> None:
        """Called by the parser with each part of a body."""
        if self._coming is not None:
            self._unread = 0
            self._coming.body += body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser when a body is whole."""
        call, self._coming = self._coming, None
        if call is None:
            super().on_message_complete()
        else:
            self._whole, self._unread = True, 0
            self._predict.deadlines.done(call)
            call.body = unmarked(call.body)
            self._predict.at_once(call)

    def is_coming(self) -> bool:
        """As `Draining`; what is said and counted of a body that never came is the ASGI door's matter."""
        self._usual()
        return super().is_coming()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection has ended."""
        self._usual()
        super().connection_lost(exc)

    def _usual(self) -> None:
        """Hand a request whose body has not come to the ASGI door."""
        call, self._coming = self._coming, None
        if call is not None:
            self._predict.deadlines.done(call)
            call.forget()
            self.open = 0
            self.begin()
            super().on_body(call.body)
