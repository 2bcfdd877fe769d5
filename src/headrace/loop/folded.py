"""Where the fold of alerts stood at evaluation times, kept beside the readings, so that each of these is folded once.

It is a memory, not a fact: whatever in it does not follow from the readings and promotions that stand now is left out,
and the fold begins earlier, or anew. What comes out is what a fold over all readings gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import CorruptTableError
from headrace.lineage import digest_of, iso
from headrace.loop import readings as table_of_readings
from headrace.loop.evaluate import policy_of
from headrace.policy.alerts import Alert
from headrace.policy.folding import AlertFold, Track

if TYPE_CHECKING:
    import polars as pl

    from headrace.home import Home
    from headrace.system import System

FILE = "folded.json"
"""What keeps it, in the system's folder of the store."""
FORMAT = 1
"""Raise it when the same readings come to be folded otherwise."""
SPACING = 500
"""So many readings and scopes are folded again at most, give or take those of one evaluation."""
STATES = 8
"""So many are kept, the newest: alerts as of an earlier time are folded from the beginning."""
_TIMES = ("raised_at", "alarm_at", "closed_at")


@dataclass(frozen=True)
class FoldState:
    """Where the fold stood.

    Attributes:
        time: After the readings up to then, UTC.
        closed: How many alerts were closed by then.
        last: As `AlertFold`, JSON-ready.
        tracks: As `AlertFold`, JSON-ready.
    """

    time: datetime
    closed: int
    last: Mapping[str, str]
    tracks: Mapping[str, Mapping[str, Sequence[Any]]]

    @classmethod
    def of(cls, fold: AlertFold, time: datetime) -> FoldState:
        """Where a fold stands after the readings up to a time."""
        tracks = {
            rule: {
                key: [t.warned, t.alarmed, t.cleared, None if t.open is None else _alert_fields(t.open)]
                for key, t in of_rule.items()
            }
            for rule, of_rule in fold.tracks.items()
        }
        return cls(time, len(fold.closed), {rule: iso(last) for rule, last in fold.last.items()}, tracks)

    def follows(self, before: Sequence[datetime], now: Sequence[datetime], as_of: datetime | None) -> bool:
        """Whether it is one of the past that is asked about, under the promotions that are known now."""
        current, former = ([time for time in promotions if time < self.time] for promotions in (now, before))
        return current == former and (as_of is None or self.time <= as_of)

    def resumed(self, closed: Sequence[Alert]) -> AlertFold:
        """A fold that goes on from here."""
        tracks = {
            rule: {
                key: Track(warned, alarmed, cleared, None if alert is None else _alert(alert))
                for key, (warned, alarmed, cleared, alert) in of_rule.items()
            }
            for rule, of_rule in self.tracks.items()
        }
        last = {rule: datetime.fromisoformat(time) for rule, time in self.last.items()}
        return AlertFold(tracks, last, list(closed[: self.closed]))


@dataclass(frozen=True)
class FoldMemory:
    """All that is kept.

    Attributes:
        key: What the fold depends on beside readings and promotions.
        seen: The version of the table of readings that it follows from.
        mark: What was evaluated in that version: another table may have another one of its number.
        promotions: As `headrace.policy.folding.fold`.
        closed: Alerts that were closed, in the order in which they were.
        states: Oldest first.
    """

    key: str
    seen: int = 0
    mark: str = ""
    promotions: Sequence[datetime] = ()
    closed: Sequence[Alert] = ()
    states: Sequence[FoldState] = ()


@dataclass
class StandingAlerts:
    """The alerts that follow from readings.

    Attributes:
        alerts: Oldest first.
        memory: What is to be kept of how they were found; None: little was folded.
    """

    alerts: list[Alert] = field(default_factory=list)
    memory: FoldMemory | None = None

    def keep(self, home: Home, system: str) -> None:
        """Keep where the fold stands, if that is far from where it was begun.

        Raises:
            StoreError: It cannot be written.
        """
        if self.memory is not None:
            home.store.note(f"{system}/{FILE}", json.dumps(_as_dict(self.memory), ensure_ascii=False).encode())


