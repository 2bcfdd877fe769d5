"""CSV and TSV as text, exactly: quotes, newlines in fields, any usual delimiter, notes above the header.

polars reads well-formed files. Python's csv module is the reference: it reads what polars refuses or would
read otherwise (stray quotes, blank lines), sets rows of another width apart, and says in which line a file is broken.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.contract.malformed import Malformed
from headrace.errors import SourceError
from headrace.sources.kinds import utf8
from headrace.sources.layout import TextLayout, fits, layout_of

if TYPE_CHECKING:
    import polars as pl

ENDS = b"\r\n\x1a"
"""What may stand after the last record: lines without anything, and the sign by which DOS ended a text."""
_FEW = 0.1
"""The share of lines of another width up to which the others are read together."""
_QUOTE, _LF, _CR = b'"'[0], b"\n"[0], b"\r"[0]


def read_delimited(data: bytes, path: Path, skip: int = 0) -> pl.DataFrame:
    """All fields as text; an empty field, quoted or not, is null, and blank lines are no rows.

    Lines with too few or too many fields stand in the column that `Malformed` makes, their fields null.

    Args:
        data: In UTF-8, or in UTF-16 with its mark.
        path: For its ending, and for messages.
        skip: Lines above the header.

    Raises:
        SourceError: Neither UTF-8 nor UTF-16 text, no column names or twice the same, an open quote.
    """
    data = utf8(data, str(path)).rstrip(ENDS)
    layout = layout_of(data, path, skip)
    return table_of(data[layout.start :], layout, str(path))


def table_of(body: bytes, layout: TextLayout, where: str) -> pl.DataFrame:
    """The rows under a header, which stands on `layout.line` of the file; see `read_delimited`."""
    frame = _fast(body, layout) if _regular(body, layout.delimiter) else None
    if frame is None and b'"' not in body:
        frame = _apart(body, layout, where)
    return frame if frame is not None else _exact(body, layout, where)


def _text(data: bytes, layout: TextLayout, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + layout.line
        text = f"line {line}: the byte 0x{data[error.start]:02x} is not UTF-8"
        raise SourceError(text, where=where, hint="convert the file to UTF-8") from error


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


def _fast(data: bytes, layout: TextLayout) -> pl.DataFrame | None:
    """The file as polars reads it, or None where the exact reader has to look."""
    import polars as pl

    names = layout.names
    if len(names) == 1 or b"\n" not in data or not layout.delimiter.isascii():
        return None
    columns = [f"{place}" for place in range(layout.width)]
    try:
        frame = pl.read_csv(data, separator=layout.delimiter, infer_schema=False, new_columns=columns)
    except pl.exceptions.PolarsError:
        return None  # the exact reader says what is wrong, and in which line
    # polars fills short rows with nulls: the last column tells, and a count of delimiters clears it.
    short_possible = frame.get_columns()[-1].null_count() > 0
    full = data.count(layout.delimiter.encode()) == (frame.height + 1) * (layout.width - 1)
    if frame.width != layout.width or (short_possible and (b'"' in data or not full)):
        return None
    unnamed = frame.get_columns()[len(names) :]
    if any(column.null_count() < frame.height for column in unnamed):
        return None
    frame = frame[:, : len(names)]
    frame.columns = list(names)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all())) if b'""' in data else frame


def _apart(data: bytes, layout: TextLayout, where: str) -> pl.DataFrame | None:
    """A file without quotes of which few lines have another width: these set apart, the others read as by `_fast`.

    None where that is not so plain, such as a line that only has empty fields beyond its columns.
    """
    import numpy as np
    import polars as pl

    codes = np.frombuffer(data, dtype=np.uint8)
    ends = np.append(np.flatnonzero(codes == _LF), codes.size)
    delimiters = np.flatnonzero(codes == ord(layout.delimiter)) if layout.delimiter.isascii() else ends[:0]
    counts = np.diff(np.searchsorted(delimiters, ends), prepend=0)
    wrong = np.flatnonzero(counts != layout.width - 1)
    if not 0 < wrong.size < ends.size * _FEW or wrong[0] == 0 or len(layout.names) < layout.width:
        return None
    lines, malformed, after = [], Malformed(), 0
    for line in wrong.tolist():
        begin, end = int(ends[line - 1]) + 1, int(ends[line])
        text = _text(data[begin:end], layout, where).rstrip("\r")
        fields = text.split(layout.delimiter)
        if not text or fits(fields, layout.width):
            return None
        _set_apart(malformed, line - 1, layout.line + line, fields, layout.width, text)
        lines.append(data[after:begin])
        after = end + 1
    frame = _fast(b"".join([*lines, data[after:]]).rstrip(b"\r\n"), layout)
    if frame is None:
        return None
    rows = np.full(ends.size - 1, -1)
    rows[np.delete(np.arange(ends.size - 1), wrong - 1)] = np.arange(frame.height)
    places = pl.Series(rows)
    return malformed.beside(frame[places.set(places < 0, None)])


def _set_apart(malformed: Malformed, row: int, line: int, fields: list[str], width: int, text: str) -> None:
    label = f"too {'few' if len(fields) < width else 'many'} fields"
    malformed.add(row, label, f"line {line} has {label}: {len(fields)} where {width} columns are named", text)


class _Lines:
    """The lines of a text, one after the other; those of the record that was read last are kept."""

    def __init__(self, text: str) -> None:
        self._text, self.kept = io.StringIO(text, newline=""), list[str]()

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.kept.append(line)
            yield line

    def record(self) -> str:
        """The text of the record."""
        return "".join(self.kept).rstrip("\r\n")


def _exact(data: bytes, layout: TextLayout, where: str) -> pl.DataFrame:
    import polars as pl

    lines = _Lines(_text(data, layout, where))
    reader = csv.reader(lines, delimiter=layout.delimiter, skipinitialspace=layout.spaced, strict=True)
    width = len(layout.names)
    columns: list[list[str | None]] = [[] for _ in layout.names]
    malformed, before = Malformed(), layout.line - 1
    try:
        next(reader, None)
        lines.kept.clear()
        for fields in reader:
            line = before + reader.line_num - len(lines.kept) + 1
            if fields and not fits(fields, width):
                _set_apart(malformed, len(columns[0]), line, fields, width, lines.record())
                for column in columns:
                    column.append(None)
            else:
                for column, field in zip(columns, fields, strict=False):
                    column.append(field or None)
            lines.kept.clear()
    except csv.Error as error:
        hint = "a quote opens a field and never closes it, or stands inside one undoubled"
        line = before + reader.line_num - len(lines.kept) + 1
        raise SourceError(f"line {line}: {error}", where=where, hint=hint) from error
    frame = pl.DataFrame(
        {name: pl.Series(values, dtype=pl.String) for name, values in zip(layout.names, columns, strict=True)}
    )
    return malformed.beside(frame)
