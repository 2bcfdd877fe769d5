"""From messages to answers: everything about a micro-batch but Kafka itself.

The engine holds the state and the model. `Engine.answer` moves the state on and returns the records to send; whoever
calls it sends them in one transaction, or, where that fails, throws the state away and restores it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headrace.features.arrays import History
from headrace.lineage import Pins
from headrace.models.anomalies import UNIT, AnomalyWatch, WatchedValues
from headrace.models.feedback import NOTHING
from headrace.models.feedback import Shape as CheckShape
from headrace.models.forecast import Forecast
from headrace.serving.engine.answers import EventForecasts, ExpectedValues, PredictionEncoder, Verdicts
from headrace.serving.engine.aside import Aside, parted
from headrace.serving.engine.batch import Answered, Message, MessageBatch
from headrace.serving.engine.changelog import Change, Changelog, StateRecord
from headrace.serving.engine.checks import RememberedChecks
from headrace.serving.engine.folding import Folding
from headrace.serving.engine.placing import Placing
from headrace.serving.engine.plan import Plan, plan, views
from headrace.serving.engine.rings import Floats, Ints, Keys, Rings, Series
from headrace.serving.engine.seeding import Seeded
from headrace.serving.engine.spill import Spill
from headrace.sources.events import NEVER, EventDecoder, Events, EventShape
from headrace.sources.messages.base import header
from headrace.sources.messages.declared import TRACING
from headrace.sources.messages.opening import Opener, as_it_is
from headrace.sources.repeats import RESENT, Ids, Once
from headrace.tasks.forecast.predictor import Predictor

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
class AnsweringModel:
    """The model that answers.

    Attributes:
        predictor: What predicts.
        pins: Its versions; `as_of` and `data_version` are not used.
        elsewhere: The newest other version that knows a series, given as JSON text; None: there is none.
        role: What the version is to its answers; None: it answers.
    """

    predictor: Predictor
    pins: Pins
    elsewhere: Callable[[str], int | None] = lambda series: None
    role: str | None = None


class Engine:
    """State and model of the partitions that this worker has.

    Args:
        system: Name of the system.
        shape: What its events look like.
        champion: The model.
        topic: Name of the input topic, for ids of events.
        seed: Looks up what the tables know of series that are new here; kept as an attribute.
        accept_unseen: Whether series that the model was not fitted on are answered.
        opener: Opens the messages that events come in.
        once: How events that were sent twice are told; None: they are not.

    Attributes:
        key: What a message's key says of its series, as text.
    """

    def __init__(
        self,
        system: str,
        shape: EventShape,
        champion: AnsweringModel,
        topic: str,
        *,
        seed: Seed,
        accept_unseen: bool = False,
        opener: Opener | None = None,
        once: Once | None = None,
    ) -> None:
        self._shape, self.seed, self._accept = shape, seed, accept_unseen
        self._watch = AnomalyWatch.of(shape.grid.step, shape.false_alarms)
        self._decode = EventDecoder(shape, opener)
        self._ids = None if once is None else Ids(once.event_id, self._decode.fields)
        self._passed = frozenset(TRACING) if opener is None else opener.passed
        self.key = as_it_is if opener is None else opener.key
        self._answers = PredictionEncoder(system, topic, shape.keys, shape.grid, champion.role)
        self._folding = Folding(len(shape.columns), shape.aggregates, carries=not shape.retracts)
        self.changelog = Changelog.of(shape)
        self._aside = Aside(self.changelog, 1 if once is None else once.most)
        self.rings, self.spill = self._rings(0, NOTHING), Spill()
        self.placing: Placing | None = None
        """Looks whether events lie where their series does; None: they do."""
        self.expected: Mapping[int, Sequence[float]] | None = None
        """What was expected of events that were answered before, by offset: value, lower and upper."""
        self.use(champion)

    def use(self, champion: AnsweringModel) -> bool:
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
        return Rings(self._folding.columns, length, checks, self._watch, fills=self._folding.fills)

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
        self._aside.drop(partition)
        self.changelog.totals.pop(partition, None)

    def follow(self, partition: int, log: int) -> None:
        """Name the events of a partition as those of this log of its topic, of which there may have been several."""
        self._answers.follow(partition, log)

    def restore(self, partition: int, records: Iterable[StateRecord]) -> int:
        """Put in the good records of a partition, in their order; returns how many series there are."""
        of_series, rest = parted(records)
        count = self.changelog.restore(self.rings, partition, of_series)
        self._aside.restore(partition, rest)
        self.rings.used[self.rings.used == 0] = time.time()
        return count

    def count(self, partition: int) -> int:
        """How many series of a partition are in memory."""
        return sum(number == partition for number, _ in self.rings.index)

    def size(self) -> tuple[int, int]:
        """How many series are in memory, and the bytes that they take."""
        return len(self.rings), self.rings.nbytes

    def close(self) -> None:
        """Let go of files."""
        self.spill.close()

    def written_anew(self, partition: int) -> Iterator[list[Change]]:
        """All records of a partition's state, as if none had been written before, in parts."""
        rings = self.rings
        rows = np.array([row for (number, _), row in rings.index.items() if number == partition], dtype=np.int64)
        rings.sums[rows] = 0
        self.changelog.totals.pop(partition, None)
        offsets_back = np.arange(rings.length)
        for part in np.array_split(rows, range(_WRITTEN, rows.size, _WRITTEN)):
            row, slot = np.repeat(part, offsets_back.size), (rings.newest[part][:, None] - offsets_back).ravel()
            is_known = ~np.isnan(rings.values[:, row, slot % rings.length]).all(axis=0)
            is_known |= slot == rings.newest[row]
            yield self.changelog.records(rings, row[is_known], slot[is_known])
        yield self._aside.written_anew(partition)

    def evict(self, before: float) -> int:
        """Put series without an event since a clock time (seconds) on disk until their next one; returns how many."""
        idle = [series for series, row in self.rings.index.items() if self.rings.used[row] < before]
        for series in idle:
            self.spill.put(series, self.rings.state(self.rings.index[series]))
            self.rings.remove(series)
        return len(idle)

    def answer(self, messages: MessageBatch | Sequence[Message], keyless: bool = False) -> Answered:
        """Answer a micro-batch, and move the state on.

        Args:
            messages: In the order of their offsets within each partition.
            keyless: Whether messages without a key are fine, because there is one partition only.
        """
        batch = messages if isinstance(messages, MessageBatch) else MessageBatch.of(messages)
        answered = Answered(batch, logs=self._answers.logs, passed=self._passed)
        events = self._decode(batch.value, batch.received or batch.timestamp, batch.headers)
        answered.dead += [(batch[place], reason) for place, reason in events.bad]
        answered.ignored += [(batch[place], reason) for place, reason in events.ignored]
        refused = self._refused(batch, events, keyless)
        moved = dict[int, int]()
        if self.placing is not None:
            placed = self.placing(batch, events, refused)
            refused, moved = refused | placed.refused, placed.moved
        if refused or moved:
            answered.dead += [(batch[events.place[i]], reason) for i, reason in refused.items()]
            answered.moved += [(batch[events.place[i]], partition) for i, partition in moved.items()]
            events = events.only([i for i in range(len(events.rows)) if i not in refused and i not in moved])
        waiting: Events | None = events
        while waiting is not None:
            events, waiting = self._unrepeated(waiting, answered)
            if events.rows:
                self._settle(events, answered)
        return answered

    def _unrepeated(self, events: Events, answered: Answered) -> tuple[Events, Events | None]:
        """The events that count, all of them where they have no ids; and those that wait for what becomes of these.

        What was set apart may be sent again under its id: so a letter waits for the event that it is of.
        """
        if self._ids is None:
            return events, None
        batch, places_kept, fresh = answered.batch, list[int](), set[tuple[int, str]]()
        for i, place in enumerate(events.place):
            partition, headers = batch.partition[place], (batch.headers and batch.headers[place]) or ()
            named = self._ids(events, i, batch.value[place], headers)
            if isinstance(named, str):
                answered.dead.append((batch[place], named))
                continue
            resent = header(headers, RESENT) is not None
            if resent and (partition, named.name) in fresh:
                return events.only(places_kept), events.only(list(range(i, len(events.rows))))
            wrong = self._aside.repeats.judge(partition, named, resent=resent)
            if wrong is None:
                places_kept.append(i)
                fresh.add((partition, named.name))
                answered.changes += self._aside.remember(partition, named)
            elif wrong:
                answered.dead.append((batch[place], wrong))
            else:
                answered.repeated += 1
        return events.only(places_kept), None

    def _settle(self, events: Events, answered: Answered) -> None:
        """Answer good events, or set them apart, and move the state on."""
        batch = answered.batch
        partitions = batch.partition if len(events.rows) == len(batch) else [batch.partition[i] for i in events.place]
        rows = self._rows(list(zip(partitions, events.keys, strict=True)), events.slot, events.at)
        index, leaps = self.rings.index, self._aside.leaps
        batch_plan = plan(
            *(rows, events.slot, events.at, self.rings, self._shape),
            leaps={index[series]: leap for series, leap in leaps.items() if series in index} if leaps else {},
        )
        for row, leap in batch_plan.leaps.items():
            answered.changes += self._aside.leap(self.rings.name(row), leap)
        self._unplant(rows, batch_plan)
        answered.late += [(batch[events.place[i]], reason) for i, reason in batch_plan.refused]
        answered.dead += [(batch[events.place[i]], reason) for i, reason in batch_plan.far]
        if self._ids is not None:
            self._set_apart([i for i, _ in (*batch_plan.refused, *batch_plan.far)], events, answered)
        if batch_plan.event.size:
            values = np.stack([events.numbers(self._decode.fields[name]) for name in self._shape.columns])
            places = np.array(events.place)[batch_plan.event].tolist()
            self._say(batch_plan, values[:, batch_plan.event], events.time[batch_plan.event], places, answered)

    def _set_apart(self, refused: list[int], events: Events, answered: Answered) -> None:
        """Note of events that were set apart that they may be sent again."""
        batch = answered.batch
        for i in refused:
            place = events.place[i]
            headers = (batch.headers and batch.headers[place]) or ()
            assert self._ids is not None, "they have ids"
            named = self._ids(events, i, batch.value[place], headers)
            assert not isinstance(named, str), "it was read before"
            answered.changes += self._aside.set_apart(batch.partition[place], named.name)

    def _refused(self, batch: MessageBatch, events: Events, keyless: bool) -> dict[int, str]:
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

    def _rows(self, series: list[Series], slots: Ints, positions: Ints) -> Ints:
        """Row of each event; series that are new get one, with what the tables know of them."""
        index = self.rings.index
        rows_found = list(map(index.get, series))
        if None in rows_found:
            fresh: dict[Series, int] = {}
            for place, one_series in enumerate(series):
                if one_series not in index:
                    fresh.setdefault(one_series, place)
            for one_series in [one_series for one_series in fresh if self._recall(one_series)]:
                del fresh[one_series]
            if fresh:
                first = np.fromiter(fresh.values(), dtype=np.int64)
                self._plant(list(fresh), slots[first], positions[first])
            rows_found = list(map(index.get, series))
        rows = np.array(rows_found, dtype=np.int64)
        self.rings.used[rows] = time.time()
        return rows

    def _recall(self, series: Series) -> bool:
        state = self.spill.take(series)
        if state is not None:
            self.rings.put(self.rings.add(*series), state)
        return state is not None

    def _plant(self, fresh: list[Series], slots: Ints, positions: Ints) -> None:
        length = self.rings.length
        known = self.seed([keys for _, keys in fresh], slots, positions, length)
        for i, (partition, keys) in enumerate(fresh):
            row, newest = self.rings.add(partition, keys), known.newest[i]
            self.rings.newest[row], self.rings.clock[row] = newest, known.clock[i]
            if known.watched is not None:
                self.rings.watched[row] = known.watched[i]
            if newest > NEVER:
                self.rings.values[:, row, (newest - length + 1 + np.arange(length)) % length] = known.values[:, i]

    def _unplant(self, rows: Ints, plan: Plan) -> None:
        """Forget series that only had events which came too late: the tables may know more by the next one."""
        if plan.refused:
            for row in np.setdiff1d(rows, plan.row).tolist():
                if self.rings.origin[row] < 0:
                    self.rings.remove(self.rings.name(row))

    def plant(self, partition: int, keys: Sequence[Keys]) -> None:
        """Begin series with what the tables know, before their first event is there."""
        none = np.full(len(keys), NEVER)
        self._plant([(partition, key) for key in keys], none, none)

    def _state(self, plan: Plan, values: Floats, time: Ints) -> Floats:
        """What the step of each event is after it, shape (state columns, events)."""
        told = self._shape.retracts or not np.isnan(values[0]).any()
        if not self._shape.aggregates and told:
            return values
        before = self.rings.cells(plan.row, plan.slot)
        first, last = int(plan.slot.min()), int(plan.slot.max())
        cells = plan.row * (last - first + 1) + plan.slot - first
        return self._folding.running(cells, before, values, time - self._shape.grid.times(plan.slot))

    def _say(self, plan: Plan, told: Floats, time: Ints, places: list[int], answered: Answered) -> None:
        values = self._state(plan, told, time)
        forecast = self._forecast(plan, values)
        batch = answered.batch
        causes = np.array(batch.partition)[places], np.array(batch.offset)[places]
        expected = self._expected(plan, forecast) if self.expected is None else _said(self.expected, causes[1])
        verdicts = self._judged(plan, told[0], expected, forecast.glitch)
        forecasts = EventForecasts(forecast, told[0], expected, verdicts)
        names = [self.rings.name(row)[1] for row in plan.row[plan.last_of_row].tolist()]
        answered.places += places
        answered.answers += self._answers.encode(plan, names, causes, forecasts, self.champion.pins)
        answered.anomalies += int(verdicts.anomaly.sum())
        arrival = np.argsort(plan.event)
        planted = self._planted(plan)
        self.rings.write(plan.row[arrival], plan.slot[arrival], values[:, arrival])
        last = plan.last_of_row
        row = plan.row[last]
        self.rings.clock[row], self.rings.origin[row] = plan.known[last], plan.origin[last]
        for name in ("value", "lower", "upper"):
            getattr(self.rings, name)[row] = getattr(forecast, name)[last]
        rows, slots = (
            np.concatenate([planned, more]) for planned, more in zip((plan.row, plan.slot), planted, strict=True)
        )
        answered.changes += self.changelog.records(self.rings, rows, slots)

    def _planted(self, plan: Plan) -> tuple[Ints, Ints]:
        """Rows and steps of what came from the tables for series whose first event this is: it belongs to the state."""
        rows = np.unique(plan.row)
        rows = rows[(self.rings.origin[rows] < 0) & (self.rings.newest[rows] > 0)]
        offsets_back = np.arange(self.rings.length)
        return np.repeat(rows, offsets_back.size), (self.rings.newest[rows][:, None] - offsets_back).ravel()

    def _forecast(self, plan: Plan, values: Floats) -> Forecast:
        """One call of the model for all events, or a few where series lie far apart in time."""
        corrects = plan.corrects(self.rings)
        self.rings.checks.correct(plan.row[corrects], plan.slot[corrects])
        parts = [(part, self._forecast_part(plan, part, values)) for part in self._near(plan)]
        if len(parts) == 1:
            return parts[0][1]
        order = np.argsort(np.concatenate([part for part, _ in parts]))
        names = ["value", "lower", "upper", "candidates", "share", "known", "sparse"]
        names += ["glitch"] if all(forecast_part.glitch is not None for _, forecast_part in parts) else []
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(forecast_part, name) for _, forecast_part in parts])[order] for name in names
        }
        return replace(parts[0][1], **{"glitch": None, **joined})

    def _forecast_part(self, plan: Plan, part: Ints, values: Floats) -> Forecast:
        lo, hi = int(plan.origin[part].min()) - self.rings.length + 1, int(plan.origin[part].max()) + 1
        window = self._folding.filled(views(plan, part, values, self.rings, (lo, hi)))
        view, first = np.unique(plan.view[part], return_index=True)
        rows = plan.row[part[first]]
        history = History(
            self._frame([self.rings.name(row)[1] for row in rows.tolist()]),
            dict(zip(self._shape.columns, window[: self._folding.values], strict=True)),
            lo,
            self._shape.grid,
        )
        series = np.searchsorted(view, plan.view[part])
        memory = RememberedChecks(self.rings.checks, rows, np.r_[rows[1:] != rows[:-1], True], lo)
        return self.champion.predictor.model.forecast(history, series, plan.origin[part] - lo, memory=memory)

    def _frame(self, series: list[Keys]) -> pl.DataFrame:
        import polars as pl

        names = {name: [keys[i] for keys in series] for i, name in enumerate(self._shape.keys)}
        return pl.DataFrame(names or None, height=len(series))

    def _near(self, plan: Plan) -> Iterator[Ints]:
        """Places of whole series whose windows fit into one array together."""
        last = plan.last_of_row
        first = np.r_[0, last[:-1] + 1]
        if last.size * int(plan.origin.max() - plan.origin.min()) <= _APART:
            yield np.arange(plan.row.size)
            return
        order = np.argsort(plan.origin[first], kind="stable")
        group: list[int] = []
        begin = end = 0
        for index in order.tolist():
            lowest = begin if group else int(plan.origin[first[index]])
            highest = max(end if group else 0, int(plan.origin[last[index]]))
            if group and (len(group) + 1) * (highest - lowest) > _APART:
                yield _places(group, first, last)
                group, lowest, highest = [], int(plan.origin[first[index]]), int(plan.origin[last[index]])
            begin, end = lowest, highest
            group.append(index)
        yield _places(group, first, last)

    def _judged(self, plan: Plan, told: Floats, expected: ExpectedValues, glitch: NDArray[np.bool_] | None) -> Verdicts:
        """How far each event's value lies from what was expected of it; what is remembered of that moves on."""
        known = np.isfinite(told) & np.isfinite(expected.value) & np.isfinite(expected.lower)
        place = np.flatnonzero(known & np.isfinite(expected.upper))
        times = self._shape.grid.times(plan.slot[place])
        numbers = (told[place], *(bound[place] for bound in expected))
        judged = self.rings.watch.judge(self.rings.watched, WatchedValues(plan.row[place], times, *numbers))
        degree, anomaly = np.full(told.size, np.nan), np.zeros(told.size, dtype=bool)
        degree[place], anomaly[place] = judged.degree / UNIT, judged.anomaly
        if glitch is not None:
            anomaly[place] |= glitch[place] & judged.far
        return Verdicts(degree, anomaly)

    def _expected(self, plan: Plan, forecast: Forecast) -> ExpectedValues:
        """What the prediction before had for each event's step; NaN where there was none.

        It speaks of whole steps: where values wait for their step to be over, nothing is expected of a single event.
        """
        if self._shape.waits:
            return ExpectedValues(*(np.full(plan.slot.size, np.nan) for _ in ExpectedValues._fields))
        begins = np.r_[True, plan.row[1:] != plan.row[:-1]]
        origin = np.where(begins, self.rings.origin[plan.row], np.r_[0, plan.origin[:-1]])
        ahead = plan.slot - origin
        is_reached = (ahead >= 1) & (ahead <= self.rings.horizon)
        step = np.clip(ahead - 1, 0, self.rings.horizon - 1)
        place = np.arange(step.size)
        parts_found = []
        for name in ExpectedValues._fields:
            before = getattr(forecast, name)[np.maximum(place - 1, 0), step]
            state = getattr(self.rings, name)[plan.row, step]
            parts_found.append(np.where(is_reached, np.where(begins, state, before), np.nan))
        return ExpectedValues(*parts_found)


def _said(expected: Mapping[int, Sequence[float]], offsets: Ints) -> ExpectedValues:
    """What was expected of events, as it was said."""
    return ExpectedValues(
        *np.array([expected[offset] for offset in offsets.tolist()], dtype=np.float64).reshape(-1, 3).T
    )


def _places(group: list[int], first: Ints, last: Ints) -> Ints:
    return np.sort(np.concatenate([np.arange(first[i], last[i] + 1) for i in group]))


def _known_series(predictor: Predictor) -> frozenset[Keys]:
    return frozenset(tuple(json.loads(text)) for text in predictor.schema.keys)
