"""What the other protocols let clients read: whether the server and its models are there, and what they take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from headrace._version import __version__
from headrace.serving.http.access import READ, Access
from headrace.serving.http.described import described_answer
from headrace.serving.http.problem import Problem, outward
from headrace.serving.http.protocols import inference
from headrace.serving.http.responses import json_response
from headrace.serving.http.served import ServedSystem

_MODEL, _VERSION = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"


class Speaking:
    """Handlers of the other protocols' reading routes.

    Args:
        served: Systems by name.
        access: Who may read.
        told: The systems whose state a request may be told.
    """

    def __init__(
        self, served: Mapping[str, ServedSystem], access: Access, told: Callable[[Request], Collection[str]]
    ) -> None:
        self._served, self._access, self._told = served, access, told

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        statuses = (401, 403, 404)
        for path, handler, schema, problems in (
            ("/v2", self.server, "InferenceServer", ()),
            ("/v2/health/live", self.live, "InferenceLive", ()),
            ("/v2/health/ready", self.ready, "InferenceReady", (503,)),
            (_MODEL, self.model, "InferenceModel", statuses),
            (_VERSION, self.model_version, "InferenceModel", statuses),
            (_MODEL + "/ready", self.model_ready, "InferenceModelReady", (*statuses, 503)),
            (_VERSION + "/ready", self.model_version_ready, "InferenceModelReady", (*statuses, 503)),
            ("/ping", self.ping, None, (503,)),
            ("/version", self.version, None, ()),
        ):
            answer = described_answer(schema, problems if "{" not in path else (*problems, 422))
            kind = PlainTextResponse if schema is None else JSONResponse
            name = handler.__name__
            router.add_api_route(
                path, handler, methods=["GET"], response_model=None, response_class=kind, responses=answer, name=name
            )
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        index = described_answer("InferenceIndex", (401,))
        router.add_api_route(
            "/v2/repository/index", self.index, methods=["POST"], response_model=None, responses=index, name="index"
        )
        return router

    async def server(self) -> Response:
        """The server and the extensions of the Open Inference Protocol that it has."""
        return json_response(inference.about_server())

    async def live(self) -> Response:
        """The process is alive."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether every model can answer."""
        self._refuse_unready(self._served, self._told(request))
        return json_response({"ready": True})

    async def model(self, request: Request, name: str) -> Response:
        """A system as a model: its input and output tensors."""
        return json_response(inference.metadata(self._find(request, name)))

    async def model_version(self, request: Request, name: str, version: str) -> Response:
        """A version of a model; without one the champion is meant."""
        return json_response(inference.metadata(self._find(request, name, version)))

    async def model_ready(self, request: Request, name: str) -> Response:
        """Whether a model can answer."""
        return self._ready(request, name)

    async def model_version_ready(self, request: Request, name: str, version: str) -> Response:
        """Whether a version of a model can answer."""
        return self._ready(request, name, version)

    async def index(self, request: Request) -> Response:
        """The models that the token allows reading."""
        authorization = request.headers.get("authorization", "").encode("latin-1")
        served = [served for name, served in self._served.items() if self._access.may(authorization, name, READ)]
        return json_response([_indexed(each) for each in served])

    async def ping(self, request: Request) -> Response:
        """Whether every system can answer, as MLflow's clients ask it."""
        self._refuse_unready(self._served, self._told(request))
        return PlainTextResponse("\n")

    async def version(self) -> Response:
        """The version of headrace."""
        return PlainTextResponse(__version__)

    def _refuse_unready(self, served: Mapping[str, ServedSystem], names: Collection[str]) -> None:
        waits = {
            name: served_system.reason for name, served_system in served.items() if served_system.reason is not None
        }
        if waits:
            errors = [
                {"loc": ["models", name], "msg": outward(reason)} for name, reason in waits.items() if name in names
            ]
            raise Problem(503, "not ready", errors=errors, headers=[(b"retry-after", b"5")])

    def _ready(self, request: Request, name: str, version: str | None = None) -> Response:
        self._find(request, name, version)
        self._refuse_unready({name: self._served[name]}, (name,))
        return json_response({"name": name, "ready": True})

    def _find(self, request: Request, name: str, version: str | None = None) -> ServedSystem:
        self._access.check(request.headers.get("authorization", "").encode("latin-1"), name, READ)
        served = self._served.get(name)
        if served is None:
            raise Problem(404, f"no system {name[:80]!r} is served here")
        inference.refuse_version(served, version)
        return served


def _indexed(served: ServedSystem) -> dict[str, Any]:
    version = str(served.champion.version.version) if served.champion is not None else ""
    reason = served.reason
    state = "READY" if reason is None else "UNAVAILABLE"
    return {"name": served.system.name, "version": version, "state": state, "reason": outward(reason or "")}
