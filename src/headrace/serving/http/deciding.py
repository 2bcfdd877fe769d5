"""The routes by which people change something: promote, reject, roll back, release rows that were set apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headrace.errors import ArtefactError, NotFoundError, UsageError
from headrace.home import Home
from headrace.serving.http.access import DECIDE, WRITE
from headrace.serving.http.changing import Changes, is_said, is_text, is_texts
from headrace.serving.http.described import described_answer
from headrace.serving.http.problem import Problem
from headrace.serving.http.reads import changes as made
from headrace.serving.http.reads import versions
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.responses import json_response
from headrace.serving.http.served import ServedSystem

if TYPE_CHECKING:
    from headrace.registry import ModelVersion

Number = Annotated[int, Path(ge=1, le=2**31 - 1, description="The version.")]
_SAID = {"by": is_said, "reason": is_said}
_CHOSEN = dict.fromkeys(("ids", "reason", "column"), is_texts) | {"source": is_text, "why": is_said}
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 503)


class DecideRoutes:
    """Handlers of the routes.

    Args:
        served: Systems by name.
        home: Where the registry is.
        changes: Who may, and the trail.
        reads: Does what takes a while.
    """

    def __init__(self, served: Mapping[str, ServedSystem], home: Home, changes: Changes, reads: Reads) -> None:
        self._served, self._home, self._changes, self._reads = served, home, changes, reads

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        system = "/v1/systems/{name}"
        for path, handler, schema in (
            (f"{system}/models/{{version}}/promote", self.promote, "ModelVersion"),
            (f"{system}/models/{{version}}/reject", self.reject, "ModelVersion"),
            (f"{system}/rollback", self.rollback, "ModelVersion"),
            (f"{system}/quarantine/release", self.release, "Released"),
        ):
            router.add_api_route(
                path,
                handler,
                methods=["POST"],
                responses=described_answer(schema, STATUSES),
                response_model=None,
                response_class=JSONResponse,
            )
        return router

    async def promote(self, request: Request, name: str, version: Number) -> Response:
        """Make a version the champion: approve one that waits. Needs a token that may `decide`.

        The body may be empty, or say `by` and `reason`: texts for the record.
        """
        registry = self._home.registry
        return await self._decide(
            request, name, ("promote", version), lambda **more: registry.promote(name, version, **more)
        )

    async def reject(self, request: Request, name: str, version: Number) -> Response:
        """Say that a version does not become the champion. Needs a token that may `decide`.

        The body is as that of a promotion.
        """
        registry = self._home.registry
        return await self._decide(
            request, name, ("reject", version), lambda **more: registry.reject(name, version, **more)
        )

    async def rollback(self, request: Request, name: str) -> Response:
        """Go back to the champion before the present one. Needs a token that may `decide`.

        The body is as that of a promotion.
        """
        registry = self._home.registry
        return await self._decide(request, name, ("rollback", None), lambda **more: registry.rollback(name, **more))

    async def release(self, request: Request, name: str) -> Response:
        """Check rows of the quarantine once more; those that are good now become facts. Needs a token that may `write`.

        The body chooses rows: `ids`, `reason`, `column`, `source`; an empty one chooses all. `why` is for the record.
        """
        token = self._changes.token(request, name, WRITE)
        self._found(name)
        body = await self._changes.body(request, _CHOSEN)

        async def work() -> Response:
            chosen = {key: value for key, value in body.items() if key != "why"}
            reply = await self._reads.do(made.release, name=name, chosen=chosen)
            return Response(reply.body, media_type="application/json")

        return await self._changes.change(request, token, ("release", name, ""), body, work)

    async def _decide(
        self, request: Request, name: str, action: tuple[str, int | None], decide: Callable[..., ModelVersion]
    ) -> Response:
        token = self._changes.token(request, name, DECIDE)
        served = self._found(name)
        body = await self._changes.body(request, _SAID)
        by = f"{body['by']} ({token})" if "by" in body else token
        reason = "; ".join(["over HTTP", *([body["reason"]] if "reason" in body else [])])

        async def work() -> Response:
            try:
                about: dict[str, Any] = {"created_at": datetime.now(UTC), "reason": reason, "by": by}
                decided = await run_in_threadpool(lambda: decide(**about))
            except NotFoundError as error:
                raise Problem(404, error.message).by(error) from error
            except (UsageError, ArtefactError) as error:
                raise Problem(409, error.message).by(error) from error
            await run_in_threadpool(served.refresh)
            return json_response(versions.told(decided))

        verb, version = action
        return await self._changes.change(request, token, (verb, name, str(version or "")), body, work)

    def _found(self, name: str) -> ServedSystem:
        served = self._served.get(name)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        return served
