"""A run: the steps of a system for one `as_of`, from records to watched predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError, NotFoundError, UsageError
from headrace.home import Home
from headrace.lineage import Pins, code_revision, iso, run_id
from headrace.pipelines import feature, inference, runs, shape
from headrace.pipelines.due import due, notice
from headrace.store.verify import refuse_altered
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Validation
    from headrace.pipelines import monitoring, row_monitoring
    from headrace.registry import ModelVersion, Trained
    from headrace.sources import Records
    from headrace.store.views import Views

STEPS = ("ingest", "validate", "features", "train", "predict", "monitor")
"""All steps, each after those before it."""


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        as_of: The run sees exactly what was known at this time.
        now: The clock's time; it is only written down, and tells impossible event times.
        source: A source URI in place of the system's own.
        steps: Which of `STEPS`.
        retrain: Train even when it is not due.
        on_step: Told the name of each step when it begins.
    """

    as_of: datetime
    now: datetime
    source: str | None = None
    steps: Sequence[str] = STEPS
    retrain: bool = False
    on_step: Callable[[str], None] = lambda name: None


@dataclass
class Result:
    """What a run did. `as_dict` is its record; the rest is for the caller's eyes.

    `rows` says what became of every row that was read: ``read`` is the sum of the others.
    `seconds` is the time from its begin to its end: of a run that was done together with others, to the end of them.
    `error` is None where it did not fail.
    """

    run_id: str
    system: str
    as_of: datetime
    steps: list[dict[str, Any]] = field(default_factory=list)
    pins: Pins | None = None
    validation: Validation | None = None
    rows: dict[str, int] = field(default_factory=dict)
    ahead: int = 0
    trained: Trained | None = None
    predicted: inference.Predicted | None = None
    scored: pl.DataFrame | None = None
    stored: int = 0
    seconds: float | None = None
    error: dict[str, str | None] | None = None
    monitored: monitoring.Monitored | row_monitoring.Monitored | None = None
    exported: dict[str, int] = field(default_factory=dict)
    from_store: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def ingested(self) -> int:
        """New facts."""
        return self.rows.get("ingested", 0)

    @property
    def quarantined(self) -> int:
        """Rows that were set apart."""
        return self.rows.get("quarantined", 0)

    @property
    def frame(self) -> pl.DataFrame | None:
        """The predictions of this run, of series or of rows."""
        return self.predicted.frame if self.predicted is not None else self.scored

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``run_id system as_of pins steps ingested quarantined trained predictions metrics`` and more."""
        data: dict[str, Any] = {
            "run_id": self.run_id,
            "system": self.system,
            "as_of": iso(self.as_of),
            "pins": self.pins.as_dict() if self.pins else None,
            "steps": self.steps,
            "ingested": self.ingested,
            "quarantined": self.quarantined,
            "trained": self.trained is not None,
            "predictions": self.frame.height if self.frame is not None else 0,
            "metrics": self.monitored.overall if self.monitored else {},
        }
        if self.warnings:
            data["warnings"] = self.warnings
        if self.from_store:
            data["from_store"] = True  # no source was named, and the system has none of its own
        if self.exported.get("exported"):
            data["exported"] = self.exported
        if self.validation is not None:
            data |= self.rows | {"ahead": self.ahead}
        if self.trained is not None:
            version = self.trained.version
            data["model"] = {
                "version": version.version,
                "promoted": self.trained.promoted,
                "reason": self.trained.reason,
                "verdict": self.trained.verdict,
                "metrics": dict(version.metrics),
            }
        if self.frame is not None:
            data["stored"] = self.stored
        if self.predicted is not None:
            data |= {name: getattr(self.predicted, name) for name in ("skipped", "young", "served")}
            data["origin"] = iso(self.predicted.origin)
        if self.monitored is not None:
            data["matured"] = self.monitored.matured
            data["completeness"] = self.monitored.completeness
        return data


def run(system: System, home: Home, request: Request) -> Result:
    """Run the steps. Killed at any moment and run again, it ends as if it had not been killed.

    What it did is kept in the store, also where it failed.

    Raises:
        HeadraceError: A step failed; steps before it are done, and repeating them changes nothing.
    """
    unknown = sorted(set(request.steps) - set(STEPS))
    if unknown:
        raise UsageError(f"no step {unknown[0]!r}", hint=f"one of {', '.join(STEPS)}")
    shape.check(system, home)
    refuse_altered(home.store, system.name)
    return _Run(system, home, request).execute()


class _Run:
    def __init__(self, system: System, home: Home, request: Request) -> None:
        self._system, self._home, self._request = system, home, request
        self._result = Result(run_id(system.name, request.as_of, request.now), system.name, request.as_of)
        self._records: Records | None = None
        self._version: int | None = None
        self._seen: Views | None = None

    def execute(self) -> Result:
        began = time.perf_counter()
        try:
            for step in STEPS:
                if step in self._request.steps:
                    self._step(step)
        except Exception as error:
            self._result.seconds, self._result.error = time.perf_counter() - began, _described(error)
            try:
                self._record()
            except HeadraceError as second:  # the first failure is the one to tell
                error.add_note(f"nor could the run be recorded: {second}")
            raise
        self._result.seconds = time.perf_counter() - began
        self._record()
        return self._result

    def _step(self, name: str) -> None:
        self._request.on_step(name)
        began, rows = time.perf_counter(), 0
        try:
            rows = getattr(self, f"_{name}")()
        finally:
            seconds = round(time.perf_counter() - began, 4)
            self._result.steps.append({"name": name, "seconds": seconds, "rows": rows})

    @property
    def _data_version(self) -> int:
        """The raw table's version, looked up once: by the ingest, or by the first step that reads."""
        if self._version is None:
            found = self._home.raw(self._system).version()
            if not found:
                raise NotFoundError(
                    "has no data yet", where=self._system.name, hint=f"headrace ingest {self._system.name}"
                )
            self._version = found
        return self._version

    def _ingest(self) -> int:
        r = self._request
        if self._system.forecasts and self._home.has_ledger:
            from headrace.serving.posted.export import export

            self._result.exported = export(self._system, self._home)
        if set(r.steps) - {"ingest", "validate"}:
            self._version = feature.stored(self._system, self._home, r.source) or None
            self._result.from_store = self._version is not None
        if self._result.from_store:
            return 0
        self._records = feature.read(self._system, self._home, source=r.source, as_of=r.as_of, now=r.now)
        return self._records.frame.height

    def _validate(self) -> int:
        r = self._request
        if self._result.from_store:
            return 0
        if self._records is None:
            raise UsageError("nothing was read to validate", hint="run the step ingest too")
        done = feature.validate(self._system, self._home, self._records, as_of=r.as_of, now=r.now)
        self._version, self._records = done.version, None
        self._result.steps[-1]["rows"] = done.validation.rows  # of a source that gives parts, known by now only
        self._result.validation = done.validation
        self._result.rows = done.rows
        self._result.ahead = done.ahead
        self._result.warnings += [] if done.lost is None else [done.lost]
        if self._system.forecasts and not {"train", "predict"} & set(r.steps):
            newest = feature.newest(self._system, self._home, r.as_of)
            self._warn_of_age(newest)
        return done.validation.known

    def _features(self) -> int:
        if not self._system.forecasts:
            return 0  # the features of a row are computed with its prediction, and kept as its inputs
        as_of = [self._request.as_of]
        self._seen = feature.look(self._system, self._home, as_of, data_version=self._data_version)
        return feature.features(self._system, self._home, self._seen, as_of)[0]

    def _train(self) -> int:
        r = self._request
        timeline = self._home.registry.timeline(self._system.name)
        if not r.retrain and not due(self._system, timeline, r.as_of):
            return 0
        seen: dict[str, Any] = {"as_of": r.as_of, "data_version": self._data_version, "now": r.now}
        if self._system.forecasts:
            from headrace.pipelines import training

            series = self._home.series(self._system)
            self._result.trained = training.train(self._system, self._home, series, **seen)
            if "predict" not in r.steps:
                self._warn_of_age(datetime.fromisoformat(self._result.trained.version.pins["origin"]))
        else:
            from headrace.pipelines import row_training

            self._result.trained = row_training.train(self._system, self._home, **seen)
        return 1

    def _predict(self) -> int:
        result = self._result
        said = notice(self._system, self._home.registry.timeline(self._system.name), self._request.as_of)
        result.warnings += [] if said is None else [said]
        result.pins = pins_of(self._system, self._champion(), self._request.as_of, self._data_version)
        if not self._system.forecasts:
            from headrace.pipelines import row_inference

            result.scored, result.stored = row_inference.predict(
                self._system, self._home, result.pins, result.run_id, self._request.now
            )
            return result.scored.height
        reader = inference.Reader(result.pins, result.run_id)
        seen, self._seen = self._seen, None
        (result.predicted,) = inference.predict(self._system, self._home, [reader], now=self._request.now, seen=seen)
        result.stored = result.predicted.stored
        self._warn_of_age(result.predicted.origin)
        unsaid = inference.silent(self._system, result.predicted.skipped)
        result.warnings += [] if unsaid is None else [unsaid]
        result.warnings += [
            f"{name} is declared known ahead, but none of the next {self._system.steps} steps has it"
            for name in result.predicted.blank
        ]
        return result.predicted.frame.height

    def _monitor(self) -> int:
        r = self._request
        if not self._system.forecasts:
            from headrace.pipelines import row_inference, row_monitoring, shadows

            row_inference.export(self._system, self._home)
            shadows.export(self._system, self._home)
            self._result.monitored = row_monitoring.monitor(
                self._system, self._home, as_of=r.as_of, data_version=self._data_version
            )
            return self._result.monitored.matured
        from headrace.pipelines import monitoring

        _ = self._data_version  # refused where nothing was ever ingested
        self._result.monitored = monitoring.monitor(self._system, self._home, as_of=r.as_of)
        return self._result.monitored.matured

    def _warn_of_age(self, newest: datetime | None) -> None:
        """Say it where the newest value is far older than is usual."""
        if newest is not None:
            seen: dict[str, Any] = {"as_of": self._request.as_of, "data_version": self._data_version}
            late = inference.stale(self._system, self._home, newest, **seen)
            self._result.warnings += [] if late is None else [late]

    def _champion(self) -> ModelVersion:
        champion = self._home.registry.champion(self._system.name, self._request.as_of)
        if champion is None:
            raise no_model(self._system, self._request.as_of)
        return champion

    def _record(self) -> None:
        write_records(self._system, self._home, [self._result], self._request.now)