def folded(
    home: Home, system: System, first_name: str, promotions: Sequence[datetime], as_of: datetime | None = None
) -> StandingAlerts:
    """The alerts that follow from the readings of the present rules.

    Args:
        home: Where the readings are.
        system: The declaration.
        first_name: The name of which ids of alerts are made.
        promotions: See `headrace.policy.folding.fold`; those up to `as_of`, ascending.
        as_of: As they stood then, UTC; None: by all that is known.

    Raises:
        StoreError: A table cannot be read.
    """
    rules, policy = system.monitoring.watched, policy_of(system)
    memory = _remembered(home, system, first_name)
    states = [state for state in memory.states if state.follows(memory.promotions, promotions, as_of)]
    while True:
        state = states[-1] if states else None
        since = None if state is None else state.time
        rows = table_of_readings.stored(home, system.name, policy, as_of, since, memory.seen)
        stand = _standing(memory, states, rows)
        if len(stand) == len(states):
            break
        states = stand
    fold = AlertFold() if state is None else state.resumed(memory.closed)
    readings = table_of_readings.standing_of(rows)
    fold.add(first_name, readings, rules, promotions)
    result = StandingAlerts(fold.alerts)
    if as_of is None and sum(1 + len(reading.scopes) for reading in readings) >= SPACING:
        states = [*states[1 - STATES :], FoldState.of(fold, readings[-1].time)]
        version = int(rows["_version"].max())  # type: ignore[arg-type]
        mark = table_of_readings.mark_of(rows, version)
        if mark:
            result.memory = FoldMemory(memory.key, version, mark, promotions, fold.closed, states)
    return result


def _standing(memory: FoldMemory, states: list[FoldState], rows: pl.DataFrame) -> list[FoldState]:
    """The states that follow from the readings up to them as they are now: none came late, in that very table."""
    import polars as pl

    if not states or table_of_readings.mark_of(rows, memory.seen) != memory.mark:
        return []
    later = rows.filter((pl.col("_version") > memory.seen) & (pl.col("rule") != table_of_readings.MARK))
    first: Any = later["time"].min()
    return [state for state in states if first is None or state.time < first]


def _remembered(home: Home, system: System, first_name: str) -> FoldMemory:
    """What is kept, if it is about the present rules; one that is damaged is as good as none."""
    rules = {
        rule.called: [rule.consecutive, rule.grace.total_seconds(), rule.about_model]
        for rule in system.monitoring.watched
    }
    key = digest_of([FORMAT, policy_of(system), first_name, rules])
    try:
        noted = home.store.noted(f"{system.name}/{FILE}")
    except CorruptTableError:
        return FoldMemory(key)
    document = {} if noted is None else json.loads(noted)
    if document.get("key") != key:
        return FoldMemory(key)
    promotions = [datetime.fromisoformat(time) for time in document["promotions"]]
    closed = [_alert(alert) for alert in document["closed"]]
    states = [FoldState(**{**row, "time": datetime.fromisoformat(row["time"])}) for row in document["states"]]
    return FoldMemory(key, document["seen"], document["mark"], promotions, closed, states)


def _as_dict(memory: FoldMemory) -> dict[str, Any]:
    return {
        "key": memory.key,
        "seen": memory.seen,
        "mark": memory.mark,
        "promotions": [iso(time) for time in memory.promotions],
        "closed": [_alert_fields(alert) for alert in memory.closed],
        "states": [{**vars(state), "time": iso(state.time)} for state in memory.states],
    }


def _alert_fields(alert: Alert) -> dict[str, Any]:
    times = {name: getattr(alert, name) for name in _TIMES}
    return {**vars(alert), **{name: None if time is None else iso(time) for name, time in times.items()}}


def _alert(fields: Mapping[str, Any]) -> Alert:
    times = {name: fields[name] for name in _TIMES}
    known = {name: None if time is None else datetime.fromisoformat(time) for name, time in times.items()}
    return Alert(**{**fields, **known, "actions": ()})
