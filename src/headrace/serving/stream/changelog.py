"""The state as records of a compacted topic: one per series and block of steps, rewritten when it changes.

A record is its header, the block's values and the interval of the series' last prediction. So an event costs one record
of a few hundred bytes, whatever the length of the rings, and compaction leaves one record per block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar
from zlib import crc32

import numpy as np

from headrace.contract.aggregation import Aggregate
from headrace.errors import StreamError
from headrace.grid import Grid
from headrace.serving.stream.rings import Floats, Ints, Keys, Rings

T = TypeVar("T")

_PART = 20_000
"""Records that are put into the state at once."""
BLOCK = 32
"""Steps per record."""
_FORMAT = 1
_HEADER = struct.Struct("<HHHHqqqqq")
"""Format, block, columns, horizon; code of the grid, number of the block, newest, clock, origin."""
_KIND, _FIXED = struct.Struct("<HHHH"), struct.Struct("<q")


class Changelog:
    """Writes and reads the records of one kind of state.

    Args:
        columns: Columns that are remembered.
        grid: Whose slots the records hold.
        aggregates: How the values of a step were made, where it has any number of events.
    """

    def __init__(self, columns: int, grid: Grid, aggregates: Sequence[Aggregate] = ()) -> None:
        self._columns, self._grid = columns, grid.code
        self._format = _FORMAT if not aggregates else _FORMAT + 1 + crc32(repr(aggregates).encode()) % 2**15

    def records(self, rings: Rings, rows: Ints, slots: Ints) -> list[tuple[int, bytes, bytes]]:
        """Partition, key and value of what changed.

        Args:
            rings: The state after the change.
            rows: Rows of changed values, with repeats.
            slots: Their steps.
        """
        kept = slots > rings.newest[rows] - rings.length  # an older block has the key of a newer one
        row, block = _distinct(rows[kept], slots[kept] // BLOCK)
        if not row.size:
            return []
        head = np.empty((row.size, _HEADER.size // 8), dtype="<i8")
        head[:, 0] = _FIXED.unpack(_KIND.pack(self._format, BLOCK, self._columns, rings.horizon))[0]
        head[:, 1], head[:, 2] = self._grid, block
        head[:, 3], head[:, 4], head[:, 5] = rings.newest[row], rings.clock[row], rings.origin[row]
        parts = [head.view("<f8"), self._values(rings, row, block), rings.lower[row], rings.upper[row]]
        bodies = np.concatenate(parts, axis=1, dtype="<f8")
        width, data = bodies.shape[1] * 8, bodies.tobytes()
        turn = (block % (rings.length // BLOCK + 2)).tolist()
        found = []
        for i, (r, which) in enumerate(zip(row.tolist(), turn, strict=True)):
            partition, keys = rings.name(r)
            found.append((partition, b"[%b%d]" % (_inner(keys), which), data[i * width : (i + 1) * width]))
        return found

    def _values(self, rings: Rings, row: Ints, block: Ints) -> Floats:
        """Values of blocks, shape (records, columns * BLOCK); NaN where nothing is remembered."""
        steps = block[:, None] * BLOCK + np.arange(BLOCK)
        values = rings.values[:, row[:, None], steps % rings.length]
        newest = rings.newest[row][:, None]
        values[:, (steps > newest) | (steps <= newest - rings.length)] = np.nan
        return np.moveaxis(values, 0, 1).reshape(row.size, -1)

    def restore(self, rings: Rings, partition: int, records: Iterable[tuple[bytes, bytes]]) -> int:
        """Put the records of a partition, in their order, into the state; returns how many series there are.

        Of the records of one block only the last is kept on the way, so memory is bounded by the state.

        Raises:
            StreamError: A record is damaged, or was written for another declaration.
        """
        blocks: dict[tuple[bytes, bytes], bytes] = {}
        newest: dict[bytes, bytes] = {}
        good, length = b"", 0
        for key, value in records:
            if value[:16] != good or len(value) != length:
                self._check(value, partition)
                good, length = value[:16], len(value)
            series = key[: max(key.rfind(b","), 1)]  # without the block
            blocks[series, value[16:24]] = value
            newest[series] = value  # the last record of a series has its newest clock
        names = {series: tuple(json.loads(series + b"]")) for series in newest}
        row = {series: rings.add(partition, keys) for series, keys in names.items()}
        for part in _of_one_length(newest.items()):
            self._restore_heads(rings, np.array([row[series] for series, _ in part]), [value for _, value in part])
        for some in _of_one_length((key, value) for key, value in blocks.items()):
            rows = np.array([row[series] for (series, _), _ in some])
            self._restore_blocks(rings, rows, [value for _, value in some])
        return len(newest)

    def _restore_heads(self, rings: Rings, rows: Ints, values: list[bytes]) -> None:
        """Newest, clock, origin and interval of series."""
        words = np.frombuffer(b"".join(values), dtype="<i8").reshape(len(values), -1)
        rings.newest[rows], rings.clock[rows], rings.origin[rows] = words[:, 3:6].T
        intervals = words[:, _HEADER.size // 8 + self._columns * BLOCK :].view("<f8")
        if intervals.shape[1] == 2 * rings.horizon:  # a model with another horizon has said nothing yet
            rings.lower[rows], rings.upper[rows] = np.hsplit(intervals, 2)

    def _restore_blocks(self, rings: Rings, rows: Ints, values: list[bytes]) -> None:
        words = np.frombuffer(b"".join(values), dtype="<i8").reshape(len(values), -1)
        head = _HEADER.size // 8
        steps = words[:, 2][:, None] * BLOCK + np.arange(BLOCK)
        newest = rings.newest[rows][:, None]
        which, at = np.nonzero((steps <= newest) & (steps > newest - rings.length))
        for column in range(self._columns):
            first = head + column * BLOCK
            body = words[:, first : first + BLOCK].view("<f8")
            rings.values[column, rows[which], steps[which, at] % rings.length] = body[which, at]

    def _check(self, value: bytes, partition: int) -> None:
        where = f"state of partition {partition}"
        if len(value) < _HEADER.size:
            raise StreamError("a record is cut off", where=where)
        kind, block, columns, horizon, grid = _HEADER.unpack_from(value)[:5]
        written, ours = (kind, block, columns, grid), (self._format, BLOCK, self._columns, self._grid)
        if written != ours or len(value) != _HEADER.size + 8 * (self._columns * BLOCK + 2 * horizon):
            raise StreamError(
                f"was written for another declaration: format, block, columns, grid {written}, not {ours}",
                where=where,
                hint="delete the system's state topic and its group's offsets to begin anew",
            )


def _of_one_length(records: Iterable[tuple[T, bytes]]) -> Iterator[list[tuple[T, bytes]]]:
    """Records in parts of equal length and bounded size."""
    parts: dict[int, list[tuple[T, bytes]]] = {}
    for record in records:
        part = parts.setdefault(len(record[1]), [])
        part.append(record)
        if len(part) == _PART:
            yield parts.pop(len(record[1]))
    yield from parts.values()


def _distinct(rows: Ints, blocks: Ints) -> tuple[Ints, Ints]:
    """The different pairs, in order."""
    order = np.lexsort((blocks, rows))
    row, block = rows[order], blocks[order]
    new = np.ones(row.size, dtype=bool)
    new[1:] = (row[1:] != row[:-1]) | (block[1:] != block[:-1])
    return row[new], block[new]


@lru_cache(maxsize=200_000)
def _inner(keys: Keys) -> bytes:
    """Keys as JSON without the brackets around them, with what parts them from more."""
    return b"".join(b"%b, " % json.dumps(key).encode() for key in keys)
