"""Runs of the past of a system that forecasts: since when it could, and the scores of many runs, in parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from headrace.home import Home
from headrace.store.history import first_seen
from headrace.system import System
from headrace.tasks.base import Extent
from headrace.tasks.forecast import matured

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ScoredTimes:
    """Event times that one process scores in one go; with the `last` ones the mark of all is left."""

    mark: matured.Mark
    times: pl.Series
    last: bool


@dataclass(frozen=True)
class ForecastRuns:
    """See `headrace.tasks.base.PastRuns`."""

    system: System

    def extent(self, home: Home, data_version: int) -> Extent:
        """Since the first value of any series; every step of all of them."""
        starts = first_seen(home.raw(self.system), home.series(self.system), data_version)
        return Extent(starts, self._series(home) * self.system.steps)

    def due(self, home: Home, as_of: datetime) -> Sequence[ScoredTimes]:
        """Event times about which something is newer than the last mark."""
        due = matured.plan(self.system, home, as_of)
        if due is None:
            return []
        *parts, last = due.parts()
        return [*(ScoredTimes(due.mark, part, last=False) for part in parts), ScoredTimes(due.mark, last, last=True)]

    def score(self, home: Home, part: ScoredTimes) -> int:
        """See `headrace.tasks.forecast.matured`."""
        return matured.score(self.system, home, part.mark, part.times, last=part.last)

    def _series(self, home: Home) -> int:
        """How many series there are."""
        import polars as pl

        if not self.system.keys:
            return 1
        raw = home.raw(self.system)
        return int(raw.collect(raw.scan().select(pl.struct(self.system.keys).n_unique())).item())
