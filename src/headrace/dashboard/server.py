"""Run the dashboard: as a server of its own beside a running API, or within the API's server."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Annotated, NoReturn

import httpx
from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.dashboard.app import Dashboard, owns
from headrace.dashboard.asking import Clients
from headrace.dashboard.options import DashboardOptions
from headrace.declaration import Declared
from headrace.errors import UsageError
from headrace.tries import INSIDE

_Rooted = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?$")]


class Place(Declared):
    """Where the dashboard listens, and where the API is.

    Attributes:
        url: Of the API.
        host: Address or name.
        port: Of it.
        root_path: What a proxy has taken off the paths that it asks for.
        forwarded_allow_ips: Proxies whose ``X-Forwarded-*`` are believed, with commas; ``*`` for any.
    """

    url: str = Field(pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=8080, ge=1, le=65_535)
    root_path: _Rooted = ""
    forwarded_allow_ips: str = "127.0.0.1"

    @property
    def address(self) -> str:
        """The URL of the first page."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}{self.root_path}/"


@dataclass(frozen=True)
class Pages:
    """The dashboard within the server of the API, which hands it itself."""

    options: DashboardOptions

    def owns(self, path: str, accept: str) -> bool:
        """Whether a path is a page."""
        return owns(path, accept)

    def over(self, api: ASGIApp) -> ASGIApp:
        """The application; it asks the API in the same process."""

        async def inside(scope: Scope, receive: Receive, send: Send) -> None:
            await api({**scope, "extensions": {INSIDE: {}}}, receive, send)

        transport = httpx.ASGITransport(inside, raise_app_exceptions=False)
        return Dashboard(Clients("http://headrace", transport), self.options)


def serve(place: Place, options: DashboardOptions, on_start: Callable[[], None]) -> None:
    """Serve the pages until SIGTERM or SIGINT.

    Args:
        place: Where, and of which API.
        options: Of the dashboard.
        on_start: Called when it begins to listen.

    Raises:
        UsageError: The address is taken, or there is none such.
    """
    import uvicorn

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    config = uvicorn.Config(
        Dashboard(Clients(place.url), options, f"{place.url.rstrip('/')}/docs"),
        host=place.host,
        port=place.port,
        root_path=place.root_path,
        forwarded_allow_ips=place.forwarded_allow_ips,
        access_log=False,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    sock = _bound(place)
    on_start()
    uvicorn.Server(config).run(sockets=[sock])


def _bound(place: Place) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        where = f"{place.host}:{place.port}"
        raise UsageError(
            f"cannot listen: {error.strerror or error}", where=where, hint="choose another --port"
        ) from error
    sock.set_inheritable(True)
    return sock


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
