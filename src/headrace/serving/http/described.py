"""How the OpenAPI document tells of answers: their statuses and media types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.serving.http.problem import MEDIA_TYPE
from headrace.serving.http.schemas import part

PROBLEMS = {
    304: "What the client has is what there is.",
    400: "Not JSON, or a name occurs twice in an object; not what the content type says.",
    401: "A known bearer token is needed.",
    403: "The token does not allow this.",
    404: "There is no such thing.",
    406: "There is no answer of a media type that is accepted.",
    408: "The body did not arrive in time.",
    409: "The key is taken by another row or event; or an event is ahead of the clock, or too late for its series.",
    413: "Too large.",
    415: "Not of a media type that can be read, or compressed.",
    422: "Not as it should be; `errors` says where.",
    429: "Too many requests of this token, or wrong tokens; `Retry-After` says when to try again.",
    503: "Not ready, or too busy; try again later.",
}
CSV_TYPE, ARROW_TYPE = "text/csv", "application/vnd.apache.arrow.stream"
TABLES = {
    CSV_TYPE: {"schema": {"type": "string"}},
    ARROW_TYPE: {"schema": {"type": "string", "format": "binary"}},
}
"""What an answer may be beside JSON."""


def problem(code: int) -> dict[str, Any]:
    """The response of one other status."""
    content = {} if code == 304 else {"content": {MEDIA_TYPE.decode(): {"schema": part("Problem")}}}
    return {"description": PROBLEMS[code], **content}


def described_answer(schema: str | None, problems: Sequence[int]) -> dict[int | str, dict[str, Any]]:
    """The responses of a reading route.

    Args:
        schema: Name of the schema of what it answers with 200; None for plain text.
        problems: Other statuses that it may answer with; with 406 it answers with tables too, with 401 also 429.
    """
    answer: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if schema is not None:
        answer = {"application/json": {"schema": part(schema)}, **(TABLES if 406 in problems else {})}
    codes = sorted({*problems, 429} if 401 in problems else problems)
    return {200: {"description": "Done.", "content": answer}, **{code: problem(code) for code in codes}}
