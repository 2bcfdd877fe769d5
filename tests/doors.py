"""A server in this process that tells which door a request took, and raw connections to it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry
from tests.servers import PREDICT, TITANIC
from tests.waiting import PATIENCE, until

from headrace.home import Home
from headrace.loading import load_system
from headrace.serving.http import app
from headrace.serving.http.direct import Protocol
from headrace.serving.http.options import Options
from headrace.settings import Settings

HEAD = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nx-request-id: mine\r\n".encode()


class Doors:
    """A server of titanic on a port of its own.

    Attributes:
        home: Its home.
        called: How many requests came through the ASGI door.
        connections: Those that are open.
    """

    def __init__(self, home: Path, **options: Any) -> None:
        self.home = Home(Settings(home=home))
        served = app.Application(
            [load_system(TITANIC)], self.home, Options(access_log="off", **options), registry=CollectorRegistry()
        )
        self.called = 0

        async def counted(scope: Any, receive: Any, send: Any) -> None:
            self.called += scope["type"] == "http"
            await served(scope, receive, send)

        config = uvicorn.Config(
            counted, http=Protocol, port=0, access_log=False, log_config=None, server_header=False, date_header=False
        )
        self.server = uvicorn.Server(config)
        self.connections = self.server.server_state.connections
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        until(lambda: self.server.started)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]
        until(lambda: served.served["titanic"].reason is None)

    def close(self) -> None:
        """End it in order."""
        self.server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A connection to it."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as made:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Connection(made)

    def said(self, *parts: bytes) -> bytes:
        """The response to one request on a connection of its own."""
        with self.connection() as connection:
            connection.send(*parts)
            return connection.response()


class Connection:
    """Bytes out, responses in."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket, self._got = connection, b""

    def send(self, *parts: bytes) -> None:
        """Each part in a packet of its own."""
        for part in parts:
            self.socket.sendall(part)

    def response(self) -> bytes:
        """The next response, whole, as it came."""
        while b"\r\n\r\n" not in self._got:
            self._more()
        head, _, rest = self._got.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", 0))
        while len(rest) < length:
            self._more()
            rest = self._got.partition(b"\r\n\r\n")[2]
        self._got = rest[length:]
        return head + b"\r\n\r\n" + rest[:length]

    def ended(self) -> bool:
        """Whether the server closed it, with nothing more to say."""
        return not self._got and self.socket.recv(1) == b""

    def _more(self) -> None:
        got = self.socket.recv(65536)
        assert got, f"the connection ended after {self._got!r}"
        self._got += got


def posted(body: bytes, *lines: bytes) -> bytes:
    """A plain request, with further lines of its head."""
    more = b"".join(line + b"\r\n" for line in lines)
    return HEAD + more + b"content-length: %d\r\n\r\n%b" % (len(body), body)


def chunked(body: bytes) -> bytes:
    """The same for the ASGI door: without a length."""
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n"


@contextmanager
def doors(home: Path, **options: Any) -> Iterator[Doors]:
    """A server, until the end of the block."""
    made = Doors(home, **options)
    try:
        yield made
    finally:
        made.close()
