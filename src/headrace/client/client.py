"""`Client` and `AsyncClient`: the calls over connections that are used again, tried again where that does no harm."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from types import TracebackType
from typing import NoReturn, Self, TypeVar
from weakref import WeakKeyDictionary

import httpx

from headrace.client.asking import Ask, Held, Retry, Stored, again, decoded, failed, unreachable
from headrace.client.async_calls import AsyncClientCalls
from headrace.client.calls import ClientCalls
from headrace.client.connecting import ClientOptions, address, arguments, request_of
from headrace.errors import HeadraceError, UsageError

T = TypeVar("T")


class Client(ClientCalls):
    """A client that waits for each answer. Any number of threads may use one, and processes that were forked from it.

    Use it as a context manager, or `close` it. It cannot be pickled: it has a token.

    Args:
        url: Of the server. Default: ``HEADRACE_URL``, or this machine's port 8000.
        token: That it is shown; empty: none. Default: ``HEADRACE_TOKEN``.
        options: Time-outs, tries, connections.
        transport: What requests go through, in place of the network.

    Raises:
        UsageError: The address is none, or the token cannot be sent.
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
        self._made = partial(httpx.Client, transport=transport, **arguments(self.url, secret, self._options))
        self._http, self._process = self._made(), os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _ask(self, ask: Ask, kind: type[T]) -> T:
        if self._http.is_closed:
            raise closed(self.url)
        if self._process != os.getpid():  # it was forked: the other process reads the answers on these connections
            self._http, self._process = self._made(), os.getpid()
        stored = self._held.stored(ask)
        request, number = request_of(ask, stored), 1
        while True:
            response, error = None, None
            try:
                response = self._http.request(**request)
            except httpx.RequestError as trouble:
                error = trouble
            pause = pause_of(ask, self._options.retry, number, response, error)
            if pause is None:
                return decoded(outcome(ask, self._held, response, error, stored, self.url), kind, ask)  # type: ignore[no-any-return]
            time.sleep(pause)
            number += 1


class AsyncClient(AsyncClientCalls):
    """The same for event loops: every method is awaited, and lists of unknown length are iterated by ``async for``.

    It has connections of its own in each loop that it is used from. Args and errors as of `Client`.

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
        self._made = partial(httpx.AsyncClient, transport=transport, **arguments(self.url, secret, self._options))
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    async def close(self) -> None:
        """Close all connections of this loop; those of others end with their loops."""
        self._closed = True
        http = self._loops.pop(asyncio.get_running_loop(), None)
        if http is not None:
            await http.aclose()

    async def _ask(self, ask: Ask, kind: type[T]) -> T:
        if self._closed:
            raise closed(self.url)
        loop = asyncio.get_running_loop()
        http = self._loops.get(loop)
        if http is None:
            http = self._loops[loop] = self._made()
        stored = self._held.stored(ask)
        request, number = request_of(ask, stored), 1
        while True:
            response, error = None, None
            try:
                response = await http.request(**request)
            except httpx.RequestError as trouble:
                error = trouble
            pause = pause_of(ask, self._options.retry, number, response, error)
            if pause is None:
                return decoded(outcome(ask, self._held, response, error, stored, self.url), kind, ask)  # type: ignore[no-any-return]
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
    ask: Ask,
    held: Held,
    response: httpx.Response | None,
    error: Exception | None,
    stored: Stored | None,
    url: str,
) -> httpx.Response:
    """The good answer of a call, or the error that it raises.

    Raises:
        HeadraceError: As the server says, or there is none.
    """
    if response is None:
        assert error is not None
        if isinstance(error, httpx.LocalProtocolError):  # its text has the header's value, which may be the token
            raise UsageError("a header cannot be sent", where=f"{ask.method} {ask.path}") from None
        raise unreachable(ask, error, url) from error
    response = held.settled(ask, response, stored)
    if response.status_code >= 300:
        problem: HeadraceError = failed(ask, response)
        raise problem
    return response


def closed(url: str) -> UsageError:
    """The error of a call on a client that was closed."""
    return UsageError("the client is closed", where=url, hint="make another, or close this one later")


def not_pickled() -> UsageError:
    """The error of an attempt to pickle a client."""
    return UsageError("a client is not pickled: it has a token and connections", hint="make one in each process")
