"""The facts that rules of retraining ask for, from what is stored: each with the time at which it became known."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.contract import KNOWN_AT
from headrace.grid.grid import EPOCH
from headrace.home import WARNINGS, Home
from headrace.policy import RecentRows, ServedError, Warned
from headrace.registry.history import standing
from headrace.tasks import task_of

if TYPE_CHECKING:
    import polars as pl

    from headrace.contract import Finding, Validation
    from headrace.registry import ModelVersion, Timeline
    from headrace.system import System
    from headrace.tasks.evaluation import DailyErrors

_FIRST = "first"
"""When a value was first known."""


class StoredFacts:
    """What is stored of a system, read once for any number of times.

    Args:
        system: The declaration.
        home: Where the tables are.
        data_version: Logical version of the raw table that is looked at.
    """

    def __init__(self, system: System, home: Home, data_version: int) -> None:
        self._system, self._home, self._version = system, home, data_version
        self._columns: dict[str, pl.DataFrame] = {}
        self._warned: list[Warned] | None = None
        self._scores: DailyErrors | None = None
        self._errors: dict[tuple[str, datetime], list[ServedError]] = {}

    def at(self, as_of: datetime, last: ModelVersion) -> KnownFacts:
        """What was known at a time, since the training of a version."""
        return KnownFacts(self, as_of.astimezone(UTC), last.version, last.as_of)

    def column(self, name: str) -> pl.DataFrame:
        """The values of a column in rows with a target, by known time, with the time each was first known."""
        import polars as pl

        if name not in self._columns:
            target, table = self._system.target, self._home.raw(self._system)
            lazy = table.scan(version=self._version, where=pl.col(target).is_not_null())
            value = pl.col(name).cast(pl.String).alias("value")
            first = pl.when(pl.col("value").is_not_null()).then(pl.col(KNOWN_AT).min().over("value")).alias(_FIRST)
            frame = table.collect(lazy.select(KNOWN_AT, value))
            self._columns[name] = frame.with_columns(first).sort(KNOWN_AT)
        return self._columns[name]

    def warned(self) -> list[Warned]:
        """All warnings that are stored, oldest first."""
        if self._warned is None:
            self._warned = read_warnings(self._home, self._system.name)
        return self._warned

    @property
    def day(self) -> timedelta:
        """How long a day of errors is."""
        return error_day(self._system)

    def errors(self, measure: str, as_of: datetime) -> list[ServedError]:
        """Errors of days that were known when the one of `as_of` began."""
        begin = EPOCH + (as_of - EPOCH) // self.day * self.day
        if (measure, begin) not in self._errors:
            if self._scores is None:
                self._scores = task_of(self._system).served(self._home)
            self._errors.clear()  # runs come in order
            champions = _champions(self._home.registry.timeline(self._system.name), begin)
            rows = self._scores.by_day(measure, begin, self.day)
            self._errors[measure, begin] = [
                ServedError(first, champions(made), value, baseline, pairs)
                for first, made, value, baseline, pairs in rows.iter_rows()
            ]
        return self._errors[measure, begin]


def error_day(system: System) -> timedelta:
    """How long a day is over which errors are summed up for rules of retraining: as monitoring is evaluated."""
    interval, runs = system.monitoring.every, system.schedule.predict
    return interval if runs is None else max(interval, runs)


def _champions(timeline: Timeline, until: datetime) -> Callable[[datetime], int]:
    """Which version was the champion at a time up to another one; 0 where there was none."""
    bounds = sorted({fact.as_of for fact in timeline.facts if fact.as_of <= until})
    versions = [0, *(standing(timeline.facts, bound).champion or 0 for bound in bounds)]
    return lambda time: versions[bisect_right(bounds, time)]


@dataclass(frozen=True)
class KnownFacts:
    """Facts as of a time; see `headrace.policy.StandingFacts`."""

    stored: StoredFacts
    as_of: datetime
    version: int
    trained_as_of: datetime

    def rows(self) -> int:
        """How many rows with a target came since the training."""
        return self._since(self.stored._system.target).height  # noqa: SLF001  # of this file

    def new_values(self, column: str) -> RecentRows:
        """The same by what they hold in a column."""
        import polars as pl

        since = self._since(column)
        new = since.filter(pl.col(_FIRST) > self.trained_as_of)
        counts = new.group_by("value").len().sort("len", "value", descending=[True, False])
        return RecentRows(since.height, new.height, dict(counts.iter_rows()))

    def warnings(self) -> Sequence[Warned]:
        """What the contract warned of since."""
        return [each for each in self.stored.warned() if self.trained_as_of < each.as_of <= self.as_of]

    @property
    def day(self) -> timedelta:
        """How long a day of errors is."""
        return self.stored.day

    def errors(self, measure: str) -> Sequence[ServedError]:
        """How wrong what was answered was, day by day."""
        return self.stored.errors(measure, self.as_of)

    def _since(self, column: str) -> pl.DataFrame:
        """Rows that became known after the training, by `as_of`."""
        frame = self.stored.column(column)
        known = frame[KNOWN_AT]
        begin, end = (known.search_sorted(time, side="right") for time in (self.trained_as_of, self.as_of))
        return frame.slice(begin, end - begin)


def warnings_of(validation: Validation) -> list[Finding]:
    """What the contract warns of a batch; of one that repeats what is stored it was warned when that came."""
    return [finding for finding in validation.findings if not finding.passed and finding.severity == "warn"]


def keep_warnings(home: Home, system: str, warned: Sequence[Finding], as_of: datetime, origin: str) -> None:
    """Keep what the contract warned of a batch that is about to be stored. Written again, nothing is added.

    Raises:
        StoreError: The table cannot be written.
    """
    import polars as pl

    rows: list[dict[str, Any]] = [
        {
            "rule": finding.rule,
            "column": finding.column or "",
            "message": finding.message,
            "source": origin,
            KNOWN_AT: as_of.astimezone(UTC),
        }
        for finding in warned
    ]
    frame = pl.DataFrame(rows, schema_overrides={KNOWN_AT: pl.Datetime("us", "UTC")})
    frame = frame.unique(["rule", "column", "message"], maintain_order=True)
    identity = ["rule", "column", "message", "source", KNOWN_AT]
    home.table(system, WARNINGS).append(frame, identity=identity, compare=(), window=KNOWN_AT)


def read_warnings(home: Home, system: str) -> list[Warned]:
    """All warnings that are stored, oldest first.

    Raises:
        StoreError: The table cannot be read.
    """
    table = home.table(system, WARNINGS)
    if not table.exists():
        return []
    rows = table.collect(table.scan().sort(KNOWN_AT, "_version", "rule", "column"))
    return [Warned(r["rule"], r["column"] or None, r["message"], r[KNOWN_AT]) for r in rows.iter_rows(named=True)]
