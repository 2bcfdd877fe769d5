"""Watch a system: make the readings that are due, and say which alerts they raise and close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import RUNS, Home
from headrace.hooks import AlertClosedEvent, AlertRaisedEvent, Tell, unheard
from headrace.loop.alerts import alerts, folded_alerts, with_actions
from headrace.loop.evaluate import evaluate, policy_of
from headrace.loop.readings import mark
from headrace.loop.times import last_before, spacing

if TYPE_CHECKING:
    from headrace.policy.alerts import Alert
    from headrace.system import System


@dataclass(frozen=True)
class Watched:
    """What became of alerts.

    Attributes:
        times: How many evaluation times were due.
        readings: How many readings were new.
        raised: Alerts that were raised, or became alarms, oldest first.
        closed: Alerts that were closed.
        open: How many are open now.
    """

    times: int = 0
    readings: int = 0
    raised: Sequence[Alert] = ()
    closed: Sequence[Alert] = ()
    open: int = 0

    def lines(self) -> list[str]:
        """For people: a line for alerts that were raised and one for those closed; of many of one rule their number."""
        parts = (("raised", self.raised), ("closed", self.closed))
        return [f"{word}  {_brief(group)}" for word, group in parts if group]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``raised closed open``."""
        return {
            "raised": [alert.as_dict() for alert in self.raised],
            "closed": [alert.as_dict() for alert in self.closed],
            "open": self.open,
        }


def watch(
    system: System, home: Home, *, as_of: datetime, since: datetime | None = None, tell: Tell = unheard
) -> Watched:
    """Bring readings up to a time, and tell what they raise and close.

    An alert is told to hooks by the run that comes to it, again by one that repeats that, and by one that stores facts
    which were known before and change it.

    Args:
        system: The declaration.
        home: Where everything is; scores up to `as_of` have to be there.
        as_of: Evaluation times up to then are due, UTC.
        since: What was raised or closed after it is told, UTC; None: after the run before.
        tell: The system's hooks.

    Raises:
        StoreError: A table cannot be read or written.
        HeadraceError: A rule cannot measure.
    """
    if since is None and _is_quiet(system, home, as_of):
        return Watched()
    earlier = {alert.id: alert for alert in alerts(system, home)}
    evaluated = evaluate(system, home, as_of=as_of)
    standing = _kept(system, home) if evaluated.times else list(earlier.values())
    start = since if since is not None or not standing else _previous(system, home, as_of)
    raised, closed = [], []
    for alert in standing:
        begun, other = alert.alarm_at or alert.raised_at, earlier.get(alert.id)
        if _within(begun, start, as_of) or other is None or other.severity != alert.severity:
            raised.append(alert)
        if alert.closed_at and (_within(alert.closed_at, start, as_of) or other is None or other.is_open):
            closed.append(alert)
    for alert in raised:
        tell(AlertRaisedEvent(system.name, alert.alarm_at or alert.raised_at, alert.severity, **_fields(alert)))
    for alert in closed:
        tell(AlertClosedEvent(system.name, alert.closed_at or as_of, alert.severity, **_fields(alert)))
    return Watched(evaluated.times, evaluated.readings, raised, closed, sum(alert.is_open for alert in standing))


def _kept(system: System, home: Home) -> list[Alert]:
    """The alerts, of which the fold is kept: this is where readings become more."""
    folding = folded_alerts(system, home)
    folding.keep(home, system.name)
    return with_actions(system, home, folding.alerts)


def _is_quiet(system: System, home: Home, as_of: datetime) -> bool:
    """Whether a run is not the first one after an evaluation time, for which readings are there.

    It opens one table. Facts that it stored and that were known before are seen at the next evaluation time.
    """
    previous, last = mark(home, system.name, policy_of(system)), last_before(as_of, spacing(system))
    pause = system.schedule.predict
    return previous is not None and previous[0] == last and pause is not None and as_of - last >= pause


def _brief(alerts_told: Sequence[Alert]) -> str:
    """The last alert of each rule, and how many there are of it."""
    by_rule: dict[str, list[Alert]] = {}
    for alert in alerts_told:
        by_rule.setdefault(alert.rule, []).append(alert)
    counts = {rule: len(alerts_of) for rule, alerts_of in by_rule.items()}
    return "; ".join(
        alerts_of[-1].line + (f" (and {counts[rule] - 1} more)" if counts[rule] > 1 else "")
        for rule, alerts_of in by_rule.items()
    )


def _within(time: datetime, start: datetime | None, end: datetime) -> bool:
    return time <= end and (start is None or time > start)


def _fields(alert: Alert) -> dict[str, Any]:
    measured = {"value": alert.value, "threshold": alert.threshold, "raised_at": alert.raised_at}
    return {"id": alert.id, "rule": alert.rule, "scope": dict(alert.scope), **measured}


def _previous(system: System, home: Home, as_of: datetime) -> datetime | None:
    """The time of the last run before one that predicted or watched; None where there was none."""
    import polars as pl

    table = home.table(system.name, RUNS)
    if not table.exists():
        return None
    watched = pl.col("predictions").is_not_null()  # a backfill watches once, for all of its runs
    watched |= pl.col("watched") if "watched" in table.schema() else False
    where = (pl.col("as_of") < pl.lit(as_of, pl.Datetime("us", "UTC"))) & watched
    last: datetime | None = table.collect(table.scan(where=where).select(pl.col("as_of").max())).item()
    return last
