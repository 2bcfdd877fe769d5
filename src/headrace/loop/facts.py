"""The facts that rules of monitoring ask for, read from the store: each once, for all evaluation times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headrace.errors import UsageError
from headrace.home import DRIFT, PREDICTIONS, QUARANTINE, WARNINGS, Home
from headrace.loop.eras import Reign, reign_at
from headrace.loop.times import opens_day
from headrace.tasks import task_of
from headrace.tasks.watched import EstimateRequest, WatchedErrors, WatchRequest

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from headrace.loop.silences import SilenceRequest
    from headrace.registry import ModelVersion
    from headrace.system import System

PAUSES = 100
"""So many pauses before one tell what is usual."""
FEWEST = 10
"""Fewer tell nothing."""
_REACHES = (32, 128)
"""So many stretches are looked back for pauses, then more, then all: what is read does not grow with the history."""


@dataclass(frozen=True)
class KnownMoments:
    """When facts became known: each moment once, ascending.

    Attributes:
        moments: UTC.
        totals: How many facts there are of the first so many moments; one more than there are moments.
        since: Earlier ones were not looked at; None: all were.
        side: ``right`` where a fact counts at the moment at which it became known, ``left`` where it does after that.
    """

    moments: pl.Series
    totals: NDArray[np.int64]
    since: datetime | None
    side: Literal["left", "right"]

    def places(self, times: Sequence[datetime]) -> NDArray[np.int64]:
        """How many of the moments count at each of some times."""
        wanted_times = np.array([_micros(time) for time in times], dtype=np.int64)
        return np.searchsorted(self.moments.dt.epoch("us").to_numpy(), wanted_times, side=self.side)


class StoredMonitoringFacts:
    """What is stored of a system, as `headrace.policy.monitoring.MonitoringFacts` has it.

    Args:
        system: The declaration.
        home: Where the tables are.
        times: Evaluation times, ascending, one after the other without a gap, UTC.
        reigning: Who predicted when.
        interval: From one evaluation time to the next.
    """

    def __init__(
        self, system: System, home: Home, times: Sequence[datetime], reigning: Sequence[Reign], interval: timedelta
    ) -> None:
        self._system, self._home, self._reigns = system, home, reigning
        self._times, self._every = tuple(times), interval
        self._known: dict[str, KnownMoments] = {}

    @property
    def times(self) -> Sequence[datetime]:
        """The evaluation times, ascending, UTC."""
        return self._times

    @property
    def every(self) -> timedelta:
        """From one evaluation time to the next."""
        return self._every

    def errors(self, metrics: Sequence[str], by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """Errors of the present champion's predictions; see `MonitoringFacts`.

        Raises:
            UsageError: The system's task does not know them.
        """
        if self._errors is None:
            task = task_of(self._system)
            message = f"{self._system.name} {task.action}, whose errors are not watched"
            raise UsageError(message, where="monitoring.rules", hint="let the task have a method watched()")
        return self._errors.errors(self._request(by, window), metrics)

    def baselines(self, by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """Its loss beside that of each baseline."""
        names = ("baseline", "n", "loss", "baseline_loss", "blocks", "deviation")
        return self._none(names) if self._errors is None else self._errors.baselines(self._request(by, window))

    def coverage(self, by: Sequence[str] = (), window: timedelta | None = None) -> pl.DataFrame:
        """How often its intervals held the truth."""
        names = ("n", "coverage", "blocks", "deviation")
        return self._none(names) if self._errors is None else self._errors.coverage(self._request(by, window))

    @cached_property
    def _errors(self) -> WatchedErrors | None:
        return task_of(self._system).watched(self._home)

    def _none(self, names: Sequence[str]) -> pl.DataFrame:
        import polars as pl

        return pl.DataFrame(schema={"time": pl.Datetime("us", "UTC"), **dict.fromkeys(names, pl.Float64())})

    def estimates(self, metrics: Sequence[str] | None = None, window: timedelta | None = None) -> pl.DataFrame:
        """Its metrics by its own probabilities, beside what they were.

        Raises:
            UsageError: The system's predictions have no estimate of such a metric.
        """
        names = None if metrics is None else tuple(metrics)
        since, versions = (tuple(getattr(reign, name) for reign in self._reign) for name in ("since", "version"))
        span = window or self._system.monitoring.window
        request = EstimateRequest(self._times, since, versions, span, names)
        frame = None if self._errors is None else self._errors.estimates(request)
        if frame is None and names is not None:
            message, hint = f"{self._system.name} has no estimates", "estimates are of classes with probabilities"
            raise UsageError(message, where="monitoring.rules", hint=hint)
        return self._none(()) if frame is None else frame

    def nominal(self) -> float | None:
        """How often intervals should hold the truth."""
        return getattr(self._system.model, "coverage", None)

    def _request(self, by: Sequence[str], window: timedelta | None) -> WatchRequest:
        since = tuple(reign.since for reign in self._reign)
        names = tuple(name for part in by for name in (self._system.keys if part == "series" else (part,)))
        back = window or self._system.monitoring.window
        return WatchRequest(self._times, since, self._reigns[0].promoted, self._every, back, names)

    @cached_property
    def _reign(self) -> list[Reign]:
        return [reign_at(self._reigns, time) for time in self._times]

    @cached_property
    def _versions(self) -> dict[int, ModelVersion]:
        return dict(self._home.registry.timeline(self._system.name).registered)

    def held_out(self) -> pl.DataFrame:
        """What the champion of each time promised."""
        import polars as pl

        rows = [
            {"time": time, "metric": name, "value": value}
            for time, reign in zip(self._times, self._reign, strict=True)
            for name, value in self._versions[reign.version].metrics.items()
        ]
        schema = {"time": pl.Datetime("us", "UTC"), "metric": pl.String(), "value": pl.Float64()}
        return pl.DataFrame(rows, schema=schema)

    def champion(self) -> pl.DataFrame:
        """Who predicts at each time."""
        import polars as pl

        rows = [
            {"time": time, "version": reign.version, "promoted": reign.promoted, "since": reign.since}
            for time, reign in zip(self._times, self._reign, strict=True)
        ]
        moment = pl.Datetime("us", "UTC")
        schema = {"time": moment, "version": pl.Int64(), "promoted": moment, "since": moment}
        return pl.DataFrame(rows, schema=schema)

    def validation(self, window: timedelta | None = None) -> pl.DataFrame:
        """Rows that came, rows set apart, and warnings of the contract."""
        span = window or self._system.monitoring.window
        tables = {"rows": "raw", "quarantined": QUARANTINE, "warnings": WARNINGS}
        return self._frame(**{name: self._count(table, span) for name, table in tables.items()})

    def volume(self, past: int) -> pl.DataFrame:
        """Rows that became known since the evaluation time before, and the median of stretches before."""
        import polars as pl

        counts = [self._count("raw", self._every, back * self._every) for back in range(past, -1, -1)][::-1]
        before = np.stack(counts[1:], axis=1).astype(np.float64)
        usual = pl.Series("usual", np.median(before, axis=1))
        enough = pl.Series((before > 0).sum(axis=1) * 2 >= past)
        return self._frame(rows=counts[0]).with_columns(pl.when(enough).then(usual).alias("usual"))

    def freshness(self) -> pl.DataFrame:
        """The newest known time of a fact, and the longest usual pause between two of them."""
        return self._pauses("raw", "newest")

    def silences(self, least: timedelta, ended: timedelta) -> pl.DataFrame:
        """Series of which nothing became known while others went on; a span of evaluation times is read at once.

        Raises:
            UsageError: The system has no series.
        """
        import polars as pl

        from headrace.loop.silences import SilenceRequest, silences

        if task_of(self._system).past is None or self._system.time is None:
            raise UsageError(f"{self._system.name} has no series", where="monitoring.rules", hint="leave out by=series")
        request, frames, place = SilenceRequest(tuple(self._system.keys), least, ended), [], 0
        while place < len(self._times):
            until = self._times[place] + ended
            times = [time for time in self._times[place : place + 1 + ended // self._every] if time < until]
            frames.append(silences(self._stretches(times, request), times, request))
            place += len(times)
        return pl.concat(frames)

    def _stretches(self, times: Sequence[datetime], request: SilenceRequest) -> pl.DataFrame:
        """When observations became known that count at some times; what is known ahead is none."""
        import polars as pl

        from headrace.loop.silences import PAST, stretches, width_of

        raw, utc, system = self._home.raw(self._system), pl.Datetime("us", "UTC"), self._system
        since, until = pl.lit(times[0] - PAST * request.ended, utc), pl.lit(times[-1], utc)
        where = (pl.col("known_at") > since) & (pl.col("known_at") <= until)
        if system.target in raw.schema():
            where &= pl.col(system.target).is_not_null()
        observed = pl.col(str(system.time)).alias("_observed")
        facts = raw.scan(where=where).select(*request.keys, "known_at", observed)
        return raw.collect(stretches(facts, request.keys, width_of(request.least, self._every)))

    def predictions(self) -> pl.DataFrame:
        """Predictions that were made since the evaluation time before, and when the last one was."""
        import polars as pl

        counts = pl.Series("predictions", self._count(PREDICTIONS, self._every), pl.Int64)
        return self._pauses(PREDICTIONS, "last").with_columns(counts)

    def drift(self) -> pl.DataFrame:
        """Of each time the newest rows of the table ``drift`` that are known and no older than one stretch.

        They are measured, and kept, when the first rule asks for them: once a day at most, at its first evaluation
        time, as what came is counted by days, and half a day is otherwise than a whole one. Of a time at which that was
        not possible there is one row: ``time reason``.
        """
        return self._drift

    @cached_property
    def _drift(self) -> pl.DataFrame:
        import polars as pl

        from headrace.loop.drift import IDENTITY, keep_drift, limits_of

        times = [time for time in self._times if opens_day(time, self._every)]
        keeping = keep_drift(self._system, self._home, times)
        unmeasured, known_times = keeping.unmeasured, set[datetime]()
        table = self._home.table(self._system.name, DRIFT)
        moment = pl.Datetime("us", "UTC")
        results = [pl.DataFrame(schema={"time": moment})]
        measured: set[datetime] = set()
        if table.exists():
            since = pl.lit(self._times[0] - self._every, moment)
            where = [pl.col("limits") == limits_of(self._system), pl.col("time") >= since]
            rows = table.read(identity=IDENTITY, as_of=self._times[-1], where=where).drop("_version")
            measured = set(rows["time"])
            moments = rows.select("known_at").unique().sort("known_at").with_columns(moment="known_at")
            lacking_times = [t for t in unmeasured if t not in measured]
            wanted_times = self._frame().filter(pl.col("time").is_in(times) & ~pl.col("time").is_in(lacking_times))
            joined = wanted_times.sort("time").join_asof(
                moments, left_on="time", right_on="known_at", tolerance=self._every
            )
            known = joined.select("time", known_at="moment").drop_nulls()
            known_times = set(known["time"])
            results.append(known.join(rows.drop("time"), on="known_at", maintain_order="left"))
        lacking = {time: reason for time, reason in keeping.unjudged.items() if time not in known_times}
        lacking |= {time: reason for time, reason in unmeasured.items() if time not in measured}
        if lacking:
            pair = {"time": list(lacking), "reason": list(lacking.values())}
            results.append(pl.DataFrame(pair, schema_overrides={"time": moment}))
        return pl.concat(results, how="diagonal")

    def anomalies(self, window: timedelta | None = None) -> pl.DataFrame:
        """Of each time and series how many values were judged that became known within the window, and how."""
        import polars as pl

        frame = task_of(self._system).anomalies(self._home, self._times, window or self._every)
        types = {"time": pl.Datetime("us", "UTC"), "n": pl.Int64(), "anomalies": pl.Int64(), "degree": pl.Float64()}
        return pl.DataFrame(schema=types) if frame is None else frame

    def latencies(self, window: timedelta | None = None) -> pl.DataFrame:
        """Quantiles of what serving processes counted in windows that all of them have written."""
        import polars as pl

        from headrace.ledger.latencies import WINDOW, quantile

        rows, span = list[dict[str, Any]](), window or self._every
        if self._home.has_ledger:
            first, last = self._times[0] - WINDOW - span, self._times[-1] - WINDOW
            windows = self._home.ledger.latencies.read(self._system.name, first, last)
            for time in self._times:
                counts = Counter[int]()
                for part in windows:
                    if time - WINDOW - span <= part.begin <= time - 2 * WINDOW:
                        counts.update(part.counts)
                if counts:
                    shares = {f"p{percent}": quantile(counts, percent / 100) for percent in (50, 95, 99)}
                    rows.append({"time": time, "n": counts.total(), **shares})
        types = {
            "time": pl.Datetime("us", "UTC"),
            "n": pl.Int64(),
            **dict.fromkeys(("p50", "p95", "p99"), pl.Float64()),
        }
        return pl.DataFrame(rows, schema=types)

    def frame(self, name: str) -> pl.DataFrame | None:
        """All facts of another table of the system that are known by the last time; None where there is none."""
        table = self._home.table(self._system.name, name)
        return table.collect(table.scan(as_of=self._times[-1])) if table.exists() else None

    # Counting by known time: ascending moments, looked up for all evaluation times at once.

    def _moments(self, name: str, since: datetime | None = None) -> KnownMoments:
        """When the facts of a table became known: at least from a time on, and so far back that pauses can be told."""
        found = self._known.get(name)
        if found is not None and (found.since is None or since is None or found.since <= since):
            return found
        for reach in (*_REACHES, None):
            begin = None if reach is None else self._times[0] - reach * self._every
            begin = begin if begin is None or since is None else min(begin, since)
            found = self._read_moments(name, begin)
            if begin is None or found.places(self._times[:1])[0] > PAUSES:
                break
        assert found is not None
        self._known[name] = found
        return found

    def _read_moments(self, name: str, since: datetime | None) -> KnownMoments:
        """Those after a time. When predictions were made is told by them, not by the records of runs.

        A run writes its record last, after its readings are made: one that comes late would not be counted. Nor does a
        run at an evaluation time count there, as it may predict before or after its rules are evaluated.
        """
        import polars as pl

        table = self._home.raw(self._system) if name == "raw" else self._home.table(self._system.name, name)
        moment, utc = pl.col("as_of" if name == PREDICTIONS else "known_at"), pl.Datetime("us", "UTC")
        frame = pl.DataFrame(schema={"moment": utc, "n": pl.Int64()})
        if table.exists():
            first, last = pl.lit(since, utc), pl.lit(self._times[-1], utc)
            where = moment < last if name == PREDICTIONS else moment <= last
            if since is not None:
                where &= moment >= first if name == PREDICTIONS else moment > first
            count = pl.len()
            if name == PREDICTIONS and task_of(self._system).past is None:
                count = pl.col("id").n_unique()
            lazy = table.scan(where=where).group_by(moment.alias("moment")).agg(n=count.cast(pl.Int64))
            frame = table.collect(lazy).sort("moment")
        totals = np.concatenate([[0], np.cumsum(frame["n"].to_numpy())])
        return KnownMoments(frame["moment"], totals, since, "left" if name == PREDICTIONS else "right")

    def _count(self, name: str, span: timedelta, back: timedelta = timedelta()) -> NDArray[np.int64]:
        """How many facts of a table became known within a span before each time, or that long before it."""
        known = self._moments(name, self._times[0] - back - span)
        ends, begins = ([time - offset for time in self._times] for offset in (back, back + span))
        return known.totals[known.places(ends)] - known.totals[known.places(begins)]

    def _pauses(self, table: str, name: str) -> pl.DataFrame:
        """The newest of times by each evaluation time, and in seconds the longest pause among those before it."""
        import polars as pl

        known = self._moments(table)
        pauses = known.moments.diff().dt.total_microseconds() / 1e6
        usual = pauses.rolling_max(PAUSES, min_samples=FEWEST)
        place = known.places(self._times) - 1
        row = pl.Series([int(p) if p >= 0 else None for p in place], dtype=pl.Int64)
        newest = {name: known.moments.gather(row), "usual": usual.gather(row)}
        return self._frame().with_columns(**newest)

    def _frame(self, **columns: Any) -> pl.DataFrame:
        import polars as pl

        times = pl.Series("time", self._times, pl.Datetime("us", "UTC"))
        return pl.DataFrame([times, *(pl.Series(name, values) for name, values in columns.items())])


def _micros(time: datetime) -> int:
    from headrace.loop.times import EPOCH

    return (time - EPOCH) // timedelta(microseconds=1)
