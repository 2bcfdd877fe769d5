"""Rules on the mean, the spread and the tails of a column of numbers; they know how many rows a batch has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from headrace.contract.batch import CheckedRows, OfColumn, Reads, Tallied
from headrace.contract.finding import Finding
from headrace.contract.sampling import Moments, too_many
from headrace.contract.shares import range_mistakes, span

if TYPE_CHECKING:
    import polars as pl


class BandRule(Tallied):
    """Base of the rules that hold a figure of a column within a band.

    Attributes:
        column: The column of numbers that is looked at.
        minimum: The lower end of the band; None without one.
        maximum: The upper end; None without one.
        log: Whether natural logarithms are looked at, of values above 0. Right for prices and other columns with a
            long tail: there a small batch says little about its own mean and spread.
        confidence: The rule fails only where the figure of a batch of this size would lie so far outside, were the
            true one at the end of the band, with a probability below ``1 - confidence``.
        min_rows: Fewer values are not judged.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "number"

    minimum: float | None = None
    maximum: float | None = None
    log: bool = False
    confidence: float = Field(default=0.999, ge=0.5, lt=1)
    min_rows: int = Field(default=30, ge=2)
    severity: Literal["warn", "stop"] = "warn"

    def mistakes(self) -> list[tuple[str, str]]:
        """A band has an end."""
        return range_mistakes(self.minimum, self.maximum)

    def tally(self, rows: pl.DataFrame) -> Moments:
        """The moments of the values, or of their logarithms."""
        return Moments.of(values_of(rows, self.column, log=self.log).to_numpy())

    def _unjudged(self, tally: Moments) -> Finding | None:
        if tally.count >= self.min_rows:
            return None
        text = f"{self.column}: not judged, {tally.count:,} values are fewer than {self.min_rows:,}"
        return self._finding(True, text, rows=tally.count, min_rows=self.min_rows)


class MeanBand(BandRule):
    """The mean of a column lies within a band, but for what chance explains in a batch of this size.

    It fails where ``mean + e`` is below `minimum` or ``mean - e`` above `maximum`, with
    ``e = t(confidence, n - 1) * s / sqrt(n)`` (Student's t). With `log`, the mean is that of the logarithms, and the
    band is one of the geometric mean, in the column's own unit.

    Attributes:
        column: The column of numbers that is looked at.
        minimum: The lower end of the band, in the column's unit; None without one.
        maximum: The upper end; None without one.
        log: See `BandRule`.
        confidence: See `BandRule`.
        min_rows: Fewer values are not judged.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["mean_band"] = "mean_band"

    def mistakes(self) -> list[tuple[str, str]]:
        """A geometric mean is above 0."""
        ends = (("minimum", self.minimum), ("maximum", self.maximum))
        low = [
            (field, "a geometric mean is above 0") for field, end in ends if self.log and end is not None and end <= 0
        ]
        return super().mistakes() + low

    def found(self, tally: Moments) -> Finding:
        """Compares the mean with the band."""
        if (unjudged := self._unjudged(tally)) is not None:
            return unjudged
        error = tally.mean_error(self.confidence)
        mean, low, high = (
            math.exp(value) if self.log else value for value in (tally.mean, tally.mean - error, tally.mean + error)
        )
        passed = not (
            (self.minimum is not None and high < self.minimum) or (self.maximum is not None and low > self.maximum)
        )
        kind = "geometric mean" if self.log else "mean"
        text = f"{self.column}: the {kind} is {mean:.4g}, by chance {low:.4g} to {high:.4g} of {tally.count:,} values"
        text += f" (allowed {span(self.minimum, self.maximum)})"
        return self._finding(
            passed,
            text,
            rows=tally.count,
            mean=mean,
            low=low,
            high=high,
            minimum=self.minimum,
            maximum=self.maximum,
        )


class SpreadBand(BandRule):
    """The standard deviation of a column lies within a band, but for what chance explains in a batch of this size.

    It fails where ``s + e(minimum)`` is below `minimum` or ``s - e(maximum)`` above `maximum`, with
    ``e(b) = z(confidence) * b * sqrt((k - 1) / (4 n))`` and the batch's kurtosis k, 3 at least (the standard error of
    s, were the true one b). With `log`, it is the standard deviation of the natural logarithms: 0.7 means that two
    thirds of the values lie within a factor of 2 of the geometric mean.

    Attributes:
        column: The column of numbers that is looked at.
        minimum: The lower end of the band; None without one.
        maximum: The upper end; None without one.
        log: See `BandRule`.
        confidence: See `BandRule`.
        min_rows: Fewer values are not judged.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    rule: Literal["spread_band"] = "spread_band"

    def mistakes(self) -> list[tuple[str, str]]:
        """A spread is not below 0."""
        ends = (("minimum", self.minimum), ("maximum", self.maximum))
        below = [(field, "a standard deviation is not below 0") for field, end in ends if end is not None and end < 0]
        return [*super().mistakes(), *below]

    def found(self, tally: Moments) -> Finding:
        """Compares the standard deviation with the band."""
        if (unjudged := self._unjudged(tally)) is not None:
            return unjudged
        spread, low, high = tally.spread, self.minimum, self.maximum
        below = low is not None and spread + tally.spread_error(low, self.confidence) < low
        above = high is not None and spread - tally.spread_error(high, self.confidence) > high
        kind = "standard deviation of logarithms" if self.log else "standard deviation"
        text = f"{self.column}: the {kind} is {spread:.4g} of {tally.count:,} values (allowed {span(low, high)}"
        inside = (low is None or spread >= low) and (high is None or spread <= high)
        text += ")" if inside or below or above else "; of so few values no more than chance)"
        return self._finding(not (below or above), text, rows=tally.count, spread=spread, minimum=low, maximum=high)


