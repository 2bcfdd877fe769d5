"""`Client` and `AsyncClient`: the calls over connections that are used again, tried again where that does no harm."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from headrace.client.asking import Ask, Held, Retry, again, decoded, failed, unreachable
from headrace.client.async_calls import AsyncClientCalls
from headrace.client.calls import ClientCalls
from headrace.client.connecting import ClientOptions, address, arguments, request_of
from headrace.errors import HeadraceError

T = TypeVar("T")


class Client(ClientCalls):
    """A client that waits for each answer. Any number of threads may use one.

    Use it as a context manager, or `close` it.

    Args:
        url: Of the server. Default: ``HEADRACE_URL``, or this machine's port 8000.
        token: That it is shown. Default: ``HEADRACE_TOKEN``.
        options: Time-outs, tries, connections.
        transport: What requests go through, in place of the network.

    Raises:
        UsageError: The address is none.
        ConfigError: A setting does not fit.

    >>> client = Client("http://127.0.0.1:8642")
    >>> client.url
    'http://127.0.0.1:8642'
    >>> client.close()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        options: ClientOptions | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url, secret = address(url, token)
        self._options = options or ClientOptions()
        self._held = Held(self._options.held)
        self._http = httpx.Client(transport=transport, **arguments(self.url, secret, self._options))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _ask(self, ask: Ask, kind: type[T]) -> T:
        request = request_of(ask, self._held.tag(ask))
        number = 1
        while True:
            response, error = None, None
            try:
                response = self._http.request(**request)
            except httpx.TransportError as trouble:
                error = trouble
            pause = pause_of(ask, self._options.retry, number, response, error)
            if pause is None:
                return outcome(ask, self._held, response, error, self.url, kind)
            time.sleep(pause)
            number += 1


class AsyncClient(AsyncClientCalls):
    """The same for an event loop: every method is awaited, and lists of unknown length are iterated by ``async for``.

    Args and errors as of `Client`.

    >>> AsyncClient("http://127.0.0.1:8642")
    AsyncClient('http://127.0.0.1:8642')
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        options: ClientOptions | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url, secret = address(url, token)
        self._options = options or ClientOptions()
        self._held = Held(self._options.held)
        self._http = httpx.AsyncClient(transport=transport, **arguments(self.url, secret, self._options))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _ask(self, ask: Ask, kind: type[T]) -> T:
        request = request_of(ask, self._held.tag(ask))
        number = 1
        while True:
            response, error = None, None
            try:
                response = await self._http.request(**request)
            except httpx.TransportError as trouble:
                error = trouble
            pause = pause_of(ask, self._options.retry, number, response, error)
            if pause is None:
                return outcome(ask, self._held, response, error, self.url, kind)
            await asyncio.sleep(pause)
            number += 1


def pause_of(
    ask: Ask, retry: Retry, number: int, response: httpx.Response | None, error: Exception | None
) -> float | None:
    """Seconds before the next try; None: what there is counts."""
    if error is None and response is not None and response.status_code < 400:
        return None
    return retry.pause(number, response) if again(ask, response, error) else None


def outcome(
    ask: Ask, held: Held, response: httpx.Response | None, error: Exception | None, url: str, kind: type[T]
) -> T:
    """What a call gives, or the error that it raises.

    Raises:
        HeadraceError: As the server says, or there is none.
    """
    if response is None:
        assert error is not None
        raise unreachable(ask, error, url) from error
    response = held.settled(ask, response)
    if response.status_code >= 300:
        problem: HeadraceError = failed(ask, response)
        raise problem
    value: Any = decoded(response, kind, ask)
    return value  # type: ignore[no-any-return]
