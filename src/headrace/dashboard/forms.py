"""Forms that browsers post, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request

from headrace.dashboard.reading import ApiRefusal

MAX_BODY, MAX_FIELDS = 2**18, 1000
SECONDS = 30.0
"""In which a form must have come."""


@dataclass(frozen=True)
class PostedForm:
    """Fields by name."""

    fields: Mapping[str, Sequence[str]]

    def first(self, name: str) -> str:
        """The value of a field; empty where there is none."""
        return next(iter(self.fields.get(name, ())), "")

    def all(self, name: str) -> list[str]:
        """All values of a field."""
        return list(self.fields.get(name, ()))


async def read_form(request: Request) -> PostedForm:
    """The form of a request.

    Raises:
        ApiRefusal: 400: it did not come whole. 408: it took too long. 413: it is too large. 415: it is no form.
            422: it is not text.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise ApiRefusal(415, "not a form", "the body is no form of a page")
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise ApiRefusal(413, "too large", f"a form may have {MAX_BODY:,} bytes")
    except TimeoutError as error:
        raise ApiRefusal(408, "too slow", "the form did not arrive in time") from error
    except ClientDisconnect as error:
        raise ApiRefusal(400, "not whole", "the browser ended before its form was whole") from error
    try:
        return PostedForm(parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError as error:
        raise ApiRefusal(422, "not a form", "the form cannot be read") from error
