"""Where a client connects to, and as whom: from its arguments, or from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from headrace._version import __version__
from headrace.client.asking import Ask, Retry
from headrace.errors import UsageError
from headrace.settings import load_settings

DEFAULT = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class ClientOptions:
    """How a client behaves.

    Attributes:
        timeout: Seconds for a connection, and between two parts of an answer.
        retry: How often what may be tried again is tried.
        held: So many answers are kept with their tags, for the server to say that they stand.
        connections: At a time; they are used again.
        headers: Further ones of every request.
    """

    timeout: float = 30.0
    retry: Retry = field(default_factory=Retry)
    held: int = 256
    connections: int = 20
    headers: Mapping[str, str] | None = None


def address(url: str | None, token: str | None) -> tuple[str, str | None]:
    """The address of the server, without a slash at its end, and the token.

    Raises:
        UsageError: It is no address of HTTP.
        ConfigError: A setting does not fit.
    """
    settings = load_settings()
    place = url or settings.url or DEFAULT
    if not place.startswith(("http://", "https://")):
        hint = "write it as http://HOST:PORT"
        raise UsageError(f"{place!r} is no address of HTTP", where="url", hint=hint)
    secret = settings.token.get_secret_value() if token is None and settings.token is not None else token
    return place.rstrip("/"), secret


def arguments(url: str, token: str | None, options: ClientOptions) -> dict[str, Any]:
    """What an httpx client of either kind is made with."""
    headers = {"user-agent": f"headrace/{__version__}", "accept": "application/json", **(options.headers or {})}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    count = options.connections
    return {
        "base_url": url,
        "headers": headers,
        "timeout": httpx.Timeout(options.timeout, connect=min(options.timeout, 5.0)),
        "limits": httpx.Limits(max_connections=count, max_keepalive_connections=count),
    }


def request_of(ask: Ask, tag: str | None) -> dict[str, Any]:
    """A call as httpx takes it."""
    headers = {"accept": ask.accept, **ask.headers}
    if tag is not None:
        headers["if-none-match"] = tag
    if ask.body is not None:
        headers["content-type"] = ask.media
    return {
        "method": ask.method,
        "url": ask.path,
        "params": list(ask.params) or None,
        "content": ask.body,
        "headers": headers,
    }
