"""Values of rows as JSON carries them: those of numpy and pandas too, what is missing as null, no infinity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from types import NoneType
from typing import Any
from uuid import UUID

import msgspec

from headrace.errors import UsageError

_PLAIN = frozenset((str, int, bool, NoneType))
_KNOWN = (datetime, date, time, UUID)
_MISSING = ("NAType", "NaTType")


def encoded(value: Any) -> bytes:
    """A value as JSON: NaN, ``pandas.NA`` and ``pandas.NaT`` are null; decimals are numbers.

    Raises:
        UsageError: It has an infinity, or something that JSON has no form for.

    >>> encoded({"age": float("nan"), "fare": Decimal("7.25")})
    b'{"age":null,"fare":7.25}'
    """
    try:
        return msgspec.json.encode(_plain(value, ()))
    except RecursionError as error:
        raise UsageError("the value is nested too deeply, or holds itself", where="body") from error
    except UnicodeEncodeError as error:
        raise UsageError("a text holds half a surrogate pair", where="body", hint="no UTF-8 has it") from error


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, or what pandas has for that.

    >>> is_missing(float("nan")), is_missing(0)
    (True, False)
    """
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float | Decimal) and math.isnan(value)


def _plain(value: Any, path: tuple[Any, ...]) -> Any:
    """The same of types that JSON has."""
    if isinstance(value, Mapping):
        return {
            str(name): item if item.__class__ in _PLAIN else _plain(item, (*path, name)) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, place)) for place, item in enumerate(value)]
    if value.__class__.__module__ == "numpy":
        value = _of_numpy(value)
        return _plain(value, path) if isinstance(value, list) else _scalar(value, path)
    return _scalar(value, path)


def _scalar(value: Any, path: tuple[Any, ...]) -> Any:
    if value.__class__ in _PLAIN:
        return value
    if is_missing(value):
        return None
    if isinstance(value, float | Decimal):
        if math.isinf(value):
            raise _none(path, "is infinite", "leave it out, or bound it")
        return float(value)
    if isinstance(value, _KNOWN):
        return value.to_pydatetime(warn=False) if hasattr(value, "to_pydatetime") else value
    if isinstance(value, str):  # of a subclass, such as of an enumeration
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    raise _none(path, f"is of type {value.__class__.__name__}", "make it a text, a number, a truth, a time or None")


def _of_numpy(value: Any) -> Any:
    """A scalar or an array of numpy, as Python has it."""
    if value.dtype.kind == "M":
        value = value.astype("datetime64[us]")
    return value.tolist()


def _none(path: tuple[Any, ...], subject: str, hint: str) -> UsageError:
    where = ".".join(map(str, path)) or "body"
    return UsageError(f"the value {subject}, which JSON has no form for", where=where, hint=hint)
