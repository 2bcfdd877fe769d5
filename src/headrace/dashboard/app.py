"""The dashboard as an ASGI application: pages, figures, writes, log-in, and what is said where no answer came."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.dashboard.asking import Clients
from headrace.dashboard.assets import Assets
from headrace.dashboard.figures import Figure
from headrace.dashboard.forms import PostedForm, read_form
from headrace.dashboard.live import LiveSessions
from headrace.dashboard.options import DashboardOptions
from headrace.dashboard.parts import PageRoute, WriteRoute
from headrace.dashboard.reading import ApiRefusal
from headrace.dashboard.rendering import Rendering
from headrace.dashboard.session import Sessions, ViewerSession
from headrace.dashboard.site import FIGURES, PAGES, WRITES
from headrace.dashboard.view import PageView
from headrace.tries import TokenTries

_Part = TypeVar("_Part", PageRoute, WriteRoute)
_log = logging.getLogger("headrace.dashboard")
OWNED = ("systems", "predictions", "installation", "assets", "login", "logout")
"""First parts of paths that are pages; all others are the API's."""
_SEEN = "x-seen"
_NEVER = "no-store"
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}
"""Headers of every answer: no script or style stands in a page, and none comes from elsewhere."""


def owns(path: str, accept: str) -> bool:
    """Whether a path is a page; ``/`` is one for browsers.

    >>> owns("/systems/energy", "*/*"), owns("/", "application/json"), owns("/v1/systems", "text/html")
    (True, False, False)
    """
    if path == "/":
        return "text/html" in accept
    return path.split("/", 2)[1] in OWNED if path.startswith("/") else False


