"""Connections that end without losing a request that was sent on them."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

LINGER = 0.5
"""Seconds in which a request on an idle connection is still answered when the server ends."""


class Draining(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, which by itself closes idle connections at once, even if a request is on its way."""

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
