"""The steps of a run, in order, as data: what each reads and writes, what it follows, and the function that does it.

A step is a function of the run's `RunContext`; it returns how many rows it was about. Steps meet in the tables and the
registry. What one hands to the next in memory (records, what was read of the series) only saves reading it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headrace.contract.alike import said_alike
from headrace.errors import NotFoundError, UsageError
from headrace.flow.acting import ActRequest, act
from headrace.flow.result import Result, RunRequest
from headrace.home import Home
from headrace.hooks import Calls, PredictedEvent, ScoredEvent
from headrace.lineage import Pins, iso
from headrace.loop.alerts import alerts
from headrace.loop.notify import notify
from headrace.loop.watch import watch
from headrace.pipelines import ingest as ingesting
from headrace.pipelines.beside import monitor_beside
from headrace.pipelines.configured import Reference
from headrace.pipelines.decisions import tell_decisions
from headrace.pipelines.due import due, looks_back, notice, resting, waiting
from headrace.pipelines.standing_facts import StoredFacts
from headrace.system import System
from headrace.tasks import Task, task_of
from headrace.tasks.base import PinnedRun

if TYPE_CHECKING:
    from headrace.registry import Trained
    from headrace.sources import Records
    from headrace.store.snapshots import Snapshots


@dataclass
class RunContext:
    """One run under way.

    Attributes:
        system: The declaration.
        home: Where everything is.
        request: What is to be done.
        result: What was done so far; the steps fill it.
        records: What was read and is not validated yet.
        version: Logical version of the raw table, once it is known.
        seen: What was read of the series for their features, until the predictions took it.
        calls: The system's hooks.
        began_with: What tells the facts that were there when it began, from `Table.id`; empty where there were none.
    """

    system: System
    home: Home
    request: RunRequest
    result: Result
    records: Records | None = None
    version: int | None = None
    seen: Snapshots | None = None
    calls: Calls = field(default_factory=lambda: Calls("", (), None))
    began_with: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether the system was deleted or renamed since: what is written then would revive a part of it."""
        return bool(self.began_with) and self.home.raw(self.system).id() != self.began_with

    @cached_property
    def task(self) -> Task:
        """What the system does."""
        return task_of(self.system)

    @property
    def data_version(self) -> int:
        """The raw table's version, looked up once: by the ingest, or by the first step that reads.

        Raises:
            NotFoundError: Nothing was ever ingested.
        """
        if self.version is None:
            version = self.home.raw(self.system).version()
            if not version:
                hint = f"headrace ingest {self.system.name}"
                raise NotFoundError("has no data yet", where=self.system.name, hint=hint)
            self.version = version
        return self.version

    @property
    def known(self) -> dict[str, Any]:
        """What this run sees: `as_of` and `data_version`, as steps take them."""
        return {"as_of": self.request.as_of, "data_version": self.data_version}

    def warn(self, *texts: str | None) -> None:
        """Tell people, where there is something to tell."""
        self.result.warnings += [text for text in texts if text is not None]


def ingest(run: RunContext) -> int:
    """Read the source, unless the system has none and something is stored."""
    request = run.request
    if run.task.stateful and run.home.has_ledger:  # posted events are facts
        run.result.exported = run.task.export(run.home)
    if any(request.does(step.name) for step in STEPS[2:]):
        run.version = ingesting.stored(run.system, run.home, request.source) or None
        run.result.from_store = run.version is not None
    if run.result.from_store:
        return 0
    run.records = ingesting.read(run.system, run.home, source=request.source, as_of=request.as_of, now=request.now)
    return run.records.frame.height


def validate(run: RunContext) -> int:
    """Set bad rows apart, and store what is new among the good ones."""
    request, result = run.request, run.result
    if result.from_store:
        return 0
    if run.records is None:
        raise UsageError("nothing was read to validate", hint="run the step ingest too")
    validated = ingesting.validate(
        run.system, run.home, run.records, as_of=request.as_of, now=request.now, tell=run.calls
    )
    run.version, run.records = validated.version, None
    result.steps[-1]["rows"] = validated.validation.rows  # of a source that gives parts, known by now only
    result.validation, result.rows, result.raw, result.ahead = (
        validated.validation,
        validated.rows,
        validated.raw,
        validated.ahead,
    )
    run.warn(validated.lost)
    if not (request.does("train") or request.does("predict")):
        run.warn(run.task.stale(run.home, as_of=request.as_of, data_version=validated.version))
    return validated.validation.known


def features(run: RunContext) -> int:
    """Store the features of the origins; those of a row are computed with its prediction, and kept as its inputs."""
    if run.task.past is None:
        return 0
    run.seen, rows = run.task.features(run.home, [run.request.as_of], data_version=run.data_version)
    return rows[0]


def train(run: RunContext) -> int:
    """Do what alarms cause; train a version where that is due or asked for, and put it before the gate."""
    request = run.request
    if not request.retrain and _act(run):
        return 1
    timeline = run.home.registry.timeline(run.system.name)
    if looks_back(run.system) and not request.retrain:
        run.task.monitor(run.home, **run.known)
    facts = StoredFacts(run.system, run.home, run.data_version)
    because = "it was asked for" if request.retrain else due(run.system, timeline, request.as_of, facts)
    if because is None:
        run.result.waits = resting(run.system, timeline, request.as_of, facts)
        return 0
    run.result.because = because
    run.result.trained = trained = run.task.train(run.home, **run.known, now=request.now, because=because)
    _told(run, trained)
    return 1


