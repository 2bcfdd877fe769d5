"""Delimited text that is too large to be read at once: pieces that end where a record ends, each read as a file is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.sources.delimited import ENDS, table_of
from headrace.sources.kinds import ByteStream, refuse_zeros, utf8
from headrace.sources.layout import TextLayout, layout_of

if TYPE_CHECKING:
    import polars as pl

_QUOTED = re.compile(rb'[^"]*+(?:""[^"]*+)*+')
"""The text of a quoted field, up to the quote that closes it."""


def read_pieces(first: bytes, stream: ByteStream, path: Path, skip: int, size: int) -> Iterator[pl.DataFrame]:
    """The rows of a text in UTF-8, in frames of about `size` bytes of it: together what `read_delimited` gives at once.

    A piece ends at a newline that is in no quoted field. A record longer than that makes a longer piece.

    Args:
        first: The beginning, of a megabyte or more: the header is looked for in it.
        stream: What follows.
        path: For its ending, and for messages.
        skip: Lines above the header.
        size: Bytes that are read at once.

    Raises:
        SourceError: As `read_delimited`, at the piece that is wrong.
    """
    where = str(path)
    text = utf8(first, where)
    layout = layout_of(text, path, skip)
    rest, header, line, given = text[layout.start :], b"", layout.line, False
    while chunk := stream.read(size):
        refuse_zeros(chunk, where)
        rest += chunk
        end = _last_end(rest, layout)
        if not header:
            header = rest[: _first_end(rest[:end], layout)]
            rest, end = rest[len(header) :], end - len(header)
        if header and rest[:end].strip(b"\r\n"):
            yield table_of(header + rest[:end].rstrip(b"\r\n"), replace(layout, line=line), where)
            line += _lines(rest[:end])
            rest, given = rest[end:], True
    rest = rest.rstrip(ENDS)
    if rest or not given:
        yield table_of(header + rest, replace(layout, line=line), where)


def _lines(data: bytes) -> int:
    return data.count(b"\n") + data.count(b"\r") - data.count(b"\r\n")


def _ends(data: bytes, layout: TextLayout) -> Iterator[tuple[int, int]]:
    """The gaps between quoted fields, in order; the last one is missing where a field is not closed.

    A quote opens a field at its begin only, as for Python's csv module; elsewhere it is a sign like others.
    """
    edges, after = {*layout.delimiter.encode(), *b"\r\n"}, 0
    place = data.find(b'"')
    while place >= 0:
        begin = place
        while layout.spaced and begin and data[begin - 1] == ord(" "):
            begin -= 1
        if begin and data[begin - 1] not in edges:
            place = data.find(b'"', place + 1)
            continue
        yield after, place
        found = _QUOTED.match(data, place + 1)
        after = len(data) if found is None else found.end() + 1
        if after >= len(data):
            return  # it is not closed, or what follows decides whether it is
        place = data.find(b'"', after)
    yield after, len(data)


def _last_end(data: bytes, layout: TextLayout) -> int:
    """The place after the last newline outside of quoted fields; 0 where there is none."""
    last = -1
    for begin, end in _ends(data, layout):
        last = max(last, data.rfind(b"\n", begin, end))
    return last + 1


def _first_end(data: bytes, layout: TextLayout) -> int:
    """The place after the first of them."""
    for begin, end in _ends(data, layout):
        if (first := data.find(b"\n", begin, end)) >= 0:
            return first + 1
    return 0
