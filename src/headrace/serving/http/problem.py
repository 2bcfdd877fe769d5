"""Errors as people and programs read them: ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from headrace.errors import HeadraceError

MEDIA_TYPE = b"application/problem+json"
SHOWN = 100
"""Faults of a body that are told; a larger body may have more."""


_INNER = re.compile(
    r"""[a-z][a-z0-9+.-]*://\S+            # a URI
    | \ (?:at|on\ socket)\ "[^"]*"(?:\ \([^)]*\))?(?:,\ port\ \d+)?   # as PostgreSQL's library says it
    | "[^"]*"                              # names of users, databases, files
    | \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?  # an address
    | (?:,\ )?\bport\ \d+
    | (?<![\w.~-])/[\w.@+~-]+(?:/[\w.@+~-]+)*    # a path""",
    re.VERBOSE,
)


def outward(text: str) -> str:
    """What is said of a fault inside without addresses, paths and names of what is inside; the log has them.

    >>> outward('connection to server at "10.0.0.7", port 5432 failed: Connection refused')
    'connection to server failed: Connection refused'
    """
    return re.sub(r" {2,}", " ", _INNER.sub("", text)).replace(" :", ":").strip(" :")


class Problem(Exception):
    """A request that is refused.

    Args:
        status: The HTTP status.
        detail: What is wrong, for people.
        errors: Where and what, one a fault: ``{"loc": [...], "msg": ...}``.
        headers: Further headers of the answer.

    Attributes:
        rows: How many rows are refused with it, as far as they were counted.
        cause: The error that led to it, where its type is told.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[dict[str, Any]] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
        reason: str = "",
    ) -> None:
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            detail, errors = outward(detail), [{**error, "msg": outward(str(error["msg"]))} for error in errors]
        super().__init__(detail)
        self.rows = 1
        self.status, self.detail, self.errors, self.headers = status, detail, errors, tuple(headers)
        self.reason = reason or HTTPStatus(status).phrase.lower().replace(" ", "_")
        self.cause: HeadraceError | None = None

    def by(self, error: HeadraceError) -> Problem:
        """The same, which tells the type of the error that led to it, and what to do; a 503 tells the type alone."""
        self.cause = error
        return self

    def body(self, **more: str) -> bytes:
        """The problem as JSON: ``type title status detail``, ``error hint errors`` where known, a protocol's own."""
        data: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.cause is not None:
            data["error"] = type(self.cause).__name__
            if self.cause.hint is not None and self.status != HTTPStatus.SERVICE_UNAVAILABLE:
                data["hint"] = self.cause.hint
        if self.errors:
            data["errors"] = list(self.errors[:SHOWN])
        return msgspec.json.encode(data | more)


def busy(detail: str, seconds: int = 1) -> Problem:
    """503 with the time after which to try again."""
    return Problem(503, detail, headers=[(b"retry-after", str(seconds).encode())], reason="busy")


def unforeseen() -> Problem:
    """500 for what nobody foresaw: an error of the server, which its log tells about."""
    return Problem(500, "the server failed; its log says why, under the request's id")
