"""The ASGI application: the hot route beside FastAPI, started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import REGISTRY, CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from headrace import tracing
from headrace._version import __version__
from headrace.errors import HeadraceError, LedgerError
from headrace.home import Home
from headrace.ledger import LedgerWriter, call_each
from headrace.serving.http.access import Access
from headrace.serving.http.beside import beside
from headrace.serving.http.body import Receive
from headrace.serving.http.changing import Changes
from headrace.serving.http.deciding import DecideRoutes
from headrace.serving.http.explaining import ExplainRoutes
from headrace.serving.http.front import Front
from headrace.serving.http.grpc.address import At
from headrace.serving.http.guessing import WrongTokens
from headrace.serving.http.keeping import Keeping
from headrace.serving.http.openapi import document
from headrace.serving.http.options import Options
from headrace.serving.http.origins import Origins
from headrace.serving.http.packing import Packing
from headrace.serving.http.pages import AsgiApp, PageMaker
from headrace.serving.http.predict import STATE, PredictRoute, Scope, Send
from headrace.serving.http.problem import Problem, unforeseen
from headrace.serving.http.protocols.paths import posted, refused_at
from headrace.serving.http.protocols.routes import Speaking
from headrace.serving.http.query import refuse_unknown
from headrace.serving.http.reads.answering import Asker
from headrace.serving.http.reads.pool import Reads
from headrace.serving.http.reads.routes import BrowseRoutes
from headrace.serving.http.reads.tools import NOTHING_ABOVE, Above
from headrace.serving.http.refusals import of_http_exception, of_problem, of_trouble, of_validation_error, refusal
from headrace.serving.http.responses import problem_response
from headrace.serving.http.routes import ReadRoutes
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.simulations import SimulationRoutes
from headrace.serving.http.spans import SILENT, Spans
from headrace.serving.http.telemetry import AccessLog, Telemetry, headers_of, request_id_of, traced
from headrace.serving.http.throttle import Throttle
from headrace.serving.http.watching import WatchRoutes
from headrace.serving.http.wire import WIRE, Wire
from headrace.system import System

if TYPE_CHECKING:
    from headrace.serving.http.grpc.door import GrpcDoor

_log = logging.getLogger("headrace.serving")
_PREFIX, _SUFFIX = "/v1/systems/", "/predict"
_AS_SAID = {"x-content-type-options": "nosniff"}
"""A browser takes no answer for another type than it says."""
_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Of pages of the API itself: they have styles within, and no script."""
_NOTED = 0.2
"""Seconds between two writes of the access log."""
DRAIN = 10.0
"""Seconds in which predictions that wait for the ledger are written at the end."""


