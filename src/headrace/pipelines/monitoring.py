"""Errors of matured predictions: the truth that is known, beside what was predicted and what the baselines said.

When the truth of an event time becomes known, the predictions for it are scored: one fact per series, over all runs
that predicted it, and one per run, over all series. A score is known from the time on at which its truth was, so it
does not depend on who computed it, when, or in which order; a correction of the truth makes a new fact beside the old.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import METRICS, Home
from headrace.pipelines.matured import RUN, SERIES, identity_of, plan, score, standing
from headrace.pipelines.scores import measures
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

__all__ = ["RUN", "SERIES", "Monitored", "completeness_of", "monitor", "read_scores"]


@dataclass(frozen=True)
class Monitored:
    """What a monitor step found.

    Attributes:
        overall: Metrics over all series, ``naive_*`` ones of the baselines; empty while nothing has matured.
        completeness: What they rest on; see `completeness_of`.
        rows: New score facts.
    """

    overall: dict[str, float | None]
    completeness: dict[str, Any]
    rows: int

    @property
    def matured(self) -> int:
        """Predictions of the window whose truth is known."""
        return int(self.completeness.get("matured", 0))


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
    found = completeness_of(system, window)
    overall = measures(window, [], system.monitoring.compared).drop("expected", "n").row(0, named=True)
    return Monitored(overall if found["matured"] else {}, found, rows)


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
