"""Errors of forecasts by time, run, step ahead, series, or a key alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.errors import NotFoundError, UsageError
from headrace.home import Home
from headrace.system import System
from headrace.tasks.conditions import conditions
from headrace.tasks.forecast.monitoring import RUN, SERIES, read_scores
from headrace.tasks.forecast.scores import METRICS, measures, naive_name
from headrace.tasks.score_table import ScoreTable

if TYPE_CHECKING:
    import polars as pl

_OF_RUNS = {"run": "made", "step": "ahead"}
_MEASURES = (*METRICS, "coverage")


def scores_by(
    system: System, home: Home, by: str, *, as_of: datetime | None = None, where: Mapping[str, str] | None = None
) -> ScoreTable | None:
    """The scores of the monitoring window by one thing; see `headrace.tasks.base.Task.scores_by`."""
    columns = _columns(system, by)
    of_runs = by in _OF_RUNS
    if of_runs and where:
        raise UsageError(f"scores by {by} are kept over all series", where="by", hint="leave the keys out")
    scores = read_scores(system, home, as_of, scope=RUN if of_runs else SERIES)
    if scores is None:
        return None
    if where:
        scores = scores.filter(conditions(scores.schema, where))
    seasons = system.monitoring.compared
    frame = measures(scores, list(columns), seasons)
    frame = frame.sort(*columns) if columns else frame
    if by == "time":
        frame, columns = frame.rename({columns[0]: "time"}), ("time",)
    measure = "wape" if _has(measures(scores, [], seasons), "wape") else "rmsse"
    names = tuple(naive_name(season) for season in seasons if f"{naive_name(season)}_n" in frame.columns)
    champion = home.registry.champion(system.name)
    nominal = None if champion is None else champion.params.get("coverage")
    return ScoreTable(by, columns, frame, measure, False, _MEASURES, names, nominal)


def _columns(system: System, by: str) -> tuple[str, ...]:
    columns_by = {"": (), "time": (system.event_time,), "series": tuple(system.keys)}
    columns_by |= {name: (column,) for name, column in _OF_RUNS.items()}
    columns_by |= {key: (key,) for key in system.keys}
    if by not in columns_by:
        hint = f"by {', '.join(name for name in columns_by if name)}"
        raise NotFoundError(f"errors of {system.name} are not kept by {by!r}", where="by", hint=hint)
    return columns_by[by]


def _has(totals: pl.DataFrame, measure: str) -> bool:
    return totals.height > 0 and totals[measure][0] is not None
