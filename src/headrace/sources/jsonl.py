"""JSON Lines as text columns: every number exactly as it was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.contract.malformed import Malformed
from headrace.errors import SourceError
from headrace.sources.kinds import utf8

if TYPE_CHECKING:
    import polars as pl


def read_jsonl(data: bytes, path: Path, skip: int = 0) -> pl.DataFrame:
    """One row per line; a field that a line lacks is null, a nested value is its JSON text.

    Lines that are no JSON object stand in the column that `Malformed` makes. `skip` is for delimited text alone.

    Raises:
        SourceError: No line is a JSON object in UTF-8, or the text is none; the message has the first line's number.
    """
    import polars as pl

    rows: list[dict[str, str | None]] = []
    names: dict[str, None] = {}
    malformed = Malformed()
    # Only \n ends a line: text may hold U+2028 and its like.
    for number, line in enumerate(utf8(data, str(path)).split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = _row(line)
        except _NoObject as error:
            malformed.add(len(rows), error.label, f"line {number} is {error}", line.decode(errors="replace"))
            row = {}
        names.update(dict.fromkeys(row))
        rows.append(row)
    if len(malformed.places) == len(rows):
        why = malformed.lines[0]["why"] if rows else "the file has no line"
        raise SourceError(why, where=str(path), hint="one JSON object a line; is the file cut off?")
    frame = pl.DataFrame({name: pl.Series([row.get(name) for row in rows], dtype=pl.String) for name in names})
    return malformed.beside(frame)


class _NoObject(Exception):
    """A line is no JSON object; `label` says it without particulars."""

    def __init__(self, label: str, more: str = "") -> None:
        super().__init__(f"{label}{more}")
        self.label = label


class _Number(str):
    """A number as it was written: 1.10 stays 1.10, and no digit of a long one is lost."""

    __slots__ = ()


def _row(line: bytes) -> dict[str, str | None]:
    try:
        found = json.loads(line, parse_float=_Number, parse_int=_Number, parse_constant=str)
        if b"\\u" in line:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise _NoObject("not JSON", f": {error}") from error
    if not isinstance(found, dict):
        raise _NoObject("not a JSON object")
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
