"""What the tables know of a series that is new on the stream: a replay reads it too, so the state must have it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from headrace.features.keyed import joined
from headrace.home import RAW, Home
from headrace.serving.stream.rings import Floats, Ints, Keys
from headrace.sources.events import Shape

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Seeding:
    """Reads facts of series from the raw table, as each series' first event finds them."""

    def __init__(self, system: str, home: Home, shape: Shape) -> None:
        self._table, self._shape = home.table(system, RAW), shape

    def __call__(self, keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Floats:
        """Values of the steps before an event, shape (columns, series, length): what was known when it came.

        Args:
            keys: The series.
            slots: The step of each one's first event.
            at: When that event became known, microseconds since 1970.
            length: How many steps.

        Raises:
            StoreError: The table cannot be read.
        """
        import polars as pl

        shape = self._shape
        found = np.full((len(shape.columns), len(keys), length), np.nan)
        if not self._table.exists():
            return found
        first, last = (shape.grid.time(int(slot)) for slot in (slots.min() - length, slots.max()))
        utc = pl.Datetime("us", "UTC")
        near = pl.col(shape.time).is_between(pl.lit(first, utc), pl.lit(last, utc), closed="left")
        known = _EPOCH + int(at.max()) * _MICROSECOND
        wanted = [*shape.keys, shape.time, *shape.columns, "known_at", "_version"]
        facts = self._table.collect(self._table.scan(as_of=known, where=near).select(wanted))
        names = {name: [each[i] for each in keys] for i, name in enumerate(shape.keys)}
        kinds = {name: facts.schema[name] for name in shape.keys}
        series = pl.DataFrame(names or None, schema=kinds, height=len(keys))
        facts = joined(facts, series.with_row_index("_series"), shape.keys, "inner")
        facts = facts.sort("known_at", "_version")
        of = facts["_series"].to_numpy().astype(np.int64)
        step = shape.grid.slots(facts[shape.time].to_physical().to_numpy())
        kept = (
            (facts["known_at"].to_physical().to_numpy() <= at[of]) & (step < slots[of]) & (step >= slots[of] - length)
        )
        for i, name in enumerate(shape.columns):
            values = facts[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            found[i, of[kept], (step - slots[of] + length)[kept]] = values[kept]
        return found
