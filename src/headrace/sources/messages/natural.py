"""Typed values of messages as the contract takes them."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from headrace.contract import Column
from headrace.contract.table import EPOCHS, NOT_FINITE
from headrace.contract.times import as_written

_JSON = frozenset({str, int, bool, type(None), dict, list})


class Unfit(Exception):
    """A value that no contract takes; its text is the reason.

    Attributes:
        column: Where it lies.
    """

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def natural(column: Column) -> Callable[[Any], Any]:
    """What makes of a typed value of this column one that its contract checks.

    Decimals become numbers, or texts where the column holds texts; times stay typed, and one of no zone counts as UTC
    where the column counts since 1970. A number that is not finite is refused: JSON has none, so nobody looks later.
    """
    name, kind, counted = column.called, column.type, column.format in EPOCHS

    def convert(value: Any) -> Any:
        form = type(value)
        if form in _JSON:
            return value
        if form is float:
            if not math.isfinite(value):
                raise Unfit(name, NOT_FINITE)
            return value
        if form is Decimal:
            return _number(value, kind, name)
        if kind == "time" and isinstance(value, date):
            if counted and isinstance(value, datetime) and value.tzinfo is None:
                return value.replace(tzinfo=UTC)
            return value
        return _text(value, kind, name)

    return convert


def time_written(column: Column, value: date) -> Any:
    """A typed time as text or number in the column's format, for what is read as JSON again."""
    import polars as pl

    if column.format is None or not isinstance(value, datetime):
        return value.isoformat() if column.format is None else value.strftime(column.format)
    if value.tzinfo is None:
        return value.strftime(column.format)
    times = pl.Series([value.astimezone(UTC)], dtype=pl.Datetime("us", "UTC"))
    return as_written(column, times)[0]


def _number(value: Decimal, kind: str, name: str) -> Any:
    if kind in ("text", "category"):
        return format(value, "f")
    if not value.is_finite():
        raise Unfit(name, NOT_FINITE)
    is_integer = kind == "integer" and value == value.to_integral_value()
    return int(value) if is_integer else float(value)


def _text(value: Any, kind: str, name: str) -> Any:
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (UUID, timedelta)):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        if kind in ("text", "category"):
            try:
                return bytes(value).decode()
            except UnicodeDecodeError as error:
                raise Unfit(name, "is not text in UTF-8") from error
        return base64.b64encode(value).decode()
    return value
