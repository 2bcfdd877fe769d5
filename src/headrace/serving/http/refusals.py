"""What the framework or a handler refuses, as the response that the path's protocol has for it."""

from __future__ import annotations

import logging
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import Match

from headrace.errors import HeadraceError
from headrace.serving.http.problem import Problem, busy
from headrace.serving.http.protocols.paths import refused_at
from headrace.serving.http.responses import problem_response

_log = logging.getLogger("headrace.serving")


def refusal(request: Request, problem: Problem) -> Response:
    """A problem as the response to a request."""
    return problem_response(
        problem, refused_at(request.url.path.removeprefix(request.scope.get("root_path", "")), problem)
    )


def of_problem(request: Request, error: Exception) -> Response:
    """A problem that a handler raised."""
    assert isinstance(error, Problem)
    return refusal(request, request.app.state.wrong.of_request(error, request.scope))


def of_trouble(request: Request, error: Exception) -> Response:
    """What is to be read cannot be, now: nobody knows what the answer would be, so nothing is answered."""
    message = error.message if isinstance(error, HeadraceError) else str(error)
    _log.warning("%s %s: %s", request.method, request.url.path, error)
    return refusal(request, busy(message, 5))


def of_http_exception(request: Request, error: Exception) -> Response:
    """What the framework itself refuses."""
    assert isinstance(error, HTTPException)
    headers = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the framework names those of one route of the path
        headers = [(b"allow", ", ".join(_methods(request)).encode())]
    return refusal(request, Problem(error.status_code, str(error.detail), headers=headers))


def _methods(request: Request) -> list[str]:
    """What the path of a request answers."""
    routes = [route for router in request.app.state.routers for route in router.routes if isinstance(route, APIRoute)]
    matching = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    return sorted({method for route in matching for method in route.methods or ()})


def of_validation_error(request: Request, error: Exception) -> Response:
    """A parameter of the wrong type."""
    assert isinstance(error, RequestValidationError)
    errors = [{"loc": list(item["loc"]), "msg": item["msg"]} for item in error.errors()]
    return refusal(request, Problem(422, "a parameter is not as it should be", errors=errors))
