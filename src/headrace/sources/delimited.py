"""CSV and TSV as text, exactly: quotes, newlines in fields, a byte-order mark, any usual delimiter.

polars reads well-formed files. Python's csv module is the reference: it reads what polars refuses or would
read otherwise (stray quotes, blank lines), and says in which line a file is broken.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.errors import SourceError

if TYPE_CHECKING:
    import polars as pl

_BOM = b"\xef\xbb\xbf"
_QUOTE, _LF, _CR = b'"'[0], b"\n"[0], b"\r"[0]
_CANDIDATES = (",", ";", "\t", "|")


def read_delimited(data: bytes, path: Path) -> pl.DataFrame:
    """All fields as text; an empty field, quoted or not, is null, and blank lines are no rows.

    Raises:
        SourceError: Not UTF-8 text, no column names or twice the same, rows of another length, an open quote.
    """
    where = str(path)
    data = data.removeprefix(_BOM).rstrip(b"\r\n")
    if b"\x00" in data:
        raise SourceError("the file holds binary data, not text", where=where, hint="is its ending right?")
    delimiter, names = _header(data, path)
    if _regular(data, delimiter):
        frame = _fast(data, delimiter, names)
        if frame is not None:
            return frame
    return _exact(data, delimiter, names, where)


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        text = f"line {line}: the byte 0x{data[error.start]:02x} is not UTF-8"
        raise SourceError(text, where=where, hint="convert the file to UTF-8") from error


def _header(data: bytes, path: Path) -> tuple[str, list[str]]:
    """The delimiter and the column names, from the first record."""
    # The names may hold newlines in quotes, so the first record ends at the first newline outside of quotes.
    end = data.find(b"\n")
    while end != -1 and data.count(b'"', 0, end) % 2:
        end = data.find(b"\n", end + 1)
    head = _text(data if end == -1 else data[:end], str(path))
    delimiter = "\t" if ".tsv" in [each.lower() for each in path.suffixes] else _sniffed(head)
    names = next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    _refuse_names(names, str(path))
    return delimiter, names


def _refuse_names(names: list[str], where: str) -> None:
    for place, name in enumerate(names, 1):
        if not name.strip():
            hint = "the first row must hold the column names"
            raise SourceError(f"column {place} has no name", where=where, hint=hint)
        if name in names[: place - 1]:
            hint = "rename one of them in the file"
            raise SourceError(f"two columns are called {name!r}", where=where, hint=hint)


def _sniffed(head: str) -> str:
    fields = {each: len(next(csv.reader(io.StringIO(head, newline=""), delimiter=each), [])) for each in _CANDIDATES}
    return max(_CANDIDATES, key=lambda each: fields[each])


def _regular(data: bytes, delimiter: str) -> bool:
    """Whether all readers agree on the file: quotes only around whole fields, no blank line, no lone CR."""
    if b"\n\n" in data or b"\n\r\n" in data or data.count(b"\r") != data.count(b"\r\n"):
        return False
    if b'"' not in data:
        return True
    import numpy as np

    codes = np.frombuffer(data, dtype=np.uint8)
    quotes = np.flatnonzero(codes == _QUOTE)
    if quotes.size % 2:
        return False
    edges = np.array([ord(delimiter), _LF, _CR, _QUOTE], dtype=np.uint8)
    first, last = quotes[::2], quotes[1::2]
    before = codes[first[first > 0] - 1]
    after = codes[last[last < codes.size - 1] + 1]
    return bool(np.isin(before, edges).all() and np.isin(after, edges).all())


def _fast(data: bytes, delimiter: str, names: list[str]) -> pl.DataFrame | None:
    """The file as polars reads it, or None where the exact reader has to look."""
    import polars as pl

    if len(names) == 1 or b"\n" not in data:
        return None
    try:
        frame = pl.read_csv(data, separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError:
        return None  # the exact reader says what is wrong, and in which line
    # polars fills short rows with nulls: the last column tells, and a count of delimiters clears it.
    short_possible = frame.get_columns()[-1].null_count() > 0
    full = data.count(delimiter.encode()) == (frame.height + 1) * (len(names) - 1)
    if frame.width != len(names) or (short_possible and (b'"' in data or not full)):
        return None
    frame.columns = names
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all())) if b'""' in data else frame


def _exact(data: bytes, delimiter: str, names: list[str], where: str) -> pl.DataFrame:
    import polars as pl

    reader = csv.reader(io.StringIO(_text(data, where), newline=""), delimiter=delimiter, strict=True)
    columns: list[list[str | None]] = [[] for _ in names]
    line = 1
    try:
        next(reader, None)
        for fields in reader:
            if fields and len(fields) != len(names):
                text = f"line {line + 1}: {len(fields)} fields where {len(names)} columns are named"
                hint = "a delimiter inside a field needs quotes around the field"
                raise SourceError(text, where=where, hint=hint)
            for column, field in zip(columns, fields, strict=False):
                column.append(field or None)
            line = reader.line_num
    except csv.Error as error:
        hint = "a quote opens a field and never closes it, or stands inside one undoubled"
        raise SourceError(f"line {line + 1}: {error}", where=where, hint=hint) from error
    return pl.DataFrame({name: pl.Series(values, dtype=pl.String) for name, values in zip(names, columns, strict=True)})
