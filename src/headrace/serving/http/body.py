"""The body of a request: its bytes, its JSON document, its typed rows; or exactly what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from headrace.contract.many import quotes
from headrace.contract.row import RowDecoder
from headrace.serving.http.problem import SHOWN, Problem

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_decode = msgspec.json.Decoder().decode
_DIGITS = 400
"""A whole number with more digits is larger than any float."""


async def whole(receive: Receive, limit: int) -> bytes:
    """All bytes of a body.

    Raises:
        Problem: 413: there are more than `limit`. 400: the client went away.
    """
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the client went away before the body was whole", reason="disconnected")
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise Problem(413, f"the body is larger than {limit:,} bytes")
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unmarked(body: bytes) -> bytes:
    """A body without the byte-order mark that some programs write before a text in UTF-8."""
    return body.removeprefix(b"\xef\xbb\xbf")


def parsed(body: bytes) -> Any:
    """The JSON document of a body: an object or an array.

    Raises:
        Problem: 400: it is not JSON, or a name occurs twice in an object. 422: it is neither object nor array, or a
            value is none that JSON can carry (NaN, 1e999, half a surrogate pair).
    """
    try:
        data = _decode(body)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from error
    if not isinstance(data, dict | list):
        errors = [{"loc": ["body"], "msg": "is neither an object nor an array"}]
        raise Problem(422, "the body is neither a row nor an array of rows", errors=errors, reason="bad_row")
    if quotes(body) != 2 * _texts(data):
        _refuse_twice(body)
    return data


def _texts(data: Any) -> int:
    """How many names and texts flat rows hold: two quotes each in the body, unless a name is there twice."""
    depth = 0
    for row in data if data.__class__ is list else (data,):
        if row.__class__ is dict:
            depth += len(row)
            for value in row.values():
                if value.__class__ is str:
                    depth += 1
    return depth


def _too_deep() -> Problem:
    return Problem(400, "the JSON is nested too deeply", reason="too_deep")


@dataclass(frozen=True)
class _Twice:
    """An object in which a name occurs twice."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Twice:
    data = dict(pairs)
    if len(data) == len(pairs):
        return data
    names: set[str] = set()
    return _Twice(next(name for name, _ in pairs if name in names or names.add(name)))  # type: ignore[func-returns-value]


def _refuse_twice(body: bytes) -> None:
    """The quick decoder keeps the last of two values under one name; which one was meant is not ours to guess.

    Objects inside a row need no look: no column holds one, so the row is refused anyway.
    """
    try:
        data = json.loads(body, object_pairs_hook=_object, parse_int=len)
    except RecursionError as error:
        raise _too_deep() from error
    rows = [([place], row) for place, row in enumerate(data)] if isinstance(data, list) else [([], data)]
    errors = [
        {"loc": ["body", *path, row.name[:40]], "msg": "is there twice"}
        for path, row in rows
        if isinstance(row, _Twice)
    ]
    if errors:
        raise Problem(400, f"{errors[0]['loc'][-1]!r} is there twice", errors=errors, reason="twice")


def _not_json(body: bytes, error: Exception) -> Problem:
    """What to say of a body that is no JSON: where a value cannot be carried, that it is only this, and where."""
    refusal = Problem(400, f"the body is not JSON: {error}", reason="not_json")
    try:
        data = json.loads(body, parse_int=lambda text: int(text) if len(text) < _DIGITS else math.inf)
    except (ValueError, RecursionError):
        return refusal
    errors = [{"loc": ["body", *path], "msg": message} for path, message in islice(_uncarried(data), SHOWN)]
    return Uncarried(errors, data) if errors else refusal


class Uncarried(Problem):
    """Values that JSON cannot carry: `data` is the document with null in their places, for what else is wrong with it.

    Args:
        errors: Where they are.
        data: The rows, or the one.
    """

    def __init__(self, errors: Sequence[dict[str, Any]], data: Any) -> None:
        super().__init__(422, f"{errors[0]['loc'][-1]}: {errors[0]['msg']}", errors=errors, reason="bad_row")
        self.data = data


def every_fault(error: Uncarried, decoder: RowDecoder) -> Problem:
    """The refusal of a body that JSON cannot carry, with what else its rows break."""
    single, errors = not isinstance(error.data, list), list(error.errors)
    known = [error["loc"] for error in errors]
    for place, row in enumerate([error.data] if single else error.data):
        path = ["body"] if single else ["body", place]
        faults = [{"loc": [*path, *fault["loc"]], "msg": fault["msg"]} for fault in decoder(row)[1]]
        errors += [error for error in faults if error["loc"] not in known]
        if len(errors) >= SHOWN:
            break
    problem = _bad_row(errors if single else sorted(errors, key=lambda error: error["loc"][1]))
    problem.rows = 1 if single else len(error.data)
    return problem


def _bad_row(errors: list[dict[str, Any]]) -> Problem:
    return Problem(422, f"{errors[0]['loc'][-1]}: {errors[0]['msg']}", errors=errors, reason="bad_row")


def _uncarried(data: Any) -> Iterator[tuple[list[str | int], str]]:
    rows = [([place], row) for place, row in enumerate(data)] if isinstance(data, list) else [([], data)]
    for path, row in rows:
        for name, value in list(row.items()) if isinstance(row, dict) else ():
            if isinstance(value, float) and not math.isfinite(value):
                row[name] = None
                yield [*path, _plain(name)], "is not a finite number"
            elif isinstance(value, str) and _plain(value) != value:
                row[name] = None
                yield [*path, _plain(name)], "holds half a surrogate pair"


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()


def rows_of(decoder: RowDecoder, posted: list[Any], *, single: bool) -> list[dict[str, Any]]:
    """The typed rows.

    Raises:
        Problem: 422 with the first faults, and where they are; not one row is taken then.
    """
    rows: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for place, data in enumerate(posted):
        row, faults = decoder(data)
        rows.append(row)
        if faults:
            path = ["body"] if single else ["body", place]
            errors += [{"loc": [*path, *fault["loc"]], "msg": fault["msg"]} for fault in faults]
            if len(errors) >= SHOWN:
                break
    if errors:
        raise _bad_row(errors)
    return rows