class Application:
    """The ASGI application of one process.

    Args:
        systems: What is served.
        home: Where everything is.
        options: Limits, time-outs, tokens.
        several: Whether several processes serve together.
        grpc: Where gRPC is spoken too, if it is.
        secure: Whether it speaks TLS.
        registry: Where its metrics stand. Prometheus refuses two applications in one.
        above: What rooms above the server tell and show.
    """

    def __init__(
        self,
        systems: Sequence[System],
        home: Home,
        options: Options,
        *,
        several: bool = False,
        grpc: At | None = None,
        secure: bool = False,
        registry: CollectorRegistry = REGISTRY,
        above: Above = NOTHING_ABOVE,
    ) -> None:
        self._home, self._options, self._tools = home, options, above.tools
        self.served: Mapping[str, ServedSystem] = {s.name: ServedSystem(s, home, options.logged) for s in systems}
        for name, settings in beside(options, systems).items():
            self.served[name].beside = settings
        access, self._telemetry = Access(options.tokens), Telemetry(registry)
        self._log = AccessLog(inputs=options.access_log == "inputs") if options.access_log != "off" else None
        self._writer: LedgerWriter | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeping = Keeping(home)
        for served in self.served.values():
            served.kept = self._keeping.trouble
        opened = self._keeping.add
        self._wrong = WrongTokens()
        self._predict = PredictRoute(self.served, options, access, self._telemetry, self._log, opened, self._wrong)
        self._grpc, self._access = grpc, access
        tracer = tracing.tracer()
        if tracer is not None:
            self._predict.spans = Spans(tracer, secure=secure)
        self._wire = Wire.of(options, self._telemetry, self._log)
        self._api = self._reading(access, several=several)
        self._throttle = Throttle(access, options)
        if self._throttle:
            self._predict.close_short()
        inner: AsgiApp = self._counted if self._throttle else self._route
        self._inner: Any = Packing(inner if above.pages is None else _beside(inner, above.pages))
        if options.cors:
            self._inner = Origins(self._inner, options.cors, self._wire)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, request or lifespan, of the server."""
        await self._inner(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`_route`, for as many requests as a token may make."""
        if scope["type"] != "http":
            await self._route(scope, receive, send)
            return
        headers, path = dict(scope["headers"]), scope["path"].removeprefix(scope.get("root_path", ""))
        try:
            with self._throttle.request(path, headers):
                await self._route(scope, receive, send)
        except Problem as problem:
            request_id = request_id_of(headers.get(b"x-request-id", b""))
            self._wire.note(scope["method"], path, scope.get("client"), problem, request_id)
            response = problem_response(problem, refused_at(path, problem))
            response.headers["x-request-id"] = request_id.decode()
            await response(scope, receive, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if path.startswith(_PREFIX) and path.endswith(_SUFFIX):
                name = path[len(_PREFIX) : -len(_SUFFIX)]
                if name and "/" not in name:
                    await self._predict(name, scope, receive, send)
                    return
            routes = posted(path, self.served)
            if routes is not None:
                await self._predict(routes[0], scope, receive, send, routes[1])
                return
        await self._api(scope, receive, send)

    def _reading(self, access: Access, *, several: bool) -> FastAPI:
        api = FastAPI(title="headrace", version=__version__, lifespan=self._lifespan, openapi_url=None)
        front = Front(self.served, access, self._options.public, self._telemetry, several=several)
        systems = [served.system for served in self.served.values()]
        options = self._options
        self._reads = Reads(
            systems, self._home, readers=options.readers, seconds=options.read_timeout, known=self._home.known
        )
        reading = ReadRoutes(self.served, self._home, access, self._reads)
        asker = Asker(self.served, access)
        browsing = BrowseRoutes(asker, self._reads)
        explaining = ExplainRoutes(self.served, self._home, access, self._options)
        changes = Changes(self._home, access, self._options, self._reads)
        deciding = DecideRoutes(self.served, self._home, changes, self._reads)
        self._wire.closing.extend((explaining.close, self._predict.both.turns.close))
        speaking = Speaking(self.served, access, front.told)
        public = [front.router(), speaking.router()]  # of which some are open to all
        closed = [reading.router(), browsing.router(), explaining.router(), deciding.router()]
        if self._tools is not None:
            closed.append(WatchRoutes(asker, self._reads, changes, self._tools).router())
            closed.append(SimulationRoutes(asker, self._home, self._reads, changes, self._tools).router())
        for routers, before in ((public, []), (closed, [Depends(asker.known)])):
            for router in routers:
                api.include_router(router, dependencies=[*before, Depends(refuse_unknown)])
        api.state.routers = [*public, *closed]  # the application gives no list of what it included
        api.state.wrong = self._wrong
        api.add_exception_handler(Problem, of_problem)
        for trouble in (HeadraceError, OSError):
            api.add_exception_handler(trouble, of_trouble)
        api.add_exception_handler(HTTPException, of_http_exception)
        api.add_exception_handler(RequestValidationError, of_validation_error)
        api.middleware("http")(self._watched)
        described = api.openapi
        tokens, limit = not access.open, self._options.max_rows

        def openapi(systems_seen: Mapping[str, ServedSystem] = self.served) -> dict[str, Any]:
            return document(described(), systems_seen, tokens=tokens, limit=limit, only=len(self.served) == 1)

        api.openapi = openapi  # type: ignore[method-assign]
        return api

    async def _watched(self, request: Request, call_next: Callable[[Request], Any]) -> Response:
        """Request id, metrics and access log of the routes that read."""
        began = time.perf_counter()
        request_id = request_id_of(request.headers.get("x-request-id", "").encode("latin-1"))
        scope, headers, spans = request.scope, headers_of(request.scope["headers"]), self._predict.spans
        span = None
        if spans is not None and scope["path"].removeprefix(scope.get("root_path", "")) not in SILENT:
            span = spans.of(request.method, scope["path"], headers, scope.get("client"))
        try:
            response: Response = await call_next(request)
        except Exception:  # noqa: BLE001  # it is logged, and the client has an answer
            _log.exception("request %s failed in an unforeseen way", request_id.decode())
            response = refusal(request, unforeseen())
        seconds = time.perf_counter() - began
        response.headers.update({"x-request-id": request_id.decode(), **_AS_SAID})
        if response.headers.get("content-type", "").startswith("text/html"):
            response.headers["content-security-policy"] = _CSP
        # One word for one thing on all routes: the hot one's is the system.
        route = getattr(request.scope.get("route"), "path", "unknown").replace("{name}", "{system}")
        self._telemetry.request(route, request.method, response.status_code, seconds)
        if span is not None:
            span.over(route, response.status_code)
        if self._log is not None and route not in SILENT:
            self._log.write(
                request.method,
                scope["path"],
                scope.get("client"),
                response.status_code,
                seconds,
                request_id,
                trace=traced(headers, None if span is None else span.span),
            )
        return response

    def _settle(self, thunks: Sequence[Callable[[], None]]) -> None:
        """Answer everything of one commit in one turn of the loop. Called from the writer's thread."""

        def run() -> None:
            if self._writer is not None:
                self._telemetry.waiting.set(self._writer.waiting)
            call_each(thunks)

        assert self._loop is not None
        # A loop that has closed has nobody left to answer; the predictions are durable all the same.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(run)

    @asynccontextmanager
    async def _lifespan(self, api: FastAPI) -> AsyncIterator[dict[str, Any]]:
        self._loop = asyncio.get_running_loop()
        await run_in_threadpool(self.refresh)
        tasks = [asyncio.create_task(task) for task in (self._look(), self._note(), self._predict.deadlines.watch())]
        door = await self._opened()
        try:
            yield {STATE: self._predict, WIRE: self._wire}
        finally:
            self._reads.close()
            if door is not None:
                await door.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await run_in_threadpool(self._predict.events.close, DRAIN)
            if self._writer is not None:
                await run_in_threadpool(self._writer.close, DRAIN)
            self._noted()
            await self._measured(every=True)
            await run_in_threadpool(tracing.close)

    async def _opened(self) -> GrpcDoor | None:
        """The gRPC service, where there is to be one."""
        if self._grpc is None:
            return None
        from headrace.serving.http.grpc.door import GrpcDoor

        door = GrpcDoor(self.served, self._access, self._wrong, self._predict, self._throttle, self._options)
        await door.open(self._grpc)
        return door

    def refresh(self) -> None:
        """Take up new champions and forecasts now, and the ledger as soon as it can be reached."""
        rows = [name for name, served in self.served.items() if not served.task.stateful]
        if self._writer is None and self._options.logged and rows:
            with contextlib.suppress(LedgerError):  # told by /ready: without its pins no champion is taken up
                self._writer = LedgerWriter(self._home.ledger, capacity=self._options.capacity, on_batch=self._settle)
                self._predict.writer = self._writer
                self._keeping.add(rows, self._writer)
        self._keeping.look()
        for served in self.served.values():
            served.refresh()

    async def _note(self) -> None:
        while True:
            await asyncio.sleep(_NOTED)
            try:
                self._noted()
                await self._measured()
            except Exception:  # noqa: BLE001  # it is logged; without this task nothing is counted any more
                _log.exception("counting what was answered failed in an unforeseen way")

    def _noted(self) -> None:
        self._telemetry.fold()
        if self._log is not None:
            self._log.flush()

    async def _measured(self, *, every: bool = False) -> None:
        """Keep how long answers took, of windows that are over, or of every one."""
        latencies, now = self._telemetry.latencies, datetime.now(UTC)
        latencies.fold(now)
        windows = latencies.over(now, every=every)
        if windows and self._options.logged:
            await run_in_threadpool(latencies.store, lambda: self._home.ledger.latencies, windows, now)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._options.refresh)
            try:
                await run_in_threadpool(self.refresh)
            except Exception:  # noqa: BLE001  # it is logged; looking must go on, or no champion is ever taken up
                _log.exception("looking for new models and forecasts failed in an unforeseen way")


def _beside(api: AsgiApp, maker: PageMaker) -> AsgiApp:
    """The API, and the pages where a request is for one."""
    pages = maker.over(api)

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].endswith(_SUFFIX):
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"").decode("latin-1")
            if maker.owns(path, accept):
                await pages(scope, receive, send)
                return
        await api(scope, receive, send)

    return choose
