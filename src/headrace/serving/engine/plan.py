"""What a micro-batch does to the state: which events count, when each became known, and what each prediction may see.

Events of a series that come in order share one view of it: each is predicted from its own origin, and nothing after an
origin is looked at. An event about a step at or before the origin of the prediction before it, which must not see it,
begins another view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from headrace.serving.engine.rings import Floats, Ints, Rings
from headrace.sources.events import MILLISECOND, NEVER, NONE, EventShape, Leap, known_at, leap_of


@dataclass(frozen=True)
class Plan:
    """Events that count, ordered by row and arrival; arrays of one length.

    Attributes:
        event: Place of the event in the batch.
        row: Its series.
        slot: Its step.
        known: When it became known, microseconds since 1970.
        origin: Where its prediction begins: the newest step of the series after it, or the newest that is over by then.
        view: Number of the view that its prediction sees; views are ordered by row, then by what came later.
        refused: Place and reason of events that came too late.
        far: Place and reason of events that lie too far after their series.
        leaps: By row, the leap of its series' last events, or `NONE`, where that has changed.
    """

    event: Ints
    row: Ints
    slot: Ints
    known: Ints
    origin: Ints
    view: Ints
    refused: list[tuple[int, str]]
    far: list[tuple[int, str]] = field(default_factory=list)
    leaps: dict[int, Leap] = field(default_factory=dict)

    @property
    def last_of_row(self) -> Ints:
        """Which events are the last of their series, as places in these arrays."""
        if not self.row.size:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero(np.r_[self.row[1:] != self.row[:-1], True])

    def corrects(self, rings: Rings) -> NDArray[np.bool_]:
        """Which events are about a step that was looked at before; `rings` is the state before the batch."""
        begins = np.r_[True, self.row[1:] != self.row[:-1]]
        is_again: NDArray[np.bool_] = self.slot <= np.where(begins, rings.origin[self.row], np.r_[0, self.origin[:-1]])
        return is_again


def plan(
    rows: Ints, slots: Ints, at: Ints, rings: Rings, shape: EventShape, leaps: Mapping[int, Leap] = MappingProxyType({})
) -> Plan:
    """Order the events of a micro-batch.

    Args:
        rows: The series of each, in the order of arrival.
        slots: The step of each.
        at: Event time plus lag of each, microseconds since 1970.
        rings: The state before the batch; it is not changed.
        shape: When an event is too late, or too far after its series.
        leaps: The leaps of the last events of some rows' series.
    """
    event = np.argsort(rows, kind="stable")
    row, slot, known = rows[event], slots[event], at[event]
    begins = np.r_[True, row[1:] != row[:-1]] if row.size else np.empty(0, dtype=bool)
    slot_before = np.where(begins, rings.newest[row], np.r_[0, slot[:-1]])
    known_before = np.where(begins, rings.clock[row], np.r_[0, known[:-1]])
    fresh = slot >= slot_before if shape.aggregates else slot > slot_before
    ordered = fresh & (known >= known_before + MILLISECOND)
    if shape.jump is not None:
        last_heard = np.where(begins & (rings.origin[row] < 0), NEVER, slot_before)
        ordered &= ((last_heard == NEVER) | (slot - last_heard <= shape.jump)) & ~np.isin(row, list(leaps))
    newest_after, counts = slot.copy(), np.ones(row.size, dtype=bool)
    refused, far, leapt = list[tuple[int, str]](), list[tuple[int, str]](), dict[int, Leap]()
    for index in np.unique(row[~ordered]).tolist():
        newest, clock, leap = int(rings.newest[index]), int(rings.clock[index]), leaps.get(index, NONE)
        heard_of = newest if rings.origin[index] >= 0 else NEVER
        for i in range(*np.searchsorted(row, (index, index + 1))):
            wrong, leap = leap_of(heard_of, int(slot[i]), leap, shape)
            if wrong is not None:
                counts[i] = False
                far.append((int(event[i]), wrong))
                continue
            moment = known_at(newest, clock, int(slot[i]), int(known[i]), shape)
            if isinstance(moment, str):
                counts[i] = False
                refused.append((int(event[i]), moment))
                continue
            newest, clock = max(newest, int(slot[i])), moment
            heard_of = newest
            known[i], newest_after[i] = moment, newest
        if leap != leaps.get(index, NONE):
            leapt[index] = leap
    event, row, slot, known, origin = (x[counts] for x in (event, row, slot, known, newest_after))
    if shape.waits:
        origin = np.minimum(origin, shape.grid.slots(known - shape.lag_us) - 1)
    begins = np.r_[True, row[1:] != row[:-1]] if row.size else np.empty(0, dtype=bool)
    changes = slot <= np.r_[0, origin[:-1]] if row.size else begins
    return Plan(event, row, slot, known, origin, np.cumsum(begins | changes) - 1, refused, far, leapt)


def views(done: Plan, part: Ints, values: Floats, rings: Rings, bounds: tuple[int, int]) -> Floats:
    """The views of some whole series, shape (columns, views, hi - lo): the state before it, and its events.

    Args:
        done: The plan.
        part: Places in the plan, ascending: all events of those series.
        values: Columns of the events in the plan's order, shape (columns, events).
        rings: The state before the batch.
        bounds: Steps lo to hi - 1.
    """
    lo, hi = bounds
    row, slot = done.row[part], done.slot[part]
    view = np.unique(done.view[part], return_inverse=True)[1]
    first = np.r_[True, view[1:] != view[:-1]]
    window = rings.window(row[first], lo, hi)
    ends = np.flatnonzero(np.r_[row[1:] != row[:-1], True])
    last_view = view[ends][np.searchsorted(ends, np.arange(part.size))]
    seen_by = last_view - view + 1
    index = np.repeat(np.arange(part.size), seen_by)
    within = np.arange(index.size) - np.repeat(np.cumsum(seen_by) - seen_by, seen_by)
    inside = (slot[index] >= lo) & (slot[index] < hi)
    index, within = index[inside], within[inside]
    window[:, view[index] + within, slot[index] - lo] = values[:, part[index]]
    return window
