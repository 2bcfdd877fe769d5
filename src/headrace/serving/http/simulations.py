"""The routes by which people try policies on the past: ask for a simulation, see how far it is, read it, cancel it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from headrace.home import Home
from headrace.ledger.simulations import CANCELLED, QUEUED, WAITING, QueuedSimulation
from headrace.serving.http.access import WRITE
from headrace.serving.http.call import given_keys
from headrace.serving.http.changing import Changes, is_text
from headrace.serving.http.deciding import STATUSES
from headrace.serving.http.described import described_answer
from headrace.serving.http.openapi_posting import KEY
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.reads import simulations as records
from headrace.serving.http.reads.answering import Asker, Cursor, Limit, replied
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.reads.tools import Tools
from headrace.serving.http.responses import json_response
from headrace.serving.http.schemas import part

_POLICIES = 8
"""Policies, and calendars beside them, of one simulation."""


def _is_policies(value: Any) -> bool:
    """Whether a value is what policies say, by their names."""
    return (
        isinstance(value, dict)
        and len(value) <= _POLICIES
        and all(map(is_text, value))
        and all(isinstance(policy, dict) for policy in value.values())
    )


def _is_calendars(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _POLICIES and all(map(is_text, value))


_BODY = {"start!": is_text, "end!": is_text, "every!": is_text, "policies": _is_policies, "beside": _is_calendars}


class SimulationRoutes:
    """Handlers of the routes.

    Args:
        asker: Who may ask about what.
        home: Where the queue is.
        reads: Answers, and checks what is asked for.
        changes: Who may change, and the trail.
        tools: How it is checked.
    """

    def __init__(self, asker: Asker, home: Home, reads: Reads, changes: Changes, tools: Tools) -> None:
        self._asker, self._home, self._reads = asker, home, reads
        self._changes, self._tools = changes, tools

    def router(self) -> APIRouter:
        """All routes."""
        router, path = APIRouter(), "/v1/systems/{name}/simulations"
        options: dict[str, Any] = {"response_model": None, "response_class": JSONResponse}
        problems = (304, 401, 403, 404, 422, 503)
        one = f"{path}/{{simulation_id}}"
        for place, handler, schema in ((path, self.simulations, "Simulations"), (one, self.simulation, "Simulation")):
            answer = described_answer(schema, problems)
            router.add_api_route(place, handler, methods=["GET"], responses=answer, **options)
            # The server leaves the body out.
            router.add_api_route(place, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        queued = described_answer("SimulationBrief", STATUSES)
        queued[202] = queued.pop(200) | {"description": "It waits for its turn; `Location` is where it is told of."}
        body = {"required": True, "content": {"application/json": {"schema": part("SimulationAsked")}}}
        extra = {"requestBody": body, "parameters": [KEY]}
        router.add_api_route(
            path, self.start, methods=["POST"], status_code=202, responses=queued, openapi_extra=extra, **options
        )
        cancelled = described_answer("SimulationBrief", STATUSES)
        router.add_api_route(one, self.cancel, methods=["DELETE"], responses=cancelled, **options)
        return router

    async def simulations(self, request: Request, name: str, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """Simulations of a system, those asked for last first."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(records.simulations, name=name, limit=limit, cursor=cursor))

    async def simulation(self, request: Request, name: str, simulation_id: str) -> Response:
        """One simulation: how far it is, and what came of it, as `headrace simulate --json` has it."""
        self._asker.may(request, name)
        return replied(request, await self._reads.read(records.simulation, name=name, simulation_id=simulation_id))

    async def start(self, request: Request, name: str) -> Response:
        """Try policies over the past, one simulation after the other. Needs a token that may `write`.

        The same key, by `Idempotency-Key` or `X-Request-Id`, and body again gives the same simulation.
        """
        token = self._changes.token(request, name, WRITE)
        self._asker.may(request, name)
        details = await self._checked(name, await self._changes.body(request, _BODY))
        simulation = QueuedSimulation(_id(request, name), name, token, details, QUEUED, datetime.now(UTC))
        queue = await run_in_threadpool(lambda: self._home.ledger.simulations)

        async def work() -> Response:
            queued = await run_in_threadpool(queue.put, simulation)
            if queued is None:
                raise busy(f"{WAITING} simulations wait, no more may", 60)
            return _accepted(request, queued, details)

        known = await run_in_threadpool(queue.get, name, simulation.id, simulation.created_at)
        if known is not None:
            return _accepted(request, known, details)
        return await self._changes.change(request, token, ("simulate", name, simulation.id), details, work)

    async def cancel(self, request: Request, name: str, simulation_id: str) -> Response:
        """Cancel a simulation that waits or is being done. Needs a token that may `write`."""
        token = self._changes.token(request, name, WRITE)
        self._asker.may(request, name)
        queue = await run_in_threadpool(lambda: self._home.ledger.simulations)

        async def work() -> Response:
            now = await run_in_threadpool(queue.cancel, name, simulation_id, datetime.now(UTC), token)
            if now is None:
                raise Problem(404, records.missing(name, simulation_id).message)
            if now.state != CANCELLED:
                raise Problem(409, f"it is over: {now.state}")
            return json_response(records.row_of(now))

        return await self._changes.change(request, token, ("cancel", name, simulation_id[:80]), {}, work)

    async def _checked(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is asked for, in full.

        Raises:
            Problem: 422: it cannot be simulated; says why.
        """
        try:
            reply = await self._reads.read(self._tools.simulation, name=name, request=dict(body))
        except Problem as problem:
            if problem.status != 422:
                raise
            errors = [{**error, "loc": ["body", *error["loc"][1:]]} for error in problem.errors]
            refused = Problem(422, problem.detail, errors=errors)
            raise (refused if problem.cause is None else refused.by(problem.cause)) from problem
        full: dict[str, Any] = msgspec.json.decode(reply.body)
        return full


def _id(request: Request, name: str) -> str:
    """The id of the simulation that a request asks for: that of its key, if it has one."""
    keys = given_keys(dict(request.scope["headers"]), None)
    key = keys[0] if keys is not None else request.headers.get("x-request-id") or uuid.uuid4().hex
    return hashlib.blake2b(f"{name}|{key}".encode(), digest_size=8).hexdigest()


def _accepted(request: Request, simulation: QueuedSimulation, details: Mapping[str, Any]) -> Response:
    """202, and where the simulation is.

    Raises:
        Problem: 409: the key stands for another one.
    """
    if dict(simulation.request) != dict(details):
        raise Problem(409, "the key stands for another simulation already")
    response = json_response(records.row_of(simulation), 202)
    root = str(request.scope.get("root_path", "")).rstrip("/")
    response.headers["location"] = f"{root}/v1/systems/{quote(simulation.system)}/simulations/{simulation.id}"
    return response
