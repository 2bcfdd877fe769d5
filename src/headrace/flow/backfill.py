"""Backfill: all runs of a range of time, in parallel, row for row what they would have stored live.

The source is read once. Trainings follow their schedule, one after the other, because each must beat the champion
that the one before left. Between two trainings the runs are independent: many origins share one pass over the history
and one predict call, and each sees what was known at its own time. Scores come last, when all predictions are there;
where a rule trains because of errors they come day by day, before the runs that could train for them. Where alarms act
runs are made ahead of what is decided, see `headrace.flow.ahead`.

A run that has its record for the same data and model is not repeated, so a backfill that was killed
goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, NotEnoughDataError, UsageError
from headrace.executors import Handover, Pool, executor_of
from headrace.flow.acting import ActRequest, act, first_action
from headrace.flow.ahead import HoldingHome
from headrace.flow.result import Result
from headrace.flow.run import write_records
from headrace.flow.steps import no_model
from headrace.flow.telling import InOrder
from headrace.grid.date_range import DateRange
from headrace.home import RUNS, Home
from headrace.hooks import PredictedEvent, ScoredEvent
from headrace.lineage import Pins, iso, run_id
from headrace.loop.evaluate import evaluate
from headrace.loop.times import last_before, spacing
from headrace.loop.watch import watch
from headrace.pipelines import ingest
from headrace.pipelines.configured import Reference, belonging, configured
from headrace.pipelines.decisions import calls_of
from headrace.pipelines.due import due, looks_back
from headrace.pipelines.standing_facts import StoredFacts, error_day
from headrace.store.verify import refuse_altered
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.base import Extent, PastRuns, PinnedRun

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.registry.configurations import Configuration
    from headrace.store.held import HeldAppend

EXAMPLES = 200_000
"""Predictions that are made at once, by whole runs: bounds the memory of a worker."""
RUNS_AT_ONCE = 168
HELD = 2 * EXAMPLES
"""Predictions that are held in memory at most until it is decided whether they stand."""


@dataclass(frozen=True)
class BackfillRequest:
    """What to backfill.

    Attributes:
        range: The runs.
        now: The clock's time; it is only written down, and tells impossible event times.
        source: A source URI in place of the system's own.
        workers: Processes; with 1 everything happens in this one.
        executor: Where they run, by its name; None: as the settings say.
        on_progress: Told what is being done, how many runs of it are done, and of how many.
        stored: Read no source: what is stored is all that there is.
        reference: How the system is loaded again with what a search finds; None: as it is.
    """

    range: DateRange
    now: datetime
    source: str | None = None
    workers: int = 1
    executor: str | None = None
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None
    stored: bool = False
    reference: Reference | None = None


@dataclass
class Backfilled:
    """What a backfill did.

    Attributes:
        runs: Runs with predictions, those among them that were there already included.
        repeated: How many of them were there already.
        predictions: Of all these runs.
        stored: Predictions that were new.
        ingested: New facts.
        quarantined: Rows set apart.
        rows: What became of every row that was read: ``read`` is the sum of the others.
        raw: How many rows came before the source's function `prepare`; None without one.
        trained: Model versions that were trained.
        actions: What became of what alarms cause, and the CPU seconds of each; one action may answer several alarms.
        scored: New score facts.
        failed: Runs that failed: `as_of` and the error.
        seconds: Wall time.
        from_store: Whether nothing was read, because no source was named and the system has none of its own.
        failed_hooks: What hooks failed with, a line each.
        alerts: Those that were `raised` and `closed` within the range, and how many are `open`.
    """

    system: str
    runs: int = 0
    repeated: int = 0
    predictions: int = 0
    stored: int = 0
    ingested: int = 0
    quarantined: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    raw: int | None = None
    trained: list[int] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    scored: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    from_store: bool = False
    failed_hooks: list[str] = field(default_factory=list)
    alerts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


@dataclass(frozen=True)
class Chunk:
    """Runs that one process does in one go; they share all pins but their time. `began`: by the monotonic clock.

    `holds`: what they write is handed back, not stored.
    """

    handed: Handover
    pins: Pins
    times: tuple[datetime, ...]
    now: datetime
    began: float
    threads: int
    holds: bool = False


@dataclass(frozen=True)
class ChunkDone:
    """What is to be told of runs, and what they wrote that is not stored yet, by table."""

    events: list[PredictedEvent]
    held: dict[str, list[HeldAppend]] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """Runs that depend on no error of one another; `known`: what was known then (UTC) is scored before them."""

    times: tuple[datetime, ...]
    known: datetime | None = None


@dataclass(frozen=True)
class Stretch:
    """Runs of one champion, and the times at which something may be decided after the first of them."""

    champion: ModelVersion
    times: Sequence[datetime]
    decisions: Sequence[datetime]


Finished = dict[datetime, tuple[int, int]]
"""Runs that are done: time to model version and predictions."""


@dataclass(frozen=True)
class Scoring:
    """What one process scores in one go: a part that the task gave."""

    handed: Handover
    part: Any


def backfill(system: System, home: Home, request: BackfillRequest) -> Backfilled:
    """Do all runs of a range.

    A run that fails for lack of data is told in `failed`, and the rest goes on, as it would have live.

    Raises:
        HeadraceError: The source, the contract, the store or the registry failed; what is done stays, and repeating
            the backfill goes on from there.
    """
    task = task_of(system)
    if task.past is None:
        hint = f"headrace predict {system.name} --as-of TIME predicts each {task.unit} that waited then"
        message = f"{system.name} {task.action}, it has no runs of the past to make"
        raise UsageError(message, where="backfill", hint=hint)
    return _BackfillRun(system, home, request, task.past).execute()


class _BackfillRun:
    def __init__(self, system: System, home: Home, request: BackfillRequest, past: PastRuns) -> None:
        self._system, self._home, self._request, self._past = system, home, request, past
        self._times = request.range.times()
        self._task = task_of(system)
        self._result = Backfilled(system.name)
        self._version = 0
        self._handed = Handover.of(home.settings, system)
        self._calls = calls_of(system, home)
        self._order = InOrder(system, home, self._calls)
        self._facts = StoredFacts(system, home, 0)
        self._reference = request.reference or Reference(system)
        self._declared = self._reference.load()
        self._acted: datetime | None = None
        self._in_use: Configuration | None = None
        self._has_held = False
        self._began = time.monotonic()  # all processes of a machine have this clock

    def execute(self) -> Backfilled:
        self._ingest()
        finished = self._done()
        self._read_timeline()
        executor = executor_of(self._request.executor or self._home.settings.executor)
        self._facts = StoredFacts(self._system, self._home, self._version)
        with executor.pool(self._request.workers) as workers:
            self._progress("predict", 0)
            if self._system.monitoring.acts:
                self._make_ahead(workers, finished)
            for segment in () if self._system.monitoring.acts else self._segments():
                if segment.known is not None:
                    self._score(workers, segment.known)
                for done in workers.map(predict_chunk, self._chunks(segment.times, finished)):
                    self._count(done.events)
            self._order.tell(())
            self._monitor(workers)
        self._watch()
        self._result.failed_hooks = self._calls.failed
        self._result.seconds = round(time.monotonic() - self._began, 3)
        return self._result

    def _watch(self) -> None:
        """Readings of all evaluation times at once, and the alerts that follow in this range."""
        self._progress("watch", len(self._times))
        before = self._times[0] - timedelta(microseconds=1)
        watched = watch(self._system, self._home, as_of=self._times[-1], since=before, tell=self._calls)
        self._result.alerts = watched.as_dict()

    def _progress(self, stage: str, count: int) -> None:
        self._request.on_progress(stage, count, len(self._times))

    def _ingest(self) -> None:
        refuse_altered(self._home.store, self._system.name)
        self._progress("ingest", 0)
        r, last = self._request, self._times[-1]
        raw = self._home.raw(self._system)
        self._version = raw.version() if r.stored else ingest.stored(self._system, self._home, r.source)
        if self._version:
            self._result.from_store = True
            return
        records = ingest.read(self._system, self._home, source=r.source, as_of=last, now=r.now, first=self._times[0])
        validated = ingest.validate(self._system, self._home, records, as_of=last, now=r.now, tell=self._calls)
        self._result.rows, self._result.raw = validated.rows, validated.raw
        self._result.ingested, self._result.quarantined = validated.added, validated.validation.bad.height
        self._version = validated.version

    @cached_property
    def _extent(self) -> Extent:
        return self._past.extent(self._home, self._version)

    def _done(self) -> Finished:
        """Runs that have their record for this data: time to model version and predictions."""
        import polars as pl

        table = self._home.table(self._system.name, RUNS)
        if not table.exists() or "predictions" not in table.schema():
            return {}
        pinned = pl.col("data_version") == self._version
        first, last = (pl.lit(time, pl.Datetime("us", "UTC")) for time in (self._times[0], self._times[-1]))
        within = pl.col("as_of").is_between(first, last)
        lazy = table.scan(where=within & pinned & pl.col("predictions").is_not_null())
        rows = table.collect(lazy.select("as_of", "model_version", "predictions"))
        return {as_of: (model, predictions) for as_of, model, predictions in rows.iter_rows()}

    def _segments(self) -> list[Segment]:
        """The runs between two times at which it is looked back; all of them where nothing depends on errors."""
        if not looks_back(self._system):
            return [Segment(tuple(self._times))]
        marks = self._marks(error_day(self._system))
        bounds = [0, *(i for i in range(1, len(marks)) if marks[i] != marks[i - 1]), len(marks)]
        return [
            Segment(tuple(self._times[first:last]), marks[first] if first else None) for first, last in pairwise(bounds)
        ]

    def _marks(self, every: timedelta) -> list[datetime]:
        """Of each run the last multiple of a time since 1970."""
        return [last_before(as_of, every) for as_of in self._times]

    def _make_ahead(self, workers: Pool, finished: Finished) -> None:
        """All runs, where alarms act: stretches of them are made before it is looked at what was to be done in them.

        As long as nothing is, stretches get longer; where something is, runs begin anew there.
        """
        turns, days = self._marks(spacing(self._system)), self._marks(error_day(self._system))
        looks, place, reach, is_decided = looks_back(self._system), 0, 1, False
        while place < len(self._times):
            as_of = self._times[place]
            if not is_decided and (not place or turns[place] != turns[place - 1]):
                self._score(workers, as_of)
                self._act(as_of)
            elif looks and place and days[place] != days[place - 1]:
                self._score(workers, days[place])
            is_decided, champion = False, self._readied(as_of)
            if champion is None:
                place += 1
                continue
            end = self._end(place, champion, days if looks else turns, 1 if looks else reach)
            decisions = [i for i in range(place + 1, min(end + 1, len(turns))) if turns[i] != turns[i - 1]]
            stretch = Stretch(champion, self._times[place:end], [self._times[i] for i in decisions])
            first = self._stretch(workers, stretch, finished)
            if first is not None:
                place, reach = self._times.index(first), 1
                continue
            place, is_decided = end, end in decisions and self._has_held
            reach = 2 * reach if decisions else reach

    def _end(self, place: int, champion: ModelVersion, marks: Sequence[datetime], reach: int) -> int:
        """Where a stretch ends that begins with a run: before the next training, and after so many marks at most."""
        most = min(max(HELD // max(self._extent.predictions, 1), 1), RUNS_AT_ONCE)
        end, passed, whole = place + 1, 0, 0
        while end < len(self._times) and end - place < most:
            if marks[end] != marks[end - 1]:
                passed, whole = passed + 1, end
                if passed == reach:
                    return end
            present, as_of = self._timeline.champion(self._times[end]), self._times[end]
            if present is None or present.version != champion.version:
                return end
            if due(self._system, self._timeline, as_of, self._facts) is not None:
                return end
            end += 1
        return whole if whole and end < len(self._times) else end

    def _stretch(self, workers: Pool, stretch: Stretch, finished: Finished) -> datetime | None:
        """Make the runs of a stretch; the first time of a decision that does something: runs from it on were not made.

        None where they all stand.
        """
        repeated = [t for t in stretch.times if finished.get(t, (0, 0))[0] == stretch.champion.version]
        made = [as_of for as_of in stretch.times if as_of not in set(repeated)]
        largest, threads = self._sizes(len(made))
        pieces = [made[i : i + largest] for i in range(0, len(made), largest)]
        holds, home = bool(stretch.decisions), HoldingHome(self._home, self._system.name)
        events: list[PredictedEvent] = []
        for done in workers.map(
            predict_chunk, [self._chunk(stretch.champion, piece, threads, holds=holds) for piece in pieces]
        ):
            home.take(done.held)
            events += done.events
        first, scored = None, 0
        if holds:
            scored, first = self._foreseen(home, stretch.decisions)
        self._has_held = home.release(first)
        self._result.scored += scored if self._has_held else 0
        stand = [as_of for as_of in stretch.times if first is None or as_of < first]
        for as_of in stand:
            self._order.expect(as_of)
        self._count([event for event in events if first is None or event.as_of < first])
        for as_of in repeated:
            if as_of in stand:
                self._repeated(as_of, stretch.champion.version, finished[as_of][1])
        return first

    def _foreseen(self, home: Home, decisions: Sequence[datetime]) -> tuple[int, datetime | None]:
        """Score and evaluate what is held; how many scores are new, and the first decision that does something."""
        last = decisions[-1]
        scored = sum(self._past.score(home, part) for part in self._past.due(home, last))
        evaluate(self._system, home, as_of=last)
        reference, declared, now = self._reference, self._declared, self._request.now
        changed = next((t for t in decisions if belonging(reference, declared, home, t) != self._in_use), None)
        asked = [as_of for as_of in decisions if changed is None or as_of < changed]
        requests = [ActRequest(self._system, reference, as_of, self._version, now) for as_of in asked]
        return scored, (first_action(home, requests) if requests else None) or changed

    def _act(self, as_of: datetime) -> None:
        """Do what alarms cause by a run; what follows uses the configuration that is in use then."""
        self._in_use = belonging(self._reference, self._declared, self._home, as_of)
        self._system = configured(self._reference, self._declared, self._home, as_of)
        known: dict[str, Any] = {"as_of": as_of, "data_version": self._version, "now": self._request.now}
        progress = self._request.on_progress
        acted = act(self._home, ActRequest(self._system, self._reference, **known, on_progress=progress))
        self._system, self._task = acted.system, task_of(acted.system)
        if acted.facts:
            self._in_use = belonging(self._reference, self._declared, self._home, as_of)
        spent = acted.cpu_seconds
        self._result.actions += [
            {"alert": fact.alert, **fact.as_dict(), "cpu_seconds": spent.get(fact.action)} for fact in acted.facts
        ]
        if acted.trained is not None:
            self._result.trained.append(acted.trained.version.version)
        if acted.trained is not None or acted.has_promoted:
            self._order.expect(as_of, decision=True)
        self._acted = as_of if acted.trained is not None else None
        self._read_timeline()

    def _chunks(self, times: Sequence[datetime], finished: Finished) -> Iterator[Chunk]:
        """The runs that are not done, in order; a training happens when its time comes."""
        largest, threads = self._sizes(len(times))
        pending: list[datetime] = []
        champion: ModelVersion | None = None
        for as_of in times:
            present = self._readied(as_of)
            if present is None:
                continue
            if pending and (len(pending) >= largest or champion is None or champion.version != present.version):
                yield self._chunk(champion or present, pending, threads)
                pending = []
            champion = present
            self._order.expect(as_of)
            if finished.get(as_of, (0, 0))[0] == present.version:
                self._repeated(as_of, present.version, finished[as_of][1])
            else:
                pending.append(as_of)
        if pending and champion is not None:
            yield self._chunk(champion, pending, threads)

    def _sizes(self, count: int) -> tuple[int, int]:
        """How many of so many runs one process does in one go, and with how many threads."""
        largest = min(RUNS_AT_ONCE, EXAMPLES // max(self._extent.predictions, 1), -(-count // self._request.workers))
        return max(1, largest), max(self._home.workers // self._request.workers, 1)

    def _readied(self, as_of: datetime) -> ModelVersion | None:
        """Train what is due by a run; who predicts then. None where the run fails."""
        extent = self._extent
        if extent.known_from is None or as_of < extent.known_from:
            self._failed(as_of, NotEnoughDataError(f"nothing is known as of {iso(as_of)}", where=self._system.name))
            return None
        because = due(self._system, self._timeline, as_of, self._facts) if as_of != self._acted else None
        if because is not None and not self._train(as_of, because):
            return None
        champion = self._timeline.champion(as_of)
        if champion is None:
            self._failed(as_of, no_model(self._system, as_of))
        return champion

    def _count(self, events: Sequence[PredictedEvent]) -> None:
        """Runs are done and stored."""
        self._result.runs += len(events)
        self._result.predictions += sum(run.predictions for run in events)
        self._result.stored += sum(run.stored for run in events)
        self._order.tell(events)
        self._progress("predict", self._result.runs)

    def _repeated(self, as_of: datetime, version: int, predictions: int) -> None:
        """A run was done before."""
        self._result.runs += 1
        self._result.repeated += 1
        self._result.predictions += predictions
        pins = {"model_version": version, "data_version": self._version}
        self._order.tell([PredictedEvent(self._system.name, as_of, predictions, 0, **pins)])

    def _chunk(self, champion: ModelVersion, times: Sequence[datetime], threads: int, *, holds: bool = False) -> Chunk:
        pins = Pins.of(champion, times[0], self._system.folder, self._version)
        now, began = self._request.now, self._began
        return Chunk(self._handed, pins, tuple(times), now, began, threads, holds)

    def _train(self, as_of: datetime, because: str) -> bool:
        cut: dict[str, Any] = {"as_of": as_of, "data_version": self._version}
        try:
            trained = self._task.train(self._home, **cut, now=self._request.now, because=because)
        except NotEnoughDataError as error:
            self._task.features(self._home, [as_of], data_version=self._version)  # comes before training
            self._failed(as_of, error)
            return False
        self._result.trained.append(trained.version.version)
        self._order.expect(as_of, decision=True)
        self._read_timeline()
        return True

    def _read_timeline(self) -> None:
        self._timeline = self._home.registry.timeline(self._system.name)

    def _failed(self, as_of: datetime, error: HeadraceError) -> None:
        self._result.failed.append({"as_of": iso(as_of), **error.as_dict()})

    def _monitor(self, workers: Pool) -> None:
        """Score what is due by the last time, parts of it in parallel; the mark of it is left last."""
        self._progress("monitor", 0)
        if not self._score(workers, self._times[-1]):
            return
        self._calls(ScoredEvent(self._system.name, self._times[-1], self._result.scored, {}))
        self._progress("monitor", len(self._times))

    def _score(self, workers: Pool, known_at: datetime) -> bool:
        """Score what is due by a time; whether anything was."""
        parts = self._past.due(self._home, known_at)
        scorings = [Scoring(self._handed, part) for part in parts[:-1]]
        for i, rows in enumerate(workers.map(score_part, scorings)):
            self._result.scored += rows
            self._progress("monitor", len(self._times) * (i + 1) // len(parts))
        self._result.scored += sum(self._past.score(self._home, part) for part in parts[-1:])
        return bool(parts)


def predict_chunk(chunk: Chunk) -> ChunkDone:
    """Features, predictions and records of some runs."""
    home, system = chunk.handed.home(), chunk.handed.system
    holding = HoldingHome(home, system.name)
    home = holding if chunk.holds else home
    task = task_of(system)
    features, _ = task.features(home, chunk.times, data_version=chunk.pins.data_version)
    pinned = [
        PinnedRun(replace(chunk.pins, as_of=as_of), run_id(system.name, as_of, chunk.now)) for as_of in chunk.times
    ]
    predicted = task.predict(home, pinned, now=chunk.now, threads=chunk.threads, snapshots=features)
    seconds = time.monotonic() - chunk.began
    results = [
        Result(r.run_id, system.name, r.pins.as_of, pins=r.pins, predicted=p, seconds=seconds)
        for r, p in zip(pinned, predicted, strict=True)
    ]
    write_records(system, home, results, chunk.now)
    pins = {"model_version": chunk.pins.model_version, "data_version": chunk.pins.data_version}
    events = [
        PredictedEvent(system.name, r.pins.as_of, predictions=p.frame.height, stored=p.stored, **pins)
        for r, p in zip(pinned, predicted, strict=True)
    ]
    return ChunkDone(events, holding.held)


def score_part(scoring: Scoring) -> int:
    """Scores of one part: the number of new facts."""
    past = task_of(scoring.handed.system).past
    assert past is not None, "a backfill asks no other task"
    return past.score(scoring.handed.home(), scoring.part)
