"""Which predictions are due to be scored, and their scores at every moment at which something about them changed.

A score is a function of facts alone: of the truth about an event time and the predictions for it. It changes when a
truth becomes known (the first of any series makes all predictions of that time expected ones) and when a prediction is
made after that. So there is one fact per such moment, known from it on, whichever run computes it. Scores by run are
kept by whole minutes, since each holds every series and those of a stream become known one by one.

A monitor leaves a mark: up to which known time, and to which versions of the tables, it looked. What lies beyond one
mark is due: an event time about which a fact, or a prediction, is newer. A mark counts only where no monitor that saw
less has written after it, so those that run at once cannot hide one another's work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from headrace.home import METRICS, PREDICTIONS, Home
from headrace.store.history import KnownAsOf, read_news, read_truth
from headrace.system import System
from headrace.tasks.forecast.anomalies import judge
from headrace.tasks.forecast.predictor import baseline_column
from headrace.tasks.forecast.scores import scores, sum_columns

if TYPE_CHECKING:
    import polars as pl


SERIES, RUN, MARK = "series", "run", "mark"
AT_ONCE = 500_000
"""Predictions that are scored at once: bounds the memory."""
RANGES = 8
"""Event times are looked for in so many stretches of time at most."""
_SEEN = ("data_version", "predictions_version")


@dataclass(frozen=True)
class Mark:
    """What a monitor looked at: everything known by `as_of` (UTC) in these logical versions of the tables."""

    as_of: datetime
    data_version: int
    predictions_version: int

    @property
    def seen(self) -> KnownAsOf:
        """What it saw of the facts."""
        return KnownAsOf(self.as_of, self.data_version)


@dataclass(frozen=True)
class Due:
    """What is to be scored.

    Attributes:
        mark: Up to where; to be left when it is done.
        times: The event times, ascending.
        sizes: Predictions of each.
    """

    mark: Mark
    times: pl.Series
    sizes: pl.Series

    def parts(self) -> list[pl.Series]:
        """The times in parts of about `AT_ONCE` predictions; one empty part where there are none."""
        if self.times.is_empty():
            return [self.times]
        number = (self.sizes.cum_sum() - self.sizes) // AT_ONCE
        return [self.times.filter(number == part) for part in number.unique().sort()]


def identity_of(system: System) -> list[str]:
    """What a score is about: its scope, event time and run, or series."""
    return ["scope", system.event_time, "made", *system.keys]


def standing(facts: pl.DataFrame, identity: Sequence[str]) -> pl.DataFrame:
    """The last score of each identity: of the newest known time, by the monitor that had seen most."""
    from headrace.store.facts import are_distinct

    if are_distinct(facts, identity):
        return facts
    return facts.sort("known_at", *_SEEN, "_version").unique(identity, keep="last", maintain_order=True)


def plan(system: System, home: Home, as_of: datetime) -> Due | None:
    """What is to be scored as of a time; None where nothing has changed since that was asked last, or ever was made."""
    import polars as pl

    table, raw, time = home.table(system.name, PREDICTIONS), home.raw(system), system.event_time
    if not table.exists():
        return None
    done = _mark(system, home)
    mark = Mark(as_of if done is None else max(as_of, done.as_of), raw.version(), table.version())
    if mark == done:
        return None
    predictions = table.scan(version=mark.predictions_version, as_of=mark.as_of)
    if done is not None:
        before = KnownAsOf(done.as_of.replace(second=0, microsecond=0), done.data_version)
        news = read_news(raw, home.series(system), mark.seen, before)
        beyond = pl.col("known_at") > pl.lit(before.as_of, pl.Datetime("us", "UTC"))
        later = beyond | (pl.col("_version") > done.predictions_version)
        added = table.collect(predictions.filter(later).select(time).unique())
        predictions = predictions.filter(_among(time, pl.concat([news, added[time]]).unique().sort()))
    counts = table.collect(predictions.group_by(time).agg(pl.len().cast(pl.Int64))).sort(time)
    return Due(mark, counts[time], counts["len"])


def _mark(system: System, home: Home) -> Mark | None:
    """The newest mark that no monitor with less in sight has written after."""
    import polars as pl

    table = home.table(system.name, METRICS)
    if not table.exists():
        return None
    marks = table.scan(where=pl.col("scope") == MARK).select("known_at", *_SEEN, "_version")
    for *values, version in table.collect(marks).sort(*_SEEN, "known_at", descending=True).iter_rows():
        data, predictions = pl.col(_SEEN[0]), pl.col(_SEEN[1])
        less = (data < values[1]) | ((data == values[1]) & (predictions < values[2]))
        after = table.scan(where=(pl.col("_version") > version) & (pl.col("scope") != MARK) & less)
        if not table.collect(after.select(pl.len())).item():
            return Mark(*values)
    return None


def score(system: System, home: Home, mark: Mark, times: pl.Series, *, last: bool) -> int:
    """Score the predictions of some event times as of every moment up to the mark; returns the number of new facts.

    Args:
        system: The declaration.
        home: Where everything is.
        mark: What may be seen.
        times: Event times that are due.
        last: Everything before it is done: the mark is left with these.
    """
    import polars as pl

    table = home.table(system.name, METRICS)
    predictions = _made(system, home, mark, times)
    judge(system, home, mark.seen, predictions, times, mark.predictions_version)
    new = _scored(system, home, mark, times, predictions)
    rows = new.height
    if last:
        marked = pl.DataFrame({"scope": MARK, system.event_time: mark.as_of, "known_at": mark.as_of})
        new = pl.concat([new, marked], how="diagonal_relaxed")
    if new.height:
        marks = {name: pl.lit(getattr(mark, name), pl.Int64) for name in _SEEN}
        # A score that turns back to what it was is said again: what was seen is part of the fact.
        compare = [*sum_columns(system.monitoring.compared), *_SEEN]
        identity = [*identity_of(system), "known_at"]
        table.append(new.with_columns(**marks), identity=identity, compare=compare, window=system.event_time)
    return rows


def _scored(system: System, home: Home, mark: Mark, times: pl.Series, predictions: pl.DataFrame) -> pl.DataFrame:
    """The scores of these event times that differ from what stands."""
    import polars as pl

    time, sums = system.event_time, sum_columns(system.monitoring.compared)
    stands = _standing(system, home, mark, times)
    cells = predictions.select(*system.keys, time).unique().sort(*system.keys, time).with_row_index("cell")
    truth, first = _truth(system, home, mark, times, cells)
    predictions = predictions.join(cells, on=[*system.keys, time], nulls_equal=True).join(first, on=time)
    predictions = predictions.with_columns(pl.max_horizontal("first", "as_of").alias("since")).sort("cell", "as_of")
    moments = _moments(system, predictions, truth, stands, cells)
    own = _stood(moments.join(predictions, on="cell").filter(pl.col("since") <= pl.col("moment")), truth)
    by_series = scores(own, [["cell", "moment"]], system.monitoring.compared)[0]
    facts = [by_series.join(cells, on="cell").drop("cell").with_columns(scope=pl.lit(SERIES))]
    facts += _by_run(system, mark, predictions, truth, moments.join(cells, on="cell"), stands)
    rows = pl.concat(facts, how="diagonal").rename({"moment": "known_at"})
    rows = _complete(rows, system, predictions)
    if set(sums) <= set(stands.columns):
        rows = rows.join(stands, on=[*identity_of(system), "known_at", *sums], how="anti", nulls_equal=True)
    return rows


def _complete(facts: pl.DataFrame, system: System, predictions: pl.DataFrame) -> pl.DataFrame:
    """The facts with every column of the table, also where there are none of one scope."""
    import polars as pl

    types = {name: predictions.schema[name] for name in system.keys}
    types |= {"made": predictions.schema["as_of"], "ahead": predictions.schema["ahead"]}
    lacking = [pl.lit(None, kind).alias(name) for name, kind in types.items() if name not in facts.columns]
    return facts.with_columns(lacking)


def _among(time: str, times: pl.Series) -> pl.Expr:
    """Whether a row is about one of these times (ascending): by stretches first, which files and groups are told by."""
    import polars as pl

    if times.is_empty():
        return pl.lit(False)
    gaps = times.diff().fill_null(timedelta())
    breaks = [0, *sorted(gaps.arg_sort(descending=True).head(RANGES - 1).to_list()), times.len()]
    bounds = [(times[a], times[b - 1]) for a, b in pairwise(breaks) if a < b]
    return pl.any_horizontal(pl.col(time).is_between(*bound) for bound in bounds) & pl.col(time).is_in(times.implode())


def _made(system: System, home: Home, mark: Mark, times: pl.Series) -> pl.DataFrame:
    """The predictions of these event times; of several about one series, time and run the one that was stored last."""
    from headrace.store.facts import are_distinct

    table, time = home.table(system.name, PREDICTIONS), system.event_time
    numbers = ["value", "lower", "upper", "scale", *map(baseline_column, system.monitoring.compared)]
    identity = [*system.keys, time, "as_of"]
    lazy = table.scan(version=mark.predictions_version, as_of=mark.as_of, where=_among(time, times))
    names = lazy.collect_schema().names()
    rows = table.collect(lazy.select(*identity, "ahead", *(c for c in numbers if c in names), "_version", "revision"))
    if not are_distinct(rows, identity):
        rows = rows.sort("_version", "revision").unique(identity, keep="last")
    return rows.drop("_version", "revision")


def _truth(
    system: System, home: Home, mark: Mark, times: pl.Series, cells: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What became known when about each cell (`cell actual known_at`), and when the `first` of each time did.

    A row without a target says nothing about it, unless it takes back what one before it said.
    """
    import polars as pl

    time = system.event_time
    first, last = times.to_frame(time).select(pl.col(time).min().alias("first"), pl.col(time).max()).row(0)
    between = first or mark.as_of, last or mark.as_of
    facts = read_truth(home.raw(system), home.series(system), mark.seen, between, _among(time, times))
    facts = facts.rename({system.target: "actual"}).sort("known_at", "_version", maintain_order=True)
    if facts["actual"].null_count():
        present = pl.col("actual").is_not_null().cast(pl.Int8).cum_max().over(*system.keys, time)
        facts = facts.filter(present == 1)
    first = facts.group_by(time).agg(pl.col("known_at").min().alias("first"))
    stands = facts.join(cells, on=[*system.keys, time], nulls_equal=True, maintain_order="left")
    stands = stands.unique(["cell", "known_at"], keep="last", maintain_order=True)
    return stands.select("cell", "actual", "known_at"), first


