"""A posted request and its answer, apart from how they travel."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from headrace.serving.http.problem import MEDIA_TYPE, Problem
from headrace.serving.http.telemetry import request_id_of

if TYPE_CHECKING:
    from headrace.serving.http.asking import Why
    from headrace.serving.http.form import Form
    from headrace.serving.http.spans import RequestSpan

Header = tuple[bytes, bytes]

JSON = b"application/json"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}").fullmatch
_STATUS = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What is said to a call: a prediction or a problem.

    Attributes:
        more: Headers beside type and length of the body and the request's id.
    """

    body: bytes
    status: int = 200
    kind: bytes = JSON
    more: tuple[Header, ...] = ()

    @classmethod
    def of(cls, problem: Problem) -> Answer:
        """A refusal."""
        return cls(problem.body(), problem.status, MEDIA_TYPE, problem.headers)

    def headers(self, request_id: bytes) -> list[Header]:
        """The headers of this answer to a request."""
        length = str(len(self.body)).encode()
        return [(b"content-type", self.kind), (b"content-length", length), (b"x-request-id", request_id), *self.more]

    def wire(self, request_id: bytes, *, close: bool) -> bytes:
        """The whole response as it travels over HTTP/1.1; `close`: with word that the connection ends with it."""
        last = b"connection: close\r\n\r\n" if close else b"\r\n"
        if not self.more:
            return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b" % (
                _STATUS[self.status],
                self.kind,
                len(self.body),
                request_id,
                last,
                self.body,
            )
        lines = [b"%b: %b\r\n" % header for header in self.headers(request_id)]
        return b"".join((_STATUS[self.status], *lines, last, self.body))


class Call(ABC):
    """One request for predictions, until it is answered.

    Attributes:
        name: The system that it names.
        headers: By lower-case name.
        client: Address and port of whoever calls, where known.
        body: What was posted, once it is there.
        request_id: Of its ``X-Request-Id``, or made.
        began: When its head had come, by `time.perf_counter`.
        form: How it is written; None for the hot route's own JSON.
        version: That is to answer; None for the champion.
        why: How the answer is to be explained with it; None where it is not.
        span: Of the request; None where spans are off.
    """

    form: Form | None = None
    version: int | None = None
    why: Why | None = None
    __slots__ = ("began", "body", "client", "headers", "method", "name", "path", "request_id", "span")

    def __init__(
        self, name: str, method: str, path: str, headers: Mapping[bytes, bytes], client: tuple[str, int] | None
    ) -> None:
        self.began = time.perf_counter()
        self.name, self.method, self.path, self.headers, self.client = name, method, path, headers, client
        self.request_id = request_id_of(headers.get(b"x-request-id", b""))
        self.body = b""
        self.span: RequestSpan | None = None

    @abstractmethod
    def reply(self, answer: Answer) -> None:
        """Called once, on the event loop, with what to say."""


def given_keys(headers: Mapping[bytes, bytes], rows: int | None) -> list[str] | None:
    """The keys that a header gives the rows of an array, or a row alone (None); None where it gives none.

    Raises:
        Problem: 400: they cannot be keys.
    """
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY(key):
        path = ["header", "idempotency-key"]
        raise Problem(
            400,
            "the Idempotency-Key is not of 1 to 255 visible ASCII characters",
            errors=[{"loc": path, "msg": "is not of 1 to 255 visible ASCII characters"}],
        )
    text = key.decode()
    # A blank cannot be part of the header, so no other key reads like that of a place.
    return [f"idempotency:{text}"] if rows is None else [f"idempotency:{text} {place}" for place in range(rows)]
