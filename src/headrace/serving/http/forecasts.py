"""Stored forecasts and observations, indexed in memory: a request reads no table."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from headrace.contract.value import value_of
from headrace.errors import StoreError
from headrace.grid import spanned
from headrace.home import METRICS, PREDICTIONS, RAW, Home
from headrace.lineage import iso
from headrace.store.history import read_latest
from headrace.system import System
from headrace.tasks import task_of

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

KEPT = timedelta(hours=24 * 31)
"""Observations that a request can ask for."""
SHOWN = timedelta(hours=168)
"""Predictions of the past that are shown before the newest ones."""

Key = tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """Rows of many series, each series one slice.

    Attributes:
        frame: Ordered by keys and time.
        slices: First row and number of rows by key.
    """

    frame: pl.DataFrame
    slices: Mapping[Key, tuple[int, int]]

    @classmethod
    def of(cls, frame: pl.DataFrame, keys: list[str], time: str) -> Index:
        """The index of a frame."""
        import polars as pl

        if not keys:
            return cls(frame.sort(time), {(): (0, frame.height)} if frame.height else {})
        texts = [pl.col(k).cast(pl.String).fill_null("").alias(k) for k in keys]
        frame = frame.sort([*keys, time], maintain_order=True)
        names = frame.select(texts)
        begin = np.flatnonzero(_starts(names)) if frame.height else np.empty(0, dtype=np.intp)
        sizes = np.diff(np.append(begin, frame.height))
        at = names[begin.tolist()].rows() if begin.size else []
        slices = {key: (int(b), int(n)) for key, b, n in zip(at, begin, sizes, strict=True)}
        return cls(frame, slices)

    def rows(self, key: Key) -> pl.DataFrame:
        """The rows of one series."""
        begin, size = self.slices.get(key, (0, 0))
        return self.frame.slice(begin, size)


@dataclass(frozen=True)
class Made:
    """Stored predictions, taken up whole.

    Attributes:
        index: The newest one of every step of every series.
        as_of: Of the newest ones, UTC.
        model_version: Of the newest ones.
    """

    index: Index
    as_of: datetime
    model_version: int | None


def _starts(names: pl.DataFrame) -> NDArray[np.bool_]:
    import polars as pl

    differs = names.select(pl.any_horizontal((pl.all() != pl.all().shift(1)).fill_null(True)).alias("_"))
    return differs["_"].to_numpy()


class Forecasts:
    """What a system's readers ask for. `refresh` replaces whole parts; readers see the old or the new one."""

    def __init__(self, system: System, home: Home) -> None:
        self._system, self._home = system, home
        self._versions: dict[str, int] = {}
        self.observations: Index | None = None
        self.predictions: Made | None = None
        self.scores: pl.DataFrame | None = None

    @property
    def tag(self) -> str:
        """Changes whenever an answer may have changed."""
        return "-".join(str(self._versions.get(name, 0)) for name in (RAW, PREDICTIONS, METRICS))

    def refresh(self) -> None:
        """Read the tables that have changed.

        Raises:
            StoreError: A table cannot be read.
        """
        for name, read in ((RAW, self._read_observations), (PREDICTIONS, self._read_predictions)):
            table = self._home.raw(self._system) if name == RAW else self._home.table(self._system.name, name)
            version = table.version()
            if self._versions.get(name) and not version:
                raise StoreError("the table is gone", where=table.uri, hint="put it back")
            if version and version != self._versions.get(name):
                read()
                self._versions[name] = version
        version = self._home.table(self._system.name, METRICS).version()
        if version and version != self._versions.get(METRICS):
            self.scores = task_of(self._system).scores(self._home)
            self._versions[METRICS] = version

    def _read_observations(self) -> None:
        import polars as pl

        system, time = self._system, self._system.event_time
        table, known = self._home.raw(system), pl.col(system.target).is_not_null()
        last = table.collect(table.scan(where=known).select(pl.col(time).max())).item()
        if last is None:
            return
        series = self._home.series(system)
        since = last - spanned(KEPT, series.grid.step)
        frame = read_latest(table, series, since).filter(pl.col(time) <= last)
        self.observations = Index.of(frame, list(system.keys), time)

    def _read_predictions(self) -> None:
        import polars as pl

        system, time = self._system, self._system.event_time
        table = self._home.table(system.name, PREDICTIONS)
        newest = table.collect(table.scan().select(pl.col("as_of").max(), pl.col("origin").max())).row(0)
        as_of, origin = newest
        if as_of is None:
            return
        rows_wanted = [
            *system.keys,
            time,
            "value",
            "lower",
            "upper",
            "served",
            "id",
            "as_of",
            "model_version",
            "_version",
            "revision",
        ]
        lazy = table.scan(where=pl.col(time) > origin - self._span(SHOWN)).select(rows_wanted)
        frame = table.collect(lazy).sort("as_of", "_version", "revision", maintain_order=True)
        frame = frame.unique([*system.keys, time], keep="last", maintain_order=True)
        versions = frame.filter(pl.col("as_of") == as_of)["model_version"]
        index = Index.of(frame, list(system.keys), time)
        self.predictions = Made(index, as_of, int(versions[-1]) if versions.len() else None)

    def series(self) -> list[dict[str, str]]:
        """Every key combination that was observed or predicted."""
        keys: set[Key] = set().union(*(index.slices for index in self._indices()))
        return [dict(zip(self._system.keys, key, strict=True)) for key in sorted(keys)]

    def texts(self, given: Mapping[str, str]) -> dict[str, str]:
        """Keys of a query as the index has them: ``007`` names the whole number 7, and ``1`` the truth ``true``."""
        import polars as pl

        values = dict(given)
        for index in self._indices()[:1]:
            for name, text in given.items():
                dtype = index.frame.schema[name]
                if dtype == pl.String:
                    continue
                with suppress(ValueError):  # no value of this key: there is no such series
                    values[name] = pl.Series([value_of(text, dtype)], dtype=dtype).cast(pl.String)[0] or ""
        return values

    def has(self, key: Key) -> bool:
        """Whether there is such a series."""
        return any(key in index.slices for index in self._indices())

    def _indices(self) -> list[Index]:
        predictions = self.predictions
        return [index for index in (self.observations, predictions.index if predictions else None) if index is not None]

    def observed(self, key: Key, hours: int) -> list[dict[str, Any]]:
        """The newest observations of a series: ``time value``; of weeks and months 24 at least."""
        observations = self.observations
        if observations is None:
            return []
        time, target = self._system.event_time, self._system.target
        rows = observations.rows(key).select(time, target)
        if rows.height:
            rows = rows.filter(rows[time] > rows[time][-1] - self._span(timedelta(hours=hours)))
        return [{"time": iso(time), "value": value} for time, value in rows.iter_rows()]

    def _span(self, duration: timedelta) -> timedelta:
        """How far back is told of when so much is asked for."""
        return duration if self._system.step is None else spanned(duration, self._system.step)

    def predicted(self, key: Key) -> dict[str, Any]:
        """The newest prediction for every step of the last week and of the horizon."""
        predictions = self.predictions
        if predictions is None:
            return answer(self._system, None, None, None)
        return answer(self._system, predictions.index.rows(key), predictions.as_of, predictions.model_version)

    def with_truth(self, key: Key, told: Mapping[str, Any]) -> dict[str, Any]:
        """What `predicted` gives of a series, each with ``actual``: what was observed, null where nothing was yet."""
        observations, time = self.observations, self._system.event_time
        rows = [] if observations is None else observations.rows(key).select(time, self._system.target).iter_rows()
        known = {iso(moment): value for moment, value in rows}
        items = [{**item, "actual": known.get(item["time"])} for item in told["predictions"]]
        return {**told, "predictions": items}


def answer(
    system: System, rows: pl.DataFrame | None, as_of: datetime | None, model_version: int | None
) -> dict[str, Any]:
    """Predictions of one series as they are answered."""
    items: list[dict[str, Any]] = []
    if rows is not None:
        numbers = ("value", "lower", "upper", "served", "id")
        items = [
            {"time": iso(time), **dict(zip(numbers, rest, strict=True))}
            for time, *rest in rows.select(system.event_time, *numbers).iter_rows()
        ]
    return {"predictions": items, "as_of": iso(as_of) if as_of else None, "model_version": model_version}
