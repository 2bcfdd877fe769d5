"""What monitoring asks a task: errors within a window before each of many times, of the model that predicts then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class WatchRequest:
    """Windows to look at.

    Attributes:
        times: Evaluation times, ascending, UTC: multiples of `every` since 1970, one after the other.
        since: Of each: only predictions that were made since then count, UTC.
        first: When the first champion was promoted, UTC: no prediction is older.
        every: From one to the next.
        window: What became known so long before a time, or later, is in its window; in whole stretches of `every`.
        by: Columns that make a scope; none: the whole system.
    """

    times: tuple[datetime, ...]
    since: tuple[datetime, ...]
    first: datetime
    every: timedelta
    window: timedelta
    by: tuple[str, ...] = ()

    @property
    def reach(self) -> int:
        """The window in stretches, at least one."""
        return max(1, -(-self.window // self.every))

    @cached_property
    def places(self) -> list[int]:
        """The number of each time, counted in stretches since 1970."""
        return [(time - EPOCH) // self.every for time in self.times]

    @property
    def begins(self) -> datetime:
        """What became known by then is in no window, UTC."""
        return self.times[0] - self.reach * self.every

    @cached_property
    def starts(self) -> list[datetime]:
        """The different times of `since`, ascending."""
        return sorted(set(self.since))

    @cached_property
    def eras(self) -> list[int]:
        """The number of the era of each time: the place of its `since` in `starts`."""
        number = {start: place for place, start in enumerate(self.starts)}
        return [number[since] for since in self.since]


@dataclass(frozen=True)
class EstimateRequest:
    """Windows whose metrics are estimated.

    Attributes:
        times: Ascending, UTC: what was known then, and predicted before, counts.
        since: Of each: only predictions that were made since then count, UTC.
        versions: Of each: who predicts.
        window: Predictions that were made so long before a time, or later, are in its window.
        metrics: Those that are asked for; none: all that there are. None: the one by which versions are compared.
    """

    times: tuple[datetime, ...]
    since: tuple[datetime, ...]
    versions: tuple[int, ...]
    window: timedelta
    metrics: tuple[str, ...] | None = None


class WatchedErrors(Protocol):
    """Errors of a task's predictions. Every frame has ``time`` and the columns `by`; see `MonitoringFacts`."""

    def errors(self, request: WatchRequest, metrics: Sequence[str]) -> pl.DataFrame:
        """The metrics of each window and scope, with ``n``, their pairs.

        Raises:
            UsageError: Predictions of this kind have no such metric, or no such scopes.
        """

    def coverage(self, request: WatchRequest) -> pl.DataFrame:
        """How often intervals held the truth: ``n coverage blocks deviation``; no row where there are none."""

    def baselines(self, request: WatchRequest) -> pl.DataFrame:
        """The loss beside each baseline's: ``baseline n loss baseline_loss blocks deviation``."""

    def estimates(self, request: EstimateRequest) -> pl.DataFrame | None:
        """Metrics that need no truth, beside what they were where it is known; see `MonitoringFacts.estimates`.

        None where predictions do not say how sure they are.

        Raises:
            UsageError: Predictions of this kind have no estimate of such a metric.
        """