def _standing(system: System, home: Home, mark: Mark, times: pl.Series) -> pl.DataFrame:
    """The scores of these event times that are stored, at every moment of theirs."""
    import polars as pl

    table = home.table(system.name, METRICS)
    if not table.exists():
        identity = {name: pl.Null() for name in identity_of(system)}
        return pl.DataFrame(schema=identity | {"known_at": pl.Datetime("us", "UTC")})
    where = (pl.col("scope") != MARK) & _among(system.event_time, times)
    facts = table.collect(table.scan(as_of=mark.as_of, where=where))
    return standing(facts, [*identity_of(system), "known_at"])


def _moments(
    system: System, predictions: pl.DataFrame, truth: pl.DataFrame, stands: pl.DataFrame, cells: pl.DataFrame
) -> pl.DataFrame:
    """When the score of a series changed, or was said to: `cell moment`."""
    import polars as pl

    parts = [predictions.select("cell", moment="since"), truth.select("cell", moment="known_at")]
    series_stands = stands.filter(pl.col("scope") == SERIES)
    if series_stands.height:
        rows_found = series_stands.join(cells, on=[*system.keys, system.event_time], nulls_equal=True)
        parts.append(rows_found.select("cell", moment="known_at"))
    return pl.concat(parts).unique()


def _by_run(
    system: System,
    mark: Mark,
    predictions: pl.DataFrame,
    truth: pl.DataFrame,
    moments: pl.DataFrame,
    stands: pl.DataFrame,
) -> list[pl.DataFrame]:
    """The scores by run, over all series, at whole minutes."""
    import polars as pl

    time = system.event_time
    minutes = moments.select(time, pl.col("moment").dt.offset_by("59999999us").dt.truncate("1m"))
    run_stands = stands.filter(pl.col("scope") == RUN)
    parts = [minutes, run_stands.select(time, moment="known_at")] if run_stands.height else [minutes]
    states = pl.concat(parts).unique().filter(pl.col("moment") <= pl.lit(mark.as_of, pl.Datetime("us", "UTC")))
    states = states.join(predictions.group_by(time).len(), on=time).sort(time, "moment")
    part = (pl.col("len").cum_sum() - pl.col("len")) // AT_ONCE
    frames = []
    for states_part in states.with_columns(part.alias("part")).partition_by("part", maintain_order=True):
        pairs = (
            states_part.select(time, "moment").join(predictions, on=time).filter(pl.col("since") <= pl.col("moment"))
        )
        by = [time, "moment", "as_of", "ahead"]
        rows = scores(_stood(pairs, truth), [by], system.monitoring.compared)[0]
        frames.append(rows.rename({"as_of": "made"}).with_columns(scope=pl.lit(RUN)))
    return frames


def _stood(pairs: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """Pairs of a `cell` and a `moment` with the truth as it stood then in `actual`, in an order of their own."""
    pairs = pairs.sort("moment", "cell", "as_of")
    sorted_truth = truth.sort("known_at").rename({"known_at": "moment"})
    return pairs.join_asof(sorted_truth, on="moment", by="cell", strategy="backward", check_sortedness=False)
