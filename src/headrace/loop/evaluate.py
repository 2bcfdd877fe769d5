"""Evaluate rules at all evaluation times that are due, at once, and keep their readings.

Readings belong to evaluation times, not to runs: what was known then decides, whichever run comes to it, and however
many come. A fact that becomes stored later, but was known before, has the readings from its known time on made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from headrace.home import ANOMALIES, METRICS, PREDICTIONS, QUARANTINE, WARNINGS, Home
from headrace.loop import readings as table_of_readings
from headrace.loop.eras import reigns
from headrace.loop.facts import StoredMonitoringFacts
from headrace.loop.times import last_before, spacing, times_between
from headrace.policy.monitoring.judging import readings_of

if TYPE_CHECKING:
    from headrace.store import Table
    from headrace.system import System

_MODELS = "models"


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation did: evaluation times that were due, and readings that were new."""

    times: int
    readings: int


def evaluate(system: System, home: Home, *, as_of: datetime) -> Evaluated:
    """Make the readings of every evaluation time up to `as_of` (UTC) that lack them, or that later facts are about.

    Repeating it changes nothing, and any order of runs, several at once too, ends in the same readings. Scores up to
    then have to be there.

    Raises:
        StoreError: A table cannot be read or written.
        HeadraceError: A rule cannot measure.
    """
    rules, interval, policy = system.monitoring.watched, spacing(system), policy_of(system)
    reigning = reigns(home.registry.timeline(system.name)) if rules else []
    if not reigning:
        return Evaluated(0, 0)
    previous = table_of_readings.mark(home, system.name, policy)
    last = last_before(as_of if previous is None else max(as_of, previous[0]), interval)
    tables = _tables(system, home)
    sources = {name: table.version() for name, table in tables.items()}
    begin = reigning[0].promoted
    if previous is not None:
        begin = max(begin, _begin(tables, previous, sources, interval))
    times = times_between(begin, last, interval)
    if not times:
        return Evaluated(0, 0)
    facts = StoredMonitoringFacts(system, home, times, reigning, interval)
    measured = [reading for rule in rules for reading in readings_of(rule, facts)]
    return Evaluated(len(times), table_of_readings.write(home, system.name, policy, measured, last, sources))


def policy_of(system: System) -> str:
    """What the readings of a system's present rules are found by."""
    return f"{system.monitoring.policy}-{int(spacing(system).total_seconds())}"


def _tables(system: System, home: Home) -> dict[str, Table]:
    names = (ANOMALIES, METRICS, PREDICTIONS, QUARANTINE, WARNINGS, _MODELS)
    return {"raw": home.raw(system)} | {name: home.table(system.name, name) for name in names}


def _begin(
    tables: dict[str, Table], previous: tuple[datetime, dict[str, int]], sources: dict[str, int], interval: timedelta
) -> datetime:
    """From when on readings are to be made: after the last one, or since a fact was known that was not seen then."""
    import polars as pl

    until = pl.lit(previous[0], pl.Datetime("us", "UTC"))
    times = [previous[0] + interval]
    for name, table in tables.items():
        before = previous[1].get(name, 0)
        if sources[name] > before:
            late = (pl.col("_version") > before) & (pl.col("known_at") <= until)
            earliest = table.collect(table.scan(where=late).select(pl.col("known_at").min())).item()
            times += [] if earliest is None else [earliest]
    return min(times)
