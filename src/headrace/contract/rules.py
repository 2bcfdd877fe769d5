"""Rules over a whole batch, declared as objects: z-scores, gaps, staleness, the number of rows; and all there are.

They see only the rows that passed the rules over rows and were known at ``as_of``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from headrace.contract.bands import BeyondZ, MeanBand, SpreadBand
from headrace.contract.batch import BatchRule, CheckedRows, OfColumn, Reads
from headrace.contract.finding import Finding
from headrace.contract.shares import Forbids, LevelCount, Matches, OutOfRange, Share, Unique
from headrace.declaration import Duration, format_duration

if TYPE_CHECKING:
    import polars as pl


class ZScore(OfColumn):
    """No value further than ``limit`` standard deviations from the mean of its series.

    With ``robust``, the median and 1.4826 times the median absolute deviation stand in for the mean and the
    standard deviation, so that an outlier does not hide itself. Series with fewer than ``min_periods`` values,
    or without any spread, are not judged.

    Attributes:
        column: The column of numbers that is looked at.
        limit: The largest absolute z-score that passes.
        robust: Whether median and median absolute deviation are used.
        min_periods: Values that a series needs to be judged.
        severity: What a failure does: ``warn`` says so, ``quarantine`` sets the rows past the limit apart, ``stop``
            ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "number"

    rule: Literal["z_score"] = "z_score"
    limit: float = Field(default=6.0, gt=0)
    robust: bool = False
    min_periods: int = Field(default=30, ge=3)
    severity: Literal["warn", "quarantine", "stop"] = "warn"

    def scores(self, batch: CheckedRows) -> pl.Series:
        """The z-score of every row; null where a series cannot be judged."""
        import polars as pl

        value = pl.col(self.column).cast(pl.Float64)
        middle = value.median() if self.robust else value.mean()
        spread = (value - middle).abs().median() * 1.4826 if self.robust else value.std()
        judged = (value.count() >= self.min_periods) & (spread > 0)
        score = pl.when(judged).then((value - middle) / spread)
        return batch.rows.select((score.over(batch.keys) if batch.keys else score).alias("z")).to_series()

    def judge(self, batch: CheckedRows) -> Finding:
        """Counts the rows past the limit."""
        beyond = self.scores(batch).abs().fill_null(0.0)
        count = int((beyond > self.limit).sum())
        worst = float(beyond.max() or 0.0) if beyond.len() else 0.0  # type: ignore[arg-type]
        return self.counted(count, batch.rows.height, worst)

    def counted(self, count: int, rows: int, worst: float) -> Finding:
        """The finding for ``count`` rows past the limit."""
        text = f"{self.column}: {count:,} of {rows:,} rows have |z| above {self.limit:g} in their series"
        return self._finding(count == 0, text, count=count, rows=rows, worst=round(worst, 3), limit=self.limit)


class Gaps(BatchRule):
    """At most a share of the regular steps between a series' first and last time may be missing.

    Attributes:
        at_most: The largest share of missing steps that passes, over all series.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["gaps"] = "gaps"
    at_most: float = Field(default=0.0, ge=0, le=1)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: CheckedRows) -> Finding:
        """Compares the share of missing steps over all series with the limit; names the worst series."""
        import polars as pl

        if batch.time is None or batch.grid is None:
            return self._finding(True, "gaps: not judged, the system has no time and step")
        slot = batch.grid.slots_of(pl.col(batch.time))
        facts = [(slot.max() - slot.min() + 1).alias(":due"), slot.n_unique().alias(":here")]
        by = list(batch.keys)
        lazy = batch.rows.lazy().group_by(by).agg(facts) if by else batch.rows.lazy().select(facts)
        series = lazy.collect(engine="streaming")  # of 15 million rows in half the memory
        series = series.filter(pl.col(":due").is_not_null()).with_columns(
            (pl.col(":due") - pl.col(":here")).alias(":gap")
        )
        due, gap = int(series[":due"].sum()), int(series[":gap"].sum())
        share = gap / due if due else 0.0
        worst = series.sort([":gap", *by], descending=[True, *[False] * len(by)]).row(0, named=True) if gap else {}
        name = ", ".join(str(worst[key]) for key in by) if worst else None
        text = f"{gap:,} of {due:,} regular steps are missing ({share:.2%}, allowed {self.at_most:.2%})"
        if worst:
            text += f"; most in series {name}: {worst[':gap']:,}" if name else ""
        return self._finding(
            share <= self.at_most,
            text,
            missing=gap,
            expected=due,
            share=share,
            at_most=self.at_most,
            worst=name,
        )


class Staleness(BatchRule):
    """The newest event may be at most this old at ``as_of``; a publication lag counts as age.

    Attributes:
        at_most: The largest age of the newest event that passes.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["staleness"] = "staleness"
    at_most: Duration
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: CheckedRows) -> Finding:
        """Compares the age of the newest event with the limit; no rows pass (see `MinimumRows`)."""
        newest = batch.rows[batch.time].max() if batch.time is not None and batch.rows.height else None
        if not isinstance(newest, datetime):
            return self._finding(True, "staleness: not judged, there is no event time")
        age = batch.as_of.astimezone(UTC) - newest
        age_seconds = timedelta(seconds=int(age.total_seconds()))
        text = (
            f"the newest event, {newest:%Y-%m-%dT%H:%M:%SZ}, is {format_duration(age_seconds)} old "
            f"(allowed {format_duration(self.at_most)})"
        )
        limit = self.at_most.total_seconds()
        return self._finding(age <= self.at_most, text, age_seconds=age.total_seconds(), at_most_seconds=limit)


class MinimumRows(BatchRule):
    """At least so many good rows.

    Attributes:
        min_rows: Good rows that a batch needs.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["minimum_rows"] = "minimum_rows"
    min_rows: int = Field(ge=1)
    severity: Literal["warn", "stop"] = "stop"

    def judge(self, batch: CheckedRows) -> Finding:
        """Counts the good rows."""
        rows = batch.rows.height
        text = f"{rows:,} good rows (at least {self.min_rows:,} needed)"
        return self._finding(rows >= self.min_rows, text, rows=rows, min_rows=self.min_rows)


class MaximumRows(BatchRule):
    """At most so many good rows: a batch that came twice over, or a whole history in place of a day, is told.

    Attributes:
        max_rows: Good rows that a batch may have.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["maximum_rows"] = "maximum_rows"
    max_rows: int = Field(ge=0)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: CheckedRows) -> Finding:
        """Counts the good rows."""
        rows = batch.rows.height
        text = f"{rows:,} good rows (at most {self.max_rows:,} allowed)"
        return self._finding(rows <= self.max_rows, text, rows=rows, max_rows=self.max_rows)


Rule = Annotated[
    Share
    | OutOfRange
    | Forbids
    | Matches
    | LevelCount
    | Unique
    | MeanBand
    | SpreadBand
    | BeyondZ
    | ZScore
    | Gaps
    | Staleness
    | MinimumRows
    | MaximumRows,
    Field(discriminator="rule"),
]
"""Any rule over a batch; ``rule`` names its kind when it is written as data."""
