"""What the tables know of a series that is new on the stream: a replay reads it too, so the state must have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headrace.errors import StoreError
from headrace.features.keyed import joined
from headrace.home import ANOMALIES, EVENTS, RAW, Home
from headrace.models.anomalies import AnomalyWatch, States, WatchedValues
from headrace.serving.engine.folding import Folding
from headrace.serving.engine.rings import Floats, Ints, Keys
from headrace.sources.events import MILLISECOND, NEVER, EventShape

if TYPE_CHECKING:
    import polars as pl

    from headrace.store import Table

_SINCE = ":since"
_EVER = 2**62


class Seeded(NamedTuple):
    """What is known of some series.

    Attributes:
        values: Of the newest step of each and the steps before it, shape (columns, series, length); where steps have
            several events it is their state. NaN where nothing is known.
        newest: The newest step with a value, `NEVER` where there is none.
        clock: When the last of it became known, microseconds since 1970.
        watched: How their values were judged, one element a series; None: of none it is known.
    """

    values: Floats
    newest: Ints
    clock: Ints
    watched: States | None = None


class Seeding:
    """Reads facts, or events, of series from their table, as the first event of each on the stream finds them.

    A table that was there when this was made must stay there: without it, series would begin from nothing.

    Args:
        system: Its name.
        home: Where the tables are.
        shape: What events look like.
    """

    def __init__(self, system: str, home: Home, shape: EventShape) -> None:
        self._watch = AnomalyWatch.of(shape.grid.step, shape.false_alarms)
        self._anomalies = home.table(system, ANOMALIES)
        self._table, self._shape = home.table(system, EVENTS if shape.aggregates else RAW), shape
        self._folding = Folding(len(shape.columns), shape.aggregates)
        self._newest = _NewestSteps(self._table, shape)

    def __call__(self, keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Seeded:
        """The newest facts of series, however old their first event here is.

        Args:
            keys: The series.
            slots: The step of each one's first event.
            at: When that event is known by its own time, microseconds since 1970.
            length: How many steps.

        Raises:
            StoreError: The table cannot be read.
        """
        newest, clock = self._newest.of(keys)
        before = np.full(len(keys), _EVER)
        return self._read(keys, newest, before, length)._replace(clock=clock, watched=self._watched(keys, before))

    def clock(self, keys: Sequence[Keys]) -> Ints:
        """When the last fact of each series became known, microseconds since 1970; `NEVER` where there is none.

        Raises:
            StoreError: The table cannot be read.
        """
        return self._newest.of(keys)[1]

    def replayed(self, keys: Sequence[Keys], slots: Ints, at: Ints, length: int) -> Seeded:
        """What was known of series before these events became known, which may be in the table by now.

        Args:
            keys: The series.
            slots: The step of each one's first event.
            at: When that event became known, microseconds since 1970.
            length: How many steps.

        Raises:
            StoreError: The table cannot be read.
        """
        seeded = self._read(keys, slots, at, length)
        return seeded._replace(clock=at - MILLISECOND, watched=self._watched(keys, at))

    def _watched(self, keys: Sequence[Keys], before: Ints) -> States | None:
        """How values of series were judged that were known before some times."""
        import polars as pl

        if not keys or not self._anomalies.exists():
            return None
        time, numbers = self._shape.time, ("actual", "value", "lower", "upper")
        names = [*self._shape.keys, time, *numbers, "known_at", "said", "data_version", "predictions_version"]
        far = pl.lit(int(min(before.min(), _EVER)) - 2 * self._watch.reach, pl.Int64)
        where = None if (before == _EVER).any() else pl.col(time).to_physical() > far
        facts = self._anomalies.collect(self._anomalies.scan(where=where).select(*names, "_version"))
        facts = _of(facts, keys, self._shape.keys)
        series_index = facts["_series"].to_numpy().astype(np.int64)
        facts = facts.filter(_known(facts) < before[series_index])
        facts = facts.sort("said", "data_version", "predictions_version", "_version")
        facts = facts.unique(["_series", time], keep="last").drop_nulls(numbers).sort("_series", time)
        # The same past for all who look: what lies further back has no part in what is said next.
        newest = pl.col(time).to_physical().max().over("_series")
        facts = facts.filter(pl.col(time).to_physical() > newest - self._watch.reach)
        row, times = facts["_series"].to_numpy().astype(np.int64), facts[time].to_physical().to_numpy()
        states = self._watch.unknown(len(keys))
        self._watch.judge(states, WatchedValues(row, times, *(_numbers(facts, name) for name in numbers)))
        return states

    def _read(self, keys: Sequence[Keys], slots: Ints, before: Ints, length: int) -> Seeded:
        """What was known before some times; of what lies more than a length before the steps, nothing."""
        values_found = np.full((self._folding.columns, len(keys), length), np.nan)
        newest = np.full(len(keys), NEVER)
        is_present = slots > NEVER
        if not is_present.any() or not self._newest.is_there():
            return Seeded(values_found, newest, newest.copy())
        facts = self._facts(keys, int(slots[is_present].min()) - length, int(before.max()))
        series_index = facts["_series"].to_numpy().astype(np.int64)
        facts = facts.filter(_known(facts) < before[series_index])
        if self._shape.aggregates:
            facts = self._steps(facts)
        series_index = facts["_series"].to_numpy().astype(np.int64)
        step = self._shape.grid.slots(facts[self._shape.time].to_physical().to_numpy())
        values = np.stack([_numbers(facts, name) for name in self._columns])
        is_known = ~np.isnan(values[0])
        np.maximum.at(newest, series_index[is_known], step[is_known])
        place = step - newest[series_index] + length - 1
        is_inside = (place >= 0) & (place < length)
        values_found[:, series_index[is_inside], place[is_inside]] = values[:, is_inside]
        if self._folding.fills.any():
            self._fill(values_found, keys, newest, before)
        return Seeded(values_found, newest, newest.copy())

    @property
    def _columns(self) -> list[str]:
        """Names of the columns of the state, in a frame of steps."""
        return [*self._shape.columns, *(f":{place}" for place in range(len(self._folding.parts)))]

    def _facts(self, keys: Sequence[Keys], first: int, before: int) -> pl.DataFrame:
        """All that was known of some series from a step on; `_series` is the place."""
        import polars as pl

        shape, utc = self._shape, pl.Datetime("us", "UTC")
        near = pl.col(shape.time) >= pl.lit(shape.grid.time(first), utc)
        if before < _EVER:
            near &= pl.col("known_at") < pl.lit(before, pl.Int64).cast(utc)
        names = [*shape.keys, shape.time, *shape.columns, "known_at", "_version"]
        facts = self._table.collect(self._table.scan(where=near).select(names))
        return _of(facts, keys, shape.keys).sort("known_at", "_version")

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
        pairs = list(zip(self._columns, (*shape.aggregates, *(part.how for part in parts)), strict=True))
        facts = step_facts(events.with_columns(derived), ["_series"], shape.time, shape.grid, pairs)
        return facts.sort("known_at").unique(["_series", shape.time], keep="last")

    def _fill(self, values_found: Floats, keys: Sequence[Keys], newest: Ints, before: Ints) -> None:
        """Zeros where a step is empty after the series has begun."""

        shape, length = self._shape, values_found.shape[2]
        events = self._table.collect(self._table.scan().select(*shape.keys, shape.time, "known_at"))
        events = _of(events, keys, shape.keys)
        series_index = events["_series"].to_numpy().astype(np.int64)
        step = shape.grid.slots(events[shape.time].to_physical().to_numpy())
        is_visible = _known(events) < before[series_index]
        begin = newest.copy()
        np.minimum.at(begin, series_index[is_visible], step[is_visible])
        steps = newest[:, None] - length + 1 + np.arange(length)
        for column in np.flatnonzero(self._folding.fills):
            past = values_found[column]
            past[np.isnan(past) & (steps >= begin[:, None]) & (newest > NEVER)[:, None]] = 0.0


class _NewestSteps:
    """The newest step of every series of a table, and when the last fact of it became known.

    A table is read once; later, what was added to it.
    """

    def __init__(self, table: Table, shape: EventShape) -> None:
        self._table, self._shape = table, shape
        self._version, self._id = 0, table.id()
        self._found: dict[Keys, tuple[int, int]] = {}

    def of(self, keys: Sequence[Keys]) -> tuple[Ints, Ints]:
        """Newest step and clock of series, `NEVER` where there is nothing."""
        self._follow()
        newest_found = [self._found.get(key, (NEVER, NEVER)) for key in keys]
        newest, clock = np.array(newest_found, dtype=np.int64).reshape(-1, 2).T
        return newest, clock

    def is_there(self) -> bool:
        """Whether there is a table.

        Raises:
            StoreError: There was one, and it is gone.
        """
        return bool(self._name())

    def _name(self) -> str:
        name = self._table.id()
        if self._id and not name:
            raise StoreError("the table is gone", where=self._table.uri, hint="put it back")
        return name

    def _follow(self) -> None:
        import polars as pl

        name, version = self._name(), self._table.version()
        if name != self._id or version < self._version:
            self._found, self._version, self._id = {}, 0, name
        if version == self._version:
            return
        shape = self._shape
        is_known = pl.col(shape.columns[0]).is_not_null()
        new = self._table.scan(version=version, where=(pl.col("_version") > self._version) & is_known)
        last = new.group_by(shape.keys or pl.lit(0).alias("_")).agg(pl.col(shape.time).max(), pl.col("known_at").max())
        rows = self._table.collect(last)
        steps = shape.grid.slots(rows[shape.time].to_physical().to_numpy()).tolist()
        known = _known(rows).tolist()
        for key, step, moment in zip(rows.select(shape.keys).rows() or [()] * len(steps), steps, known, strict=True):
            before = self._found.get(key, (NEVER, NEVER))
            self._found[key] = max(before[0], step), max(before[1], moment)
        self._version = version


def _of(facts: pl.DataFrame, keys: Sequence[Keys], names: Sequence[str]) -> pl.DataFrame:
    """The facts of some series; `_series` is the place of each."""
    import polars as pl

    columns = {name: [key[i] for key in keys] for i, name in enumerate(names)}
    series = pl.DataFrame(columns or None, schema={name: facts.schema[name] for name in names}, height=len(keys))
    return joined(facts, series.with_row_index("_series"), names, "inner")


def _numbers(facts: pl.DataFrame, name: str) -> Floats:
    import polars as pl

    values: Floats = facts[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def _known(facts: pl.DataFrame) -> Ints:
    known: Ints = facts["known_at"].to_physical().to_numpy()
    return known
