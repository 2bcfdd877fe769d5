"""Browsers that call from elsewhere: which may, and what the others are told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Response
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from headrace.serving.http.problem import Problem
from headrace.serving.http.responses import problem_response
from headrace.serving.http.telemetry import request_id_of
from headrace.serving.http.wire import Wire


class Origins(CORSMiddleware):
    """Starlette's, but what it refuses is a problem as all refusals are, counted and logged.

    Args:
        app: What it stands before.
        allowed: Origins that browsers may call from.
        wire: Counts and logs.
    """

    def __init__(self, app: Any, allowed: Sequence[str], wire: Wire) -> None:
        super().__init__(
            app,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id"],
        )
        self._wire = wire

    def preflight_response(self, request_headers: Headers) -> Response:
        """What a browser is told before it calls."""
        response = super().preflight_response(request_headers)
        request_id = request_id_of(request_headers.get("x-request-id", "").encode("latin-1"))
        if response.status_code >= 400:
            text = bytes(response.body).decode()
            problem = Problem(response.status_code, f"{text[:1].lower()}{text[1:]}")
            self._wire.note("OPTIONS", "*", None, problem, request_id)
            response = problem_response(problem)
        response.headers["x-request-id"] = request_id.decode()
        return response
