"""Asks the API by the client that everybody has, each viewer with the token of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx

from headrace.client import AsyncClient, ClientOptions, Retry
from headrace.dashboard.reading import ApiRefusal
from headrace.errors import HeadraceError, NotFoundError, ServiceError, UsageError

SECONDS = 20.0
_VIEWERS, _HELD = 64, 32


class Clients:
    """A client for each token, used again by all requests of its viewers.

    Args:
        url: Of the API.
        transport: What requests go through, in place of the network.
    """

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._url, self._transport = url, transport
        self._known: dict[str, AsyncClient] = {}

    def of(self, token: str) -> ClientApi:
        """The API as this token may see it; empty: none.

        Raises:
            ApiRefusal: 401: it is none that could be sent.
        """
        if not re.fullmatch(r"[\x21-\x7e]*", token):
            raise ApiRefusal(401, "not known", "no token is like this")
        client = self._known.pop(token, None)
        if client is None:
            # A page says at once that the API is away, and asks again by itself.
            options = ClientOptions(timeout=SECONDS, retry=Retry(tries=1), held=_HELD)
            client = AsyncClient(self._url, token=token, options=options, transport=self._transport)
        self._known[token] = client  # the last one used
        while len(self._known) > _VIEWERS:
            del self._known[next(iter(self._known))]
        return ClientApi(client)


class ClientApi:
    """The API as one viewer may see it; errors of the client become what a page says."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """See `ViewerApi.get`."""
        try:
            return await self._client.get(path, **(params or {}))
        except HeadraceError as error:
            raise _refused(error) from error

    async def post(
        self, path: str, body: Any = None, params: Mapping[str, Any] | None = None, *, key: str | None = None
    ) -> Any:
        """See `ViewerApi.post`."""
        try:
            return await self._client.post(path, body, idempotency_key=key, **(params or {}))
        except HeadraceError as error:
            raise _refused(error) from error

    async def delete(self, path: str) -> Any:
        """See `ViewerApi.delete`."""
        try:
            return await self._client.delete(path)
        except HeadraceError as error:
            raise _refused(error) from error


def _refused(error: HeadraceError) -> ApiRefusal:
    status, faults = error.http_status, list[dict[str, Any]]()
    if isinstance(error, ServiceError):
        status, faults = error.status, list(error.faults)
    elif isinstance(error, UsageError) and not isinstance(error, NotFoundError):
        status = 422
    phrase = next((code.phrase.lower() for code in HTTPStatus if code == status), "the API has no good answer")
    return ApiRefusal(status, phrase, error.message, error.hint or "", faults)
