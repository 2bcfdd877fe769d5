"""Where a client connects to, and as whom: from its arguments, or from the settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from headrace._version import __version__
from headrace.client.asking import Ask, Retry, Stored
from headrace.errors import UsageError
from headrace.settings import load_settings

DEFAULT = "http://127.0.0.1:8000"
_SENT = re.compile(r"[\x21-\x7e]*").fullmatch
_FIELD = re.compile(r"[\x20-\x7e]*").fullmatch


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
        UsageError: It is no address of HTTP, or the token cannot be sent.
        ConfigError: A setting does not fit.
    """
    settings = load_settings()
    place = (url or settings.url or DEFAULT).strip()
    secret = settings.token.get_secret_value() if token is None and settings.token is not None else token
    secret = (secret or "").strip()
    if not _SENT(secret):
        hint = "it may have visible ASCII characters alone: was it read whole, and as text?"
        raise UsageError("the token has a character that no header can have", where="token", hint=hint)
    return _checked(place), secret or None


def _checked(place: str) -> str:
    hint = "write it as http://HOST:PORT"
    try:
        parts = httpx.URL(place)
    except httpx.InvalidURL as error:
        raise UsageError(f"{_shown(place)!r} is no address of HTTP: {error}", where="url", hint=hint) from None
    if parts.userinfo:
        hint = "give the token as `token`, or HEADRACE_TOKEN"
        raise UsageError(f"{_shown(place)!r} has a name or password in it", where="url", hint=hint)
    wide = parts.port is not None and not 0 < parts.port < 2**16
    if parts.scheme not in ("http", "https") or not parts.host or wide or parts.query or parts.fragment:
        raise UsageError(f"{place!r} is no address of HTTP", where="url", hint=hint)
    return place.rstrip("/?#")


def _shown(place: str) -> str:
    """An address without the name and password that may be in it."""
    scheme, slashes, rest = place.partition("//")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def arguments(url: str, token: str | None, options: ClientOptions) -> dict[str, Any]:
    """What an httpx client of either kind is made with.

    Raises:
        UsageError: A header of the options cannot be sent.
    """
    for name, value in (options.headers or {}).items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not _FIELD(value):
            raise UsageError(f"the header {name!r} cannot be sent", where="headers", hint="use visible ASCII")
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


def request_of(ask: Ask, stored: Stored | None) -> dict[str, Any]:
    """A call as httpx takes it."""
    headers = {"accept": ask.accept, **ask.headers}
    if stored is not None:
        headers["if-none-match"] = stored.tag
    if ask.body is not None:
        headers["content-type"] = ask.media
    return {
        "method": ask.method,
        "url": ask.path,
        "params": list(ask.params) or None,
        "content": ask.body,
        "headers": headers,
    }
