"""The routes by which people look after an installation: doctor, verify, streams and what they set apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from headrace.serving.http.access import READ, WRITE
from headrace.serving.http.changing import Changes, is_text, is_truth
from headrace.serving.http.deciding import STATUSES
from headrace.serving.http.described import described_answer
from headrace.serving.http.reads.answering import Asker, Cursor, Limit, authorization_of, replied
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.reads.tools import Tools

Deep = Annotated[bool, Query(description="Read every file, and compare digests.")]
Late = Annotated[bool, Query(description="Events that came too late, not bad ones.")]
Settled = Annotated[bool, Query(alias="all", description="Also those that were settled.")]
Reason = Annotated[str | None, Query(max_length=500, description="Only with this in the reason.")]
_MOST = 1_000


def _is_places(value: Any) -> bool:
    """Whether a value is a list of partitions and offsets."""

    def is_place(place: Any) -> bool:
        return (
            isinstance(place, list)
            and len(place) == 2
            and all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in place)
        )

    return isinstance(value, list) and 0 < len(value) <= _MOST and all(map(is_place, value))


def _is_values(value: Any) -> bool:
    return isinstance(value, dict) and 0 < len(value) <= _MOST


_BODY = {"places": _is_places, "reason": is_text, "late": is_truth, "set": _is_values}


class WatchRoutes:
    """Handlers of the routes.

    Args:
        asker: Who may ask about what.
        reads: Answers.
        changes: Who may change, and the trail.
        tools: What is asked.
    """

    def __init__(self, asker: Asker, reads: Reads, changes: Changes, tools: Tools) -> None:
        self._asker, self._reads, self._changes, self._tools = asker, reads, changes, tools

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        problems = (304, 401, 403, 404, 422, 503)
        system = "/v1/systems/{name}"
        about: dict[str, Any] = {"response_model": None, "response_class": JSONResponse}
        for path, handler, schema in (
            ("/v1/doctor", self.doctor, "Findings"),
            (f"{system}/verify", self.verify, "Verified"),
            (f"{system}/stream", self.stream, "StreamState"),
            (f"{system}/dead-letters", self.letters, "DeadLetters"),
        ):
            router.add_api_route(path, handler, methods=["GET"], responses=described_answer(schema, problems), **about)
            # The server leaves the body out.
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        resent = described_answer("Resent", STATUSES)
        router.add_api_route(f"{system}/dead-letters/resend", self.resend, methods=["POST"], responses=resent, **about)
        return router

    async def doctor(self, request: Request) -> Response:
        """What is installed, reachable or misconfigured. Needs a token that may read all systems."""
        self._asker.access.check(authorization_of(request), "*", READ)
        return replied(request, await self._reads.read(self._tools.doctor))

    async def verify(self, request: Request, name: str, deep: Deep = False) -> Response:
        """The tables of a system against the records of their commits."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(self._tools.verify, name=name, deep=deep))

    async def stream(self, request: Request, name: str) -> Response:
        """How the stream of a system is: the cluster, what waits, what was set apart."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(self._tools.stream, name=name))

    async def letters(
        self,
        request: Request,
        name: str,
        late: Late = False,
        everything: Settled = False,
        reason: Reason = None,
        limit: Limit = 100,
        cursor: Cursor = None,
    ) -> Response:
        """Events that a stream set apart, by kind of reason and one by one."""
        self._asker.may(request, name)
        options = {"late": late, "everything": everything, "reason": reason, "limit": limit, "cursor": cursor}
        return replied(request, await self._reads.read(self._tools.letters, name=name, **options))

    async def resend(self, request: Request, name: str) -> Response:
        """Send events that were set apart again, each once. Needs a token that may `write`.

        The body chooses them: `places` as `[[partition, offset]]`, `reason`, `late`; `set` has columns to new values.
        """
        token = self._changes.token(request, name, WRITE)
        self._asker.may(request, name)
        body: Mapping[str, Any] = await self._changes.body(request, _BODY)

        async def work() -> Response:
            options = {key: body.get(key) for key in ("places", "reason")}
            late, values = bool(body.get("late")), body.get("set") or {}
            reply = await self._reads.do(self._tools.resend, name=name, late=late, values=values, **options)
            return Response(reply.body, media_type="application/json")

        return await self._changes.change(request, token, ("resend", name, ""), body, work)
