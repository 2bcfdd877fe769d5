"""What is asked of a run, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.lineage import Pins, iso

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Validation
    from headrace.loop.watch import Watched
    from headrace.pipelines.comparison import Comparison
    from headrace.pipelines.configured import Reference
    from headrace.policy.acting import ActionFact
    from headrace.registry import Trained
    from headrace.tasks.base import Monitored, Predicted


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        as_of: The run sees exactly what was known at this time.
        now: The clock's time; it is only written down, and tells impossible event times.
        source: A source URI in place of the system's own.
        steps: Names of those of `headrace.flow.steps.STEPS` that are done; None: all.
        retrain: Train even when it is not due.
        on_step: Told the name of each step when it begins.
        reference: How the system is loaded again with what a search finds; None: as it is.
    """

    as_of: datetime
    now: datetime
    source: str | None = None
    steps: Sequence[str] | None = None
    retrain: bool = False
    on_step: Callable[[str], None] = lambda name: None
    reference: Reference | None = None

    def does(self, step: str) -> bool:
        """Whether a step is to be done, by its name."""
        return self.steps is None or step in self.steps


@dataclass
class Result:
    """What a run did. `as_dict` is its record; the rest is for the caller's eyes.

    `rows` says what became of every row that was read: ``read`` is the sum of the others. `raw` is how many rows came
    before the source's function `prepare`, None without one.
    `because` is why it had to train; None where it had not. `waits` is why it would have, had the cooldown been over.
    `acted` is what became of what alarms cause.
    `failed_hooks` counts exceptions of hooks; each is among the warnings.
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
    raw: int | None = None
    ahead: int = 0
    because: str | None = None
    waits: str | None = None
    acted: Sequence[ActionFact] = ()
    trained: Trained | None = None
    predicted: Predicted | None = None
    seconds: float | None = None
    error: dict[str, str | None] | None = None
    monitored: Monitored | None = None
    beside: list[Comparison] = field(default_factory=list)
    watched: Watched | None = None
    exported: dict[str, int] = field(default_factory=dict)
    from_store: bool = False
    warnings: list[str] = field(default_factory=list)
    failed_hooks: int = 0

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
        """The predictions of this run."""
        return None if self.predicted is None else self.predicted.frame

    @property
    def stored(self) -> int:
        """How many of them were new."""
        return 0 if self.predicted is None else self.predicted.stored

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
        data |= {} if self.because is None else {"trained_because": self.because}
        data |= {} if self.waits is None else {"training_due": self.waits}
        data |= {"actions": [{"alert": fact.alert, **fact.as_dict()} for fact in self.acted]} if self.acted else {}
        if self.warnings:
            data["warnings"] = self.warnings
        if self.failed_hooks:
            data["failed_hooks"] = self.failed_hooks
        if self.from_store:
            data["from_store"] = True  # no source was named, and the system has none of its own
        if self.exported.get("exported"):
            data["exported"] = self.exported
        if self.validation is not None:
            data |= self.rows | {"ahead": self.ahead}
            data |= {} if self.raw is None else {"raw": self.raw}
            if self.validation.findings:
                data["findings"] = [finding.as_dict() for finding in self.validation.findings]
        if self.trained is not None:
            version = self.trained.version
            data["model"] = {
                "version": version.version,
                "promoted": self.trained.promoted,
                "pending": self.trained.held,
                "reason": self.trained.reason,
                "verdict": self.trained.verdict,
                "metrics": dict(version.metrics),
                "config_version": version.pins.get("config_version"),
                "config_replaced": version.pins.get("config_replaced", []),
            }
            data["model"] |= self.trained.figures()
        if self.predicted is not None:
            data |= {"stored": self.stored, **self.predicted.record()}
        if self.monitored is not None:
            data["matured"] = self.monitored.matured
            data["completeness"] = self.monitored.completeness
            if self.watched is not None and (self.watched.raised or self.watched.closed or self.watched.open):
                data["alerts"] = self.watched.as_dict()
            if self.beside:
                data["beside"] = [comparison.as_dict() for comparison in self.beside]
        return data
