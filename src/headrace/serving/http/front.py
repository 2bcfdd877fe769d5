"""The routes of the server itself: whether it is alive and ready, its metrics, and the document of all routes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse

from headrace._version import __version__
from headrace.serving.http.access import DOCS, METRICS, READ, READY, Access
from headrace.serving.http.described import described_answer
from headrace.serving.http.docs import page
from headrace.serving.http.problem import Problem, outward
from headrace.serving.http.responses import json_response, problem_response
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.telemetry import Telemetry


class Front:
    """Handlers of the server's own routes.

    Args:
        served: Systems by name.
        access: Who may read.
        public: What is open to all although there are tokens: `DOCS`, `METRICS`, `READY`.
        telemetry: For ``/metrics``.
        several: Whether several processes serve.
    """

    def __init__(
        self,
        served: Mapping[str, ServedSystem],
        access: Access,
        public: Collection[str],
        telemetry: Telemetry,
        *,
        several: bool,
    ) -> None:
        self._served, self._access, self._public = served, access, public
        self._telemetry, self._several = telemetry, several

    def router(self) -> APIRouter:
        """All routes."""
        router = APIRouter()
        for path, handler, schema, problems in (
            ("/health", self.health, "Health", ()),
            ("/ready", self.ready, "Ready", (503,)),
            ("/metrics", self.metrics, None, (401, 403)),
        ):
            answer = described_answer(schema, (*problems, 422))
            kind = PlainTextResponse if schema is None else JSONResponse
            router.add_api_route(
                path, handler, methods=["GET"], response_model=None, response_class=kind, responses=answer
            )
            # The server leaves the body out.
            router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
        for path, page_of in (("/", self.index), ("/docs", self.docs), ("/openapi.json", self.openapi)):
            router.add_api_route(path, page_of, include_in_schema=False, methods=["GET", "HEAD"], response_model=None)
        return router

    async def index(self, request: Request) -> Response:
        """Where things are; a browser is sent to the documentation."""
        if "text/html" in request.headers.get("accept", ""):
            return RedirectResponse("docs", 307)
        links = {"systems": "/v1/systems", "docs": "/docs", "openapi": "/openapi.json", "ready": "/ready"}
        root = request.scope.get("root_path", "")
        return json_response({"headrace": __version__, **{name: root + path for name, path in links.items()}})

    async def docs(self, request: Request) -> Response:
        """The document of all routes, for people."""
        document = request.app.openapi(self._described(request))
        return HTMLResponse(page(document, str(request.base_url).rstrip("/")))

    async def openapi(self, request: Request) -> Response:
        """The document of all routes, for programs."""
        return json_response(request.app.openapi(self._described(request)))

    async def health(self) -> Response:
        """The process is alive."""
        return json_response({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Whether every system can answer; with the reason for each that cannot, for those who may read it."""
        reasons = {name: served.reason for name, served in self._served.items()}
        systems = self.told(request)
        states = {name: outward(reason or "") or "ready" for name, reason in reasons.items() if name in systems}
        if not any(reasons.values()):
            return json_response({"ready": True, **({"systems": states} if states else {})})
        errors = [
            {"loc": ["systems", name], "msg": states[name]}
            for name, reason in reasons.items()
            if reason and name in states
        ]
        return problem_response(Problem(503, "not ready", errors=errors, headers=[(b"retry-after", b"5")]))

    async def metrics(self, request: Request) -> Response:
        """Prometheus' text format."""
        if METRICS not in self._public:
            self._access.check_metrics(_authorization(request))
        for name, served in self._served.items():
            if served.champion is not None:
                self._telemetry.version.labels(name).set(served.champion.version.version)
            self._telemetry.followed(name, served.following)
        text = self._telemetry.text(several=self._several)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    def _described(self, request: Request) -> dict[str, ServedSystem]:
        """The systems whose rows and values the document may show."""
        if DOCS in self._public:
            return dict(self._served)
        authorization = _authorization(request)
        return {name: served for name, served in self._served.items() if self._access.sees(authorization, name)}

    def told(self, request: Request) -> Collection[str]:
        """The systems whose state may be told."""
        if READY in self._public:
            return self._served
        try:
            return [name for name in self._served if self._access.may(_authorization(request), name, READ)]
        except Problem:  # whether the server is ready is told to everybody
            return ()


def _authorization(request: Request) -> bytes:
    return request.headers.get("authorization", "").encode("latin-1")
