"""Gzip: bodies that come packed, within the bound of plain ones, and large answers for those who take them so."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.concurrency import run_in_threadpool

from headrace.serving.http.call import Answer
from headrace.serving.http.problem import Problem

LEAST = 2**14
"""Bytes from which on an answer is packed: a smaller one is sent sooner as it is."""
LARGE = 2**18
"""Bytes from which on it is packed in a thread."""
_LEVEL = 1
_GZIP = 16 + zlib.MAX_WBITS
_KNOWN = frozenset((b"gzip", b"x-gzip"))
_PLAIN = frozenset((b"", b"identity"))
_Message = MutableMapping[str, Any]
_VARY = (b"vary", b"accept-encoding")


def packed_by(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body comes packed.

    Raises:
        Problem: 415: in a way that is not known here.
    """
    coding = headers.get(b"content-encoding", b"").strip().lower()
    if coding not in _KNOWN and coding not in _PLAIN:
        errors = [{"loc": ["header", "content-encoding"], "msg": "is neither gzip nor identity"}]
        raise Problem(
            415, "the body may be packed by gzip alone", errors=errors, headers=[(b"accept-encoding", b"gzip")]
        )
    return coding in _KNOWN


def unpacked(body: bytes, limit: int) -> bytes:
    """A body out of gzip. No more of it is unpacked than it may have.

    Raises:
        Problem: 413: it has more than `limit` bytes. 400: it is not gzip, or not whole.
    """
    parts, size = [], 0
    while body:
        stream = zlib.decompressobj(_GZIP)
        try:
            part = stream.decompress(body, limit - size + 1)
        except zlib.error as error:
            raise Problem(400, f"the body is not gzip: {error}", reason="not_gzip") from error
        size += len(part)
        if size > limit:
            raise Problem(413, f"the body is larger than {limit:,} bytes when it is unpacked")
        if not stream.eof:
            raise Problem(400, "the body is not whole gzip", reason="not_gzip")
        parts.append(part)
        body = stream.unused_data
    return b"".join(parts)


def takes_packed(accepted: bytes) -> bool:
    """Whether an ``Accept-Encoding`` takes gzip."""
    takes = {}
    for part in accepted.lower().split(b","):
        name, _, parameters = part.partition(b";")
        quality = parameters.replace(b" ", b"").partition(b"q=")[2] or b"1"
        takes[name.strip()] = quality.strip(b"0.") != b""
    return takes.get(b"gzip", takes.get(b"x-gzip", takes.get(b"*", False)))


def packed(answer: Answer, headers: Mapping[bytes, bytes]) -> Answer:
    """An answer, in gzip where it is large and the request takes it so."""
    if len(answer.body) < LEAST:
        return answer
    if not takes_packed(headers.get(b"accept-encoding", b"")):
        return Answer(answer.body, answer.status, answer.kind, (*answer.more, _VARY))
    more = (*answer.more, _VARY, (b"content-encoding", b"gzip"))
    return Answer(gzip.compress(answer.body, _LEVEL, mtime=0), answer.status, answer.kind, more)


class Packing:
    """The ASGI application with large answers in gzip, for requests that take them so.

    Args:
        app: What answers; each answer is in memory.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: Any, send: Callable[[_Message], Awaitable[None]]) -> None:
        """One connection."""
        if scope["type"] != "http" or scope["method"] == "HEAD":
            await self._app(scope, receive, send)
            return
        accepted = dict(scope["headers"]).get(b"accept-encoding", b"")
        held: _Message = {}
        parts: list[bytes] = []

        async def sending(message: _Message) -> None:
            if message["type"] == "http.response.start":
                headers = [(name.lower(), value) for name, value in message["headers"]]
                fields = dict(headers)
                if int(fields.get(b"content-length", 0)) < LEAST or b"content-encoding" in fields:
                    await send(message)
                elif takes_packed(accepted):
                    held.update(message, headers=[*headers, _VARY])
                else:
                    await send({**message, "headers": [*headers, _VARY]})
            elif not held:
                await send(message)
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    body = await _in_gzip(b"".join(parts))
                    await send({**held, "headers": _of_packed(held["headers"], len(body))})
                    await send({"type": "http.response.body", "body": body})

        await self._app(scope, receive, sending)


async def _in_gzip(body: bytes) -> bytes:
    if len(body) < LARGE:
        return gzip.compress(body, _LEVEL, mtime=0)
    return await run_in_threadpool(gzip.compress, body, _LEVEL, mtime=0)


def _of_packed(headers: list[tuple[bytes, bytes]], size: int) -> list[tuple[bytes, bytes]]:
    """The headers of an answer as it travels in gzip: its tag is a weak one, as the bytes are others."""
    fields = [(b"content-encoding", b"gzip")]
    for name, value in headers:
        if name == b"content-length":
            fields.append((name, str(size).encode()))
        elif name == b"etag" and not value.startswith(b"W/"):
            fields.append((name, b"W/" + value))
        else:
            fields.append((name, value))
    return fields
