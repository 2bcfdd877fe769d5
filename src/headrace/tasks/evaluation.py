"""How a task is evaluated: what is asked, where the facts come from, and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from headrace.errors import UsageError
from headrace.grid.date_range import DateRange
from headrace.home import Home
from headrace.system import System
from headrace.tasks.sections import Block

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class EvaluateRequest:
    """What to evaluate. A task takes a `range` of times, or `data`; it refuses what it has no use for.

    Attributes:
        range: The times to predict as of; None where rows are to be scored.
        now: What is known by now is the truth, UTC.
        retrain: Time between two trainings; None trains once, on what was known at the first time.
        source: Where the facts come from; None is what the home has, or else the system's own source.
        on_progress: Told what is being done, how many origins of it are done, and of how many.
        data: Rows with a target: a file, or a source URI.
    """

    range: DateRange | None
    now: datetime
    retrain: timedelta | None = None
    source: str | None = None
    on_progress: Callable[[str, int, int], None] = lambda stage, count, total: None
    data: str | None = None


@dataclass(frozen=True)
class HeldOut:
    """Rows with a target, which satisfy the contract.

    Attributes:
        rows: One at least.
        bad: How many others were set apart.
    """

    rows: pl.DataFrame
    bad: int


@dataclass(frozen=True)
class ErrorsOverTime:
    """How wrong predictions of many runs were.

    Attributes:
        metrics: Of all pairs.
        baselines: The same of each baseline, by its name.
        over_time: By the time of the truth, oldest first: ``time n wape ...``.
    """

    metrics: Mapping[str, Any]
    baselines: Mapping[str, Mapping[str, Any]]
    over_time: Sequence[Mapping[str, Any]]


class DailyErrors(Protocol):
    """Errors of what was answered, read once for any number of times; later scores are read when they are asked for."""

    def by_day(self, measure: str, known_at: datetime, day: timedelta) -> pl.DataFrame:
        """A row for each day of runs whose truth was known: ``begin made value baseline pairs``, oldest first.

        `made` is the time of the day's last run; `baseline` the error of the best one on the same pairs, NaN without.
        """


class EvaluationData(Protocol):
    """Where a task has its facts from while it is evaluated."""

    def history(self, system: System, home: Home, request: EvaluateRequest) -> AbstractContextManager[Home]:
        """A home with the facts that are asked for: this one, or one that is filled and thrown away afterwards.

        Raises:
            SourceError, ContractBroken, StoreError: The facts could not be had.
        """

    def held_out(self, system: System, data: str, now: datetime) -> HeldOut:
        """The rows of a file, or of a source URI, that have a target.

        Raises:
            SourceError: They cannot be read.
            ContractBroken: Too many of them are bad.
            NotEnoughDataError: No row has a target.
        """


class Evaluation(ABC):
    """How good predictions were."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: ``system origins rows metrics baselines seconds`` at least."""

    def table(self, *columns: str) -> pl.DataFrame:
        """Metrics by these columns.

        Raises:
            UsageError: There are none by columns.
        """
        raise UsageError("nothing is summed by columns here", hint="see metrics and baselines")

    def blocks(self) -> Sequence[Block]:
        """What a terminal shows; nothing: `as_dict` as it is."""
        return ()


@dataclass(frozen=True)
class ScoredRows(Evaluation):
    """Metrics of rows, which are told as they are."""

    figures: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The figures."""
        return dict(self.figures)
