"""From messages to answers: everything about a micro-batch but Kafka itself.

The engine holds the state and the model. `Engine.answer` moves the state on and returns the records to send; whoever
calls it sends them in one transaction, or, where that fails, throws the state away and restores it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headrace.features.arrays import History
from headrace.lineage import Pins
from headrace.models.feedback import NOTHING
from headrace.models.feedback import Shape as CheckShape
from headrace.models.forecast import Forecast
from headrace.predictor import Predictor
from headrace.serving.stream.answers import Answers, Said
from headrace.serving.stream.batch import Answered, Batch, Message
from headrace.serving.stream.changelog import Change, Changelog, Record
from headrace.serving.stream.checks import Remembered
from headrace.serving.stream.folding import Folding
from headrace.serving.stream.placing import Placing
from headrace.serving.stream.plan import Plan, plan, views
from headrace.serving.stream.rings import Floats, Ints, Keys, Rings, Series
from headrace.serving.stream.seeding import Seeded
from headrace.serving.stream.spill import Spill
from headrace.sources.events import NEVER, EventDecoder, Events, Shape
from headrace.sources.messages.declared import TRACING
from headrace.sources.messages.opening import Opener, as_it_is

if TYPE_CHECKING:
    import polars as pl

_APART = 100_000
"""Series times the steps between the first and the last origin: past this a batch is predicted in parts, because every
feature is computed for all of them."""
_WRITTEN = 100
"""Series whose whole state is written at once."""

Seed = Callable[[Sequence[Keys], Ints, Ints, int], Seeded]
"""Keys, step of each one's first event, when that is known by its own time, how many steps: what is known of them."""


@dataclass(frozen=True)
class Champion:
    """The model that answers.

    Attributes:
        predictor: What predicts.
        pins: Its versions; `as_of` and `data_version` are not used.
        elsewhere: The newest other version that knows a series, given as JSON text; None: there is none.
    """

    predictor: Predictor
    pins: Pins
    elsewhere: Callable[[str], int | None] = lambda series: None