def no_model(system: System, as_of: datetime) -> NotFoundError:
    """The error of a run without a model."""
    return NotFoundError(
        f"there is no model as of {iso(as_of)}", where=system.name, hint=f"headrace train {system.name}"
    )


def pins_of(system: System, champion: ModelVersion, as_of: datetime, data_version: int) -> Pins:
    """Every version that a run uses."""
    return Pins(
        as_of=as_of,
        data_version=data_version,
        feature_version=str(champion.pins["feature_version"]),
        model_version=champion.version,
        model_digest=champion.digest,
        config_digest=str(champion.pins["config_digest"]),
        code_revision=code_revision(system.folder),
    )


def write_records(system: System, home: Home, results: Sequence[Result], now: datetime) -> None:
    """Keep what runs did, with the whole configuration: the last thing that they write."""
    config, rows = system.config(), []
    for result in results:
        status = runs.DONE if result.error is None else runs.FAILED
        told = {"status": status, "error": result.error, "created_at": iso(now), "config": config}
        record, pins = result.as_dict() | told, result.pins.as_dict() if result.pins else {}
        rows.append(
            {
                "run_id": result.run_id,
                "as_of": result.as_of,
                "created_at": now,
                "ended_at": None if result.seconds is None else now + timedelta(seconds=result.seconds),
                "known_at": result.as_of,
                "status": status,
                "error": None if result.error is None else _line(result.error),
                **{name: pins.get(name) for name in ("data_version", "model_version", "config_digest")},
                "predictions": None if result.frame is None else result.frame.height,
                "record": record,
            }
        )
    runs.write(home, system.name, rows)


def _line(error: Mapping[str, str | None]) -> str:
    where = "" if error.get("where") is None else f"{error['where']}: "
    return f"{error['error']}: {where}{error['message']}"


def _described(error: Exception) -> dict[str, str | None]:
    """A failure for the record. Of one that is not ours only the kind: its words may hold a secret."""
    if isinstance(error, HeadraceError):
        return error.as_dict()
    return {"error": type(error).__name__, "message": "is no error that headrace knows; see its log"}
