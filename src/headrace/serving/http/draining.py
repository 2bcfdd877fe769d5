"""Connections: when they are idle, and how they end without losing a request that was sent on them."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from headrace.serving.http.call import Answer
from headrace.serving.http.problem import Problem
from headrace.serving.http.telemetry import request_id_of

LINGER = 0.5
"""Seconds in which a request on an idle connection is still answered when the server ends."""


class Reading(FlowControl):
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
    """Uvicorn's HTTP protocol, which by itself closes idle connections at once, even if a request is on its way."""

    _heard = 0.0  # when something last came or was answered, by the loop's clock

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called once, when a client has connected."""
        super().connection_made(transport)
        self.flow = Reading(transport, self.pipeline)

    def _unset_keepalive_if_required(self) -> None:
        """Called when data comes. The timer of an idle connection stays set: to set it anew costs more than to read."""
        self._heard = self.loop.time()

    def on_response_complete(self) -> None:
        """Called when a request is answered: the next one of the pipeline begins, or the connection is idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._heard = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.timeout_keep_alive_task is None:
            self._look_after(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Called by the timer: close the connection, unless something came on it lately or it waits for an answer."""
        left = self._heard + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_after(left)
        elif self.cycle.response_complete:
            super().timeout_keep_alive_handler()
        else:
            self._look_after(self.timeout_keep_alive)

    def _look_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """Called where what came is no HTTP: the connection ends with a problem, as every refusal is one."""
        answer = Answer.of(Problem(400, msg))
        self.transport.write(answer.wire(request_id_of(b""), close=True))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called once, when the connection has ended."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called once per connection when the server ends, after it has stopped to take new ones.

        Every answer says from now on that the connection closes, so the client makes no further request on it.
        """
        self.server_state.default_headers = [(b"connection", b"close")]
        self.loop.call_later(LINGER, super().shutdown)


class Processes(Multiprocess):
    """Uvicorn's worker processes; their parent lets go of the socket on which they take connections when they end.

    Otherwise the system would go on taking connections there, which nobody answers.
    """

    def terminate_all(self) -> None:
        """Called once, when the parent was told to end."""
        for socket in self.sockets:
            socket.close()
        super().terminate_all()
