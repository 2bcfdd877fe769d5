"""What a check found: good rows, bad rows with their reasons, findings over the batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from headrace.contract.finding import Finding
from headrace.errors import ContractBroken

if TYPE_CHECKING:
    import polars as pl

    from headrace.grid import Grid


@dataclass(frozen=True)
class RowPlaces:
    """What became of which row, by its place in the frame that came; good are all others.

    Attributes:
        bad: Places of bad rows, in the order of ``bad``.
        pending: Of those that are not known yet.
        copies: Of rows that repeat another one of the frame, where rows have no event time.
        rows: How many came.
    """

    bad: pl.Series
    pending: pl.Series
    copies: pl.Series
    rows: int

    @property
    def good(self) -> pl.Series:
        """Places of good rows, in the order of ``good``."""
        import polars as pl

        is_good = pl.repeat(True, self.rows, eager=True)
        for places in (self.bad, self.pending, self.copies):
            is_good = is_good.scatter(places, False)
        return is_good.arg_true()


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of a check, as data.

    Args:
        good: The typed rows: the declared columns and ``known_at``, times in UTC, in their order; of a check in parts
            those that were kept. Without event times copies of a row are in neither frame.
        bad: The rows set apart: ``id``, ``time``, ``known_at``, ``row`` (the row as it came, as JSON)
            and ``reasons``.
        findings: The rules over the batch.
        rows: How many rows came, pending ones included.
        pending: How many of them are not yet known at ``as_of``; they are in neither frame.
        reasons: How many rows broke each rule, most first; a row may break several.
        extra: Columns of the source that the contract does not declare.
        max_invalid_fraction: The allowed share.
        as_of: The run's time.
        grid: The steps of event times; None where the system has none.
        places: What became of which row; None of a check in parts.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    findings: tuple[Finding, ...]
    rows: int
    pending: int
    reasons: Mapping[str, int]
    extra: tuple[str, ...]
    max_invalid_fraction: float
    as_of: datetime
    grid: Grid | None = None
    places: RowPlaces | None = None

    @property
    def known(self) -> int:
        """How many rows are known at ``as_of``."""
        return self.rows - self.pending

    @property
    def invalid_fraction(self) -> float:
        """The share of bad rows among those known at ``as_of``."""
        return self.bad.height / self.known if self.known else 0.0

    @property
    def why_broken(self) -> tuple[str, ...]:
        """Why the contract is broken; empty when it holds."""
        reasons = [finding.message for finding in self.findings if finding.stops]
        if self.invalid_fraction > self.max_invalid_fraction:
            top = "; ".join(f"{label} ({count:,})" for label, count in list(self.reasons.items())[:3])
            share = f"{self.invalid_fraction:.2%}, allowed {self.max_invalid_fraction:.2%}"
            reasons.insert(0, f"{self.bad.height:,} of {self.known:,} rows are bad ({share}): {top}")
        return tuple(reasons)

    @property
    def broken(self) -> bool:
        """Whether the run must stop."""
        return bool(self.why_broken)

    @property
    def remarkable(self) -> bool:
        """Whether there is more to say than that all rows are good."""
        return bool(self.bad.height or self.pending) or not all(finding.passed for finding in self.findings)

    def raise_if_broken(self, where: str | None = None) -> None:
        """Does nothing while the contract holds.

        Raises:
            ContractBroken: Too many rows are bad, or a rule with severity ``stop`` failed.
        """
        if self.broken:
            hint = "mend the source, or change the contract if it is wrong"
            if self.pending and not self.known:
                hint = "choose a later --as-of; or the known times are wrong: source.lag, source.known_at"
            raise ContractBroken("; ".join(self.why_broken), where=where, hint=hint)

    def as_dict(self) -> dict[str, Any]:
        """The report as one JSON object, without the rows."""
        return {
            "as_of": self.as_of.isoformat(),
            "rows": self.rows,
            "good": self.known - self.bad.height,
            "bad": self.bad.height,
            "pending": self.pending,
            "invalid_fraction": self.invalid_fraction,
            "max_invalid_fraction": self.max_invalid_fraction,
            "broken": self.broken,
            "why_broken": list(self.why_broken),
            "reasons": dict(self.reasons),
            "extra_columns": list(self.extra),
            "findings": [finding.as_dict() for finding in self.findings],
        }
