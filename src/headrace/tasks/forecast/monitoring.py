"""Errors of matured predictions: the truth that is known, beside what was predicted and what the baselines said.

When the truth of an event time becomes known, the predictions for it are scored: one fact per series, over all runs
that predicted it, and one per run, over all series. A score is known from the time on at which its truth was, so it
does not depend on who computed it, when, or in which order; a correction of the truth makes a new fact beside the old.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import METRICS, Home
from headrace.system import System
from headrace.tasks.base import Monitored
from headrace.tasks.forecast.matured import RUN, SERIES, identity_of, plan, score, standing
from headrace.tasks.forecast.scores import measures

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RUN", "SERIES", "completeness_of", "measured", "monitor", "read_scores"]


def monitor(system: System, home: Home, *, as_of: datetime) -> Monitored:
    """Score the predictions whose truth has become known, and sum up the monitoring window as it was known.

    Repeating it stores nothing new, and any order of runs, backfills and monitors ends in the same scores.

    Args:
        system: The declaration.
        home: Where everything is.
        as_of: What is known at this time counts, UTC.
    """
    due = plan(system, home, as_of)
    rows = 0
    if due is not None:
        parts = due.parts()
        rows = sum(score(system, home, due.mark, part, last=part is parts[-1]) for part in parts)
    window = read_scores(system, home, as_of)
    if window is None:
        return Monitored({}, {}, rows)
    completeness = completeness_of(system, window)
    overall = measures(window, [], system.monitoring.compared).drop("expected", "n").row(0, named=True)
    return Monitored(overall if completeness["matured"] else {}, completeness, rows)


def completeness_of(system: System, window: pl.DataFrame) -> dict[str, Any]:
    """How much of what was predicted has matured, from scores by series.

    Keys: `matured` of `expected` predictions, `series_matured` of `series`, and the first and last event time (UTC) as
    `since` and `until`.
    """
    import polars as pl

    matured = window.group_by(system.keys).agg(pl.col("n").sum())["n"]
    return {
        "matured": int(matured.sum()),
        "expected": int(window["expected"].sum()),
        "series_matured": int((matured > 0).sum()),
        "series": matured.len(),
        "since": window[system.event_time].min(),
        "until": window[system.event_time].max(),
    }


def measured(system: System, scores: pl.DataFrame | None) -> dict[str, Any]:
    """Metrics of scores by series, ``metrics`` over all and ``over_time``, JSON-ready; none where there are none."""
    if scores is None:
        return {"metrics": {}, "over_time": []}
    time, baselines = system.event_time, system.monitoring.compared
    over_time = measures(scores, [time], baselines).sort(time)
    return {
        "metrics": measures(scores, [], baselines).row(0, named=True),
        "over_time": over_time.rename({time: "time"}).to_dicts(),
    }


def read_scores(
    system: System, home: Home, as_of: datetime | None = None, *, scope: str = SERIES
) -> pl.DataFrame | None:
    """The scores of the monitoring window as they were known at a time; None while there is none.

    Args:
        system: The declaration; the window ends at the newest scored event time.
        home: Where they are.
        as_of: None is all that is known.
        scope: `SERIES`: one row per event time and series. `RUN`: one per event time and run, with the run's `as_of` in
            `made` and its steps `ahead`.
    """
    import polars as pl

    table, time = home.table(system.name, METRICS), system.event_time
    if not table.exists():
        return None
    lazy = table.scan(as_of=as_of, where=pl.col("scope") == scope)
    last = table.collect(lazy.select(pl.col(time).max())).item()
    if last is None:
        return None
    since = pl.lit(home.grid(system).shift(last, -system.monitoring.window), pl.Datetime("us", "UTC"))
    facts = table.collect(lazy.filter(pl.col(time) > since))
    return standing(facts, identity_of(system)).sort(time, *system.keys, "made", maintain_order=True)
