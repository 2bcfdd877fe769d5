"""Backfill: all runs of a stretch of time, in parallel, row for row what they would have stored live.

The source is read once. Trainings follow their schedule, one after the other, because each must beat the champion
that the one before left. Between two trainings the runs are independent: many origins share one pass over the history
and one predict call, and each sees what was known at its own time. Scores come last, when all predictions are there.

A run that has its record for the same data and model is not repeated, so a backfill that was killed
goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, NotEnoughDataError, UsageError
from headrace.flow.run import Result, no_model, pins_of, write_records
from headrace.flow.stretch import Stretch
from headrace.flow.workers import Workers
from headrace.home import RUNS, Home
from headrace.lineage import Pins, iso, run_id
from headrace.pipelines import feature, inference, matured, training
from headrace.pipelines.due import due
from headrace.settings import Settings
from headrace.store.history import first_seen
from headrace.store.verify import refuse_altered
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.registry import ModelVersion

EXAMPLES = 200_000
"""Predictions that are made at once, by whole runs: bounds the memory of a worker."""
RUNS_AT_ONCE = 168


@dataclass(frozen=True)
class Request:
    """What to backfill.

    Attributes:
        stretch: The runs.
        now: The clock's time; it is only written down, and tells impossible event times.
        source: A source URI in place of the system's own.
        workers: Processes; with 1 everything happens in this one.
        on_progress: Told what is being done, how many runs of it are done, and of how many.
    """

    stretch: Stretch
    now: datetime
    source: str | None = None
    workers: int = 1
    on_progress: Callable[[str, int, int], None] = lambda what, done, of: None


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
        trained: Model versions that were trained.
        scored: New score facts.
        failed: Runs that failed: `as_of` and the error.
        seconds: Wall time.
        from_store: Whether nothing was read, because no source was named and the system has none of its own.
    """

    system: str
    runs: int = 0
    repeated: int = 0
    predictions: int = 0
    stored: int = 0
    ingested: int = 0
    quarantined: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    trained: list[int] = field(default_factory=list)
    scored: int = 0
    failed: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    from_store: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(vars(self))


@dataclass(frozen=True)
class Chunk:
    """Runs that one process does in one go; they share all pins but their time. `began`: by the monotonic clock."""

    system: System
    settings: Settings
    pins: Pins
    times: tuple[datetime, ...]
    now: datetime
    began: float
    threads: int


@dataclass(frozen=True)
class Scoring:
    """Event times that one process scores in one go."""

    system: System
    settings: Settings
    mark: matured.Mark
    times: pl.Series


def backfill(system: System, home: Home, request: Request) -> Backfilled:
    """Do all runs of a stretch.

    A run that fails for lack of data is told in `failed`, and the rest goes on, as it would have live.

    Raises:
        HeadraceError: The source, the contract, the store or the registry failed; what is done stays, and repeating
            the backfill goes on from there.
    """
    if not system.forecasts:
        hint = f"headrace predict {system.name} --as-of TIME predicts the rows that waited then"
        raise UsageError(f"{system.name} scores rows, it has no runs of the past to make", where="backfill", hint=hint)
    return _Backfill(system, home, request).execute()


