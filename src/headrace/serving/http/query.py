"""Parameters of a request's target: a name that a route does not know is refused, as it might have meant something."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute

from headrace.serving.http.problem import Problem

_OWN = "/v1/systems/{name}/"
"""Routes below it know the keys of the system, and check for themselves."""
_SHOWN = 80


def refuse_unknown(request: Request) -> None:
    """Called before every route that reads.

    Raises:
        Problem: 422: there is a parameter that it does not know, or one is there twice.
    """
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and not route.path.startswith(_OWN):
        known = [param.alias for param in route.dependant.query_params]
        check_names([name for name, _ in request.query_params.multi_items()], known)


def check_query(query: bytes, known: Sequence[str]) -> None:
    """The same for a query as it came.

    Raises:
        Problem: 422, as `refuse_unknown`.
    """
    if query:
        check_names([name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)], known)


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a name that means nothing here or comes twice: it would change the answer, or not, without a word.

    Raises:
        Problem: 422.
    """
    errors = [
        {"loc": ["query", name[:_SHOWN]], "msg": "is there twice" if name in known else "is not a parameter here"}
        for name in dict.fromkeys(names)
        if name not in known or names.count(name) > 1
    ]
    if errors:
        there = f"parameters: {', '.join(known)}" if known else "no parameters"
        raise Problem(422, f"a parameter is not as it should be; there are {there}", errors=errors)