class Engine:
    """State and model of the partitions that this worker has.

    Args:
        system: Name of the system.
        shape: What its events look like.
        champion: The model.
        topic: Name of the input topic, for ids of events.
        seed: Looks up what the tables know of series that are new here; kept as an attribute.
        accept_unknown: Whether series that the model was not fitted on are answered.
        opener: Opens the messages that events come in.

    Attributes:
        key: What a message's key says of its series, as text.
    """

    def __init__(
        self,
        system: str,
        shape: Shape,
        champion: Champion,
        topic: str,
        *,
        seed: Seed,
        accept_unknown: bool = False,
        opener: Opener | None = None,
    ) -> None:
        self._shape, self.seed, self._accept = shape, seed, accept_unknown
        self._decode = EventDecoder(shape, opener)
        self._passed = frozenset(TRACING) if opener is None else opener.passed
        self.key = as_it_is if opener is None else opener.key
        self._answers = Answers(system, topic, shape.keys, shape.grid)
        self._folding = Folding(len(shape.columns), shape.aggregates)
        self.changelog = Changelog.of(shape)
        self.rings, self.spill = self._rings(0, NOTHING), Spill()
        self.placing: Placing | None = None
        """Looks whether events lie where their series does; None: they do."""
        self.use(champion)

    def use(self, champion: Champion) -> bool:
        """Answer with this model from now on. True if the state was thrown away, because it must reach further back."""
        model = champion.predictor.model
        length = int(model.lookback // self._shape.grid.step)
        length += int(self._shape.waits)  # beyond the origin there is the step that is not over
        self.champion, self._known = champion, _known_series(champion.predictor)
        if (self.rings.length, self.rings.horizon) == (length, model.horizon):
            self.rings.remember(model.checks)
            return False
        for partition in {partition for partition, _ in self.rings.index}:
            self.drop(partition)
        self.rings = self._rings(length, model.checks)
        return True

    def _rings(self, length: int, checks: CheckShape) -> Rings:
        return Rings(self._folding.columns, length, checks, fills=self._folding.fills)

    def refused(self, series: Keys) -> str | None:
        """Why events of a series are not answered, whatever they hold; None: they are."""
        if self._accept or series in self._known:
            return None
        version, text = self.champion.pins.model_version, json.dumps(series)
        other = self.champion.elsewhere(text)
        more = "" if other is None else f"; version {other} knows it, but is not the champion"
        return f"unknown series {text}: model version {version} was not fitted on it{more}"

    def drop(self, partition: int) -> None:
        """Forget all series of a partition."""
        self.rings.drop(partition)
        self.spill.drop(partition)
        self.changelog.totals.pop(partition, None)

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic, of which there may have been several."""
        self._answers.follow(partition, log)

    def restore(self, partition: int, records: Iterable[Record]) -> int:
        """Put in the good records of a partition, in their order; returns how many series there are."""
        count = self.changelog.restore(self.rings, partition, records)
        self.rings.used[self.rings.used == 0] = time.time()
        return count

    def count(self, partition: int) -> int:
        """How many series of a partition are in memory."""
        return sum(of == partition for of, _ in self.rings.index)

    def size(self) -> tuple[int, int]:
        """How many series are in memory, and the bytes that they take."""
        return len(self.rings), self.rings.nbytes

    def close(self) -> None:
        """Let go of files."""
        self.spill.close()

    def written_anew(self, partition: int) -> Iterator[list[Change]]:
        """All records of a partition's state, as if none had been written before, in parts."""
        rings = self.rings
        rows = np.array([row for (of, _), row in rings.index.items() if of == partition], dtype=np.int64)
        rings.sums[rows] = 0
        self.changelog.totals.pop(partition, None)
        back = np.arange(rings.length)
        for part in np.array_split(rows, range(_WRITTEN, rows.size, _WRITTEN)):
            row, slot = np.repeat(part, back.size), (rings.newest[part][:, None] - back).ravel()
            told = ~np.isnan(rings.values[:, row, slot % rings.length]).all(axis=0)
            told |= slot == rings.newest[row]
            yield self.changelog.records(rings, row[told], slot[told])

    def evict(self, before: float) -> int:
        """Put series without an event since a clock time (seconds) on disk until their next one; returns how many."""
        idle = [series for series, row in self.rings.index.items() if self.rings.used[row] < before]
        for series in idle:
            self.spill.put(series, self.rings.state(self.rings.index[series]))
            self.rings.remove(series)
        return len(idle)

    def answer(self, messages: Batch | Sequence[Message], keyless: bool = False) -> Answered:
        """Answer a micro-batch, and move the state on.

        Args:
            messages: In the order of their offsets within each partition.
            keyless: Whether messages without a key are fine, because there is one partition only.
        """
        batch = messages if isinstance(messages, Batch) else Batch.of(messages)
        answered = Answered(batch, logs=self._answers.logs, passed=self._passed)
        events = self._decode(batch.value, batch.received or batch.timestamp, batch.headers)
        answered.dead += [(batch[place], reason) for place, reason in events.bad]
        answered.ignored += [(batch[place], what) for place, what in events.ignored]
        refused = self._refused(batch, events, keyless)
        moved = dict[int, int]()
        if self.placing is not None:
            placed = self.placing(batch, events, refused)
            refused, moved = refused | placed.refused, placed.moved
        if refused or moved:
            answered.dead += [(batch[events.place[i]], reason) for i, reason in refused.items()]
            answered.moved += [(batch[events.place[i]], partition) for i, partition in moved.items()]
            events = events.only([i for i in range(len(events.rows)) if i not in refused and i not in moved])
        if not events.rows:
            return answered
        partitions = batch.partition if len(events.rows) == len(batch) else [batch.partition[i] for i in events.place]
        rows = self._rows(list(zip(partitions, events.keys, strict=True)), events.slot, events.at)
        done = plan(rows, events.slot, events.at, self.rings, self._shape)
        self._unplant(rows, done)
        answered.late += [(batch[events.place[i]], reason) for i, reason in done.refused]
        if done.event.size:
            values = np.stack([events.numbers(self._decode.fields[name]) for name in self._shape.columns])
            answered.places = np.array(events.place)[done.event].tolist()
            self._say(done, values[:, done.event], events.time[done.event], answered)
        return answered

    def _refused(self, batch: Batch, events: Events, keyless: bool) -> dict[int, str]:
        """Good events that are not answered all the same, with the reason."""
        refused: dict[int, str] = {}
        strangers = {series: reason for series in set(events.keys) if (reason := self.refused(series)) is not None}
        if strangers:
            refused |= {i: strangers[series] for i, series in enumerate(events.keys) if series in strangers}
        if self.placing is None and not keyless and None in batch.key:
            for i, place in enumerate(events.place):
                if batch.key[place] is None:
                    refused[i] = "the message has no key: events of one series could lie on several partitions"
        return refused

    def _rows(self, series: list[Series], slots: Ints, at: Ints) -> Ints:
        """Row of each event; series that are new get one, with what the tables know of them."""
        index = self.rings.index
        found = list(map(index.get, series))
        if None in found:
            fresh: dict[Series, int] = {}
            for place, each in enumerate(series):
                if each not in index:
                    fresh.setdefault(each, place)
            for each in [each for each in fresh if self._recall(each)]:
                del fresh[each]
            if fresh:
                first = np.fromiter(fresh.values(), dtype=np.int64)
                self._plant(list(fresh), slots[first], at[first])
            found = list(map(index.get, series))
        rows = np.array(found, dtype=np.int64)
        self.rings.used[rows] = time.time()
        return rows

    def _recall(self, series: Series) -> bool:
        state = self.spill.take(series)
        if state is not None:
            self.rings.put(self.rings.add(*series), state)
        return state is not None

    def _plant(self, fresh: list[Series], slots: Ints, at: Ints) -> None:
        length = self.rings.length
        known = self.seed([keys for _, keys in fresh], slots, at, length)
        for i, (partition, keys) in enumerate(fresh):
            row, newest = self.rings.add(partition, keys), known.newest[i]
            self.rings.newest[row], self.rings.clock[row] = newest, known.clock[i]
            if newest > NEVER:
                self.rings.values[:, row, (newest - length + 1 + np.arange(length)) % length] = known.values[:, i]

    def _unplant(self, rows: Ints, done: Plan) -> None:
        """Forget series that only had events which came too late: the tables may know more by the next one."""
        if done.refused:
            for row in np.setdiff1d(rows, done.row).tolist():
                if self.rings.origin[row] < 0:
                    self.rings.remove(self.rings.name(row))

    def plant(self, partition: int, keys: Sequence[Keys]) -> None:
        """Begin series with what the tables know, before their first event is there."""
        none = np.full(len(keys), NEVER)
        self._plant([(partition, each) for each in keys], none, none)

    def _state(self, done: Plan, values: Floats, time: Ints) -> Floats:
        """What the step of each event is after it, shape (state columns, events)."""
        if not self._shape.aggregates:
            return values
        before = self.rings.cells(done.row, done.slot)
        first, last = int(done.slot.min()), int(done.slot.max())
        cells = done.row * (last - first + 1) + done.slot - first
        return self._folding.running(cells, before, values, time - self._shape.grid.times(done.slot))

    def _say(self, done: Plan, told: Floats, time: Ints, answered: Answered) -> None:
        values = self._state(done, told, time)
        forecast = self._forecast(done, values)
        low, high = self._expected(done, forecast)
        said = Said(forecast, told[0], low, high)
        batch, places = answered.batch, answered.places
        causes = np.array(batch.partition)[places], np.array(batch.offset)[places]
        names = [self.rings.name(row)[1] for row in done.row[done.last_of_row].tolist()]
        answered.answers = self._answers.encode(done, names, causes, said, self.champion.pins)
        answered.anomalies = int(((told[0] < low) | (told[0] > high)).sum())
        arrival = np.argsort(done.event)
        planted = self._planted(done)
        self.rings.write(done.row[arrival], done.slot[arrival], values[:, arrival])
        last = done.last_of_row
        row = done.row[last]
        self.rings.clock[row], self.rings.origin[row] = done.known[last], done.origin[last]
        self.rings.lower[row], self.rings.upper[row] = forecast.lower[last], forecast.upper[last]
        rows, slots = (np.concatenate([mine, more]) for mine, more in zip((done.row, done.slot), planted, strict=True))
        answered.changes = self.changelog.records(self.rings, rows, slots)

    def _planted(self, done: Plan) -> tuple[Ints, Ints]:
        """Rows and steps of what came from the tables for series whose first event this is: it belongs to the state."""
        rows = np.unique(done.row)
        rows = rows[(self.rings.origin[rows] < 0) & (self.rings.newest[rows] > 0)]
        back = np.arange(self.rings.length)
        return np.repeat(rows, back.size), (self.rings.newest[rows][:, None] - back).ravel()

    def _forecast(self, done: Plan, values: Floats) -> Forecast:
        """One call of the model for all events, or a few where series lie far apart in time."""
        again = done.corrects(self.rings)
        self.rings.checks.correct(done.row[again], done.slot[again])
        parts = [(part, self._forecast_part(done, part, values)) for part in self._near(done)]
        if len(parts) == 1:
            return parts[0][1]
        order = np.argsort(np.concatenate([part for part, _ in parts]))
        value, lower, upper, candidates, share, known, sparse = (
            np.concatenate([getattr(made, name) for _, made in parts])[order]
            for name in ("value", "lower", "upper", "candidates", "share", "known", "sparse")
        )
        joined = replace(parts[0][1], value=value, lower=lower, upper=upper, known=known, sparse=sparse)
        return replace(joined, candidates=candidates, share=share)

    def _forecast_part(self, done: Plan, part: Ints, values: Floats) -> Forecast:
        lo, hi = int(done.origin[part].min()) - self.rings.length + 1, int(done.origin[part].max()) + 1
        window = self._folding.filled(views(done, part, values, self.rings, (lo, hi)))
        view, first = np.unique(done.view[part], return_index=True)
        rows = done.row[part[first]]
        history = History(
            self._frame([self.rings.name(row)[1] for row in rows.tolist()]),
            dict(zip(self._shape.columns, window[: self._folding.values], strict=True)),
            lo,
            self._shape.grid,
        )
        series = np.searchsorted(view, done.view[part])
        memory = Remembered(self.rings.checks, rows, np.r_[rows[1:] != rows[:-1], True], lo)
        return self.champion.predictor.model.forecast(history, series, done.origin[part] - lo, memory=memory)

    def _frame(self, series: list[Keys]) -> pl.DataFrame:
        import polars as pl

        names = {name: [keys[i] for keys in series] for i, name in enumerate(self._shape.keys)}
        return pl.DataFrame(names or None, height=len(series))

    def _near(self, done: Plan) -> Iterator[Ints]:
        """Places of whole series whose windows fit into one array together."""
        last = done.last_of_row
        first = np.r_[0, last[:-1] + 1]
        if last.size * int(done.origin.max() - done.origin.min()) <= _APART:
            yield np.arange(done.row.size)
            return
        order = np.argsort(done.origin[first], kind="stable")
        group: list[int] = []
        begin = end = 0
        for which in order.tolist():
            lowest = begin if group else int(done.origin[first[which]])
            highest = max(end if group else 0, int(done.origin[last[which]]))
            if group and (len(group) + 1) * (highest - lowest) > _APART:
                yield _places(group, first, last)
                group, lowest, highest = [], int(done.origin[first[which]]), int(done.origin[last[which]])
            begin, end = lowest, highest
            group.append(which)
        yield _places(group, first, last)

    def _expected(self, done: Plan, forecast: Forecast) -> tuple[Floats, Floats]:
        """The interval that the prediction before had for each event's step; NaN where there was none.

        It speaks of whole steps: where values wait for their step to be over, nothing is expected of a single event.
        """
        if self._shape.waits:
            return np.full(done.slot.size, np.nan), np.full(done.slot.size, np.nan)
        begins = np.r_[True, done.row[1:] != done.row[:-1]]
        origin = np.where(begins, self.rings.origin[done.row], np.r_[0, done.origin[:-1]])
        ahead = done.slot - origin
        told = (ahead >= 1) & (ahead <= self.rings.horizon)
        step = np.clip(ahead - 1, 0, self.rings.horizon - 1)
        place = np.arange(step.size)
        found = []
        for state, made in ((self.rings.lower, forecast.lower), (self.rings.upper, forecast.upper)):
            before = made[np.maximum(place - 1, 0), step]
            found.append(np.where(told, np.where(begins, state[done.row, step], before), np.nan))
        return found[0], found[1]


def _places(group: list[int], first: Ints, last: Ints) -> Ints:
    return np.sort(np.concatenate([np.arange(first[i], last[i] + 1) for i in group]))


def _known_series(predictor: Predictor) -> frozenset[Keys]:
    return frozenset(tuple(json.loads(text)) for text in predictor.schema.keys)
