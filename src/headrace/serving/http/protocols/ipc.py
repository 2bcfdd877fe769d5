"""What an Arrow IPC stream says of itself, read before its columns are: a few bytes may claim any number of rows.

Only the messages' own heads are looked at, as the format's flatbuffers have them; what they hold is polars' to read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from headrace.serving.http.problem import Problem

_WHOLE = struct.Struct("<i")
_PLACE = struct.Struct("<I")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<q")
_CONTINUES = b"\xff\xff\xff\xff"
_NODE = 16
"""Bytes of a column's entry in a batch: its length and how many nulls it has."""
_DICTIONARY, _BATCH = 2, 3
"""Kinds of messages beside the schema."""


class _Table:
    """A table of a flatbuffer: fields by number, any of which may be absent."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._fields = at - _WHOLE.unpack_from(data, at)[0]
        if not 0 <= self._fields < len(data):
            raise ValueError("a table begins outside of its message")

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot >= _SHORT.unpack_from(self._data, self._fields)[0]:
            return None
        place: int = _SHORT.unpack_from(self._data, self._fields + slot)[0]
        return self._at + place if place else None

    def byte(self, number: int) -> int:
        at = self._field(number)
        return 0 if at is None else self._data[at]

    def long(self, number: int) -> int:
        at = self._field(number)
        found: int = 0 if at is None else _LONG.unpack_from(self._data, at)[0]
        return found

    def there(self, number: int) -> bool:
        return self._field(number) is not None

    def table(self, number: int) -> _Table:
        return _Table(self._data, self._behind(number))

    def _behind(self, number: int) -> int:
        at = self._field(number)
        if at is None:
            raise ValueError("a message lacks what it is about")
        found: int = at + _PLACE.unpack_from(self._data, at)[0]
        return found

    def lengths(self, number: int) -> Iterator[int]:
        """The first of the two numbers of each entry of a vector of pairs."""
        at = self._behind(number)
        count = _PLACE.unpack_from(self._data, at)[0]
        if at + 4 + count * _NODE > len(self._data):
            raise ValueError("a message ends within its columns")
        for place in range(count):
            yield _LONG.unpack_from(self._data, at + 4 + place * _NODE)[0]


def refuse_hidden(data: bytes, most: int) -> None:
    """Refuse a stream that would be larger in memory than it is here, or that is none.

    Raises:
        Problem: 400: it is no stream of messages. 413: it has too many rows. 415: its columns are compressed.
    """
    rows = 0
    try:
        for kind, batch in _batches(data):
            if batch.there(3):
                errors = [{"loc": ["body"], "msg": "has compressed columns"}]
                raise Problem(415, "the columns of the Arrow stream must not be compressed", errors=errors)
            length = batch.long(0)
            rows += length if kind == _BATCH else 0
            # Of nested columns and dictionaries too there is a bit a value at least, unless all of them are null.
            if length < 0 or any(not 0 <= each <= 8 * len(data) for each in batch.lengths(1)):
                raise ValueError("a column has more values than there are bytes")
            if rows > most or length > 8 * len(data) + most:
                raise Problem(413, f"{max(rows, length):,} rows are more than {most:,}")
    except (struct.error, ValueError, IndexError) as error:
        raise not_arrow(error) from error


def not_arrow(error: BaseException) -> Problem:
    """The refusal of a body that cannot be read."""
    said = (str(error) or "it ends too early").splitlines()[0][:200]
    return Problem(400, f"the body is not an Arrow IPC stream: {said}", reason="not_arrow")


def _batches(data: bytes) -> Iterator[tuple[int, _Table]]:
    """Kind and head of each batch."""
    at, end, messages = 0, len(data), 0
    while at < end:
        marked = data[at : at + 4] == _CONTINUES
        at += 4 if marked else 0  # streams of old begin without
        size = _WHOLE.unpack_from(data, at)[0]
        at += 4
        if size == 0:
            break
        if size < 0 or at + size > end:
            raise ValueError("a message ends outside of it")
        message = data[at : at + size]
        head = _Table(message, _PLACE.unpack_from(message, 0)[0])
        kind, body = head.byte(1), head.long(3)
        at += size
        if body < 0 or at + body > end:
            raise ValueError("a message's columns end outside of it")
        at += body
        messages += 1
        if kind == _BATCH:
            yield kind, head.table(2)
        elif kind == _DICTIONARY:
            yield kind, head.table(2).table(1)
    if not messages:
        raise ValueError("there is no message")
