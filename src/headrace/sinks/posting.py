"""Requests of a webhook: each has an end, however slowly the other side speaks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import NamedTuple

import httpx

_READ = 2_000
"""Bytes of an answer that are looked at."""


class Reply(NamedTuple):
    """The head of an answer, and the beginning of its body; of a body that does not end in time what came."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes


class Posting:
    """Posts to one server from any number of threads. Certificates are checked; no redirect is followed.

    A read's time-out begins anew with every byte, so the whole of a request is timed, by a loop of its own.

    Args:
        timeout: Seconds for one request, from its connection to the end of its answer.
        concurrent: Connections at most.
    """

    def __init__(self, timeout: float, concurrent: int) -> None:
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="posting", daemon=True)
        self._thread.start()
        wait = httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None)
        limits = httpx.Limits(max_connections=concurrent)
        self._client = httpx.AsyncClient(timeout=wait, limits=limits, follow_redirects=False)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """What the server answers.

        Raises:
            TimeoutError: No head of an answer came in time.
            httpx.HTTPError: There was no answer.
            httpx.InvalidURL: The URL is none.
        """
        return asyncio.run_coroutine_threadsafe(self._post(url, body, headers), self._loop).result()

    def close(self) -> None:
        """Let go of connections."""
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        said, answer = b"", None
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", url, content=body, headers=dict(headers)) as answer,
            ):
                async for part in answer.aiter_raw():
                    said += part
                    if len(said) >= _READ:
                        break
        except TimeoutError:
            if answer is None:
                raise
        return Reply(answer.status_code, answer.reason_phrase, answer.headers, said[:_READ])
