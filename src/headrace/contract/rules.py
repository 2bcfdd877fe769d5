"""Rules over a whole batch, declared as objects: shares, z-scores, gaps, staleness, a minimum of rows.

They see only the rows that passed the rules over rows and were known at ``as_of``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from headrace.contract.finding import Finding
from headrace.declaration import Declared, Duration, format_duration

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Grid


@dataclass(frozen=True)
class Batch:
    """What a rule may look at: typed rows, and how they are ordered."""

    rows: pl.DataFrame
    keys: tuple[str, ...]
    time: str | None
    grid: Grid | None
    as_of: datetime


class _Rule(Declared):
    def _finding(self, passed: bool, message: str, **numbers: float | int | str | None) -> Finding:
        name, severity = str(self.rule), str(self.severity)  # type: ignore[attr-defined]
        return Finding(rule=name, severity=severity, passed=passed, message=message, numbers=numbers)


class Share(_Rule):
    """At most a share of the rows may be ``null``, ``zero``, ``negative`` or ``empty`` in ``column``."""

    rule: Literal["share"] = "share"
    column: str
    condition: Literal["null", "zero", "negative", "empty"]
    at_most: float = Field(ge=0, le=1)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: Batch) -> Finding:
        """Compares the share with the limit; no rows pass."""
        import polars as pl

        value = pl.col(self.column)
        test = {
            "null": value.is_null(),
            "zero": value == 0,
            "negative": value < 0,
            "empty": value.is_null() | (value.cast(pl.String).str.strip_chars() == ""),
        }[self.condition]
        rows = batch.rows.height
        count = int(batch.rows.select(test.fill_null(False).sum()).item()) if rows else 0
        share = count / rows if rows else 0.0
        allowed = f"{share:.2%}, allowed {self.at_most:.2%}"
        text = f"{self.column}: {count:,} of {rows:,} rows are {self.condition} ({allowed})"
        return self._finding(share <= self.at_most, text, count=count, rows=rows, share=share, at_most=self.at_most)


class ZScore(_Rule):
    """No value further than ``limit`` standard deviations from the mean of its series.

    With ``robust``, the median and 1.4826 times the median absolute deviation stand in for the mean and the
    standard deviation, so that an outlier does not hide itself. Series with fewer than ``at_least`` values,
    or without any spread, are not judged.
    """

    rule: Literal["z_score"] = "z_score"
    column: str
    limit: float = Field(default=6.0, gt=0)
    robust: bool = False
    at_least: int = Field(default=30, ge=3)
    severity: Literal["warn", "quarantine", "stop"] = "warn"

    def scores(self, batch: Batch) -> pl.Series:
        """The z-score of every row; null where a series cannot be judged."""
        import polars as pl

        value = pl.col(self.column).cast(pl.Float64)
        middle = value.median() if self.robust else value.mean()
        spread = (value - middle).abs().median() * 1.4826 if self.robust else value.std()
        judged = (value.count() >= self.at_least) & (spread > 0)
        score = pl.when(judged).then((value - middle) / spread)
        return batch.rows.select((score.over(batch.keys) if batch.keys else score).alias("z")).to_series()

    def judge(self, batch: Batch) -> Finding:
        """Counts the rows past the limit."""
        beyond = self.scores(batch).abs().fill_null(0.0)
        count = int((beyond > self.limit).sum())
        worst = float(beyond.max() or 0.0) if beyond.len() else 0.0  # type: ignore[arg-type]
        return self.counted(count, batch.rows.height, worst)

    def counted(self, count: int, rows: int, worst: float) -> Finding:
        """The finding for ``count`` rows past the limit."""
        text = f"{self.column}: {count:,} of {rows:,} rows have |z| above {self.limit:g} in their series"
        return self._finding(count == 0, text, count=count, rows=rows, worst=round(worst, 3), limit=self.limit)


class Gaps(_Rule):
    """At most a share of the regular steps between a series' first and last time may be missing."""

    rule: Literal["gaps"] = "gaps"
    at_most: float = Field(default=0.0, ge=0, le=1)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: Batch) -> Finding:
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


class Staleness(_Rule):
    """The newest event may be at most this old at ``as_of``; a publication lag counts as age."""

    rule: Literal["staleness"] = "staleness"
    at_most: Duration
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: Batch) -> Finding:
        """Compares the age of the newest event with the limit; no rows pass (see `MinimumRows`)."""
        newest = batch.rows[batch.time].max() if batch.time is not None and batch.rows.height else None
        if not isinstance(newest, datetime):
            return self._finding(True, "staleness: not judged, there is no event time")
        age = batch.as_of.astimezone(UTC) - newest
        whole = timedelta(seconds=int(age.total_seconds()))
        text = (
            f"the newest event, {newest:%Y-%m-%dT%H:%M:%SZ}, is {format_duration(whole)} old "
            f"(allowed {format_duration(self.at_most)})"
        )
        limit = self.at_most.total_seconds()
        return self._finding(age <= self.at_most, text, age_seconds=age.total_seconds(), at_most_seconds=limit)


class MinimumRows(_Rule):
    """At least so many good rows."""

    rule: Literal["minimum_rows"] = "minimum_rows"
    at_least: int = Field(ge=1)
    severity: Literal["warn", "stop"] = "stop"

    def judge(self, batch: Batch) -> Finding:
        """Counts the good rows."""
        rows = batch.rows.height
        text = f"{rows:,} good rows (at least {self.at_least:,} needed)"
        return self._finding(rows >= self.at_least, text, rows=rows, at_least=self.at_least)


Rule = Annotated[Share | ZScore | Gaps | Staleness | MinimumRows, Field(discriminator="rule")]
"""Any rule over a batch; ``rule`` names its kind when it is written as data."""
