"""The state as records of a compacted topic: one per series and block of steps, rewritten when it changes.

A record is its header, the block's values, the interval of the series' last prediction, that prediction, how its values
were judged, and a checksum. So an event
costs one record of a few hundred bytes, whatever the length of the rings, and compaction leaves one record per block.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar
from zlib import crc32

import numpy as np

from headrace.contract.aggregation import Aggregate
from headrace.errors import StreamError
from headrace.grid import Grid
from headrace.serving.engine import small
from headrace.serving.engine.checksums import checksums
from headrace.serving.engine.folding import Folding
from headrace.serving.engine.positions import Total
from headrace.serving.engine.rings import BLOCK, Floats, Ints, Keys, Rings, Sums
from headrace.sources.events import EventShape

T = TypeVar("T")
Change = tuple[int, bytes, bytes | None]
"""Partition, key and value of a record; without a value the key's record goes."""

_PART = 20_000
"""Records that are put into the state at once."""
_FORMAT = 1
_CHECKED = 2**15
"""Put to the block of a record that ends with its checksum."""
_WATCHED = 2**14
"""Put to it where the record has the last prediction itself, and how values were judged."""
_HEADER = struct.Struct("<HHHHqqqqq")
"""Format, block, columns, horizon; code of the grid, number of the block, newest, clock, origin."""
_KIND, _FIXED = struct.Struct("<HHHH"), struct.Struct("<q")


class StateRecord(NamedTuple):
    """One record that was found good."""

    series: bytes
    turn: int
    value: bytes
    check: int
    sealed: bool
    """Whether it came with a checksum."""


class DamagedRecord(NamedTuple):
    """A record that is not what a worker wrote."""

    key: bytes
    reason: str
    foreign: bool = False
    """Whether even its key is none that a worker writes."""


