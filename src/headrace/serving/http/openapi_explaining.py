"""How the OpenAPI document tells of the route that explains: what it takes of each system."""

from __future__ import annotations

from typing import Any

from headrace.features.ngrams import Ngrams
from headrace.features.text import TextColumn
from headrace.serving.http.described import described_answer
from headrace.serving.http.explaining import MAX_BODY, MOST, MOST_ASKED, MOST_WORDS
from headrace.serving.http.schemas import part
from headrace.serving.http.served import ServedSystem
from headrace.serving.http.turns import AT_ONCE, SECONDS, WAITING
from headrace.tasks.explanation import texts_of_class
from headrace.tasks.schemas import TEXT, Schema, record

_TOP = {
    "name": "top",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": 10_000},
    "description": "So many features; the others as one.",
}
_WORDS = {
    "name": "words",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": f"Tell the {MOST_WORDS:,} largest words and features by themselves, the others as one.",
}
_EXPLAIN = {
    "name": "explain",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": (
        "Explain each prediction with the answer, in `explanation`: in the bounds of the route `explain`. "
        "What cannot be explained is refused, and nothing of it is stored. Without it `class` and `top` change nothing."
    ),
}
_DESCRIPTION = (
    "Contributions of every feature, which add up to the prediction. Nothing is stored. "
    f"A body has at most {MAX_BODY:,} bytes, and {MOST_ASKED} rows where contributions are not exact (413). "
    f"{AT_ONCE} requests are explained at once, {WAITING} wait, each for {SECONDS:g} seconds at most (503)."
)
_CODES = (400, 401, 403, 404, 408, 409, 413, 415, 422, 503)


def explained(served: ServedSystem, row: str | None) -> dict[str, Any]:
    """The operation of a system.

    Args:
        served: The system.
        row: The component of a row that is posted; None of a system of series.
    """
    system = served.system
    body: Schema = record(**dict.fromkeys(system.keys, TEXT)) | {"additionalProperties": False}
    summary = f"Why the newest forecasts of a series of {system.target} are what they are"
    if row is not None:
        body = {"anyOf": [part(row), {"type": "array", "items": part(row), "maxItems": MOST}]}
        summary = f"Why a row, or each of an array, gets its {system.target}"
    answer = described_answer("Explanations", _CODES)
    if row is not None:
        schema = {"anyOf": [part("Explanation"), part("Explanations")]}
        answer[200]["content"] = {"application/json": {"schema": schema}}
    return {
        "summary": summary,
        "description": _DESCRIPTION,
        "operationId": f"explain_{system.name}",
        "parameters": [_TOP, *([*_class(served), *_words(served)] if row is not None else [])],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {str(code): response for code, response in answer.items()},
    }


def at_once(served: ServedSystem) -> list[dict[str, Any]]:
    """The parameters by which what is posted is explained with its answer; none where a series is forecast."""
    if served.task.stateful or served.task.has_series:
        return []
    return [_EXPLAIN, _TOP, *_class(served)]


def with_explanation(answer: Schema) -> Schema:
    """A record of an answer that may have its explanation."""
    return answer | {"properties": answer["properties"] | {"explanation": part("Explanation")}}


def _words(served: ServedSystem) -> list[dict[str, Any]]:
    """The parameter that asks for words; none where no feature is a text."""
    texts = (isinstance(each, TextColumn | Ngrams) for each in served.system.features.values())
    return [_WORDS] if any(texts) else []


def _class(served: ServedSystem) -> list[dict[str, Any]]:
    """The parameter that chooses a class; none of numbers."""
    predictor = None if served.champion is None else served.champion.predictor
    classes = [texts_of_class(value)[0] for value in served.task.labels(served.home, predictor)]
    if not classes:
        return []
    schema = {"type": "string", "enum": classes}
    return [{"name": "class", "in": "query", "required": False, "schema": schema, "description": "The one to explain."}]
