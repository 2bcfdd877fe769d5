"""What a model of series learnt from and what came since: series at forecast origins, the target, forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headrace.drift import NUMERIC
from headrace.features.arrays import Arrays
from headrace.features.view import Features
from headrace.home import PREDICTIONS, Home
from headrace.store.history import KnownAsOf, SeriesLayout, read_truth
from headrace.system import System
from headrace.tasks.distributions import (
    DAY,
    DAYS,
    FEATURE,
    PREDICTION,
    TARGET,
    KnownBetween,
    ObservedRows,
    Variable,
    column,
    day_of_facts,
    day_of_made,
    held_out,
)
from headrace.tasks.forecast.features import feature_group, stored_name
from headrace.tasks.forecast.training import history_of
from headrace.tasks.forecast.units import UNIT, SeriesUnits

if TYPE_CHECKING:
    import polars as pl

    from headrace.features.arrays import History
    from headrace.registry import ModelVersion

MOST = 300_000
"""Series at origins that a reference looks at, about."""
_PRIMES = (1, 5, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101)
"""Only every so many origins are looked at of many: no season is a multiple."""


@dataclass(frozen=True)
class SeriesDistributions:
    """See `headrace.tasks.distributions.Distributions`.

    Of features there are those of an origin that read a column: those of the calendar alone cannot drift. The target
    and forecasts are in units of each series, where the version has them: a version of before it had pools all as is.
    """

    system: System
    home: Home
    version: ModelVersion
    segments: Sequence[str]
    data_version: int

    @property
    def span(self) -> timedelta:
        """A day, or a run where these are further apart: hours of a day differ as they always did."""
        stride = self.system.schedule.predict
        return timedelta(days=1) if stride is None or stride < timedelta(days=1) else stride

    @cached_property
    def _series(self) -> SeriesLayout:
        return self.home.series(self.system)

    @cached_property
    def _features(self) -> Features:
        """Those of the version, where the present declaration has the same."""
        if self.version.pins.get("feature_version") != self.system.features.digest:
            return Features()
        chosen = self.system.features.at_origin()
        return Features({name: item for name, item in chosen.items() if item.columns()})

    @cached_property
    def _units(self) -> SeriesUnits | None:
        return SeriesUnits.load(self.home.registry.fetch(self.version))

    def unit(self, variable: Variable) -> str | None:
        """Of the target and forecasts, that of each series."""
        return None if variable.role == FEATURE or self._units is None else UNIT

    def reference(self) -> Sequence[ObservedRows]:
        """Every series at origins as far apart as runs are, the newest `DAYS` days."""
        import polars as pl

        version, series = self.version, self._series
        data = int(version.pins["data_version"])
        history = history_of(self.system, self.home, series, as_of=version.as_of, data_version=data)
        first = max(history.position(history.end - timedelta(days=DAYS)), 0)
        results = [self._targets(_flat(history, history.values[self.system.target], first, 1).drop_nulls("v"))]
        if self._features.names:
            results.insert(0, self._at_origins(history, first))
        values = held_out(self.home.registry.fetch(version))
        if values is not None:
            variable = Variable(PREDICTION, self.system.target, NUMERIC)
            day = pl.lit(None, pl.Datetime("us", "UTC")).alias(DAY)
            frame = pl.DataFrame(pl.Series(column(variable), values, pl.Float64)).with_columns(day)
            results.append(ObservedRows(frame, [variable]))
        return results

    def _at_origins(self, history: History, first: int) -> ObservedRows:
        import polars as pl

        runs = self.system.schedule.predict
        extra = 1 if runs is None else max(runs // self._series.grid.step, 1)
        rows = history.series * ((history.length - first) // extra)
        stride = extra * next((p for p in _PRIMES if rows // p <= MOST), _PRIMES[-1])
        arrays, frame = Arrays(history), pl.DataFrame()
        for name, expression in self._features.items():
            values = arrays.array(expression, 0, history.length)
            part = _flat(history, values, first, stride)
            frame = part.drop("v") if frame.is_empty() else frame
            frame = frame.with_columns(part["v"].alias(stored_name(self.system, name)))
        # As when a run stores them: of a series of which nothing is known there is no row.
        names = [stored_name(self.system, name) for name in self._features.names]
        return self._observed(frame.filter(pl.any_horizontal(pl.col(names).is_not_null())))

    def marks(self, between: KnownBetween) -> Mapping[datetime, str]:
        """How much came, and the last write that brought some."""
        import polars as pl

        counts: dict[datetime, str] = {}
        facts = between.facts(), day_of_facts(), self.home.raw(self.system), self.data_version
        fresh = between.made(), day_of_made(), self.home.table(self.system.name, PREDICTIONS), None
        sources = [facts, fresh]
        if self._features.names:
            sources.append((between.made(), day_of_made(), feature_group(self.system, self.home).table, None))
        for where, day, table, version in sources:
            if table.exists():
                lazy = table.scan(version=version, where=where).group_by(day).agg(pl.len(), pl.col("_version").max())
                for begin, rows, write in table.collect(lazy).sort(DAY).iter_rows():
                    counts[begin] = f"{counts.get(begin, '')}/{rows}.{write}"
        return counts

    def observed(self, between: KnownBetween) -> Sequence[ObservedRows]:
        """Features that runs saw, values that became known, and forecasts that were made."""
        import polars as pl

        results, system = list[ObservedRows](), self.system
        if self._features.names and (group := feature_group(system, self.home)).table.exists():
            names = [stored_name(system, name) for name in self._features.names]
            lazy = group.table.scan(where=between.made()).select(*system.keys, *names, day_of_made())
            results.append(self._observed(group.table.collect(lazy)))
        results.append(self._targets(self._truth(between)))
        table = self.home.table(system.name, PREDICTIONS)
        if table.exists():
            variable = Variable(PREDICTION, system.target, NUMERIC)
            by_version = pl.col("model_version") == self.version.version
            value = pl.col("value").alias(column(variable))
            lazy = table.scan(where=between.made()).filter(by_version).select(day_of_made(), *self.system.keys, value)
            frame = self._in_units(table.collect(lazy), column(variable))
            results.append(ObservedRows(frame.select(DAY, *self.segments, column(variable)), [variable]))
        return [item for item in results if item.frame.height]

    def _truth(self, between: KnownBetween) -> pl.DataFrame:
        """Values of the target that became known: keys, `DAY` and `v`."""
        import polars as pl

        raw, series, target = self.home.raw(self.system), self._series, self.system.target
        times = raw.scan(version=self.data_version, where=between.facts()).select(
            pl.col(series.time).min().alias("first"), pl.col(series.time).max().alias("last")
        )
        first, last = raw.collect(times).row(0)
        if first is None:
            empty = raw.collect(raw.scan(version=self.data_version).select(series.keys).head(0))
            return empty.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias(DAY), v=pl.lit(None, pl.Float64))
        cutoff = KnownAsOf(between.upto, self.data_version)
        facts = read_truth(raw, series, cutoff, (series.floor(first), last)).filter(between.facts())
        return facts.select(*series.keys, day_of_facts(), pl.col(target).alias("v")).drop_nulls("v")

    def _observed(self, frame: pl.DataFrame) -> ObservedRows:
        import polars as pl

        variables = [Variable(FEATURE, name, NUMERIC) for name in self._features.names]
        columns = [pl.col(stored_name(self.system, item.name)).alias(column(item)) for item in variables]
        return ObservedRows(frame.select(DAY, *self.segments, *columns), variables)

    def _in_units(self, frame: pl.DataFrame, name: str) -> pl.DataFrame:
        return frame if self._units is None else self._units.rescaled(frame, name)

    def _targets(self, frame: pl.DataFrame) -> ObservedRows:
        import polars as pl

        variable = Variable(TARGET, self.system.target, NUMERIC)
        frame = self._in_units(frame, "v")
        return ObservedRows(frame.select(DAY, *self.segments, pl.col("v").alias(column(variable))), [variable])


def _flat(
    history: History, values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], first: int, stride: int
) -> pl.DataFrame:
    """Values by series and step from `first` on, every so many counted from the last: keys, `DAY` and `v`."""
    import polars as pl

    places = np.arange(history.length - 1, first - 1, -stride)[::-1]
    days = pl.Series(DAY, history.times(places)).cast(pl.Datetime("us", "UTC")).dt.truncate("1d")
    rows = np.repeat(np.arange(history.series), places.size)
    flat = pl.Series("v", values[:, places].ravel(), nan_to_null=True)
    return history.keys[rows].with_columns(days[np.tile(np.arange(places.size), history.series)], flat)
