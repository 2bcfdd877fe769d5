"""How a system is, in words: beside its baselines, its data, its runs, its alerts. The worst of these is its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from headrace.errors import HeadraceError
from headrace.grid import later
from headrace.home import METRICS, READINGS, RUNS
from headrace.lineage import iso
from headrace.loop.alerts import alerts
from headrace.pipelines import runs
from headrace.serving.http.problem import outward
from headrace.serving.http.reads.freshness import freshness
from headrace.serving.http.reads.reader import ReadHome
from headrace.tasks import task_of

if TYPE_CHECKING:
    from headrace.registry import ModelVersion
    from headrace.system import System

GOOD, WARNING, BAD, UNKNOWN = "good", "warning", "bad", "unknown"
_ORDER = (BAD, WARNING, UNKNOWN, GOOD)
_WORSE, _FAR = -0.01, -0.05
"""From these shares on a model is called worse than its best baseline, and far worse."""
_ENOUGH = 100
"""Pairs of a prediction and its truth below which nothing is called better or worse."""
_MISSED = 2
"""A run that is late by more than so many intervals is missed."""
Reason = dict[str, str]


def status(place: ReadHome, name: str) -> dict[str, Any]:
    """The state of a system, with its reasons."""
    now = datetime.now(UTC)
    system = place.system(name)
    timeline = place.home.registry.timeline(name)
    champion = timeline.champion()
    pending = [v.version for v in timeline.with_states().values() if v.state == "pending"]
    quality = _quality(place, system)
    fresh = freshness(place, system, now)
    last, due = _runs(place, system, now)
    raised = _alerts(place, system)
    reasons = [
        *_of_champion(champion, pending),
        *_of_quality(quality, champion),
        *_of_alerts(raised),
        *_of_runs(last, due),
        *_of_data(fresh),
    ]
    state = worst(reason["state"] for reason in reasons)
    first = sorted(reasons, key=lambda reason: _ORDER.index(reason["state"]))
    return {
        "system": name,
        "kind": task_of(system).kind,
        "state": state,
        "says": "; ".join(reason["says"] for reason in first[:2]),
        "reasons": first,
        "champion": None if champion is None else _told(champion),
        "pending": pending,
        "quality": quality,
        "freshness": fresh,
        "last_run": last,
        "next_run": due,
        "alerts": raised,
    }


def overview(place: ReadHome, names: Sequence[str]) -> dict[str, Any]:
    """All systems of these names; one that cannot be read says so, and keeps no other from being told."""
    rows = [_safe(place, name) for name in names]
    state = worst(row["state"] for row in rows)
    counts = {state_name: sum(row["state"] == state_name for row in rows) for state_name in _ORDER}
    says = ", ".join(f"{count} {state_name}" for state_name, count in counts.items() if count) or "nothing is served"
    return {"state": state, "says": says, "counts": counts, "systems": rows}


def worst(states: Iterable[str]) -> str:
    """The worst of several states; unknown where there is none."""
    return min(states, key=_ORDER.index, default=UNKNOWN)


def _safe(place: ReadHome, name: str) -> dict[str, Any]:
    try:
        return status(place, name)
    except HeadraceError as error:
        says = outward(error.message)
        nothing = dict.fromkeys(("champion", "quality", "freshness", "last_run", "next_run", "alerts"))
        reasons = [{"state": BAD, "says": says}]
        kind = task_of(place.system(name)).kind
        return {"system": name, "kind": kind, "state": BAD, "says": says, "reasons": reasons, "pending": [], **nothing}


def _told(champion: ModelVersion) -> dict[str, Any]:
    return {"version": champion.version, "since": champion.decided_at, "because": champion.because}


def _quality(place: ReadHome, system: System) -> dict[str, Any] | None:
    table = place.home.table(system.name, METRICS)
    if not table.exists():
        return None
    return place.remembered(system.name, "quality", table.version(), lambda: _measured(place, system))  # type: ignore[no-any-return]


def _measured(place: ReadHome, system: System) -> dict[str, Any] | None:
    task = task_of(system)
    scores, times = task.scores_by(place.home, ""), task.scores_by(place.home, "time")
    if scores is None or times is None or not scores.frame.height:
        return None
    row = scores.frame.row(0, named=True)
    if not row["n"]:
        return None
    known = times.frame.filter(times.frame["n"] > 0)["time"]
    return {
        "measure": scores.measure,
        **scores.against(row),
        "n": row["n"],
        "expected": row["expected"],
        "since": known.min(),
        "until": known.max(),
        "coverage": row.get("coverage"),
        "nominal": scores.nominal,
        "says": scores.line(row),
    }


def _runs(place: ReadHome, system: System, now: datetime) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The last run that ended, and when the next one is due."""
    version = place.home.table(system.name, RUNS).version()
    last = place.remembered(
        system.name, "last run", version, lambda: next(iter(runs.newest(place.home, system.name, 1)), None)
    )
    interval = system.schedule.predict
    if last is None or interval is None:
        return last, None
    due = later(last["as_of"], interval, zone=system.dates)
    late = max((now - due).total_seconds(), 0.0)
    return last, {"at": due, "late_seconds": int(late) // 60 * 60, "every_seconds": interval.total_seconds()}


def _alerts(place: ReadHome, system: System) -> dict[str, Any]:
    version = place.home.table(system.name, READINGS).version()
    champion = place.home.registry.champion(system.name)
    state = version, None if champion is None else champion.version
    raised = place.remembered(system.name, "open alerts", state, lambda: alerts(system, place.home, only_open=True))
    newest = max(raised, key=lambda alert: alert.raised_at, default=None)
    return {
        "open": len(raised),
        "alarms": sum(alert.severity == "alarm" for alert in raised),
        "warnings": sum(alert.severity == "warning" for alert in raised),
        "newest": None if newest is None else newest.as_dict(),
    }


def _of_champion(champion: ModelVersion | None, pending: Sequence[int]) -> Iterable[Reason]:
    if champion is None:
        yield {"state": UNKNOWN, "says": "there is no model yet"}
    for number in pending:
        yield {"state": WARNING, "says": f"version {number} waits for approval"}


def _of_quality(quality: dict[str, Any] | None, champion: ModelVersion | None) -> Iterable[Reason]:
    if quality is None:
        if champion is not None:
            yield {"state": UNKNOWN, "says": "no truth is known yet of what was predicted"}
        return
    skill, count = quality["skill"], quality["n"]
    if count < _ENOUGH:
        yield {"state": UNKNOWN, "says": f"{quality['says']}, on {count} pairs only"}
        return
    state = GOOD if skill is None or skill > _WORSE else BAD if skill <= _FAR else WARNING
    yield {"state": state, "says": quality["says"]}


def _of_alerts(raised: dict[str, Any]) -> Iterable[Reason]:
    for kind, state in (("alarms", BAD), ("warnings", WARNING)):
        count = raised[kind]
        if count:
            newest = raised["newest"]
            says = f"{count} open {kind if count > 1 else kind[:-1]}"
            told = newest["says"].removeprefix(f"{kind[:-1]}: ")
            yield {"state": state, "says": f"{says}: {told}" if newest["severity"] == kind[:-1] else says}


def _of_runs(last: dict[str, Any] | None, due: dict[str, Any] | None) -> Iterable[Reason]:
    if last is None:
        yield {"state": UNKNOWN, "says": "nothing ran yet"}
        return
    if last["status"] == runs.FAILED:
        yield {"state": BAD, "says": f"the last run failed: {outward(last['error'] or 'nobody knows why')}"}
    if due is not None and due["late_seconds"] > _MISSED * due["every_seconds"]:
        late = _in_words(due["late_seconds"])
        yield {"state": WARNING, "says": f"the run of {iso(due['at'])} is late by {late}"}


def _of_data(fresh: dict[str, Any] | None) -> Iterable[Reason]:
    if fresh is not None and fresh["stale_series"]:
        yield {"state": WARNING, "says": fresh["says"]}


def _in_words(seconds: int) -> str:
    """A length of time for people.

    >>> _in_words(90), _in_words(7300), _in_words(270_000)
    ('1 minute', '2 hours', '3 days')
    """
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            count = seconds // size
            return f"{count:,} {unit}{'s' * (count > 1)}"
    return "less than a minute"
