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


class Table:
    """A table: fields by number, any of which may be absent."""

    def __init__(self, data: bytes, at: int) -> None:
        if not 0 <= at < len(data):
            raise ValueError("a table begins outside of its message")
        self._data, self._at = data, at
        self._fields = at - _BACK.unpack_from(data, at)[0]
        if not 0 <= self._fields < len(data):
            raise ValueError("a table begins outside of its message")

    @classmethod
    def root(cls, data: bytes) -> Table:
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
        at = self._field(number)
        return 0 if at is None else self._data[at]

    def long(self, number: int) -> int:
        """A whole number of 64 bits; 0 where there is none."""
        at = self._field(number)
        found: int = 0 if at is None else _LONG.unpack_from(self._data, at)[0]
        return found

    def table(self, number: int) -> Table:
        """A table that must be there."""
        return Table(self._data, self._behind(number))

    def text(self, number: int) -> str:
        """A text; empty where there is none."""
        if not self.there(number):
            return ""
        at, length = self._vector(number, 1)
        return self._data[at : at + length].decode("utf-8", "replace")

    def tables(self, number: int) -> Iterator[Table]:
        """Each table of a vector."""
        if self.there(number):
            at, count = self._vector(number, _OFFSET.size)
            for place in range(at, at + count * _OFFSET.size, _OFFSET.size):
                yield Table(self._data, place + _OFFSET.unpack_from(self._data, place)[0])

    def pairs(self, number: int) -> list[tuple[int, int]]:
        """Each entry of a vector of pairs."""
        if not self.there(number):
            return []
        at, count = self._vector(number, PAIR.size)
        return [(first, second) for first, second in PAIR.iter_unpack(self._data[at : at + count * PAIR.size])]

    def longs(self, number: int) -> list[int]:
        """Each number of a vector."""
        if not self.there(number):
            return []
        at, count = self._vector(number, _LONG.size)
        return [each for (each,) in _LONG.iter_unpack(self._data[at : at + count * _LONG.size])]

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        at = self._behind(number)
        count: int = _OFFSET.unpack_from(self._data, at)[0]
        if at + _OFFSET.size + count * size > len(self._data):
            raise ValueError("a message ends within a list")
        return at + _OFFSET.size, count

    def _behind(self, number: int) -> int:
        at = self._field(number)
        if at is None:
            raise ValueError("a message lacks what it is about")
        found: int = at + _OFFSET.unpack_from(self._data, at)[0]
        return found
