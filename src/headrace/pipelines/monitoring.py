"""Errors of matured predictions: the truth that is known, beside what was predicted and what the baselines said.

When the truth of an event time becomes known, the predictions for it are scored: one fact per series, over all runs
that predicted it, and one per run, over all series. A score is known from the time on at which its truth was, so it
does not depend on when or how often it was computed; a correction of the truth makes a new fact beside the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.pipelines.scores import measures, scores, sum_columns
from headrace.predictor import baseline_column
from headrace.store.history import Seen, newest
from headrace.system import System

if TYPE_CHECKING:
    import polars as pl

SERIES, RUN = "series", "run"
_READER = "reader"


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


@dataclass(frozen=True)
class Scored:
    """Up to where scores were computed: truth known later, or facts and predictions of later versions, are due."""

    known_at: datetime
    data_version: int
    predictions_version: int


def monitor(system: System, home: Home, *, as_of: datetime, data_version: int, whole: bool = False) -> Monitored:
    """Score the predictions whose truth has become known, and sum up the monitoring window.

    Stateless: the same facts give the same scores, and repeating it stores nothing new. Predictions that were made as
    of a time after `as_of` are not looked at.

    Args:
        system: The declaration.
        home: Where everything is.
        as_of: What is known at this time counts, UTC.
        data_version: Logical version of the raw table.
        whole: Look at the whole window, rather than at what is newer than the newest scores.
    """
    done = None if whole else _scored(system, home, as_of)
    rows = score(system, home, [as_of], data_version, done)
    window = read_scores(system, home, as_of)
    if window is None:
        return Monitored({}, {}, rows)
    found = completeness_of(system, window)
    overall = measures(window, [], system.monitoring.baselines).drop("expected", "n").row(0, named=True)
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
    since = pl.lit(last - system.monitoring.window, pl.Datetime("us", "UTC"))
    where = [pl.col("scope") == scope, pl.col(time) > since]
    identity = _identity(system)
    return table.read(identity=identity, as_of=as_of, where=where, order=[time, *system.keys, "made"])


def _identity(system: System) -> list[str]:
    return ["scope", system.event_time, "made", *system.keys]


def _scored(system: System, home: Home, as_of: datetime) -> Scored | None:
    import polars as pl

    table = home.table(system.name, METRICS)
    if not table.exists():
        return None
    columns = ("known_at", "data_version", "predictions_version")
    row = table.collect(table.scan(as_of=as_of).select(pl.col(columns).max())).row(0)
    return None if row[0] is None else Scored(*row)


def score(system: System, home: Home, as_of: Sequence[datetime], data_version: int, done: Scored | None) -> int:
    """Score what became due by each of these times (ascending), as it stood then. Returns the number of new facts."""
    predictions = home.table(system.name, PREDICTIONS)
    if not predictions.exists():
        return 0
    version = predictions.version()
    truth = _truth(system, home, as_of, data_version)
    due = _due(system, home, truth, as_of, done)
    made = _made(system, home, due[system.event_time], as_of)
    if made.is_empty():
        return 0
    facts = _facts(system, _pairs(system, due, truth, made, as_of), data_version, version)
    written = home.table(system.name, METRICS).append(
        facts,
        identity=_identity(system),
        compare=sum_columns(system.monitoring.baselines),
        window=system.event_time,
    )
    return written.added


def _truth(system: System, home: Home, as_of: Sequence[datetime], data_version: int) -> pl.DataFrame:
    """Facts about the target within the window, each with the first of the times that saw it in `reader`.

    A row without a target says nothing about it, unless it takes back what one before it said.
    """
    import polars as pl

    raw, time, utc = home.table(system.name, RAW), system.event_time, pl.Datetime("us", "UTC")
    first = newest(raw, time, system.target, Seen(as_of[0], data_version))
    where = pl.col(time) > pl.lit(first - system.monitoring.window, utc)
    columns = [*system.keys, time, system.target, "known_at", "_version"]
    facts = raw.collect(raw.scan(version=data_version, as_of=as_of[-1], where=where).select(columns))
    facts = facts.rename({system.target: "actual"}).sort("known_at", "_version", maintain_order=True)
    if facts["actual"].null_count():
        said = pl.col("actual").is_not_null().cast(pl.Int8).cum_max().over(*system.keys, time)
        facts = facts.filter(said == 1)
    readers = pl.Series(list(as_of), dtype=utc).search_sorted(facts["known_at"], side="left")
    return facts.with_columns(readers.cast(pl.Int64).alias(_READER))


def _due(
    system: System, home: Home, truth: pl.DataFrame, as_of: Sequence[datetime], done: Scored | None
) -> pl.DataFrame:
    """Event times to score, each with the time as of which: whenever something about it became known."""
    import polars as pl

    time, utc = system.event_time, pl.Datetime("us", "UTC")
    news = truth
    if done is not None:
        later = pl.col("known_at") > pl.lit(done.known_at, utc)
        news = truth.filter(later | (pl.col("_version") > done.data_version))
    due = news.select(time, _READER)
    if done is not None:
        table = home.table(system.name, PREDICTIONS)
        lazy = table.scan(as_of=as_of[0], where=pl.col("_version") > done.predictions_version)
        added = table.collect(lazy.select(pl.col(time).unique()))
        known = truth.filter(pl.col(_READER) == 0).select(time).unique()
        due = pl.concat([due, known.join(added, on=time, how="semi").with_columns(pl.lit(0, pl.Int64).alias(_READER))])
    return due.unique().sort(time, _READER)


def _made(system: System, home: Home, times: pl.Series, as_of: Sequence[datetime]) -> pl.DataFrame:
    """The predictions of these event times, in any order; of several revisions the last one."""
    import polars as pl

    from headrace.store.facts import are_distinct

    table, time = home.table(system.name, PREDICTIONS), system.event_time
    numbers = ["value", "lower", "upper", "scale", *map(baseline_column, system.monitoring.baselines)]
    order = [*system.keys, time, "as_of"]
    within = pl.col(time).is_between(times.min(), times.max())
    lazy = table.scan(as_of=as_of[-1], where=within)
    there = lazy.collect_schema().names()
    lazy = lazy.select(*order, "ahead", *(c for c in numbers if c in there), "created_at", "revision")
    rows = table.collect(lazy.filter(pl.col(time).is_in(times.unique().implode())))
    if are_distinct(rows, order):
        return rows
    return rows.sort("created_at", "revision").unique(order, keep="last")


def _pairs(
    system: System, due: pl.DataFrame, truth: pl.DataFrame, made: pl.DataFrame, as_of: Sequence[datetime]
) -> pl.DataFrame:
    """Every prediction that is due beside the truth as it stood, and `known_at`, when the last of it became known."""
    import polars as pl

    time, state = system.event_time, [system.event_time, "turn"]
    turns = due.rename({_READER: "turn"})
    seen = turns.join(truth, on=time, how="inner").filter(pl.col(_READER) <= pl.col("turn"))
    stood = seen.sort("known_at", "_version", maintain_order=True).unique([*state, *system.keys], keep="last")
    stamps = seen.group_by(state).agg(pl.col("known_at").max().alias("stamp"))
    moments = pl.Series("moment", list(as_of), dtype=pl.Datetime("us", "UTC"))
    turns = turns.with_columns(moments.gather(turns["turn"])).join(stamps, on=state, how="left")
    pairs = turns.join(made, on=time, how="inner").filter(pl.col("as_of") <= pl.col("moment"))
    pairs = pairs.join(
        stood.select(*state, *system.keys, "actual"), on=[*state, *system.keys], how="left", nulls_equal=True
    )
    known = pl.max_horizontal("stamp", pl.col("as_of").max().over(state)).alias("known_at")
    return pairs.with_columns(known).sort([*state, *system.keys, "as_of"])


def _facts(system: System, pairs: pl.DataFrame, data_version: int, predictions_version: int) -> pl.DataFrame:
    import polars as pl

    time, seasons = system.event_time, system.monitoring.baselines
    state = [time, "turn", "known_at"]
    by_series, by_run = scores(pairs, [[*state, *system.keys], [*state, "as_of", "ahead"]], seasons)
    parts = [by_series.with_columns(scope=pl.lit(SERIES)), by_run.with_columns(scope=pl.lit(RUN))]
    facts = pl.concat([parts[0], parts[1].rename({"as_of": "made"})], how="diagonal")
    versions = {"data_version": data_version, "predictions_version": predictions_version}
    return facts.drop("turn").with_columns(**{name: pl.lit(n, pl.Int64) for name, n in versions.items()})