def _act(run: RunContext) -> bool:
    """Do what open alarms cause, where rules say so; whether a version was trained."""
    if not run.system.monitoring.acts:
        return False
    request, result = run.request, run.result
    run.task.monitor(run.home, **run.known)
    reference = request.reference or Reference(run.system)
    acted = act(run.home, ActRequest(run.system, reference, **run.known, now=request.now))
    result.acted, run.system = acted.facts, acted.system
    if acted.trained is None:
        if acted.facts:
            tell_decisions(run.system, run.home, run.calls)
        return False
    result.because, result.trained = acted.because, acted.trained
    _told(run, acted.trained)
    return True


def _told(run: RunContext, trained: Trained) -> None:
    """Tell hooks of a training, and people of what it learnt from where it is old."""
    tell_decisions(run.system, run.home, run.calls)
    if trained.alike:
        run.warn(f"{run.system.target}: {said_alike(trained.alike)}: prepare, in the source, can make them one")
    origin = trained.version.pins.get("origin")
    if origin is not None and not run.request.does("predict"):
        run.warn(run.task.stale(run.home, **run.known, origin=datetime.fromisoformat(str(origin))))


def predict(run: RunContext) -> int:
    """Predict by the champion as of this run, and store what is new."""
    result, name, as_of = run.result, run.system.name, run.request.as_of
    timeline = run.home.registry.timeline(name)
    run.warn(notice(run.system, timeline, as_of), waiting(run.system, timeline, as_of))
    champion = timeline.champion(as_of)
    if champion is None:
        raise no_model(run.system, as_of)
    result.pins = Pins.of(champion, as_of, run.system.folder, run.data_version)
    known, run.seen = run.seen, None
    pinned = PinnedRun(result.pins, result.run_id)
    (result.predicted,) = run.task.predict(run.home, [pinned], now=run.request.now, snapshots=known)
    run.warn(*run.task.warnings(run.home, result.predicted, result.pins))
    summary = {"predictions": result.predicted.frame.height, "stored": result.predicted.stored}
    versions = {"model_version": champion.version, "data_version": run.data_version}
    run.calls(PredictedEvent(name, as_of, **summary, **versions))
    return result.predicted.frame.height


def monitor(run: RunContext) -> int:
    """Score what has matured, compare versions that scored beside the champion, and watch by the rules."""
    result = run.result
    result.monitored = run.task.monitor(run.home, **run.known)
    result.beside = monitor_beside(run.system, run.home, as_of=run.request.as_of)
    run.calls(ScoredEvent(run.system.name, run.request.as_of, result.monitored.matured, result.monitored.overall))
    as_of, now = run.request.as_of, run.request.now
    result.watched = watch(run.system, run.home, as_of=as_of, tell=run.calls)
    run.warn(*notify(run.system, run.home, lambda: alerts(run.system, run.home, as_of=as_of), as_of=as_of, now=now))
    return result.monitored.matured


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: As `RunRequest.steps` and the command line have it.
        do: Does it; returns the number of rows.
        reads: What it reads: the source, or tables of the store, ``models`` being the registry.
        writes: Tables that it writes.
        after: Steps that come before it where they are done too.
    """

    name: str
    do: Callable[[RunContext], int]
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


STEPS = (
    Step("ingest", ingest, ("source",), ("records",)),
    Step("validate", validate, ("records",), ("raw", "quarantine"), ("ingest",)),
    Step("features", features, ("raw",), ("features",), ("validate",)),
    Step("train", train, ("raw", "models"), ("models",), ("validate",)),
    Step("predict", predict, ("raw", "models"), ("predictions",), ("features", "train")),
    Step("monitor", monitor, ("raw", "predictions", "models"), ("metrics", "comparisons", "readings"), ("predict",)),
)
"""All steps, each after those before it."""


def plan(system: System) -> dict[str, Any]:
    """The steps of a system as data, JSON-ready: ``system steps[{name reads writes after}]``.

    Args:
        system: The declaration; tables have the names that they have in its home.

    >>> [step.name for step in STEPS]
    ['ingest', 'validate', 'features', 'train', 'predict', 'monitor']
    """
    called = {"raw": "events"} if system.contract.aggregates else {}
    if task_of(system).past is None:
        called["features"] = ""

    def tables(names: tuple[str, ...]) -> list[str]:
        return [name for name in (called.get(name, name) for name in names) if name]

    return {
        "system": system.name,
        "steps": [
            {"name": s.name, "reads": tables(s.reads), "writes": tables(s.writes), "after": list(s.after)}
            for s in STEPS
        ],
    }


def no_model(system: System, as_of: datetime) -> NotFoundError:
    """The error of a run without a model."""
    return NotFoundError(
        f"there is no model as of {iso(as_of)}", where=system.name, hint=f"headrace train {system.name}"
    )
