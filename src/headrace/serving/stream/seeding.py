"""What the tables know of a series that is new on the stream: a replay reads it too, so the state must have it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from headrace.features.keyed import joined
from headrace.home import EVENTS, RAW, Home
from headrace.serving.stream.folding import Folding
from headrace.serving.stream.rings import Floats, Ints, Keys
from headrace.sources.events import Shape

if TYPE_CHECKING:
    import polars as pl

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SINCE = ":since"


class Seeding:
    """Reads facts, or events, of series from their table, as each series' first event on the stream finds them."""

    def __init__(self, system: str, home: Home, shape: Shape) -> None:
        self._table, self._shape = home.table(system, EVENTS if shape.aggregates else RAW), shape
        self._folding = Folding(len(shape.columns), shape.aggregates)

    def __call__(self, keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Floats:
        """Values of the steps before an event, shape (columns, series, length): what was known when it came.

        Where steps have several events it is the state, of the event's own step as well (length + 1): what was known
        before the event.

        Args:
            keys: The series.
            slots: The step of each one's first event.
            at: When that event became known, microseconds since 1970.
            length: How many steps.

        Raises:
            StoreError: The table cannot be read.
        """
        import polars as pl

        shape, own = self._shape, int(bool(self._shape.aggregates))
        found = np.full((self._folding.columns, len(keys), length + own), np.nan)
        if not self._table.exists():
            return found
        first, end = int(slots.min()) - length, int(slots.max()) + own
        facts = self._facts(keys, first, end, at)
        of = facts["_series"].to_numpy().astype(np.int64)
        if shape.aggregates:
            facts = self._steps(facts.filter(_known(facts) < at[of]))
            of = facts["_series"].to_numpy().astype(np.int64)
        step = shape.grid.slots(facts[shape.time].to_physical().to_numpy())
        kept = (_known(facts) <= at[of]) & (step < slots[of] + own) & (step >= slots[of] - length)
        for i, name in enumerate(self._columns):
            values = facts[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            found[i, of[kept], (step - slots[of] + length)[kept]] = values[kept]
        return self._begun(found, keys, slots, at) if self._folding.fills.any() else found

    @property
    def _columns(self) -> list[str]:
        """Names of the columns of the state, in a frame of steps."""
        return [*self._shape.columns, *(f":{place}" for place in range(len(self._folding.parts)))]

    def _facts(self, keys: Sequence[Keys], first: int, end: int, at: Ints) -> pl.DataFrame:
        """All that is known of some series between two steps, the second not included; `_series` is the place."""
        import polars as pl

        shape, utc = self._shape, pl.Datetime("us", "UTC")
        begin, until = (pl.lit(shape.grid.time(slot), utc) for slot in (first, end))
        near = pl.col(shape.time).is_between(begin, until, closed="left")
        known = _EPOCH + int(at.max()) * _MICROSECOND
        wanted = [*shape.keys, shape.time, *shape.columns, "known_at", "_version"]
        facts = self._table.collect(self._table.scan(as_of=known, where=near).select(wanted))
        return self._of(facts, keys).sort("known_at", "_version")

    def _of(self, facts: pl.DataFrame, keys: Sequence[Keys]) -> pl.DataFrame:
        import polars as pl

        shape = self._shape
        names = {name: [each[i] for each in keys] for i, name in enumerate(shape.keys)}
        series = pl.DataFrame(names or None, schema={name: facts.schema[name] for name in shape.keys}, height=len(keys))
        return joined(facts, series.with_row_index("_series"), shape.keys, "inner")

    def _steps(self, events: pl.DataFrame) -> pl.DataFrame:
        """The last state of every step: `_series`, time, the state's columns and known_at."""
        import polars as pl

        from headrace.store.steps import step_facts

        shape, parts = self._shape, self._folding.parts
        since = events[shape.time].dt.epoch("us") - shape.grid.floored(events[shape.time]).dt.epoch("us")
        events = events.with_columns(since.alias(_SINCE))
        derived = [
            pl.when(pl.col(shape.columns[part.of]).is_not_null())
            .then(_SINCE if part.time else pl.col(shape.columns[part.of]))
            .cast(pl.Float64)
            .alias(f":{place}")
            for place, part in enumerate(parts)
        ]
        how = list(zip(self._columns, (*shape.aggregates, *(part.how for part in parts)), strict=True))
        facts = step_facts(events.with_columns(derived), ["_series"], shape.time, shape.grid, how)
        return facts.sort("known_at").unique(["_series", shape.time], keep="last")

    def _begun(self, found: Floats, keys: Sequence[Keys], slots: Ints, at: Ints) -> Floats:
        """Zeros where a step is empty after the series has begun, up to the event's own step, which is not over."""
        import polars as pl

        shape, length = self._shape, found.shape[2] - 1
        known = _EPOCH + int(at.max()) * _MICROSECOND
        before = pl.col(shape.time) < pl.lit(shape.grid.time(int(slots.max())), pl.Datetime("us", "UTC"))
        lazy = self._table.scan(as_of=known, where=before).select(*shape.keys, shape.time, "known_at")
        events = self._of(self._table.collect(lazy), keys)
        of = events["_series"].to_numpy().astype(np.int64)
        step = shape.grid.slots(events[shape.time].to_physical().to_numpy())
        seen = (_known(events) < at[of]) & (step < slots[of])
        begin = slots.copy()
        np.minimum.at(begin, of[seen], step[seen])
        steps = slots[:, None] - length + np.arange(length)
        for column in np.flatnonzero(self._folding.fills):
            past = found[column, :, :length]
            past[np.isnan(past) & (steps >= begin[:, None])] = 0.0
        return found


def _known(facts: pl.DataFrame) -> Ints:
    return facts["known_at"].to_physical().to_numpy()