class BeyondZ(OfColumn):
    """At most a share of the values lies further than ``z`` standard deviations from the batch's mean.

    Attributes:
        column: The column of numbers that is looked at.
        z: How many standard deviations.
        side: Where: ``both`` sides, ``above`` the mean only, or ``below`` it.
        log: Whether natural logarithms are looked at, of values above 0.
        at_most: The largest share of values that passes.
        confidence: The rule fails only where so many, were `at_most` the true share, would come with a probability
            below ``1 - confidence`` (exact binomial test). None: the share of the batch itself is compared.
        severity: What a failure does: ``warn`` says so, ``stop`` ends the run with exit status 3.
    """

    reads: ClassVar[Reads] = "number"

    rule: Literal["beyond_z"] = "beyond_z"
    z: float = Field(default=3.0, gt=0)
    side: Literal["both", "above", "below"] = "both"
    log: bool = False
    at_most: float = Field(default=0.0, ge=0, le=1)
    confidence: float | None = Field(default=None, ge=0.5, lt=1)
    severity: Literal["warn", "stop"] = "warn"

    def judge(self, batch: CheckedRows) -> Finding:
        """Counts the values that far away; those without any spread pass."""
        values = values_of(batch.rows, self.column, log=self.log)
        moments = Moments.of(values.to_numpy())
        rows, limit = values.len(), self.z * moments.spread
        away = values - moments.mean
        beyond = away.abs() if self.side == "both" else away if self.side == "above" else -away
        count = int((beyond > limit).sum()) if limit else 0
        share = count / rows if rows else 0.0
        passed = not too_many(count, rows, self.at_most, self.confidence)
        where = "from" if self.side == "both" else self.side
        what = "of logarithms " if self.log else ""
        text = f"{self.column}: {count:,} of {rows:,} values are more than {self.z:g} standard deviations {what}{where}"
        text += f" the mean ({share:.2%}, allowed {self.at_most:.2%})"
        return self._finding(passed, text, count=count, rows=rows, share=share, z=self.z, at_most=self.at_most)


def values_of(rows: pl.DataFrame, column: str, *, log: bool) -> pl.Series:
    """The values that are there, as floats; of those above 0 the natural logarithms, where these are looked at."""
    import polars as pl

    values = rows[column].drop_nulls().cast(pl.Float64)
    return values.filter(values > 0).log() if log else values
