"""From events to feature rows: what is remembered of keys moves on, and each event gives the features after it.

A batch and a stream fold alike: the same events of a key, in the same order, give the same rows to the last bit, in
however many parts they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from headrace.contract.aggregation import Aggregate
from headrace.declaration import format_duration
from headrace.feature_system import FeatureSystem
from headrace.features.arrays import Arrays, History
from headrace.grid import Grid
from headrace.serving.engine.folding import Folding

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_AT_ONCE = 2_000_000
"""Values of windows that are held at once: 16 MB."""
_NEVER = -(2**62)
LONGEST = 2_000
"""Bytes of a key as text: an index of PostgreSQL takes no much longer ones, and would hold up all that comes after."""
_MICROSECONDS = 1_000_000


class GoodEvents(NamedTuple):
    """Good events, in the order in which they are to count.

    Attributes:
        key: The key of each, as text.
        time: Event times, microseconds since 1970.
        values: Shape (columns of the events, events), NaN where missing.
    """

    key: Sequence[str]
    time: Ints
    values: Floats


@dataclass
class KeySteps:
    """What is remembered of a key: its steps that have events, the newest ones.

    Attributes:
        slot: The newest step.
        time: The newest event time, microseconds since 1970.
        slots: The steps, ascending.
        values: What their events came to so far, shape (state columns, steps).
    """

    slot: int
    time: int
    slots: Ints
    values: Floats

    @property
    def is_empty(self) -> bool:
        """Whether no event of the key has counted."""
        return self.time == _NEVER

    @classmethod
    def empty(cls, columns: int) -> Self:
        """Of a key that has said nothing."""
        return cls(_NEVER, _NEVER, np.empty(0, dtype=np.int64), np.empty((columns, 0)))

    def encode(self) -> bytes:
        """As bytes."""
        head = np.array([self.slot, self.time], dtype="<i8")
        return head.tobytes() + self.slots.astype("<i8").tobytes() + self.values.astype("<f8").tobytes()

    @classmethod
    def decode(cls, data: bytes, columns: int) -> Self:
        """What `encode` gave."""
        count = (len(data) // 8 - 2) // (columns + 1)
        slot, time = np.frombuffer(data, "<i8", 2).tolist()
        slots = np.frombuffer(data, "<i8", count, 16)
        return cls(slot, time, slots, np.frombuffer(data, "<f8", columns * count, 16 + 8 * count).reshape(columns, -1))


@dataclass
class Folded:
    """What events came to.

    Attributes:
        place: Which of the events gave a row, in the order of the events of each key.
        time: The newest event time of the key after each, microseconds since 1970.
        features: Shape (rows, features), NaN where missing.
        late: Place and reason of those that came too late.
    """

    place: Ints
    time: Ints
    features: Floats
    late: list[tuple[int, str]] = field(default_factory=list)


class Folds:
    """Folds events of one declaration.

    Args:
        system: The declaration.
        grid: When steps begin.
    """

    def __init__(self, system: FeatureSystem, grid: Grid) -> None:
        self._features, self._grid, self._length = system.features, grid, system.steps
        self._names = list(system.values)
        place = {column: i for i, column in enumerate(system.columns)}
        self._of = [place[column] for column, _ in system.values.values()]
        self._folding = Folding(len(self._names), [Aggregate(kind) for _, kind in system.values.values()])
        self._lateness = int(system.stream.allowed_lateness.total_seconds() * _MICROSECONDS)
        self._said = format_duration(system.stream.allowed_lateness)

    @property
    def columns(self) -> int:
        """Values that are remembered of a step."""
        return self._folding.columns

    def __call__(self, told: GoodEvents, memories: dict[str, KeySteps]) -> Folded:
        """Fold events; `memories` holds what is remembered of their keys, and is moved on in place."""
        order, slots, late = self._accepted(told, memories)
        if not order.size:
            return Folded(order, order, np.empty((0, len(self._features))), late)
        keys = [told.key[i] for i in order.tolist()]
        slots = slots[order]
        cells, before = self._before(keys, slots, memories)
        inside = told.time[order] - self._grid.times(slots)
        after = self._folding.running(cells, before, told.values[self._of][:, order], inside)
        times = np.empty(order.size, dtype=np.int64)
        parts = [self._computed(part) for part in self._windows(keys, slots, told.time[order], after, memories, times)]
        return Folded(order, times, np.concatenate(parts), late)

    def _accepted(
        self, events: GoodEvents, memories: Mapping[str, KeySteps]
    ) -> tuple[Ints, Ints, list[tuple[int, str]]]:
        """Places of the events that count, those of a key together; the step of each event; and what came too late."""
        slots = self._grid.slots(events.time)
        by_key: dict[str, list[int]] = {}
        for place, key in enumerate(events.key):
            by_key.setdefault(key, []).append(place)
        order, late = [], []
        for key, places in by_key.items():
            if len(key) > LONGEST // 4 and len(key.encode()) > LONGEST:
                late += [(place, f"has a key of more than {LONGEST:,} bytes") for place in places]
                continue
            newest = memories[key].time
            for place in places:
                time = int(events.time[place])
                if newest - time > self._lateness and newest != _NEVER:
                    late.append((place, f"is more than {self._said} before the newest event of its key"))
                    continue
                newest = max(newest, time)
                order.append(place)
        return np.array(order, dtype=np.int64), slots, late

    def _before(self, keys: Sequence[str], slots: Ints, memories: Mapping[str, KeySteps]) -> tuple[Ints, Floats]:
        """A number for each step of each key, and what is remembered of it."""
        numbers: dict[tuple[str, int], int] = {}
        cells = np.array([numbers.setdefault(key, len(numbers)) for key in zip(keys, slots.tolist(), strict=True)])
        cells_found = np.full((self.columns, len(numbers)), np.nan)
        for (key, slot), number in numbers.items():
            memory = memories[key]
            if slot <= memory.slot:
                index = int(np.searchsorted(memory.slots, slot))
                if index < memory.slots.size and memory.slots[index] == slot:
                    cells_found[:, number] = memory.values[:, index]
        return cells, cells_found[:, cells]

    def _windows(
        self, keys: Sequence[str], slots: Ints, time: Ints, after: Floats, memories: dict[str, KeySteps], times: Ints
    ) -> Iterator[Floats]:
        """The last steps of its key after each event, shape (values, events, steps), in parts; moves memories on."""
        values, length = len(self._names), self._length
        size = max(_AT_ONCE // (values * length), 1)
        begins = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
        part, filled = np.empty((values, min(size, len(keys)), length)), 0
        for begin, end in zip(begins, [*begins[1:], len(keys)], strict=True):
            memory = memories[keys[begin]]
            newest, clock = memory.slot, memory.time
            window = self._dense(memory)
            for i in range(begin, end):
                slot = int(slots[i])
                if slot > newest:
                    window, newest = _moved(window, slot - newest), slot
                place = length - 1 - (newest - slot)
                if place >= 0:
                    window[:, place] = after[:, i]
                clock = max(clock, int(time[i]))
                times[i] = clock
                part[:, filled] = window[:values]
                filled += 1
                if filled == part.shape[1]:
                    yield part
                    part, filled = np.empty((values, min(size, len(keys) - i - 1), length)), 0
            kept = np.flatnonzero(~np.isnan(window).all(axis=0))
            memories[keys[begin]] = KeySteps(newest, clock, newest - length + 1 + kept, window[:, kept])

    def _dense(self, memory: KeySteps) -> Floats:
        window = np.full((self.columns, self._length), np.nan)
        if memory.slots.size:
            places = memory.slots - memory.slot + self._length - 1
            window[:, places] = memory.values
        return window

    def _computed(self, windows: Floats) -> Floats:
        """The features at the last step of each window."""
        import polars as pl

        frame = pl.DataFrame(height=windows.shape[1])
        arrays = Arrays(History(frame, dict(zip(self._names, windows, strict=True)), 0, self._grid))
        last = self._length - 1
        columns_found = [arrays.array(e, last, last + 1)[:, 0] for e in self._features.expressions]
        return np.stack(columns_found, axis=1)


def _moved(window: Floats, steps: int) -> Floats:
    """The window so many steps later."""
    if steps >= window.shape[1]:
        return np.full(window.shape, np.nan)
    window[:, :-steps] = window[:, steps:].copy()
    window[:, -steps:] = np.nan
    return window
