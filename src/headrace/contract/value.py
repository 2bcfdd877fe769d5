"""One text, such as of a command line or a query, as a value of a column's type."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.column import Column, ColumnType

if TYPE_CHECKING:
    import polars as pl


def value_of(text: str, dtype: pl.DataType) -> Any:
    """The value that a text names, as a contract would read it from a file.

    Args:
        text: A time in any form of ISO 8601 (UTC where it has no zone, as tables show it), a number, ``true`` or
            ``false``, or the text itself for a column of texts. Empty is a missing value, but in a column of texts.
        dtype: The column's type in a table.

    Raises:
        ValueError: It is no value of that type; says what it should be.
    """
    import polars as pl

    from headrace.contract.parse import parse_column

    kind = _kind_of(dtype)
    if kind in ("text", "category"):
        return text
    if not text.strip():
        return None
    if kind == "time":
        return _time(text)
    parsed = parse_column(Column("value", kind, nullable=True), pl.Series("value", [text], dtype=pl.String))
    if parsed.values[0] is None:
        raise ValueError(f"{text!r} is not {_SAID[kind]}")
    return parsed.values[0]


def _kind_of(dtype: pl.DataType) -> ColumnType:
    """The contract's word for a table's type."""
    if dtype.is_temporal():
        return "time"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "float"
    return "boolean" if dtype.base_type().__name__ == "Boolean" else "text"


_SAID = {"time": "a time", "integer": "a whole number", "float": "a number", "boolean": "true or false"}


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time; write it as 2023-01-20T16:00:00Z") from error
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is beyond the times that there are in UTC") from error
