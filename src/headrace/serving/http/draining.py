"""Connections: what they may send and for how long, and how they end without losing a request that was sent on them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sized
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from headrace.serving.http.call import Answer
from headrace.serving.http.cycle import cycle_of
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.telemetry import request_id_of
from headrace.serving.http.wire import ALWAYS, SPARE, WIRE, Wire

LINGER = 0.5
"""Seconds in which a request on an idle connection is still answered when the server ends."""
DEAF = 1.0
"""Seconds in which what is still sent after the last answer is thrown away: were the connection closed at once, the
client's system would throw away the answer."""
DEAF_BYTES = 2**20
"""So many bytes of it at most."""
CROWDED = 5.0
"""Seconds in which a connection beyond the most that there may be sends its request."""
_SHOWN = 200
"""Characters of a target that is no path in the log."""
_H2 = b"PRI * HTTP/2"
_ONCE = {
    name.lower().encode(): name
    for name in ("Host", "Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "Transfer-Encoding")
}
"""Headers of which two would leave open which one counts."""


class Refused(Exception):
    """Raised where the parser calls, to have it stop: the connection ends with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class PacedFlowControl(FlowControl):
    """Reads nothing more of a connection on which requests wait for an earlier one's answer.

    Uvicorn reads on with every answer, so a client that sends without end, and reads slowly, would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        """Called with every answer, and for the rest of a body: that of the last request that came."""
        if not self._pipeline:
            super().resume_reading()


class Draining(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with bounds: of a head, in bytes and in time, and of the number of connections.

    A request is answered whatever follows it: bytes that are no HTTP, or the end of what the client sends. Another
    protocol that a request offers (`Upgrade`) is not taken up, so it is answered as if it had offered none.
    """

    open = 0  # requests that wait for their answer
    _rest = 0.0  # since when it is idle, by the loop's clock
    _begun: float | None = None  # when the head that is coming began
    _whole = True  # whether nothing of a request is missing
    _unread = 0  # bytes since the last piece of a request that was whole
    _offers = False  # another protocol, with the request that the parser has just read the head of
    _crowded = False
    _last: bytes | None = None  # what the connection ends with, once all that came before is answered
    _ended = False  # the client sends nothing more
    _deaf: int | None = None  # bytes that will still be thrown away; None while what comes is read
    _unsent = 0  # bytes that waited for the client to read them, when looked at last

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.wire: Wire = self.app_state[WIRE]
        self.cycle: Any = None
        self.flow: Any = None
        self.url, self.headers = b"", []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once, when a client has connected."""
        super().connection_made(transport)
        self.flow = PacedFlowControl(transport, self.pipeline)
        self._rest = self.loop.time()
        more = len(self.connections) - self.wire.most
        self._crowded = more > 0
        self._look_after(min(CROWDED if self._crowded else self.wire.head_timeout, self.timeout_keep_alive))
        if more > SPARE:
            self.refuse(_crowd())

    def data_received(self, data: bytes) -> None:
        """Called by the transport with what came."""
        if self._deaf is not None or self._last is not None:
            self._throw_away(len(data))
            return
        self._unread += len(data)
        rest: bytes | memoryview = data
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = memoryview(rest)[offer.args[0] :]
                if self._decline():
                    continue
            except httptools.HttpParserError as error:
                self._broken(error, bytes(rest[:16]))
            break
        if self._unread > self.wire.max_head and self._last is None:
            self.refuse(self._too_long())

    def _decline(self) -> bool:
        """Read the request whose head the parser has left at its offer as if it had offered nothing; whether it is one.

        The parser takes what follows such a head for the other protocol; a new one does not know of the offer.
        """
        self._offers = False
        line = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        headers = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self._unread = 0
        self.parser = parser_of(self)
        try:
            self.parser.feed_data(b"".join((line, *headers, b"\r\n")))
        except httptools.HttpParserError as error:
            self._broken(error, b"")
            return False
        return True

    def check_head(self, headers: Mapping[bytes, bytes]) -> None:
        """Called when a head is there, with its headers by name.

        Raises:
            Refused: It is larger than it may be, or nobody can say which host it asks.
        """
        wire, given = self.wire, self.headers
        if len(self.url) > wire.max_url or len(given) > wire.max_fields or self._unread > wire.max_head:
            size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in given])
            if len(self.url) > wire.max_url or len(given) > wire.max_fields or size > wire.max_head:
                raise Refused(self._too_long())
        if len(headers) != len(given):
            named = [name for name, _ in given if name in _ONCE]
            twice = next((name for name in named if named.count(name) > 1), None)
            if twice is not None:
                raise Refused(Problem(400, f"the request has two {_ONCE[twice]} headers", reason="no_http"))
        if headers.get(b"transfer-encoding", b"chunked").strip().lower() != b"chunked":
            raise Refused(Problem(501, "a body comes whole or chunked; gzip is a Content-Encoding", reason="no_http"))
        if b"host" not in headers and self.parser.get_http_version() == "1.1":
            raise Refused(Problem(400, "the request has no Host header", reason="no_http"))
        if self._crowded and self.url.partition(b"?")[0] not in ALWAYS:
            raise Refused(_crowd())

    def begin(self) -> None:
        """Hand the request whose head is there to the ASGI door, unless it waits for an earlier one.

        Raises:
            Refused: It asks for a tunnel.
        """
        if self.parser.get_method() == b"CONNECT":
            allowed = [(b"allow", b"GET, HEAD, POST, OPTIONS")]
            raise Refused(Problem(405, "this server is no proxy", headers=allowed))
        if self.parser.should_upgrade():
            self._offers = True
            return
        self.cycle = cycle_of(self, self.finish)
        # Trailers are headers to the parser, and come after the application has read its own.
        self.scope, self.headers = self.cycle.scope, []
        self.open += 1
        if self.open == 1:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Called by the parser with each part of a body."""
        self._unread = 0
        if self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Called by the parser when a request is whole."""
        if not self._offers:
            self._whole, self._unread = True, 0
            if self.cycle is not None:
                super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _unset_keepalive_if_required(self) -> None:
        """Called by uvicorn when data comes, and at the end: the timer stays, it costs more to set it anew."""

    def on_response_complete(self) -> None:
        """Called when a request is answered: the next one of the pipeline begins, or the connection is idle."""
        self.server_state.total_requests += 1
        self.open -= 1
        if self.transport.is_closing() or self._deaf is not None:
            return
        self._rest = self.loop.time()
        if self.pipeline:
            self.flow.resume_reading()
            self._start_asgi_task(*self.pipeline.pop())
        elif self._last is not None or self._ended:
            self.finish(self._last or b"")
        else:
            self.flow.resume_reading()

    def timeout_keep_alive_handler(self) -> None:
        """Called by the timer: end what has lasted too long; else look again when it would have."""
        now, wire = self.loop.time(), self.wire
        unsent = self.transport.get_write_buffer_size()
        if unsent or self.transport.is_closing():
            if unsent and unsent != self._unsent:  # it reads, if slowly
                self._unsent = unsent
                self._look_after(wire.head_timeout)
            else:
                self.transport.abort()
            return
        if self._begun is not None and self._last is None:
            left = self._begun + (CROWDED if self._crowded else wire.head_timeout) - now
        elif self.open:
            left = 0 if self._ended else self.timeout_keep_alive
        else:
            left = self._rest + (CROWDED if self._crowded else self._patience()) - now
        if left > 0:
            self._look_after(left)
        elif self._begun is not None and self._last is None:
            self.refuse(Problem(408, "the head of the request did not arrive in time"))
            self._look_after(wire.head_timeout)
        else:
            self.transport.close()
            self._look_after(wire.head_timeout)

    def _patience(self) -> float:
        """Seconds that it may be idle."""
        return self.timeout_keep_alive if self.cycle is not None else self.wire.head_timeout

    def _look_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _too_long(self) -> Problem:
        if len(self.url) > self.wire.max_url:
            return Problem(414, f"the target of the request is longer than {self.wire.max_url:,} bytes")
        if len(self.headers) > self.wire.max_fields:
            return Problem(431, f"the request has more than {self.wire.max_fields:,} headers")
        if self._begun is None and not self._whole:
            return Problem(400, "more than a head's bytes are no part of the body", reason="no_http")
        return Problem(431, f"the head of the request is larger than {self.wire.max_head:,} bytes")

    def _broken(self, error: httptools.HttpParserError, data: bytes) -> None:
        """What came is no HTTP, or was refused where the parser called."""
        cause = error.__context__
        if isinstance(cause, Refused):
            self.refuse(cause.problem)
        elif self.url == b"*" and "PRI" in str(error):
            self.refuse(Problem(505, "this server speaks HTTP/1.1, not HTTP/2", reason="no_http"))
        elif data[:2] == b"\x16\x03" and self.cycle is None:
            self.refuse(Problem(400, "this server speaks plain HTTP here, not TLS", reason="no_http"))
        else:
            self.refuse(Problem(400, f"what came is no HTTP request: {_plain(error)}", reason="no_http"))

    def refuse(self, problem: Problem) -> None:
        """End the connection with a problem, after the answers to all that came before."""
        headers = dict(self.headers)
        request_id = request_id_of(headers.get(b"x-request-id", b""))
        if self.is_coming():
            self.withdraw()
        else:
            method, path = self._asked()
            self.wire.note(method, path, self.client, problem, request_id)
        self._last, self._begun = Answer.of(problem).wire(request_id, close=True), None
        if not self.open:
            self.finish(self._last)
        else:
            self.flow.pause_reading()

    def _asked(self) -> tuple[str, str]:
        """Method and path of what is refused, as far as they have come."""
        try:
            method = self.parser.get_method().decode("ascii") if self._begun is not None else ""
        except (AttributeError, TypeError, ValueError):
            method = ""
        path = self.url.partition(b"?")[0].decode("latin-1") if self._begun is not None else ""
        return method or "?", path[:_SHOWN]

    def is_coming(self) -> bool:
        """Whether the head of a request is there, and its body is not: then it is this that is refused."""
        return not self._whole and self._begun is None and self.cycle is not None and self.cycle.more_body

    def withdraw(self) -> None:
        """Let nobody answer the request whose body is coming: its application is told that the client has gone."""
        cycle = self.cycle
        waiting = [cycle_waiting for cycle_waiting in self.pipeline if cycle_waiting[0] is not cycle]
        if len(waiting) != len(self.pipeline):
            self.pipeline.clear()
            self.pipeline.extend(waiting)
        cycle.disconnected = True
        cycle.message_event.set()
        self.open -= 1

    def finish(self, last: bytes = b"") -> None:
        """End the connection, after these bytes."""
        transport = self.transport
        if last:
            transport.write(last)
        if self._ended or (self._whole and not last):
            transport.close()
            return
        self._deaf = DEAF_BYTES
        if transport.can_write_eof():
            transport.write_eof()
        FlowControl.resume_reading(self.flow)
        self.loop.call_later(DEAF, transport.close)

    def _throw_away(self, count: int) -> None:
        if self._deaf is not None:
            self._deaf -= count
            if self._deaf < 0:
                self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]  # that of uvicorn never stays open
        """Called once, when the client sends nothing more: it is answered, and then the connection ends."""
        self._ended = True
        if not self._whole and self._deaf is None and self._last is None:
            self.refuse(Problem(400, "the client ended before its request was whole", reason="disconnected"))
        if not self.open or self.scheme != "http" or self.transport.is_closing():
            return False
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        self._look_after(self.wire.head_timeout)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection has ended. Nothing of it refers to it any more."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)
        self.pipeline.clear()
        self.cycle = self.flow = None

    def shutdown(self) -> None:
        """Called once per connection when the server ends, after it has stopped to take new ones.

        Every answer says from now on that the connection closes, so the client makes no further request on it.
        """
        self.server_state.default_headers = [(b"connection", b"close")]
        for close in self.wire.closing:
            close()
        self.loop.call_later(LINGER, self._end_soon)

    def _end_soon(self) -> None:
        if not self.open:
            self.transport.close()
        elif self.cycle is not None:
            self.cycle.keep_alive = False


def parser_of(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """A parser that calls a connection."""
    parser = httptools.HttpRequestParser(protocol)
    # What follows a request with which the connection ends is no reason not to answer it.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _crowd() -> Problem:
    return busy("the server has as many connections as it takes", 5)


def _plain(error: Exception) -> str:
    message = str(error).strip().rstrip(".")
    return message[:1].lower() + message[1:] if message else type(error).__name__


class Processes(Multiprocess):
    """Uvicorn's worker processes; their parent lets go of the socket on which they take connections when they end.

    Otherwise the system would go on taking connections there, which nobody answers.
    """

    def terminate_all(self) -> None:
        """Called once, when the parent was told to end."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()
