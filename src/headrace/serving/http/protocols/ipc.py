"""What an Arrow IPC stream says of itself, looked at before its columns are read.

A few bytes may claim any number of rows, and a reader that believes them ends the process: so what polars is given has
columns of plain types only, and every length and place lies within the body.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from headrace.serving.http.problem import Problem
from headrace.serving.http.protocols.flatbuffer import FlatTable, Malformed

_SIZE = struct.Struct("<i")
_CONTINUES = b"\xff\xff\xff\xff"
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
"""Kinds of messages."""
_TEXTS = {5: 3, 20: 3, 24: 2}
_BUFFERS = {1: 0, 2: 2, 3: 2, 6: 2, 7: 2, 8: 2, 10: 2} | _TEXTS
"""Types of columns, by their number in the format, and of how many buffers they are: null, whole numbers, floats,
truths, decimals, dates, timestamps, and three ways to write text."""
_VIEWS = 24
_COLUMNS = 1_000


@dataclass(frozen=True)
class _ColumnLayout:
    """What a batch has of a column: so many buffers, and whether others follow (`_VIEWS`)."""

    kind: int
    dictionary: int | None

    @property
    def buffers(self) -> int:
        return _BUFFERS[self.kind] if self.dictionary is None else 2

    @property
    def is_view(self) -> bool:
        return self.dictionary is None and self.kind == _VIEWS


def refuse_hostile(data: bytes, most: int) -> None:
    """Refuse a stream that would be larger in memory than it is here, that says what is not so, or that is none.

    Raises:
        Problem: 400: it is no stream of messages. 413: it has too many rows. 415: its columns are compressed. 422: a
            column is of a type that no contract has.
    """
    columns: list[_ColumnLayout] | None = None
    rows = 0
    try:
        for kind, head, body in _messages(data):
            if kind == _SCHEMA and columns is None:
                columns = [_column(field) for field in head.tables(1)]
                if len(columns) > _COLUMNS:
                    raise ValueError("there are too many columns")
            elif columns is None or kind not in (_DICTIONARY, _BATCH):
                raise ValueError("a message is not where it should be")
            elif kind == _DICTIONARY:
                kinds = {column.dictionary: _ColumnLayout(column.kind, None) for column in columns}
                _refuse_dictionary(head, kinds, body, len(data))
            else:
                rows += _refuse_batch(head, columns, body, most)
                if rows > most:
                    raise Problem(413, f"{rows:,} rows are more than {most:,}")
    except Malformed as error:
        raise not_arrow(error) from error
    if columns is None:
        raise not_arrow(ValueError("there is no message"))


def not_arrow(error: BaseException) -> Problem:
    """The refusal of a body that cannot be read."""
    message = (str(error) or "it ends too early").splitlines()[0][:200]
    return Problem(400, f"the body is not an Arrow IPC stream: {message}", reason="not_arrow")


def _messages(data: bytes) -> Iterator[tuple[int, FlatTable, int]]:
    """Kind, head and bytes of body of each message."""
    position, end = 0, len(data)
    while position < end:
        position += 4 if data[position : position + 4] == _CONTINUES else 0  # streams of old begin without
        size = _SIZE.unpack_from(data, position)[0]
        position += 4
        if size == 0:
            return
        if size < 0 or position + size > end:
            raise ValueError("a message ends outside of it")
        message = FlatTable.root(data[position : position + size])
        position += size
        body = message.long(3)
        if body < 0 or position + body > end:
            raise ValueError("a message's columns end outside of it")
        position += body
        yield message.byte(1), message.table(2), body


def _column(field: FlatTable) -> _ColumnLayout:
    kind, name = field.byte(2), field.text(0)[:80]
    dictionary = field.table(4).long(0) if field.there(4) else None
    if kind not in _BUFFERS or (dictionary is not None and kind not in _TEXTS) or any(field.tables(5)):
        message = "is of a type that is not read here: whole numbers, floats, truths, texts, dates and timestamps are"
        raise Problem(422, f"the column {name!r} {message}", errors=[{"loc": ["body", name], "msg": message}])
    return _ColumnLayout(kind, dictionary)


def _refuse_dictionary(head: FlatTable, kinds: Mapping[int | None, _ColumnLayout], body: int, size: int) -> None:
    column = kinds.get(head.long(0)) if head.long(0) in kinds else None
    if column is None or head.byte(2):
        raise ValueError("a dictionary is no column's")
    _refuse_batch(head.table(1), [column], body, size)


def _refuse_batch(batch: FlatTable, columns: Sequence[_ColumnLayout], body: int, limit: int) -> int:
    """The rows of a batch whose every column is as long as it, and every buffer within its body."""
    if batch.there(3):
        errors = [{"loc": ["body"], "msg": "has compressed columns"}]
        raise Problem(415, "the columns of the Arrow stream must not be compressed", errors=errors)
    rows, further = batch.long(0), batch.longs(4)
    if rows > limit:
        raise Problem(413, f"{rows:,} rows are more than {limit:,}")
    nodes, buffers = batch.pairs(1), batch.pairs(2)
    if rows < 0 or [length for length, _ in nodes] != [rows] * len(columns):
        raise ValueError("a column has another length than its batch")
    if any(not 0 <= nulls <= rows for _, nulls in nodes):
        raise ValueError("a column has more nulls than rows")
    if len(further) != sum(column.is_view for column in columns) or any(count < 0 for count in further):
        raise ValueError("a column of texts lacks its buffers")
    if len(buffers) != sum(column.buffers for column in columns) + sum(further):
        raise ValueError("a batch has other buffers than its columns")
    if any(place < 0 or length < 0 or place + length > body for place, length in buffers):
        raise ValueError("a buffer ends outside of its batch")
    return rows
