"""Asks the API by the client that everybody has, each viewer with the token of their own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from headrace.client import AsyncClient, ClientOptions, Retry
from headrace.dashboard.reading import ApiRefusal
from headrace.errors import HeadraceError, NotFoundError, ServiceError, UsageError

SECONDS = 20.0
_VIEWERS, _HELD = 64, 32


@dataclass
class _LeasedClient:
    """A client, and how many requests are under way by it."""

    client: AsyncClient
    users: int = 0


class Clients:
    """A client for each token, used again by all requests of its viewers; one that is not used for long is closed.

    Args:
        url: Of the API.
        transport: What requests go through, in place of the network.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._transport = url, transport
        self._held: dict[str, _LeasedClient] = {}

    def of(self, token: str) -> ClientApi:
        """The API as this token may see it; empty: none."""
        return ClientApi(self, token)

    async def check(self, token: str) -> None:
        """Ask whether the API knows a token. Nothing is held of one that it does not know.

        Raises:
            ApiRefusal: It does not, or has no answer.
        """
        client = self._client(token)
        try:
            await client.get("/v1/access")
        except HeadraceError as error:
            raise _refused(error) from error
        finally:
            await client.close()

    @asynccontextmanager
    async def lease(self, token: str) -> AsyncIterator[AsyncClient]:
        """A client that stays open for the block.

        Raises:
            ApiRefusal: 401: the token is none that could be sent; or as the block's `HeadraceError` says.
        """
        held = self._held.pop(token, None) or _LeasedClient(self._client(token))
        self._held[token] = held  # the last one used
        held.users += 1
        try:
            yield held.client
        except HeadraceError as error:
            raise _refused(error) from error
        finally:
            held.users -= 1
            idle = [name for name, client in self._held.items() if not client.users]
            for name in idle[: max(len(self._held) - _VIEWERS, 0)]:
                await self._held.pop(name).client.close()

    def _client(self, token: str) -> AsyncClient:
        if not re.fullmatch(r"[\x21-\x7e]*", token):
            raise ApiRefusal(401, "not known", "no token is like this")
        # A page says at once that the API is away, and asks again by itself.
        options = ClientOptions(timeout=SECONDS, retry=Retry(tries=1), held=_HELD)
        return AsyncClient(self._url, token=token, options=options, transport=self._transport)


class ClientApi:
    """The API as one viewer may see it; errors of the client become what a page says."""

    def __init__(self, clients: Clients, token: str) -> None:
        self._clients, self._token = clients, token

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """See `ViewerApi.get`."""
        async with self._clients.lease(self._token) as client:
            return await client.get(path, **(params or {}))

    async def post(
        self, path: str, body: Any = None, params: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Any:
        """See `ViewerApi.post`."""
        async with self._clients.lease(self._token) as client:
            return await client.post(path, body, idempotency_key=key, **(params or {}))

    async def delete(self, path: str) -> Any:
        """See `ViewerApi.delete`."""
        async with self._clients.lease(self._token) as client:
            return await client.delete(path)


def _refused(error: HeadraceError) -> ApiRefusal:
    status, faults = error.http_status, list[dict[str, Any]]()
    if isinstance(error, ServiceError):
        status, faults = error.status, list(error.faults)
    elif isinstance(error, UsageError) and not isinstance(error, NotFoundError):
        status = 422
    phrase = next((code.phrase.lower() for code in HTTPStatus if code == status), "the API has no good answer")
    return ApiRefusal(status, phrase, error.message, error.hint or "", faults)