class Changelog:
    """Writes and reads the records of one kind of state.

    Args:
        columns: Columns that are remembered.
        grid: Whose slots the records hold.
        aggregates: How the values of a step were made, where it has any number of events.
        keys: Number of the key columns.

    Attributes:
        totals: What the records of each partition come to.
    """

    def __init__(self, columns: int, grid: Grid, aggregates: Sequence[Aggregate] = (), keys: int = 1) -> None:
        self._columns, self._grid, self._keys = columns, grid.code, keys
        self._format = _FORMAT if not aggregates else _FORMAT + 1 + crc32(repr(aggregates).encode()) % 2**15
        self.totals: dict[int, Total] = {}

    @classmethod
    def of(cls, shape: EventShape) -> Changelog:
        """The changelog of a system's events."""
        columns = Folding(len(shape.columns), shape.aggregates).columns
        return cls(columns, shape.grid, shape.aggregates, len(shape.keys))

    def records(self, rings: Rings, rows: Ints, slots: Ints) -> list[Change]:
        """Partition, key and value of what changed.

        Args:
            rings: The state after the change.
            rows: Rows of changed values, with repeats.
            slots: Their steps.
        """
        newest = slots > rings.newest[rows] - rings.length  # an older block has the key of a newer one
        row, block = _distinct(rows[newest], slots[newest] // BLOCK)
        if not row.size:
            return []
        turn = block % rings.sums.shape[1]
        names = [rings.name(r) for r in row.tolist()]
        inner_names = [_inner(keys) for _, keys in names]
        bodies = self._bodies(rings, row, block)
        words = bodies.view("<u8")
        words[:, -1] = checksums(words[:, :-1], np.array([crc for _, crc in inner_names], dtype=np.uint64), turn)
        self._count(rings, row, turn, words[:, -1], np.array([partition for partition, _ in names]))
        width, data = bodies.shape[1] * 8, bodies.tobytes()
        return [
            (partition, b"[%b%d]" % (inner, row_index), data[begin : begin + width])
            for (partition, _), (inner, _), row_index, begin in zip(
                names, inner_names, turn.tolist(), range(0, len(data), width), strict=True
            )
        ]

    def _bodies(self, rings: Rings, row: Ints, block: Ints) -> Floats:
        """Records without their checksum, which is the last word."""
        head = np.empty((row.size, _HEADER.size // 8), dtype="<i8")
        kind = _KIND.pack(self._format, BLOCK | _CHECKED | _WATCHED, self._columns, rings.horizon)
        head[:, 0] = _FIXED.unpack(kind)[0]
        head[:, 1], head[:, 2] = self._grid, block
        head[:, 3], head[:, 4], head[:, 5] = rings.newest[row], rings.clock[row], rings.origin[row]
        predictions = [rings.lower[row], rings.upper[row], rings.value[row], rings.watch.words(rings.watched[row])]
        parts = [head.view("<f8"), self._values(rings, row, block), *predictions]
        return np.concatenate([*parts, np.zeros((row.size, 1))], axis=1, dtype="<f8")

    def _values(self, rings: Rings, row: Ints, block: Ints) -> Floats:
        """Values of blocks, shape (records, columns * BLOCK); NaN where nothing is remembered."""
        steps = block[:, None] * BLOCK + np.arange(BLOCK)
        values = rings.values[:, row[:, None], steps % rings.length]
        newest = rings.newest[row][:, None]
        values[:, (steps > newest) | (steps <= newest - rings.length)] = np.nan
        return np.moveaxis(values, 0, 1).reshape(row.size, -1)

    def _count(self, rings: Rings, row: Ints, turn: Ints, sums: Sums, partitions: Ints) -> None:
        """Count records in, and those that they replace out."""
        before = rings.sums[row, turn]
        rings.sums[row, turn] = sums
        change = sums - before
        for partition in np.unique(partitions).tolist():
            here_rows = partitions == partition
            more = Total(int((before[here_rows] == 0).sum()), int(change[here_rows].sum()))
            self.totals[partition] = self.totals.get(partition, Total()) + more

    def checked(self, live: Mapping[bytes, bytes]) -> tuple[list[StateRecord], list[DamagedRecord]]:
        """The good and the bad of the records of a partition, each key's last one, in their order.

        Raises:
            StreamError: They are whole, and were written for another declaration.
        """
        faults: list[DamagedRecord] = []
        parts: dict[tuple[bytes, int], list[tuple[bytes, bytes, int]]] = {}
        good: dict[bytes, StateRecord] = {}
        for key, value in live.items():
            if small.is_key(key):
                check = small.checked(key, value)
                if check is None:
                    faults.append(DamagedRecord(key, "differs from its checksum"))
                else:
                    good[key] = StateRecord(key, 0, value, check, sealed=True)
                continue
            named = self._named(key)
            if named is None:
                faults.append(DamagedRecord(key, "is not the key of a series", foreign=True))
            else:
                parts.setdefault((value[:16], len(value)), []).append((key, *named))
        for (head, length), records in parts.items():
            for i in range(0, len(records), _PART):
                self._check(head, length, records[i : i + _PART], live, good, faults)
        return [good[key] for key in live if key in good], faults

    def _named(self, key: bytes) -> tuple[bytes, int] | None:
        """Series and turn of a key; None if it is no worker's."""
        cut = max(key.rfind(b","), 0)
        series, turn = key[: max(cut, 1)], key[cut + 1 : -1].strip()
        if key[:1] != b"[" or key[-1:] != b"]" or not turn.isdigit() or not _is_series(series, self._keys):
            return None
        return series, int(turn)

    def _check(
        self,
        head: bytes,
        length: int,
        records: list[tuple[bytes, bytes, int]],
        live: Mapping[bytes, bytes],
        good: dict[bytes, StateRecord],
        faults: list[DamagedRecord],
    ) -> None:
        """Check records of one kind and length."""
        if len(head) < 16:
            faults += [DamagedRecord(key, f"is cut off after {length} bytes") for key, _, _ in records]
            return
        kind, block, columns, horizon, grid = (*_KIND.unpack(head[:8]), _FIXED.unpack(head[8:])[0])
        is_checked, is_watched = bool(block & _CHECKED), bool(block & _WATCHED)
        block %= _WATCHED
        more = length - _HEADER.size - 8 * (columns * block + (3 if is_watched else 2) * horizon + is_checked)
        if (more <= 0 or more % 8) if is_watched else more:
            faults += [
                DamagedRecord(key, f"has {length} bytes, and another length by its header") for key, _, _ in records
            ]
            return
        words = np.frombuffer(b"".join([live[key] for key, _, _ in records]), dtype="<u8").reshape(len(records), -1)
        crcs = np.array([crc32(series) for _, series, _ in records], dtype=np.uint64)
        sums = checksums(words[:, : -1 if is_checked else None], crcs, np.array([turn for _, _, turn in records]))
        right = words[:, -1] == sums if is_checked else np.ones(len(records), dtype=bool)
        written, expected = (kind, block, columns, grid), (self._format, BLOCK, self._columns, self._grid)
        if written != expected and right.any():
            raise StreamError(
                f"was written for another declaration: format, block, columns, grid {written}, not {expected}",
                where=f"the record {records[0][0].decode(errors='replace')}",
                hint="make the state anew from the log: headrace stream rebuild",
            )
        for (key, series, turn), fine, check in zip(records, right.tolist(), sums.tolist(), strict=True):
            if fine:
                value = live[key]
                good[key] = StateRecord(series, turn, value[:-8] if is_checked else value, check, bool(is_checked))
            else:
                faults.append(DamagedRecord(key, "differs from its checksum"))

    def restore(self, rings: Rings, partition: int, records: Iterable[StateRecord]) -> int:
        """Put the records of a partition, in their order, into the state; returns how many series there are."""
        blocks: dict[tuple[bytes, bytes], bytes] = {}
        newest: dict[bytes, bytes] = {}
        sums: list[tuple[bytes, int, int]] = []
        for series, turn, value, check, _ in records:
            blocks[series, value[16:24]] = value
            newest[series] = value  # the last record of a series has its newest clock
            sums.append((series, turn, check))
        names = {series: tuple(json.loads(series + b"]")) for series in newest}
        row = {series: rings.add(partition, keys) for series, keys in names.items()}
        for part in _of_one_length(newest.items()):
            self._restore_heads(rings, np.array([row[series] for series, _ in part]), [value for _, value in part])
        for group in _of_one_length((key, value) for key, value in blocks.items()):
            rows = np.array([row[series] for (series, _), _ in group])
            self._restore_blocks(rings, rows, [value for _, value in group])
        turns = rings.sums.shape[1]
        for series, turn, check in sums:
            if turn < turns:  # others were written for longer rings, and stay as they are
                rings.sums[row[series], turn] = check
        self.totals[partition] = total_of(check for _, _, check in sums)
        return len(newest)

    def _restore_heads(self, rings: Rings, rows: Ints, values: list[bytes]) -> None:
        """Newest, clock, origin, prediction and how values were judged, of series."""
        words = np.frombuffer(b"".join(values), dtype="<i8").reshape(len(values), -1)
        rings.newest[rows], rings.clock[rows], rings.origin[rows] = words[:, 3:6].T
        numbers = words[:, _HEADER.size // 8 + self._columns * BLOCK :].view("<f8")
        for kind in np.unique(words[:, 0]):
            chosen, head = words[:, 0] == kind, _KIND.unpack(_FIXED.pack(kind))
            self._restore_said(rings, rows[chosen], numbers[chosen], head[3], is_watched=bool(head[1] & _WATCHED))

    def _restore_said(self, rings: Rings, rows: Ints, numbers: Floats, horizon: int, *, is_watched: bool) -> None:
        """The last prediction, unless it is of another horizon: then the model has said nothing yet."""
        if is_watched:
            rings.watched[rows] = rings.watch.states(numbers[:, 3 * horizon :])
        if horizon == rings.horizon:
            bounds = [numbers[:, place * horizon : (place + 1) * horizon] for place in range(3 if is_watched else 2)]
            rings.lower[rows], rings.upper[rows] = bounds[:2]
            rings.value[rows] = bounds[2] if is_watched else np.nan

    def _restore_blocks(self, rings: Rings, rows: Ints, values: list[bytes]) -> None:
        words = np.frombuffer(b"".join(values), dtype="<i8").reshape(len(values), -1)
        head = _HEADER.size // 8
        steps = words[:, 2][:, None] * BLOCK + np.arange(BLOCK)
        newest = rings.newest[rows][:, None]
        row_index, position = np.nonzero((steps <= newest) & (steps > newest - rings.length))
        for column in range(self._columns):
            first = head + column * BLOCK
            body = words[:, first : first + BLOCK].view("<f8")
            rings.values[column, rows[row_index], steps[row_index, position] % rings.length] = body[row_index, position]


def total_of(checks: Iterable[int]) -> Total:
    """What records with such checksums come to."""
    restored = list(checks)
    return Total(len(restored), sum(restored) % 2**64)


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
def _inner(keys: Keys) -> tuple[bytes, int]:
    """Keys as JSON without the brackets around them, with what parts them from more, and the checksum of the series."""
    inner = b"".join(b"%b, " % json.dumps(key).encode() for key in keys)
    return inner, crc32(b"[" + inner.removesuffix(b", "))


@lru_cache(maxsize=10_000)
def _is_series(series: bytes, keys: int) -> bool:
    try:
        named = json.loads(series + b"]")
    except ValueError:
        return False
    return isinstance(named, list) and len(named) == keys and not any(isinstance(key, list | dict) for key in named)
