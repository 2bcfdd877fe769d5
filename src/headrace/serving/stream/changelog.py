"""The state as records of a compacted topic: one per series and block of steps, rewritten when it changes.

A record is its header, the block's values and the interval of the series' last prediction. So an event costs one record
of a few hundred bytes, whatever the length of the rings, and compaction leaves one record per block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

import numpy as np

from headrace.errors import StreamError
from headrace.serving.stream.rings import Floats, Ints, Keys, Rings

BLOCK = 32
"""Steps per record."""
_FORMAT = 1
_HEADER = struct.Struct("<HHHHqqqqq")
"""Format, block, columns, horizon; step in microseconds, number of the block, newest, clock, origin."""


class Changelog:
    """Writes and reads the records of one kind of state.

    Args:
        columns: Columns that are remembered.
        step: Of the grid.
    """

    def __init__(self, columns: int, step: timedelta) -> None:
        self._columns, self._step = columns, step // timedelta(microseconds=1)

    def records(self, rings: Rings, rows: Ints, slots: Ints) -> list[tuple[int, bytes, bytes]]:
        """Partition, key and value of what changed.

        Args:
            rings: The state after the change.
            rows: Rows of changed values, with repeats.
            slots: Their steps.
        """
        kept = slots > rings.newest[rows] - rings.length  # an older block has the key of a newer one
        pairs = np.unique(np.stack([rows[kept], slots[kept] // BLOCK], axis=1), axis=0)
        if not pairs.size:
            return []
        row, block = pairs[:, 0], pairs[:, 1]
        values = self._values(rings, row, block)
        intervals = np.concatenate([rings.lower[row], rings.upper[row]], axis=1)
        bodies = np.concatenate([values, intervals], axis=1).astype("<f8")
        blocks = rings.length // BLOCK + 2
        fixed = (_FORMAT, BLOCK, self._columns, rings.horizon, self._step)
        heads = np.stack([row, block, rings.newest[row], rings.clock[row], rings.origin[row]], axis=1).tolist()
        width, data, found = bodies.shape[1] * 8, bodies.tobytes(), []
        for i, (r, b, newest, clock, origin) in enumerate(heads):
            partition, keys = rings.name(r)
            body = _HEADER.pack(*fixed, b, newest, clock, origin) + data[i * width : (i + 1) * width]
            found.append((partition, b"[%b, %d]" % (_inner(keys), b % blocks), body))
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

        Raises:
            StreamError: A record is damaged, or was written for another declaration.
        """
        blocks: dict[tuple[Keys, int], bytes] = {}
        newest: dict[Keys, bytes] = {}
        for key, value in records:
            *keys, _ = json.loads(key)
            head = self._checked(value, partition)
            series = tuple(keys)
            blocks[series, head[5]] = value
            newest[series] = value  # the last record of a series has its newest clock
        for series, value in newest.items():
            self._restore_head(rings, rings.add(partition, series), value)
        for (series, block), value in blocks.items():
            self._restore_block(rings, rings.index[partition, series], block, value)
        return len(newest)

    def _restore_head(self, rings: Rings, row: int, value: bytes) -> None:
        head = _HEADER.unpack_from(value)
        rings.newest[row], rings.clock[row], rings.origin[row] = head[6:9]
        horizon = head[3]
        body = np.frombuffer(value, dtype="<f8", offset=_HEADER.size + 8 * self._columns * BLOCK)
        if horizon == rings.horizon:  # a model with another horizon has said nothing yet
            rings.lower[row], rings.upper[row] = body[:horizon], body[horizon:]

    def _restore_block(self, rings: Rings, row: int, block: int, value: bytes) -> None:
        steps = block * BLOCK + np.arange(BLOCK)
        newest = int(rings.newest[row])
        kept = (steps <= newest) & (steps > newest - rings.length)
        body = np.frombuffer(value, dtype="<f8", offset=_HEADER.size, count=self._columns * BLOCK)
        rings.values[:, row, steps[kept] % rings.length] = body.reshape(self._columns, BLOCK)[:, kept]

    def _checked(self, value: bytes, partition: int) -> tuple[int, ...]:
        where = f"state of partition {partition}"
        if len(value) < _HEADER.size:
            raise StreamError("a record is cut off", where=where)
        head = _HEADER.unpack_from(value)
        written, ours = head[:3] + head[4:5], (_FORMAT, BLOCK, self._columns, self._step)
        if written != ours or len(value) != _HEADER.size + 8 * (self._columns * BLOCK + 2 * head[3]):
            raise StreamError(
                f"was written for another declaration: format, block, columns, step {written}, not {ours}",
                where=where,
                hint="delete the system's state topic and its group's offsets to begin anew",
            )
        return head


@lru_cache(maxsize=200_000)
def _inner(keys: Keys) -> bytes:
    """Keys as JSON without the brackets around them."""
    return json.dumps(list(keys))[1:-1].encode()