class Dashboard:
    """The application.

    Args:
        clients: Ask the API; they know its address, or are in the same process.
        options: Of the dashboard.
        docs: Where the documents of the API are; a path is one below the root.
    """

    def __init__(self, clients: Clients, options: DashboardOptions, docs: str = "/docs") -> None:
        self._clients, self._options = clients, options
        folder = options.folder
        if folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="headrace-sessions-")  # goes with the application
            folder = Path(self._folder.name)
        self._sessions, self._tries = Sessions(options.key, options.session, LiveSessions(folder)), TokenTries()
        self._assets = Assets()
        self._rendering = Rendering(self._assets, options, docs)
        routes = [
            Route("/assets/{digest}/{name:path}", self._assets.respond, methods=["GET"]),
            Route("/login", self._answered(self._login), methods=["GET", "POST"]),
            Route("/logout", self._answered(self._logout), methods=["POST"]),
            Route("/systems/{name}/figures/{figure}.{form}", self._answered(self._figure), methods=["GET"]),
        ]
        routes += [
            Route(page.path, self._answered(partial(_call, self._page, page)), methods=["GET"]) for page in PAGES
        ]
        for write in WRITES:
            routes.append(Route(write.path, self._answered(partial(_call, self._write, write)), methods=["POST"]))
        self._app: ASGIApp = Starlette(routes=routes, exception_handlers={HTTPException: self._missing})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of the server."""
        await self._app(scope, receive, _guarded(send))

    async def _view(self, request: Request) -> PageView:
        """The viewer of a request; raises 401 of the API where the session is none that it knows."""
        session = self._sessions.of(request) or self._sessions.begin()
        api = self._clients.of(session.token)
        access = await api.get("/v1/access")
        return PageView(request, api, session, access, self._options.read_only)

    def _answered(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """A handler that always has an answer: also where the API has none, or nobody foresaw what came."""

        async def answered(request: Request) -> Response:
            try:
                return await handler(request)
            except ApiRefusal as refused:
                trouble = refused
            except Exception:  # noqa: BLE001  # it is logged, and whoever looks has an answer
                _log.exception("%s %r failed in an unforeseen way", request.method, request.scope["path"][:200])
                trouble = _unforeseen()
            form = request.path_params.get("form")
            if form in ("json", "csv"):
                return PlainTextResponse(f"{trouble.title}: {trouble.detail}", trouble.status or 502)
            return await self._refused(request, trouble)

        return answered

    async def _page(self, page: PageRoute, request: Request) -> Response:
        view = await self._view(request)
        context = await page.build(view)
        return await self._answer(request, view.session, page.template, {"view": view, **context})

    async def _answer(
        self, request: Request, session: ViewerSession, template: str, context: dict[str, object], status: int = 200
    ) -> Response:
        """A page; nothing where the browser has seen the very same already."""
        context["notice"], context["form_token"] = self._sessions.notice(request), self._sessions.form_token(session)
        body, seen = await run_in_threadpool(self._rendering.page, request, template, context)
        if status == 200 and request.headers.get(_SEEN) == seen and not context["notice"]:
            return Response(status_code=204, headers={"cache-control": _NEVER})
        response = Response(body, status, {"cache-control": _NEVER}, "text/html; charset=utf-8")
        if self._sessions.of(request) is None:
            self._sessions.keep(response, request, session)
        if context["notice"]:
            response.delete_cookie("headrace_notice", path=f"{request.scope.get('root_path', '')}/")
        return response

    async def _refused(self, request: Request, refused: ApiRefusal) -> Response:
        """What a page says where the API has no good answer; whoever is not known is asked to log in."""
        if refused.status == 401:
            root = str(request.scope.get("root_path", "")).rstrip("/")
            address = f"{root}/login?{urlencode({'next': _local(request)})}"
            if "hx-request" in request.headers:
                return Response(status_code=204, headers={"hx-redirect": address, "cache-control": _NEVER})
            return RedirectResponse(address, 303)
        session = self._sessions.of(request) or self._sessions.begin()
        status = 502 if refused.status == 0 else refused.status
        # What was posted is not posted again by itself, and its address is no page.
        context = {"refused": refused, "again": refused.passing and request.method in ("GET", "HEAD")}
        return await self._answer(request, session, "refused.html", context, status)

    async def _missing(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        refused = ApiRefusal(
            error.status_code, str(error.detail).lower(), "there is no such page", "start at the overview"
        )
        return await self._refused(request, refused)

    async def _figure(self, request: Request) -> Response:
        name, figure, form = (request.path_params[part] for part in ("name", "figure", "form"))
        build = FIGURES.get(figure)
        if build is None or form not in ("json", "csv", "html"):
            return await self._missing(request, HTTPException(404))
        view = await self._view(request)
        drawn: Figure = await build(view, name)
        document = await run_in_threadpool(drawn.document)
        if form == "html":
            context = {"view": view, "figure": drawn, "name": name, "figure_name": figure}
            return await self._answer(request, view.session, "figure.html", context)
        if form == "json":
            return _kept(request, document)
        attached = {"content-disposition": f'attachment; filename="{figure}.csv"', "cache-control": _NEVER}
        return Response(await run_in_threadpool(drawn.csv), 200, attached, "text/csv; charset=utf-8")

    async def _write(self, write: WriteRoute, request: Request) -> Response:
        """A form that changes something: checked, done once, then a page that shows what was done."""
        session = self._sessions.of(request)
        form = await self._trusted(request, session)
        if form is None or session is None:
            refused = ApiRefusal(403, "the form is too old", "nothing was changed", "open the page again, and repeat")
            return await self._refused(request, refused)
        if self._options.read_only:
            return await self._refused(request, ApiRefusal(403, "read-only", "nothing can be changed here"))
        view = await self._view(request)
        outcome = await write.do(view, form)
        if outcome.template is not None:
            return await self._answer(request, session, outcome.template, {"view": view, **outcome.context})
        response: Response = RedirectResponse(outcome.address, 303)
        self._sessions.leave(response, request, outcome.notice)
        return response

    async def _trusted(self, request: Request, session: ViewerSession | None) -> PostedForm | None:
        """The form of a request, if a page of this session made it."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return None
        form = await read_form(request)
        if session is None or not self._sessions.check_form(session, form.first("form_token")):
            return None
        return form

    async def _login(self, request: Request) -> Response:
        address = request.query_params.get("next", "")
        root = str(request.scope.get("root_path", "")).rstrip("/")
        address = address if _is_local(address) else f"{root}/"
        session = self._sessions.of(request) or self._sessions.begin()
        if request.method == "GET":
            return await self._answer(request, session, "login.html", {"next": address})
        form = await self._trusted(request, session)
        if form is None:
            said = "The form was too old. Try again."
            return await self._answer(request, session, "login.html", {"next": address, "said": said}, 403)
        token = form.first("token").strip()
        refused = await self._tried(request, token)
        if refused is not None:
            said = "No such token is known." if refused.status == 401 else f"{refused.title}: {refused.detail}"
            status = 502 if refused.status == 0 else refused.status
            answer = await self._answer(request, session, "login.html", {"next": address, "said": said}, status)
            answer.headers.update({"retry-after": refused.hint} if status == 429 else {})
            return answer
        self._sessions.end(session)  # it is another one from now on
        response = RedirectResponse(address, 303)
        self._sessions.keep(response, request, self._sessions.begin(token))
        return response

    async def _tried(self, request: Request, token: str) -> ApiRefusal | None:
        """Why nobody is logged in with a token; None where the API knows it. The log has it, without the token."""
        address = request.client.host[:64] if request.client is not None else "this machine"
        wait = self._tries.begin(address)
        if wait:
            return ApiRefusal(429, "Too many log-ins failed", f"try again in {wait} seconds", str(wait))
        try:
            await self._clients.check(token)
        except ApiRefusal as refused:
            if refused.status != 401:
                self._tries.forgive(address)
            _log.warning("a log-in from %r was refused: %d %s", address, refused.status, refused.title)
            return refused
        self._tries.forgive(address)
        _log.info("a log-in from %r", address)
        return None

    async def _logout(self, request: Request) -> Response:
        session = self._sessions.of(request)
        root = str(request.scope.get("root_path", "")).rstrip("/")
        response = RedirectResponse(f"{root}/login", 303)
        if await self._trusted(request, session) is not None and session is not None:
            self._sessions.end(session)
            self._sessions.forget(response, request)
        return response


