"""Responses of the routes that read."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

from headrace.serving.http.problem import MEDIA_TYPE, Problem


def json_response(data: Any, status: int = 200) -> Response:
    """Data as JSON."""
    return Response(msgspec.json.encode(data), status, media_type="application/json")


def problem_response(problem: Problem, body: bytes = b"") -> Response:
    """A problem as a response, or another body that tells it."""
    headers = {name.decode(): value.decode() for name, value in problem.headers}
    return Response(body or problem.body(), problem.status, headers, MEDIA_TYPE.decode())