class _Backfill:
    def __init__(self, system: System, home: Home, request: Request) -> None:
        self._system, self._home, self._request = system, home, request
        self._times = request.stretch.times()
        self._result = Backfilled(system.name)
        self._version = 0
        self._began = time.monotonic()  # all processes of a machine have this clock

    def execute(self) -> Backfilled:
        self._ingest()
        done = self._done()
        with Workers(self._request.workers) as workers:
            self._progress("predict", 0)
            for runs, predictions, stored in workers.map(predict_chunk, self._chunks(done)):
                self._result.runs += runs
                self._result.predictions += predictions
                self._result.stored += stored
                self._progress("predict", self._result.runs)
            self._monitor(workers)
        self._result.seconds = round(time.monotonic() - self._began, 3)
        return self._result

    def _progress(self, what: str, done: int) -> None:
        self._request.on_progress(what, done, len(self._times))

    def _ingest(self) -> None:
        refuse_altered(self._home.store, self._system.name)
        self._progress("ingest", 0)
        r, last = self._request, self._times[-1]
        self._version = feature.stored(self._system, self._home, r.source)
        if self._version:
            self._result.from_store = True
            return
        records = feature.read(self._system, self._home, source=r.source, as_of=last, now=r.now, first=self._times[0])
        done = feature.validate(self._system, self._home, records, as_of=last, now=r.now)
        self._result.rows = done.rows
        self._result.ingested, self._result.quarantined = done.added, done.validation.bad.height
        self._version = done.version

    def _done(self) -> dict[datetime, tuple[int, int]]:
        """Runs that have their record for this data: time to model version and predictions."""
        import polars as pl

        table = self._home.table(self._system.name, RUNS)
        if not table.exists() or "predictions" not in table.schema():
            return {}
        same = pl.col("data_version") == self._version
        first, last = (pl.lit(each, pl.Datetime("us", "UTC")) for each in (self._times[0], self._times[-1]))
        within = pl.col("as_of").is_between(first, last)
        lazy = table.scan(where=within & same & pl.col("predictions").is_not_null())
        rows = table.collect(lazy.select("as_of", "model_version", "predictions"))
        return {as_of: (model, predictions) for as_of, model, predictions in rows.iter_rows()}

    def _chunks(self, done: dict[datetime, tuple[int, int]]) -> Iterator[Chunk]:
        """The runs that are not done, in order; a training happens when its time comes."""
        most = max(1, min(RUNS_AT_ONCE, EXAMPLES // max(self._series() * self._system.steps, 1)))
        threads = max(self._home.workers // self._request.workers, 1)
        pending: list[datetime] = []
        champion: ModelVersion | None = None
        timeline = self._home.registry.timeline(self._system.name)
        known_from = self._known_from()
        for as_of in self._times:
            if as_of < known_from:
                self._failed(as_of, NotEnoughDataError(f"nothing is known as of {iso(as_of)}", where=self._system.name))
                continue
            is_due = due(self._system, timeline, as_of)
            if is_due and not self._train(as_of):
                continue
            timeline = self._home.registry.timeline(self._system.name) if is_due else timeline
            present = timeline.champion(as_of)
            if present is None:
                self._failed(as_of, no_model(self._system, as_of))
                continue
            if pending and (len(pending) >= most or champion is None or champion.version != present.version):
                yield self._chunk(champion or present, pending, threads)
                pending = []
            champion = present
            if done.get(as_of, (0, 0))[0] == present.version:
                self._result.runs += 1
                self._result.repeated += 1
                self._result.predictions += done[as_of][1]
            else:
                pending.append(as_of)
        if pending and champion is not None:
            yield self._chunk(champion, pending, threads)

    def _chunk(self, champion: ModelVersion, times: Sequence[datetime], threads: int) -> Chunk:
        pins = pins_of(self._system, champion, times[0], self._version)
        now, began = self._request.now, self._began
        return Chunk(self._system, self._home.settings, pins, tuple(times), now, began, threads)

    def _train(self, as_of: datetime) -> bool:
        try:
            trained = training.train(
                self._system,
                self._home,
                self._home.series(self._system),
                as_of=as_of,
                data_version=self._version,
                now=self._request.now,
            )
        except NotEnoughDataError as error:
            seen = feature.look(self._system, self._home, [as_of], data_version=self._version)
            feature.features(self._system, self._home, seen, [as_of])  # comes before training
            self._failed(as_of, error)
            return False
        self._result.trained.append(trained.version.version)
        return True

    def _failed(self, as_of: datetime, error: HeadraceError) -> None:
        self._result.failed.append({"as_of": iso(as_of), **error.as_dict()})

    def _series(self) -> int:
        """How many series there are."""
        import polars as pl

        if not self._system.keys:
            return 1
        raw = self._home.raw(self._system)
        return int(raw.collect(raw.scan().select(pl.struct(self._system.keys).n_unique())).item())

    def _known_from(self) -> datetime:

        found = first_seen(self._home.raw(self._system), self._home.series(self._system), self._version)
        return found if found is not None else self._times[-1] + timedelta(days=1)

    def _monitor(self, workers: Workers) -> None:
        """Score what is due by the last time, parts of it in parallel; the mark of it is left last."""
        self._progress("monitor", 0)
        due = matured.plan(self._system, self._home, self._times[-1])
        if due is None:
            return
        *parts, last = due.parts()
        scorings = [Scoring(self._system, self._home.settings, due.mark, part) for part in parts]
        for i, rows in enumerate(workers.map(score_part, scorings)):
            self._result.scored += rows
            self._progress("monitor", len(self._times) * (i + 1) // (len(parts) + 1))
        self._result.scored += matured.score(self._system, self._home, due.mark, last, last=True)
        self._progress("monitor", len(self._times))


def predict_chunk(chunk: Chunk) -> tuple[int, int, int]:
    """Features, predictions and records of some runs: number of runs, predictions, and those that were new."""
    home, system = Home(chunk.settings), chunk.system
    seen = feature.look(system, home, chunk.times, data_version=chunk.pins.data_version)
    feature.features(system, home, seen, chunk.times)
    readers = [
        inference.Reader(replace(chunk.pins, as_of=as_of), run_id(system.name, as_of, chunk.now))
        for as_of in chunk.times
    ]
    predicted = inference.predict(system, home, readers, now=chunk.now, threads=chunk.threads, seen=seen)
    seconds = time.monotonic() - chunk.began
    results = [
        Result(r.run_id, system.name, r.pins.as_of, pins=r.pins, predicted=p, stored=p.stored, seconds=seconds)
        for r, p in zip(readers, predicted, strict=True)
    ]
    write_records(system, home, results, chunk.now)
    return len(results), sum(p.frame.height for p in predicted), sum(p.stored for p in predicted)


def score_part(scoring: Scoring) -> int:
    """Scores of some event times: the number of new facts."""
    return matured.score(scoring.system, Home(scoring.settings), scoring.mark, scoring.times, last=False)
