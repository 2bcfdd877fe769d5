"""JSON documents of other protocols: read as strictly as rows are, but that NaN means a missing value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import msgspec

from headrace.contract.many import quotes
from headrace.serving.http.problem import Problem

T = TypeVar("T")

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


def read(body: bytes, kind: type[T]) -> T:
    """A document of a kind, which is a `msgspec.Struct`.

    NaN, which JSON has not, is null: that is how NumPy and pandas say that a value is missing, and what clients made
    of them write.

    Raises:
        Problem: 400: it is not JSON, a name is there twice, or it is no such document. 422: a number is not finite.
    """
    data = _document(body)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise Problem(400, f"the body is not of this protocol: {error}", reason="not_protocol") from error


def _document(body: bytes) -> Any:
    try:
        data = _decode(body)
        if quotes(body) == quotes(_encode(data)):
            return data
    except RecursionError as error:
        raise Problem(400, "the JSON is nested too deeply", reason="too_deep") from error
    except (msgspec.DecodeError, UnicodeError) as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise _not_json(error) from error
    return _slowly(body)


def _slowly(body: bytes) -> Any:
    """The quick decoder keeps the last of two values under one name, and knows no NaN."""
    try:
        data = json.loads(body, object_pairs_hook=_object, parse_constant=_constant, parse_float=_number)
        written(data)
        return data
    except RecursionError as error:
        raise Problem(400, "the JSON is nested too deeply", reason="too_deep") from error
    except ValueError as error:
        raise _not_json(error) from error


def _not_json(error: Exception) -> Problem:
    return Problem(400, f"the body is not JSON: {error}"[:300], reason="not_json")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names: set[str] = set()
        name = next(name for name, _ in pairs if name in names or names.add(name))  # type: ignore[func-returns-value]
        shown = name[:40].encode(errors="replace").decode()
        raise Problem(400, f"{shown!r} is there twice", reason="twice")
    return data


def _constant(text: str) -> None:
    if text != "NaN":
        _refuse_infinite(text)


def _number(text: str) -> float:
    number = float(text)
    if number - number != 0:
        _refuse_infinite(text)
    return number


def _refuse_infinite(text: str) -> NoReturn:
    errors = [{"loc": ["body"], "msg": f"{text[:40]} is not a finite number"}]
    raise Problem(422, errors[0]["msg"], errors=errors, reason="bad_row")  # type: ignore[arg-type]


def written(rows: Any) -> bytes:
    """Rows as the hot route reads them.

    Raises:
        Problem: 422: a text holds half a surrogate pair.
    """
    try:
        return _encode(rows)
    except UnicodeEncodeError as error:
        errors = [{"loc": ["body"], "msg": "holds half a surrogate pair"}]
        raise Problem(422, "a text holds half a surrogate pair", errors=errors, reason="bad_row") from error


def of_columns(columns: Mapping[str, list[Any]]) -> bytes:
    """Rows as the hot route reads them, from columns of one length."""
    names = tuple(columns)
    return written([dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)])
