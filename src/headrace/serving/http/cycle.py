"""A request that goes through the ASGI door, and how its connection ends where its body was not wanted."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CLOSE = (b"connection", b"close")


class Way:
    """The transport as a cycle sees it: to close it is the connection's matter, which may have more to read."""

    __slots__ = ("close", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class Cycle(RequestResponseCycle):
    """Uvicorn's, but for an answer that is told before the body has come: the connection ends with it.

    Else all of a body that was refused for its size would be read.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Called by the application with each part of its answer."""
        if self.more_body and not self.response_started and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), _CLOSE]}
        await super().send(message)


def cycle_of(protocol: HttpToolsProtocol, close: Callable[[], None]) -> Cycle:
    """The cycle of the request whose head a connection has just read.

    Args:
        protocol: The connection.
        close: Called when its last answer is written.

    Raises:
        httptools.HttpParserError: Its target is none.
        UnicodeDecodeError: Its target is not ASCII.
    """
    version = protocol.parser.get_http_version()
    url = httptools.parse_url(protocol.url)
    path = url.path.decode("ascii")
    root = protocol.root_path
    scope: Any = {
        "type": "http",
        "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
        "http_version": "1.0" if version == "1.0" else "1.1",
        "server": protocol.server,
        "client": protocol.client,
        "scheme": protocol.scheme,
        "root_path": root,
        "headers": protocol.headers,
        "state": protocol.app_state.copy(),
        "method": protocol.parser.get_method().decode("ascii"),
        "path": root + (urllib.parse.unquote(path) if "%" in path else path),
        "raw_path": root.encode("ascii") + url.path,
        "query_string": url.query or b"",
    }
    way: Any = Way(protocol.transport, close)
    return Cycle(
        scope=scope,
        transport=way,
        flow=protocol.flow,
        logger=protocol.logger,
        access_logger=protocol.access_logger,
        access_log=protocol.access_log,
        default_headers=protocol.server_state.default_headers,
        message_event=asyncio.Event(),
        expect_100_continue=protocol.expect_100_continue,
        keep_alive=version != "1.0" and protocol.parser.should_keep_alive(),
        on_response=protocol.on_response_complete,
    )
