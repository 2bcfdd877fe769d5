"""JSON Lines as text columns: every number exactly as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.errors import SourceError
from headrace.sources.kinds import utf8

if TYPE_CHECKING:
    import polars as pl


def read_jsonl(data: bytes, path: Path, skip: int = 0) -> pl.DataFrame:
    """One row per line; a field that a line lacks is null, a nested value is its JSON text.

    Raises:
        SourceError: A line is not a JSON object in UTF-8; the message has its number.
    """
    import polars as pl

    rows: list[dict[str, str | None]] = []
    names: dict[str, None] = {}
    # Only \n ends a line: text may hold U+2028 and its like.
    for number, line in enumerate(utf8(data, str(path)).split(b"\n"), 1):
        if line.strip():
            row = _row(line, number, str(path))
            names.update(dict.fromkeys(row))
            rows.append(row)
    return pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})


class _Number(str):
    """A number as it was written: 1.10 stays 1.10, and no digit of a long one is lost."""

    __slots__ = ()


def _row(line: bytes, number: int, where: str) -> dict[str, str | None]:
    try:
        found = json.loads(line, parse_float=_Number, parse_int=_Number, parse_constant=str)
        if b"\\u" in line:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        hint = "one JSON object a line; is the file cut off?"
        raise SourceError(f"line {number}: not JSON: {error}", where=where, hint=hint) from error
    if not isinstance(found, dict):
        raise SourceError(f"line {number}: not a JSON object", where=where, hint="one JSON object a line")
    return {name: _field(value) for name, value in found.items()}


def _field(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return None if value is None else str(value)
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A nested value with its numbers as numbers again."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return json.loads(value) if isinstance(value, _Number) else value
