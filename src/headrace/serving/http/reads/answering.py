"""How a route of reads asks and answers: who may, which parameters there are, pages, times, tags."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BeforeValidator

from headrace.lineage import iso
from headrace.serving.http.access import READ, Access
from headrace.serving.http.problem import Problem
from headrace.serving.http.query import check_names
from headrace.serving.http.reads.pool import ReadReply
from headrace.serving.http.served import ServedSystem


def _no_number(text: Any) -> Any:
    """A time as it was written; a bare number is none."""
    if isinstance(text, str) and not re.match(r"\d{4}-", text):
        raise ValueError("is no time; write it as 2023-01-20T16:00:00Z")
    return text


Limit = Annotated[int, Query(ge=1, le=1000, description="How many at most.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]
AsOf = Annotated[datetime | None, BeforeValidator(_no_number), Query(description="Only what was known then.")]
_CACHED = "private, no-cache"


def authorization_of(request: Request) -> bytes:
    """The header by which a request says who it is."""
    return request.headers.get("authorization", "").encode("latin-1")


class Asker:
    """Who asks, and about what.

    Args:
        served: Systems by name.
        access: Who may do what.
    """

    def __init__(self, served: Mapping[str, ServedSystem], access: Access) -> None:
        self.served, self.access = served, access

    async def known(self, request: Request) -> None:
        """Called before every route that is not open to all, and before what is wrong with a request is said.

        Raises:
            Problem: 401 without a known token.
        """
        self.access.sees(authorization_of(request), "")

    def may(self, request: Request, name: str, *, with_keys: bool = False, repeated: Sequence[str] = ()) -> str:
        """The name of a system, if the request may read it, and has no parameter but the route's.

        Args:
            request: The request.
            name: The system that it names.
            with_keys: The keys of its series are parameters too.
            repeated: Parameters that may be there several times.

        Raises:
            Problem: 401, 403, 404, 422.
        """
        self.access.check(authorization_of(request), name, READ)
        if name not in self.served:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        route = request.scope.get("route")
        known = [param.alias for param in route.dependant.query_params] if isinstance(route, APIRoute) else []
        names = [key for key, _ in request.query_params.multi_items()]
        listed = [key for key in names if key not in repeated] + [
            key for key in dict.fromkeys(names) if key in repeated
        ]
        check_names(listed, [*known, *(self._keys(name) if with_keys else ())])
        return name

    def readable(self, request: Request) -> list[str]:
        """All systems that a request may read.

        Raises:
            Problem: 401.
        """
        authorization = authorization_of(request)
        return [name for name in self.served if self.access.may(authorization, name, READ)]

    def where(self, request: Request, name: str) -> dict[str, str]:
        """Keys of series that a query has, as the index writes them."""
        served = self.served[name]
        texts = {key: request.query_params[key] for key in self._keys(name) if key in request.query_params}
        return served.series.texts(texts) if served.series is not None and texts else texts

    def _keys(self, name: str) -> Sequence[str]:
        served = self.served[name]
        return served.system.keys if served.task.has_series else ()


def moment_of(moment: datetime | None, name: str = "as_of") -> str | None:
    """A time of a query, in UTC.

    Raises:
        Problem: 422: it has no zone, or is outside of the calendar.
    """
    if moment is None:
        return None
    where = ["query", name]
    if moment.tzinfo is None:
        raise Problem(422, f"{name} has no zone", errors=[{"loc": where, "msg": "has no zone"}])
    # At the ends of the calendar there would be no room for a window around it.
    if not MINYEAR < moment.year < MAXYEAR:
        errors = [{"loc": where, "msg": "is outside of the calendar"}]
        raise Problem(422, f"{name} is outside of the calendar", errors=errors)
    return iso(moment.astimezone(UTC))


def replied(request: Request, reply: ReadReply, *, status: int = 200, media: str = "application/json") -> Response:
    """What was read, or that the client has it already."""
    etag = f'"{reply.digest}"'
    headers = {"etag": etag, "cache-control": _CACHED}
    # A proxy that compresses makes the tag a weak one, which is good enough here.
    held = (part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(","))
    if any(tag in (etag, "*") for tag in held):
        return Response(status_code=304, headers=headers)
    return Response(reply.body, status, headers, media)


Handled = tuple[str, Any, str | None, tuple[int, ...]]
"""Path, handler, schema of the answer and statuses of problems of a route."""
