"""What came of a policy: its trainings and promotions, its alerts and how right they were, and how wrong forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.flow.hindsight import Hindsight, hindsight
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.lineage import iso
from headrace.loop import readings as table_of_readings
from headrace.loop.alerts import alerts
from headrace.loop.eras import reigns
from headrace.loop.evaluate import policy_of
from headrace.policy.acting import PUT_OFF
from headrace.policy.alerts import Alert
from headrace.registry import Timeline
from headrace.registry.history import in_order
from headrace.system import System
from headrace.tasks import task_of
from headrace.tasks.evaluation import ErrorsOverTime

if TYPE_CHECKING:
    import polars as pl

    from headrace.flow.backfill import Backfilled

_PROMOTIONS = ("promoted", "rolled_back")
_DAYS, _WEEKS = timedelta(days=45), timedelta(days=550)
"""Longer ranges are shown by week, by month."""


@dataclass(frozen=True)
class PolicyOutcome:
    """What came of a policy over a range of time.

    Attributes:
        trainings: Each version: ``at version because promoted reason cpu_seconds``; the first one too.
        promotions: Each time that the champion changed: ``at version``.
        errors: How wrong everything was that was predicted.
        alerts: What was raised, oldest first.
        hindsight: How right alarms were.
        actions: What alarms caused, as the backfill said it: a row for each alarm.
    """

    trainings: Sequence[dict[str, Any]]
    promotions: Sequence[dict[str, Any]]
    errors: ErrorsOverTime
    alerts: Sequence[Alert] = ()
    hindsight: Hindsight = field(default_factory=Hindsight)
    actions: Sequence[Mapping[str, Any]] = ()

    @property
    def acted(self) -> list[dict[str, Any]]:
        """What was tried, once: ``as_of action outcome reason version config_version cpu_seconds`` and its `alerts`."""
        tried: dict[tuple[str, str], dict[str, Any]] = {}
        for action in self.actions:
            if action["outcome"] in PUT_OFF:
                continue
            row = {name: value for name, value in action.items() if name != "alert"}
            row = tried.setdefault((action["as_of"], action["action"]), row | {"alerts": []})
            row["alerts"].append(action["alert"])
        return list(tried.values())

    @property
    def retunings(self) -> list[dict[str, Any]]:
        """Those of `acted` that searched for better settings."""
        return [action for action in self.acted if action["action"] == "retune"]

    def counts(self) -> dict[str, int]:
        """How often it trained again, tuned again, and changed the champion; a baseline as a version is no training."""
        unlearnt = {action["version"] for action in self.acted if action["action"] == "fallback"}
        trained = [row for row in self.trainings if row["version"] not in unlearnt]
        again = max(len(trained) - 1, 0)
        return {"retrainings": again, "retunings": len(self.retunings), "promotions": len(self.promotions)}

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "alerts": [_alert(alert) for alert in self.alerts],
            **self.counts(),
            "hindsight": self.hindsight.as_dict(),
            "actions": self.acted,
            "tunings": self.retunings,
            "promotions": list(self.promotions),
            "trainings": list(self.trainings),
            "metrics": dict(self.errors.metrics),
            "baselines": {name: dict(values) for name, values in self.errors.baselines.items()},
            "over_time": [dict(row) for row in self.errors.over_time],
        }


def outcome(system: System, home: Home, dates: DateRange, actions: Sequence[Mapping[str, Any]] = ()) -> PolicyOutcome:
    """What came of the runs of a home, which were those of one policy.

    Args:
        system: The declaration.
        home: Where they were made.
        dates: The runs.
        actions: What alarms caused, as `Backfilled.actions`.

    Raises:
        StoreError: A table cannot be read.
    """
    timeline = home.registry.timeline(system.name)
    events = in_order(timeline.facts)
    promotions = [{"at": iso(fact.as_of), "version": fact.version} for fact in events if fact.event in _PROMOTIONS]
    errors = task_of(system).overall(home, _binned(dates))
    raised = alerts(system, home, as_of=dates.end)
    readings = table_of_readings.read(home, system.name, policy_of(system), dates.end)
    usual = system.monitoring.window
    windows = {rule.called: getattr(rule, "window", None) or usual for rule in system.monitoring.watched}
    changes = sorted({reign.since for reign in reigns(timeline)})[1:]
    judged = hindsight(raised, readings, windows, changes)
    return PolicyOutcome(_trainings(timeline), promotions, errors, raised, judged, actions)


def _trainings(timeline: Timeline) -> list[dict[str, Any]]:
    """Every version, in the order in which they were trained."""
    events = in_order(timeline.facts)
    promoted = {fact.version for fact in events if fact.event in _PROMOTIONS}
    reasons = {fact.version: fact.reason for fact in events if fact.reason}
    versions = [timeline.registered[fact.version] for fact in events if fact.event == "registered"]
    return [
        {
            "at": iso(version.as_of),
            "version": version.version,
            "because": version.because,
            "promoted": version.version in promoted,
            "reason": reasons.get(version.version),
            "cpu_seconds": version.cost.get("train_cpu_s"),
        }
        for version in versions
    ]


def _alert(alert: Alert) -> dict[str, Any]:
    """An alert as a row: ``at severity rule scope value threshold`` and when it became an alarm and was closed."""
    row = alert.as_dict()
    return {"at": row.pop("raised_at"), **row}


def _binned(dates: DateRange) -> str:
    """How times are put together, so that a table has not too many rows."""
    length = dates.end - dates.start
    return "1d" if length <= _DAYS else "1w" if length <= _WEEKS else "1mo"


@dataclass(frozen=True)
class Simulated:
    """What one policy did over the past.

    Attributes:
        policy: Its name.
        system: The system's name.
        range: The runs that were made.
        done: What the backfill said.
        outcome: Alerts, trainings and errors.
        cpu_seconds: What it took, all processes and what policies share included.
        seconds: Wall time, without what they share.
        home: Where it was kept; None: it is gone.
    """

    policy: str
    system: str
    range: DateRange
    done: Backfilled
    outcome: PolicyOutcome
    cpu_seconds: float
    seconds: float
    home: Path | None = None

    @property
    def metric(self) -> str:
        """The error that is shown first: of series that are mostly zero there is no WAPE."""
        return "wape" if self.outcome.errors.metrics.get("wape") is not None else "rmsse"

    def row(self) -> dict[str, Any]:
        """The main figures: errors beside the best baseline's, what was done, and what it took."""
        errors, metric, raised = self.outcome.errors, self.metric, self.outcome.hindsight
        baselines = [values[metric] for values in errors.baselines.values() if values.get(metric) is not None]
        return {
            "policy": self.policy,
            metric: errors.metrics.get(metric),
            "baseline": min(baselines, default=None),
            "coverage": errors.metrics.get("coverage"),
            **self.outcome.counts(),
            "alarms": raised.alarms,
            "right": raised.precision,
            "caught": raised.recall,
            "cpu_seconds": round(self.cpu_seconds, 1),
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``runs alerts retrainings retunings promotions metrics baselines cpu_seconds`` and more."""
        return {
            "system": self.system,
            "policy": self.policy,
            "start": self.range.start,
            "end": self.range.end,
            "runs": self.done.runs,
            "predictions": self.done.predictions,
            "failed": self.done.failed,
            **self.outcome.as_dict(),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "seconds": round(self.seconds, 3),
            "home": None if self.home is None else str(self.home),
        }


def frame_of(tried: Sequence[Simulated]) -> pl.DataFrame:
    """A row for each policy; see `Simulated.row`."""
    import polars as pl

    return pl.DataFrame([one.row() for one in tried], infer_schema_length=None)


def errors_over_time(tried: Sequence[Simulated], metric: str) -> pl.DataFrame:
    """A column for each policy: an error by the time of the truth, oldest first."""
    import polars as pl

    frames = [
        pl.DataFrame(
            [{"time": row["time"], one.policy: row.get(metric)} for row in one.outcome.errors.over_time],
            schema={"time": pl.Datetime("us", "UTC"), one.policy: pl.Float64},
        )
        for one in tried
    ]
    joined = frames[0]
    for frame in frames[1:]:
        joined = joined.join(frame, on="time", how="full", coalesce=True)
    return joined.sort("time")