def _unforeseen() -> ApiRefusal:
    return ApiRefusal(
        500, "the page failed", "the API answered in a way that this page does not know", "its log says why"
    )


async def _call(handler: Callable[[_Part, Request], Awaitable[Response]], part: _Part, request: Request) -> Response:
    return await handler(part, request)


def _guarded(send: Send) -> Send:
    """Adds the headers that every answer has."""
    extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def guarded(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *extra]}  # type: ignore[misc]
        await send(message)

    return guarded  # type: ignore[return-value]


def _kept(request: Request, document: dict[str, object]) -> Response:
    """The document of a figure, or 304."""
    from headrace.dashboard.rendering import digest_of, encoded

    body = encoded(document)
    headers = {"etag": f'"{digest_of(body)}"', "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match", "").removeprefix("W/") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")


def _local(request: Request) -> str:
    """The address that was asked for, as one of this server."""
    root = str(request.scope.get("root_path", "")).rstrip("/")
    path = root + str(request.scope["path"]).removeprefix(root) if request.method == "GET" else f"{root}/"
    return f"{path}?{request.url.query}" if request.url.query and request.method == "GET" else path


def _is_local(address: str) -> bool:
    """Whether an address leads back here, and nowhere else.

    >>> _is_local("/systems/energy?by=step"), _is_local("//evil.example"), _is_local("/\\\\evil.example")
    (True, False, False)
    """
    parts = urlsplit(address)
    plain = address.startswith("/") and not address.startswith("//") and "\\" not in address
    return plain and not parts.scheme and not parts.netloc and address.isprintable()
