"""Tables of a flatbuffer, as far as the heads of Arrow's messages need them. Whatever lies outside of the message is an
error: nothing of it can be trusted."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_OFFSET, _BACK, _SHORT, _LONG = struct.Struct("<I"), struct.Struct("<i"), struct.Struct("<H"), struct.Struct("<q")
PAIR = struct.Struct("<qq")
"""An entry of a column or of a buffer: two whole numbers of 64 bits."""
Malformed = (struct.error, ValueError, IndexError)
"""What reading raises where a message is not what it should be."""


class FlatTable:
    """A table: fields by number, any of which may be absent."""

    def __init__(self, data: bytes, at: int) -> None:
        if not 0 <= at < len(data):
            raise ValueError("a table begins outside of its message")
        self._data, self._at = data, at
        self._fields = at - _BACK.unpack_from(data, at)[0]
        if not 0 <= self._fields < len(data):
            raise ValueError("a table begins outside of its message")

    @classmethod
    def root(cls, data: bytes) -> FlatTable:
        """The outermost table."""
        return cls(data, _OFFSET.unpack_from(data, 0)[0])

    def _field(self, number: int) -> int | None:
        slot = 4 + 2 * number
        if slot + 2 > _SHORT.unpack_from(self._data, self._fields)[0]:
            return None
        place: int = _SHORT.unpack_from(self._data, self._fields + slot)[0]
        return self._at + place if place else None

    def there(self, number: int) -> bool:
        """Whether it has a field."""
        return self._field(number) is not None

    def byte(self, number: int) -> int:
        """A small number; 0 where there is none."""
        position = self._field(number)
        return 0 if position is None else self._data[position]

    def long(self, number: int) -> int:
        """A whole number of 64 bits; 0 where there is none."""
        position = self._field(number)
        value: int = 0 if position is None else _LONG.unpack_from(self._data, position)[0]
        return value

    def table(self, number: int) -> FlatTable:
        """A table that must be there."""
        return FlatTable(self._data, self._behind(number))

    def text(self, number: int) -> str:
        """A text; empty where there is none."""
        if not self.there(number):
            return ""
        start, length = self._vector(number, 1)
        return self._data[start : start + length].decode("utf-8", "replace")

    def tables(self, number: int) -> Iterator[FlatTable]:
        """Each table of a vector."""
        if self.there(number):
            start, count = self._vector(number, _OFFSET.size)
            for place in range(start, start + count * _OFFSET.size, _OFFSET.size):
                yield FlatTable(self._data, place + _OFFSET.unpack_from(self._data, place)[0])

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """Each entry of a vector of pairs."""
        if not self.there(number):
            return []
        start, count = self._vector(number, PAIR.size)
        return [(first, second) for first, second in PAIR.iter_unpack(self._data[start : start + count * PAIR.size])]

    def longs(self, number: int) -> list[int]:
        """Each number of a vector."""
        if not self.there(number):
            return []
        start, count = self._vector(number, _LONG.size)
        return [number for (number,) in _LONG.iter_unpack(self._data[start : start + count * _LONG.size])]

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        position = self._behind(number)
        count: int = _OFFSET.unpack_from(self._data, position)[0]
        if position + _OFFSET.size + count * size > len(self._data):
            raise ValueError("a message ends within a list")
        return position + _OFFSET.size, count

    def _behind(self, number: int) -> int:
        position = self._field(number)
        if position is None:
            raise ValueError("a message lacks what it is about")
        found: int = position + _OFFSET.unpack_from(self._data, position)[0]
        return found
